"""config/detector.rviz: RViz 2's own classes and property names, and topics that somebody here publishes.

The names are those of rviz_common's and rviz_default_plugins' sources, branch jazzy. RViz itself does not run here.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from rclpy.context import Context
from shown_topics import Shown, shown_topics

from tggbc_ros.ros.output.markers import LABEL_M, NAMESPACES
from tggbc_ros.ros.output.overlay_topics import MOSAIC_TOPIC, camera_topic
from tggbc_ros.ros.params import CAMERAS, Settings

CONFIG = Path(__file__).parents[2] / "config"
TREE: dict[str, Any] = yaml.safe_load((CONFIG / "detector.rviz").read_text(encoding="utf-8"))
MANAGER = TREE["Visualization Manager"]
DISPLAYS = MANAGER["Displays"]
WITH_TOPIC = [display for display in DISPLAYS if "Topic" in display]
VIEWS = [MANAGER["Views"]["Current"], *MANAGER["Views"]["Saved"]]

DISPLAY_PROPERTIES = {
    "rviz_default_plugins/Grid": {
        "Reference Frame", "Plane Cell Count", "Normal Cell Count", "Cell Size", "Line Style", "Color", "Alpha",
        "Plane", "Offset",
    },
    "rviz_default_plugins/TF": {
        "Show Names", "Show Axes", "Show Arrows", "Marker Scale", "Update Interval", "Frame Timeout",
        "Filter (whitelist)", "Filter (blacklist)", "Frames", "Tree",
    },
    "rviz_default_plugins/MarkerArray": {"Topic", "Namespaces"},
    "rviz_default_plugins/Image": {"Topic", "Normalize Range", "Min Value", "Max Value", "Median window"},
}  # fmt: skip
VIEW_PROPERTIES = {
    "rviz_default_plugins/Orbit": {
        "Distance", "Focal Point", "Focal Shape Size", "Focal Shape Fixed Size", "Yaw", "Pitch",
    },
    "rviz_default_plugins/TopDownOrtho": {"Scale", "Angle", "X", "Y"},
}  # fmt: skip
VIEW_COMMON = {"Class", "Name", "Value", "Near Clip Distance", "Target Frame", "Invert Z Axis"}
PANEL_PROPERTIES = {
    "rviz_common/Displays": {"Help Height", "Property Tree Widget", "Tree Height"},
    "rviz_common/Views": {"Expanded", "Splitter Ratio"},
    "rviz_common/Time": {"SyncMode", "SyncSource", "Experimental"},
}
TOOL_PROPERTIES = {
    "rviz_default_plugins/Interact": {"Hide Inactive Objects"},
    "rviz_default_plugins/MoveCamera": set(),
    "rviz_default_plugins/Select": set(),
    "rviz_default_plugins/FocusCamera": set(),
    "rviz_default_plugins/Measure": {"Line color"},
}
GLOBAL_OPTIONS = {"Fixed Frame", "Background Color", "Frame Rate"}
WINDOW = {"Width", "Height", "X", "Y", "Hide Left Dock", "Hide Right Dock", "QMainWindow State"}
QOS = {
    "History Policy": {"System Default", "Keep Last", "Keep All"},
    "Reliability Policy": {"System Default", "Reliable", "Best Effort"},
    "Durability Policy": {"System Default", "Transient Local", "Volatile"},
}
TREE_ROW_PX = 24
"""At least a row of Qt's trees at 96 dots per inch, where Fusion and Breeze make it 20 to 22."""
VIEW_PX, FIELD_OF_VIEW_RAD = 440, np.pi / 4
"""Height of the 3D view in that window, as Qt lays it out, and vertical angle of Ogre's cameras."""
LEGIBLE_PX = 12
IMAGE, COMPRESSED = "sensor_msgs/msg/Image", "sensor_msgs/msg/CompressedImage"
ids = lambda entry: entry["Name"]  # noqa: E731


@pytest.fixture(scope="module")
def shown(context: Context, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shown]:
    with shown_topics(context, tmp_path_factory.mktemp("shown")) as shown:
        yield shown


@pytest.mark.parametrize("display", DISPLAYS, ids=ids)
def test_displays_have_properties_of_their_class_only(display: dict[str, Any]) -> None:
    """One that does not exist would be passed over in silence."""
    own = set(display) - {"Class", "Name", "Enabled", "Value"}
    assert own <= DISPLAY_PROPERTIES[display["Class"]]
    assert isinstance(display["Enabled"], bool) and display["Enabled"] == display["Value"]


@pytest.mark.parametrize("display", WITH_TOPIC, ids=ids)
def test_topics_say_all_about_their_quality_of_service(display: dict[str, Any]) -> None:
    topic = display["Topic"]
    assert set(topic) == {*QOS, "Depth", "Value"}
    assert all(topic[name] in values for name, values in QOS.items())
    assert topic["Depth"] >= 1


@pytest.mark.parametrize("view", VIEWS, ids=ids)
def test_views_have_properties_of_their_class_only(view: dict[str, Any]) -> None:
    assert set(view) - VIEW_COMMON == set(view) & VIEW_PROPERTIES[view["Class"]]
    assert view["Target Frame"] == Settings().base_frame


def test_panels_tools_and_window_are_rvizs_own() -> None:
    for entries, known in ((TREE["Panels"], PANEL_PROPERTIES), (MANAGER["Tools"], TOOL_PROPERTIES)):
        for entry in entries:
            assert set(entry) - {"Class", "Name"} <= known[entry["Class"]], entry
    assert set(MANAGER["Global Options"]) == GLOBAL_OPTIONS
    assert MANAGER["Global Options"]["Fixed Frame"] == Settings().output_frame
    docks = {panel["Name"] for panel in TREE["Panels"]} | {display["Name"] for display in DISPLAYS}
    assert set(TREE["Window Geometry"]) - WINDOW <= docks


