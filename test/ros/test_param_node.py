"""Parameters as clients see them that know no types: all have values, a dump can be loaded, empty lists are lists."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from rcl_interfaces.msg import Parameter as ParameterMessage
from rcl_interfaces.msg import ParameterDescriptor, ParameterValue, SetParametersResult
from rclpy.context import Context
from rclpy.exceptions import InvalidParameterTypeException, ParameterNotDeclaredException
from rclpy.node import Node
from rclpy.parameter import (
    Parameter,
    get_parameter_value,
    parameter_dict_from_yaml_file,
    parameter_value_to_python,
)
from rclpy.parameter_client import AsyncParameterClient
from synthetic_rig import SyntheticRig, detector_process
from tiny_detector import TINY

from tggbc_ros.backends import load_network
from tggbc_ros.core.config import MODELS
from tggbc_ros.ros import param_node
from tggbc_ros.ros.detector_node import SUCCESS, DetectorNode
from tggbc_ros.ros.params import NAMES, Settings


@pytest.fixture(scope="module")
def active(context: Context) -> Iterator[DetectorNode]:
    """A node that is active and has no camera; with a parameter that is read-only, as QoS overrides are."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(MODELS, TINY.name, TINY)
        values = [Parameter("model", value="tiny"), Parameter("global_frame", value="7")]
        node = DetectorNode(
            lambda *_: load_network("torch", TINY, None, "cpu", True), context=context, parameter_overrides=values
        )
        read_only = ParameterDescriptor(read_only=True)
        node.declare_parameter("qos_overrides./clock.subscription.depth", 10, read_only)
        assert node.trigger_configure() == node.trigger_activate() == SUCCESS
        yield node
        node.destroy_node()


def dump(values: dict[str, ParameterValue], path: Path) -> Path:
    """All values as a parameter file, nested at the dots as ros2 param dump nests them."""
    content: dict[str, Any] = {}
    for name, value in values.items():
        *above, last = name.split(".")
        inner = content
        for part in above:
            inner = inner.setdefault(part, {})
        inner[last] = parameter_value_to_python(value)
    path.write_text(yaml.dump({"/detector": {"ros__parameters": content}}), encoding="utf-8")
    return path


def all_values(node: Node) -> dict[str, ParameterValue]:
    names = node.list_parameters([], 0).names
    return {parameter.name: parameter.get_parameter_value() for parameter in node.get_parameters(names)}


def set_by_text(node: DetectorNode, name: str, text: str) -> SetParametersResult:
    """As ros2 param set does: the type is guessed from the text alone."""
    message = ParameterMessage(name=name, value=get_parameter_value(text))
    return node.set_parameters_atomically([Parameter.from_parameter_msg(message)])


def test_every_parameter_has_a_value_from_the_start(active: DetectorNode) -> None:
    values = all_values(active)
    assert values.keys() >= NAMES | {"use_sim_time"}
    assert all(value.type for value in values.values())


def test_a_dump_is_loaded_into_the_active_node_without_a_change(active: DetectorNode, tmp_path: Path) -> None:
    """Numbers that the loader takes for texts, texts that it takes for numbers, and what cannot change any more."""
    set_by_text(active, "score_threshold", "1.0e-05")
    before = all_values(active)
    settings = active.settings
    messages = parameter_dict_from_yaml_file(str(dump(before, tmp_path / "dump.yaml"))).values()
    given = [Parameter.from_parameter_msg(message) for message in messages]
    assert {parameter.name for parameter in given} == before.keys()
    for parameter in given:
        assert active.set_parameters_atomically([parameter]).successful, parameter.name
    assert active.set_parameters_atomically(given).successful
    assert all_values(active) == before
    assert active.settings is settings


def test_what_changes_is_refused_among_what_does_not(active: DetectorNode) -> None:
    given = [Parameter("sync_capacity", value=8), Parameter("model", value="demo"), Parameter("backend", value="torch")]
    result = active.set_parameters_atomically(given)
    assert not result.successful
    assert result.reason.startswith("model can only change while the node is unconfigured")


