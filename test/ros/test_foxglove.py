"""config/foxglove.json: topics that somebody here publishes, in types that Foxglove's panels draw.

Panel and setting names are those of layouts that Foxglove Studio's open-source line reads. The application itself does
not run here.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rclpy.context import Context
from shown_topics import Shown, shown_topics
from tggbc_ros.msg import FrameReport

from tggbc_ros.ros.output.overlay_topics import MOSAIC_TOPIC
from tggbc_ros.ros.params import Settings

LAYOUT = json.loads((Path(__file__).parents[2] / "config" / "foxglove.json").read_text(encoding="utf-8"))
PANELS: dict[str, dict[str, Any]] = LAYOUT["configById"]
SETTINGS = {
    "3D": {
        "cameraState", "followMode", "followTf", "scene", "transforms", "topics", "layers", "publish", "imageMode",
    },
    "Plot": {
        "title", "paths", "showLegend", "legendDisplay", "showPlotValuesInLegend", "isSynced", "xAxisVal",
        "showXAxisLabels", "showYAxisLabels",
    },
    "DiagnosticSummary": {"minLevel", "pinnedIds", "hardwareIdFilter", "topicToRender", "sortByLevel"},
}  # fmt: skip
SETTINGS["Image"] = SETTINGS["3D"]
DRAWN = {
    "3D": {"visualization_msgs/msg/MarkerArray", "visualization_msgs/msg/Marker"},
    "Image": {"sensor_msgs/msg/Image", "sensor_msgs/msg/CompressedImage"},
    "Plot": {"tggbc_ros/msg/FrameReport"},
    "DiagnosticSummary": {"diagnostic_msgs/msg/DiagnosticArray"},
}


def kind(panel: str) -> str:
    return panel.split("!")[0]


def panels_of(kind_: str) -> list[dict[str, Any]]:
    return [settings for panel, settings in PANELS.items() if kind(panel) == kind_]


def topics(panel: str) -> list[str]:
    """What a panel subscribes to."""
    settings = PANELS[panel]
    return {
        "3D": lambda: list(settings["topics"]),
        "Image": lambda: [settings["imageMode"]["imageTopic"]],
        "Plot": lambda: [path["value"].split(".")[0] for path in settings["paths"]],
        "DiagnosticSummary": lambda: [settings["topicToRender"]],
    }[kind(panel)]()


def leaves(layout: Any) -> list[str]:
    if isinstance(layout, str):
        return [layout]
    assert set(layout) == {"direction", "splitPercentage", "first", "second"}
    assert layout["direction"] in ("row", "column")
    return leaves(layout["first"]) + leaves(layout["second"])


@pytest.fixture(scope="module")
def shown(context: Context, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shown]:
    with shown_topics(context, tmp_path_factory.mktemp("shown")) as shown:
        yield shown


@pytest.mark.parametrize("panel", PANELS)
def test_every_topic_is_published_here_in_a_type_that_the_panel_draws(panel: str, shown: Shown) -> None:
    assert topics(panel)
    for topic in topics(panel):
        assert shown.types[topic] in DRAWN[kind(panel)]


@pytest.mark.parametrize("panel", PANELS)
def test_panels_have_settings_of_their_kind_only(panel: str) -> None:
    assert set(PANELS[panel]) <= SETTINGS[kind(panel)]


def test_the_layout_places_every_panel_once() -> None:
    assert sorted(leaves(LAYOUT["layout"])) == sorted(PANELS)


def test_pictures_markers_and_ground_truth_are_there() -> None:
    pictures = {settings["imageMode"]["imageTopic"] for settings in panels_of("Image")}
    assert pictures == {MOSAIC_TOPIC.replace("~", "/detector"), "/detector/kept_keys"}
    for scene in panels_of("3D"):
        assert set(scene["topics"]) == {"/detector/markers", "/ground_truth/markers"}
        assert scene["followTf"] == Settings().base_frame


def test_plotted_fields_are_numbers_of_the_report() -> None:
    fields = FrameReport.get_fields_and_field_types()
    for settings in panels_of("Plot"):
        for path in settings["paths"]:
            assert fields[path["value"].split(".")[1]] == "float"


def test_from_behind_and_from_above_the_vehicle_drives_up_the_screen() -> None:
    """The eye is at -(sin theta, cos theta) from what it looks at; seen from above, up is (sin theta, cos theta)."""
    behind, above = (scene["cameraState"] for scene in panels_of("3D"))
    assert behind["perspective"] and 30 < behind["phi"] < 85
    assert not above["perspective"] and above["phi"] == 0
    for state in (behind, above):
        theta_rad = np.deg2rad(state["thetaOffset"])
        assert (np.sin(theta_rad), np.cos(theta_rad)) == pytest.approx((1.0, 0.0), abs=1e-6)