def test_the_window_has_a_place_for_every_dock() -> None:
    """Qt keeps a dock that its saved state does not name, but anywhere. Names are UTF-16 in it."""
    state = TREE["Window Geometry"]["QMainWindow State"]
    assert isinstance(state, str)
    named = bytes.fromhex(state)
    docks = [entry["Name"] for entry in TREE["Panels"]]
    docks += [display["Name"] for display in DISPLAYS if display["Class"].endswith("/Image")]
    for dock in docks:
        text = dock.encode("utf-16-be")
        assert len(text).to_bytes(4, "big") + text in named, dock


def test_the_displays_panel_shows_every_display_without_scrolling() -> None:
    """Those that are off, the single cameras, are only of use to who sees that they are there."""
    panel = TREE["Panels"][0]
    rows = ["Global Options", "Global Status", *(display["Name"] for display in DISPLAYS)]
    assert panel["Property Tree Widget"]["Expanded"] is None
    assert len(rows) * TREE_ROW_PX <= panel["Tree Height"]
    assert panel["Help Height"] == 0, "RViz heeds one height with the other only, else a third of the panel is help"


def test_displays_and_views_share_a_place_as_tabs() -> None:
    """One above the other leaves both too low. Qt notes tabs as a marker, their direction and which is in front."""
    named = bytes.fromhex(TREE["Window Geometry"]["QMainWindow State"])
    tabs = named.index(b"\xfa" + (0).to_bytes(4, "big") + b"\x02" + (2).to_bytes(4, "big"))
    first, second = (named.index(name.encode("utf-16-be")) for name in ("Displays", "Views"))
    assert tabs < first < second < named.index("CAM_FRONT".encode("utf-16-be"))


def test_names_of_frames_do_not_pile_up_at_the_vehicle() -> None:
    (tf,) = [display for display in DISPLAYS if display["Class"].endswith("/TF")]
    assert not tf["Show Names"]
    assert tf["Show Axes"] and tf["Marker Scale"] >= 1


def test_labels_are_legible_where_the_view_looks() -> None:
    pixels_per_m = VIEW_PX / (2 * VIEWS[0]["Distance"] * np.tan(FIELD_OF_VIEW_RAD / 2))
    assert LABEL_M * pixels_per_m >= LEGIBLE_PX
    assert LABEL_M * VIEWS[1]["Scale"] >= LEGIBLE_PX - 2, "from above: Scale is in pixels a metre"


def test_names_are_unique_since_docks_go_by_them() -> None:
    names = [display["Name"] for display in DISPLAYS] + [panel["Name"] for panel in TREE["Panels"]]
    assert len(set(names)) == len(names)


def test_from_behind_and_from_above_the_vehicle_drives_up_the_screen() -> None:
    """An orbit's eye is at (cos yaw, sin yaw) from what it looks at; TopDownOrtho's up is y, turned by the angle."""
    behind, above = VIEWS
    assert (behind["Class"], above["Class"]) == tuple(VIEW_PROPERTIES)
    assert (np.cos(behind["Yaw"]), np.sin(behind["Yaw"])) == pytest.approx((-1.0, 0.0), abs=1e-3)
    assert 0.2 < behind["Pitch"] < 1.4
    assert (-np.sin(above["Angle"]), np.cos(above["Angle"])) == pytest.approx((1.0, 0.0), abs=1e-3)


@pytest.mark.parametrize("display", WITH_TOPIC, ids=ids)
def test_every_topic_is_published_here_in_the_type_and_quality_that_is_asked_for(
    display: dict[str, Any], shown: Shown
) -> None:
    """By the node, or by the player of a bag that this package wrote."""
    topic = display["Topic"]
    wanted = COMPRESSED if topic["Value"].endswith("/compressed") else IMAGE
    if display["Class"].endswith("MarkerArray"):
        wanted = "visualization_msgs/msg/MarkerArray"
    assert shown.types[topic["Value"]] == wanted
    offered = shown.qos[topic["Value"]]
    assert topic["Reliability Policy"] != "Reliable" or offered.reliability.name == "RELIABLE"
    assert topic["Durability Policy"] != "Transient Local" or offered.durability.name == "TRANSIENT_LOCAL"


def test_all_there_is_to_see_is_there(shown: Shown) -> None:
    """Of all that the node and the player publish, what RViz has a display for; one picture of all cameras is on."""
    found = {display["Topic"]["Value"]: display["Enabled"] for display in WITH_TOPIC}
    own = {topic: kind for topic, kind in shown.types.items() if not topic.startswith("/camera/")}
    seen = {topic for topic, kind in own.items() if kind in (IMAGE, COMPRESSED) or kind.endswith("/MarkerArray")}
    of_transformers = {"/detector/kept_tokens"}  # for whoever runs one, to be added by hand
    assert set(found) == seen - of_transformers
    cameras = {camera_topic(camera).replace("~", "/detector") for camera in CAMERAS}
    assert {topic for topic, on in found.items() if not on} == cameras
    assert found[MOSAIC_TOPIC.replace("~", "/detector")]
    assert {"rviz_default_plugins/TF", "rviz_default_plugins/Grid"} <= {display["Class"] for display in DISPLAYS}
    assert {"/tf", "/tf_static"} <= set(shown.types)


def test_detections_show_every_kind_of_marker() -> None:
    (detections,) = [display for display in DISPLAYS if display["Name"] == "Detections"]
    assert detections["Namespaces"] == dict.fromkeys(NAMESPACES, True)
