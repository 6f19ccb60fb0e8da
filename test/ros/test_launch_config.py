"""config/ and launch/: every parameter exists, launch files hold together."""

from __future__ import annotations

import importlib.util
import os
import runpy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import rclpy
import yaml
from rclpy.context import Context
from rclpy.node import Node

from tggbc_ros.ros import param_node
from tggbc_ros.ros.params import CAMERAS, NAMES, Settings

ROOT = Path(__file__).parents[2]
CONFIG = ROOT / "config"


def node_parameters(name: str) -> dict[str, Any]:
    content = yaml.safe_load((CONFIG / name).read_text(encoding="utf-8"))
    return content["/**/detector"]["ros__parameters"]


PROFILES = sorted(path.name for path in (CONFIG / "profiles").glob("*.yaml"))


@pytest.mark.parametrize("name", ["detector.yaml", *(f"profiles/{name}" for name in PROFILES)])
def test_every_key_is_a_parameter_and_every_value_valid(name: str) -> None:
    values = {key: tuple(v) if isinstance(v, list) else v for key, v in node_parameters(name).items()}
    assert set(values) <= NAMES
    assert Settings(**values) is not None


@pytest.mark.parametrize("namespace", ["", "/car_7"])
def test_the_files_reach_the_node_in_any_namespace(domain_id: int, namespace: str) -> None:
    context = Context()
    files = [
        argument
        for name in ("detector", "profiles/nuscenes")
        for argument in ("--params-file", str(CONFIG / f"{name}.yaml"))
    ]
    rclpy.init(args=["--ros-args", *files], context=context, domain_id=domain_id)
    node = Node("detector", namespace=namespace, context=context)
    settings = param_node.declare(node)
    assert settings.camera_names == CAMERAS
    assert settings.score_threshold == node_parameters("detector.yaml")["score_threshold"]
    assert settings.lidar2base == tuple(node_parameters("profiles/nuscenes.yaml")["lidar2base"])
    node.destroy_node()
    context.try_shutdown()


def test_every_bag_family_has_a_profile_that_differs_from_our_own() -> None:
    profiles = [node_parameters(f"profiles/{name}") for name in PROFILES]
    topics = {profile["image_topic"].replace("{camera}", profile["camera_names"][0]) for profile in profiles}
    assert len(topics) == len(profiles) == 6


needs_launch = pytest.mark.skipif(
    importlib.util.find_spec("launch_ros") is None, reason="launch_ros comes with a ROS 2 installation only"
)


@pytest.fixture
def detect() -> Iterator[dict[str, Any]]:
    yield runpy.run_path(str(ROOT / "launch" / "detect.launch.py"))


@needs_launch
def test_launch_arguments_are_parameters_of_that_type(detect: dict[str, Any]) -> None:
    for name, (kind, _) in detect["PARAMETERS"].items():
        assert isinstance(getattr(Settings(), name), kind)


@pytest.fixture
def logs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Launch's folder for what it writes."""
    from launch.logging import launch_config

    folder = tmp_path / "logs"
    monkeypatch.setenv("ROS_LOG_DIR", str(folder))
    launch_config.reset()
    return folder


def set_up(detect: dict[str, Any], **given: str) -> dict[str, Any]:
    """The launch file's processes by the program's name, with these arguments."""
    from launch_ros.actions import Node as NodeAction

    from launch import LaunchContext

    context = LaunchContext()
    for argument in detect["arguments"]():
        argument.execute(context)
    context.launch_configurations.update(given)
    nodes = [action for action in detect["set_up"](context) if isinstance(action, NodeAction)]
    return {action.node_executable: action for action in nodes}


def command(node: Any) -> list[str]:
    """A process's command line, from its program's arguments on, as far as it is plain text."""
    return [getattr(part[0], "text", "") for part in node.cmd[1:]]


def empty_bag(folder: Path) -> str:
    """What looks like a bag as long as nobody opens it."""
    folder.mkdir()
    (folder / "one.mcap").touch()
    return str(folder)


@needs_launch
def test_launch_starts_player_and_rviz_only_when_asked(detect: dict[str, Any], logs: Path, tmp_path: Path) -> None:
    assert list(set_up(detect)) == ["detector_node"]
    bag = empty_bag(tmp_path / "bag")
    assert list(set_up(detect, rviz="true", bag=bag)) == ["rviz2", "bag_player", "detector_node"]


@needs_launch
def test_the_player_waits_for_the_detector_and_in_lockstep_for_its_reports(
    detect: dict[str, Any], tmp_path: Path
) -> None:
    bag = empty_bag(tmp_path / "bag")
    plain = command(set_up(detect, bag=bag)["bag_player"])
    assert plain[:2] == [bag, "--wait-for-images"]
    assert "--lockstep" not in plain
    stepped = command(set_up(detect, bag=bag, lockstep="true", namespace="car_7", loop="true")["bag_player"])
    assert stepped[stepped.index("--lockstep") + 1] == "/car_7/detector/report"
    assert "--loop" in stepped


