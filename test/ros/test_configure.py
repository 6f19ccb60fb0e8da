"""Configuring runs the network once, or fails in one line; cleaning up lets go of it."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from rclpy.context import Context
from rclpy.parameter import Parameter
from tiny_detector import TINY

from tggbc_ros.backends import load_network
from tggbc_ros.core.config import MODELS
from tggbc_ros.core.key_gate import KeyGate
from tggbc_ros.ros.detector_node import FAILURE, SUCCESS, DetectorNode
from tggbc_ros.ros.health.memory_use import give_back, memory_use_mb

Load = Callable[..., Any]


@pytest.fixture
def make_node(context: Context, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[Load], DetectorNode]]:
    monkeypatch.setitem(MODELS, TINY.name, TINY)
    nodes = []

    def make(load: Load) -> DetectorNode:
        nodes.append(DetectorNode(load, context=context, parameter_overrides=[Parameter("model", value="tiny")]))
        return nodes[-1]

    yield make
    for node in nodes:
        node.destroy_node()


def with_gate(cameras: int) -> Any:
    network = tiny()
    network.gate = KeyGate(TINY, cameras, 8).eval().requires_grad_(False)
    return network


def test_a_gate_of_another_rig_is_refused_before_a_frame_comes(
    make_node: Callable[[Load], DetectorNode], monkeypatch: pytest.MonkeyPatch
) -> None:
    lines: list[str] = []
    node = make_node(lambda *_: with_gate(5))
    monkeypatch.setattr(node.get_logger(), "fatal", lines.append)
    fewer = [Parameter("keep_ratio", value=0.2), Parameter("start_ratio", value=0.4)]
    assert node.trigger_configure() == SUCCESS, "a gate that nobody asks may be any rig's"
    refused = node.set_parameters_atomically(fewer)
    said = "parameter camera_names has 6 cameras, and the key gate was fitted on 5: fit one on this rig"
    assert not refused.successful and refused.reason.startswith(said)
    assert node.trigger_cleanup() == SUCCESS
    assert node.set_parameters_atomically(fewer).successful
    assert node.trigger_configure() == FAILURE
    (line,) = lines
    assert line.startswith(f"cannot configure: {said}")


def test_a_gate_of_this_rig_is_used_when_it_is_asked_for(make_node: Callable[[Load], DetectorNode]) -> None:
    node = make_node(lambda *_: with_gate(6))
    assert node.trigger_configure() == SUCCESS
    fewer = [Parameter("keep_ratio", value=0.2), Parameter("start_ratio", value=0.4)]
    assert node.set_parameters_atomically(fewer).successful


def test_fewer_tokens_are_refused_where_there_are_no_gates(
    make_node: Callable[[Load], DetectorNode], monkeypatch: pytest.MonkeyPatch
) -> None:
    """In one line, live and while it is configured; a rate that is none, always."""
    lines: list[str] = []
    node = make_node(tiny)
    monkeypatch.setattr(node.get_logger(), "fatal", lines.append)
    assert node.trigger_configure() == SUCCESS
    said = "token_rate is 0.5, expected 1.0: the network has no gates that could leave tokens out"
    for rate, reason in ((0.5, said), (0.0, "token_rate is 0.0, expected a number in (0, 1]")):
        refused = node.set_parameters_atomically([Parameter("token_rate", value=rate)])
        assert not refused.successful and refused.reason == reason
    assert node.trigger_cleanup() == SUCCESS
    assert node.set_parameters_atomically([Parameter("token_rate", value=0.5)]).successful
    assert node.trigger_configure() == FAILURE
    assert lines == [f"cannot configure: {said}"]


def tiny(*_: object) -> Any:
    return load_network("torch", TINY, None, "cpu", True)


def test_the_network_runs_once_and_remembers_nothing(make_node: Callable[[Load], DetectorNode]) -> None:
    network, decoded = tiny(), []
    real = network.decode
    network.decode = lambda *given: (decoded.append(given), real(*given))[1]
    node = make_node(lambda *_: network)
    assert node.trigger_configure() == SUCCESS
    assert len(decoded) == 1
    assert node._detector.past == ()
    assert node._detector.carried is None


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (torch.OutOfMemoryError("CUDA out of memory: 2 GiB"), "CUDA out of memory: 2 GiB"),
        (MemoryError(), "MemoryError"),
        (RuntimeError("first\n  second"), "first second"),
        (FloatingPointError("the network's class logits hold NaN"), "class logits hold NaN"),
    ],
)
def test_a_network_that_does_not_run_fails_the_transition_in_one_line(
    make_node: Callable[[Load], DetectorNode], monkeypatch: pytest.MonkeyPatch, error: Exception, said: str
) -> None:
    network, lines = tiny(), []
    real = network.decode

    def fail(*_: object) -> None:
        raise error

    network.decode = fail
    node = make_node(lambda *_: network)
    monkeypatch.setattr(node.get_logger(), "fatal", lines.append)
    assert node.trigger_configure() == FAILURE
    assert node.state == "unconfigured"
    (line,) = lines
    assert line.startswith("cannot configure: ") and said in line
    assert node._detector is None
    network.decode = real
    assert node.trigger_configure() == SUCCESS


def test_cleaning_up_frees_the_network(make_node: Callable[[Load], DetectorNode]) -> None:
    """After a frame line has been made of it, and without waiting for Python to look for cycles by itself."""
    held: list[weakref.ref[Any]] = []

    def load(*_: object) -> Any:
        network = tiny()
        held.append(weakref.ref(network))
        return network

    node = make_node(load)
    gc.disable()
    try:
        for _ in range(2):
            for transition in ("configure", "activate", "deactivate"):
                assert getattr(node, f"trigger_{transition}")() == SUCCESS
            assert held[-1]() is not None
            assert node.trigger_cleanup() == SUCCESS
            assert [network() for network in held] == [None] * len(held)
    finally:
        gc.enable()


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_memory_of_the_device_is_given_back() -> None:
    before = memory_use_mb("cuda:0")["cuda_reserved_mb"]
    held = torch.ones(50_000_000, device="cuda:0")
    assert memory_use_mb("cuda:0")["cuda_reserved_mb"] >= before + 190
    del held
    give_back()
    assert memory_use_mb("cuda:0")["cuda_reserved_mb"] <= before + 10
