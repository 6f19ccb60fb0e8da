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


@needs_launch
def test_launch_starts_player_and_rviz_only_when_asked(detect: dict[str, Any]) -> None:
    from launch_ros.actions import Node as NodeAction

    from launch import LaunchContext

    context = LaunchContext()
    for argument in detect["arguments"]():
        argument.execute(context)
    plain = [action for action in detect["set_up"](context) if isinstance(action, NodeAction)]
    context.launch_configurations.update(rviz="true", bag="some_bag")
    full = [action for action in detect["set_up"](context) if isinstance(action, NodeAction)]
    assert [action.node_executable for action in plain] == ["detector_node"]
    assert [action.node_executable for action in full] == ["detector_node", "rviz2"]


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
    assert Path(os.environ[second]).samefile(CONFIG / "fastdds.xml")


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