@needs_launch
@pytest.mark.parametrize("namespace", ["", "car_7", "/fleet/car_7"])
def test_rviz_gets_a_copy_that_it_may_write_to(detect: dict[str, Any], logs: Path, namespace: str) -> None:
    """Closing it would else offer to overwrite the installed file. The copy knows the node's namespace."""
    option, path = command(set_up(detect, rviz="true", namespace=namespace)["rviz2"])[:2]
    assert option == "-d"
    assert Path(path).is_relative_to(logs)
    own = (CONFIG / "detector.rviz").read_text(encoding="utf-8")
    node = "/".join(["", *filter(None, namespace.split("/")), "detector"])
    assert f"Value: {node}/markers" in Path(path).read_text(encoding="utf-8")
    assert Path(path).read_text(encoding="utf-8").replace(f"{node}/", "/detector/") == own


@needs_launch
def test_rviz_takes_the_file_that_is_asked_for(detect: dict[str, Any], tmp_path: Path) -> None:
    own = tmp_path / "own.rviz"
    own.touch()
    assert command(set_up(detect, rviz="true", rviz_config=str(own))["rviz2"])[:2] == ["-d", str(own)]


UNUSABLE = {
    "bag that is not there": ({"bag": "{tmp}/none"}, "bag is '{tmp}/none', expected a rosbag2"),
    "folder without a bag": ({"bag": "{tmp}"}, "bag is '{tmp}', expected a rosbag2"),
    "bag of ROS 1": ({"bag": "{tmp}/one.bag"}, "bag is '{tmp}/one.bag', expected a rosbag2"),
    "profile that is a folder": ({"profile": "{tmp}"}, "profile is '{tmp}', expected a file or one of"),
    "profile without a name": ({"profile": ""}, "profile is '', expected a file or one of"),
    "profile that is no YAML": ({"profile": "{tmp}/broken.yaml"}, "profile {tmp}/broken.yaml cannot be read: while"),
    "profile that is no text": ({"profile": "{tmp}/one.bag"}, "profile {tmp}/one.bag cannot be read: 'utf-8' codec"),
    "profile that is a list": ({"profile": "{tmp}/list.yaml"}, "profile {tmp}/list.yaml holds list, expected"),
    "file of RViz": ({"rviz": "true", "rviz_config": "{tmp}/none"}, "rviz_config is '{tmp}/none', expected a file"),
}


@needs_launch
@pytest.mark.parametrize(("given", "message"), UNUSABLE.values(), ids=UNUSABLE)
def test_what_cannot_be_read_is_named_before_a_process_starts(
    detect: dict[str, Any], tmp_path: Path, given: dict[str, str], message: str
) -> None:
    (tmp_path / "one.bag").write_bytes(b"#ROSBAG V2.0\n\xff\xfe")
    (tmp_path / "broken.yaml").write_text("a: [1\n", encoding="utf-8")
    (tmp_path / "list.yaml").write_text("[1, 2]\n", encoding="utf-8")
    with pytest.raises((FileNotFoundError, ValueError)) as caught:
        set_up(detect, **{name: value.format(tmp=tmp_path) for name, value in given.items()})
    assert str(caught.value).startswith(message.format(tmp=tmp_path))
    assert "\n" not in str(caught.value)


@needs_launch
def test_raw_images_have_room_unless_fast_dds_is_set_up_otherwise(
    detect: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    from launch import LaunchContext

    first, second = detect["FAST_DDS_SETTINGS"]
    monkeypatch.setenv(first, "theirs.xml")
    monkeypatch.setenv(second, "")
    monkeypatch.delenv(second)
    for action in detect["large_messages"]():
        action.execute(LaunchContext())
    assert os.environ[first] == "theirs.xml"
    # Installed it is a link to our file, or a copy of it.
    assert Path(os.environ[second]).read_bytes() == (CONFIG / "fastdds.xml").read_bytes()


@needs_launch
def test_an_unknown_profile_is_named(detect: dict[str, Any]) -> None:
    assert detect["profile_file"]("nuscenes").endswith("profiles/nuscenes.yaml")
    with pytest.raises(FileNotFoundError, match="lunar.*nuscenes_to_ros2bag"):
        detect["profile_file"]("lunar")


@needs_launch
def test_a_profile_may_be_a_file_anywhere(detect: dict[str, Any], tmp_path: Path) -> None:
    own = tmp_path / "own.yaml"
    own.touch()
    assert detect["profile_file"](str(own)) == str(own)
    assert detect["profiles"]() == [name.removesuffix(".yaml") for name in PROFILES]