@pytest.mark.parametrize(
    ("text", "expected"),
    [("[]", ()), ("[0.5]", (0.5,)), ("[]", ()), ("[]", ()), ("[1, 0.5]", (1.0, 0.5)), ("[1, 1]", (1.0, 1.0))],
)
def test_lists_are_set_by_their_text(active: DetectorNode, text: str, expected: tuple[float, ...]) -> None:
    assert set_by_text(active, "prune_ratios", text).successful
    assert active.settings.prune_ratios == expected
    value = active.get_parameter("prune_ratios").get_parameter_value()
    assert (value.type, tuple(value.double_array_value)) == (Parameter.Type.DOUBLE_ARRAY.value, expected)


@pytest.mark.parametrize(
    ("name", "text", "reason"),
    [
        ("prune_ratios", "[a, 0.5]", "DOUBLE_ARRAY"),
        ("prune_ratios", "[true]", "DOUBLE_ARRAY"),
        ("prune_ratios", "[1", "DOUBLE_ARRAY"),
        ("keep_ratio", "[]", "DOUBLE"),
        ("camera_names", "[]", "unconfigured"),
        ("score_threshold", "low", "DOUBLE"),
    ],
)
def test_texts_of_another_meaning_are_refused(active: DetectorNode, name: str, text: str, reason: str) -> None:
    before = active.get_parameter(name).value
    result = set_by_text(active, name, text)
    assert not result.successful and reason in result.reason
    assert active.get_parameter(name).value == before


def test_a_number_with_an_exponent_is_a_number(active: DetectorNode) -> None:
    assert set_by_text(active, "score_threshold", "1e-3").successful
    assert active.settings.score_threshold == 0.001
    assert set_by_text(active, "score_threshold", "0.0").successful


def test_a_name_that_is_not_there_is_told(active: DetectorNode) -> None:
    with pytest.raises(ParameterNotDeclaredException, match="nonsense"):
        set_by_text(active, "nonsense", "1")


def start(context: Context, path: Path, content: dict[str, object]) -> tuple[Node, Settings]:
    """A node of the parameters that a file gives, read by rcl."""
    path.write_text(yaml.dump({"/**": {"ros__parameters": content}}), encoding="utf-8")
    node = Node("started", context=context, cli_args=["--ros-args", "--params-file", str(path)])
    try:
        return node, param_node.declare(node)
    finally:
        node.destroy_node()


def test_empty_lists_of_a_file_are_empty_lists(context: Context, tmp_path: Path) -> None:
    node, settings = start(context, tmp_path / "p.yaml", {"prune_ratios": [], "lidar2base": []})
    assert settings == Settings()
    assert node.get_parameter("lidar2base").type_ == Parameter.Type.DOUBLE_ARRAY


@pytest.mark.parametrize(
    ("content", "error", "words"),
    [
        ({"camera_names": []}, ValueError, "camera_names is .*expected one or more different names"),
        ({"keep_ratio": []}, ValueError, r"keep_ratio is \[\], expected a value of type DOUBLE"),
        ({"lidar2base": [1, 0, 1, 0, 0, 0, 1]}, InvalidParameterTypeException, "lidar2base"),
    ],
)
def test_lists_of_a_file_that_mean_nothing_are_refused(
    context: Context, tmp_path: Path, content: dict[str, object], error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        start(context, tmp_path / "p.yaml", content)


@pytest.mark.timeout(120)
def test_over_the_services_of_a_node_on_simulated_time(context: Context, domain_id: int, tmp_path: Path) -> None:
    rig = SyntheticRig(context)
    client = AsyncParameterClient(rig, "detector")
    with detector_process(domain_id, use_sim_time=True):
        rig.wait_for_detector()
        listed, described = client.list_parameters(), client.describe_parameters(sorted(NAMES))
        assert rig.spin_until(listed.done) and rig.spin_until(described.done)
        assert len(described.result().descriptors) == len(NAMES)
        names = listed.result().result.names
        assert {"use_sim_time", *NAMES} <= set(names)
        got = client.get_parameters(names)
        assert rig.spin_until(got.done)
        values = dict(zip(names, got.result().values, strict=True))
        loaded = client.load_parameter_file(str(dump(values, tmp_path / "dump.yaml")))
        assert rig.spin_until(loaded.done)
        assert [result.reason for result in loaded.result().results] == [""] * len(names)
    rig.destroy_node()
