"""params: what is accepted, what is refused and with which words, and what the core gets of it."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import numpy as np
import pytest
from rclpy.context import Context
from rclpy.exceptions import InvalidParameterTypeException, InvalidParameterValueException
from rclpy.node import Node
from rclpy.parameter import Parameter

from tggbc_ros.core.config import (
    CarryConfig,
    DecodeConfig,
    KeepConfig,
    MemoryConfig,
    PruningConfig,
    RaysConfig,
    StartConfig,
)
from tggbc_ros.ros import param_node
from tggbc_ros.ros.params import LIVE, Settings


@pytest.fixture
def nodes(context: Context) -> Iterator[object]:
    made: list[Node] = []

    def make(**overrides: object) -> Node:
        values = [Parameter(name, value=value) for name, value in overrides.items()]
        made.append(Node("params", context=context, parameter_overrides=values))
        return made[-1]

    yield make
    for node in made:
        node.destroy_node()


def test_defaults_are_the_cores_own() -> None:
    settings = Settings()
    assert settings.pruning() == PruningConfig()
    assert settings.memory() == MemoryConfig()
    assert settings.decode() == DecodeConfig()
    assert settings.rays() == RaysConfig()
    keep = {"keep_ratio", "keep_mode", "keep_mass", "min_keep_ratio", "max_keep_ratio"}
    budget = {"latency_budget_ms", "latency_budget_of"}
    prune = {"prune_schedule", "prune_layers", "prune_ratios", "prune_queries", "prune_reactivate"}
    others = {
        "carry_ratio",
        "carry_refresh",
        "start_ratio",
        "gate_explore",
        "token_rate",
        "score_threshold",
        "memory_interval_s",
        "pause_without_subscribers",
    }
    others |= {"allow_implausible_rig", "overlay_width", "overlay_kept_keys", "max_boxes"}
    others |= {"memory_max_gap_s", "memory_max_speed_mps", "memory_max_jump_m"}
    limits = {"stale_s", "min_rate_hz", "latency_warn_ms", "latency_error_ms"}
    assert keep | budget | prune | others | {f"diagnostics_{limit}" for limit in limits} == LIVE


def test_declared_values_reach_the_core(nodes) -> None:
    cameras = ["left", "right"]
    node = nodes(
        keep_ratio=0.3, prune_layers=2, prune_queries=-1, max_boxes=7, memory_max_gap_s=1.5, camera_names=cameras
    )
    settings = param_node.declare(node)
    assert settings.pruning() == PruningConfig(0.3, 2, -1)
    assert settings.decode() == DecodeConfig(max_boxes=7)
    assert settings.memory().max_gap_s == 1.5
    assert settings.camera_names == ("left", "right")
    assert param_node.read(node) == settings


def test_how_old_memory_should_be_reaches_the_core(nodes) -> None:
    assert param_node.declare(nodes(memory_interval_s=0.2)).memory() == MemoryConfig(interval_s=0.2)
    with pytest.raises(ValueError, match="interval_s is 3.0, expected in .* which is 2"):
        Settings(memory_interval_s=3.0)


def test_every_pruning_parameter_reaches_the_core(nodes) -> None:
    node = nodes(
        keep_ratio=0.2, prune_schedule="ratios", prune_ratios=[0.8, 0.5], prune_reactivate=True, keep_mode="budget",
        keep_mass=0.7, min_keep_ratio=0.15, max_keep_ratio=0.5, latency_budget_ms=33.0, latency_budget_of="frame",
        carry_ratio=0.6, carry_refresh=5, start_ratio=0.9, gate_explore=0.2, ray_tolerance_m=0.5,
    )  # fmt: skip
    settings = param_node.declare(node)
    keep = KeepConfig("budget", 0.7, 0.15, 0.5, 33.0, "frame")
    expected = PruningConfig(
        0.2,
        schedule="ratios",
        ratios=(0.8, 0.5),
        reactivate=True,
        keep=keep,
        carry=CarryConfig(0.6, 5),
        start=StartConfig(0.9, 0.2),
    )
    assert settings.pruning() == expected
    assert settings.rays() == RaysConfig(0.5)


def test_every_field_is_declared_with_type_and_description(nodes) -> None:
    node = nodes()
    assert param_node.declare(node) == Settings()
    for item in dataclasses.fields(Settings):
        descriptor = node.describe_parameter(item.name)
        assert descriptor.description
        assert descriptor.type != Parameter.Type.NOT_SET.value
        assert not descriptor.dynamic_typing


@pytest.mark.parametrize(
    ("name", "value", "error"),
    [
        ("keep_ratio", 2.0, InvalidParameterValueException),
        ("keep_ratio", 1, InvalidParameterTypeException),
        ("sync_capacity", 0, InvalidParameterValueException),
        ("camera_names", "CAM_FRONT", InvalidParameterTypeException),
        ("keep_ratio", 0.0, ValueError),
        ("model", "r18_100", ValueError),
    ],
)
def test_bad_values_at_the_start_name_the_parameter(nodes, name: str, value: object, error: type[Exception]) -> None:
    with pytest.raises(error, match=name):
        param_node.declare(nodes(**{name: value}))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"image_transport": "theora"}, "image_transport is 'theora', expected one of raw, compressed, auto"),
        ({"ego_pose_source": "gps"}, "expected one of tf, odom"),
        ({"max_spread_s": -0.1}, r"max_spread_s is -0.1, expected 0.0 to 1.0"),
        ({"max_spread_s": float("nan")}, "finite"),
        ({"memory_max_gap_s": 0.0}, "memory_max_gap_s is 0.0, expected 0.001 to"),
        ({"camera_names": ("a", "b", "a")}, "camera_names"),
        ({"camera_names": ("a", "")}, "one or more different names"),
        ({"camera_names": ()}, "one or more different names"),
        ({"backend": "caffe"}, "backend is 'caffe', expected one of torch"),
        ({"model": "demo", "prune_layers": 4}, "prune_layers is 4, expected 1 to 3, the number of decoder layers"),
        (
            {"model": "demo", "prune_schedule": "ratios", "prune_ratios": (0.9, 0.8, 0.7), "keep_ratio": 0.1},
            r"prune_ratios is \[0.9, 0.8, 0.7\], expected fewer shares than the 3 decoder layers",
        ),
        ({"prune_ratios": (0.5, 0.7)}, "prune_ratios is .*none larger than the one before"),
        ({"prune_schedule": "never"}, "prune_schedule is 'never', expected one of once, gradual, ratios"),
        ({"keep_mode": "auto"}, "keep_mode is 'auto', expected one of fixed, mass, budget"),
        ({"keep_mass": 0.0}, "keep_mass is 0.0"),
        ({"min_keep_ratio": 0.6, "max_keep_ratio": 0.5}, "max_keep_ratio is 0.5, expected at least min_keep_ratio"),
        ({"latency_budget_ms": 0.0}, "latency_budget_ms is 0.0, expected a positive number of milliseconds"),
        ({"latency_budget_of": "camera"}, "expected one of decoder, frame"),
        ({"carry_ratio": 0.5}, "keep_ratio is 1.0, expected less than carry_ratio, 0.5"),
        ({"start_ratio": 0.0}, r"start_ratio is 0.0, expected a number in \(0, 1\]"),
        ({"start_ratio": float("nan")}, "start_ratio is nan"),
        ({"start_ratio": 0.5}, "keep_ratio is 1.0, expected at most start_ratio, 0.5"),
        ({"start_ratio": 0.5, "keep_mode": "budget"}, "max_keep_ratio is 1.0, expected at most start_ratio, 0.5"),
        ({"start_ratio": 0.05, "keep_mode": "mass"}, "min_keep_ratio is 0.1, expected at most start_ratio, 0.05"),
        (
            {"start_ratio": 0.5, "keep_ratio": 0.2, "prune_schedule": "ratios", "prune_ratios": (0.7, 0.3)},
            r"prune_ratios is \[0.7, 0.3\], expected at most start_ratio, 0.5",
        ),
        ({"gate_explore": 0.0}, "gate_explore is 0.0, expected a number in"),
        ({"gate_explore": 1.0}, "gate_explore is 1.0, expected a number in"),
        ({"carry_ratio": 0.1, "keep_ratio": 0.05}, "carry_refresh is 8, expected more than 1 / carry_ratio, 10 frames"),
        ({"prune_reactivate": True}, "prune_reactivate is True, expected False where keys are trimmed only once"),
        ({"ray_tolerance_m": -0.1}, "ray_tolerance_m is -0.1"),
        ({"diagnostics_latency_warn_ms": 3e3}, "diagnostics_latency_error_ms is 2000.0, expected at least 3000.0"),
        ({"image_topic": "camera {camera}"}, "image_topic gives 'camera CAM_FRONT', expected a topic name"),
        ({"odometry_topic": "//odom"}, "odometry_topic gives '//odom', expected a topic name: .* repeated '/'"),
        ({"odometry_topic": "a/{word}"}, "odometry_topic gives 'a/{word}', expected .*: unknown substitution: {word}$"),
        ({"image_topic": "/camera/image"}, r"image_topic is '/camera/image', expected \{camera\} in it"),
        ({"lidar2base": (1.0, 2.0)}, "seven numbers"),
        ({"lidar2base": (0.0, 0.0, 0.0, 1.0, 1.0, 0.0, 0.0)}, "norm 1.41"),
        ({"lidar2base": (float("inf"), 0.0, 0.0, 0.0, 0.0, 0.0, 1.0)}, "finite"),
    ],
)
def test_bad_settings_say_what_was_expected(change: dict[str, object], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        Settings(**change)


def test_the_fewest_cameras_are_all_unless_told_otherwise() -> None:
    assert Settings().fewest_cameras == 6
    assert Settings(camera_names=("a", "b", "c")).fewest_cameras == 3
    assert Settings(min_cameras=4).fewest_cameras == 4


def test_fixed_mounting_is_a_matrix() -> None:
    assert Settings().fixed_lidar2base() is None
    half = float(np.sqrt(0.5))
    matrix = Settings(lidar2base=(0.9, 0.0, 1.8, 0.0, 0.0, -half, half)).fixed_lidar2base()
    np.testing.assert_allclose(matrix, [[0, 1, 0, 0.9], [-1, 0, 0, 0], [0, 0, 1, 1.8], [0, 0, 0, 1]], atol=1e-12)


def test_changes_leave_the_rest_and_pass_foreign_parameters() -> None:
    changes = [Parameter("keep_ratio", value=0.4), Parameter("use_sim_time", value=True)]
    assert param_node.with_changes(Settings(model="vov_800"), changes) == Settings(model="vov_800", keep_ratio=0.4)


def test_paths_are_taken_literally() -> None:
    assert str(Settings(checkpoint="~/$HOME/a b.pth").checkpoint_path()) == "~/$HOME/a b.pth"
    assert Settings().checkpoint_path() is None
