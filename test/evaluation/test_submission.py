"""submission: boxes reach the global frame whole, attributes follow class and speed, bad numbers are refused."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest

from tggbc_ros.core.config import CLASS_NAMES
from tggbc_ros.core.geometry import rigid, rotation_from_quaternion, yaw_rotation
from tggbc_ros.core.types import Boxes3D
from tggbc_ros.evaluation.passes import Detections
from tggbc_ros.evaluation.submission import attribute_name, sample_entries, write_submission

ROLL = np.array([[1.0, 0.0, 0.0], [0.0, np.cos(0.1), -np.sin(0.1)], [0.0, np.sin(0.1), np.cos(0.1)]])
BOXES = Boxes3D(
    center=np.array([[10.0, 2.0, 0.5], [-4.0, 5.0, 1.0]]),
    size=np.array([[4.5, 1.9, 1.6], [0.6, 0.7, 1.8]]),
    yaw=np.array([0.5, -2.0]),
    velocity=np.array([[3.0, -1.0], [0.1, 0.0]]),
    score=np.array([0.9, 0.25]),
    label=np.array([0, 8]),
    query=np.array([7, 8]),
)
FRAME2GLOBAL = rigid(yaw_rotation(1.2) @ ROLL, [400.0, 900.0, 2.0])


def test_entries_hold_the_whole_rotation() -> None:
    first, second = sample_entries("token", Detections(BOXES, FRAME2GLOBAL), CLASS_NAMES)
    np.testing.assert_allclose(first["translation"], FRAME2GLOBAL[:3] @ [10.0, 2.0, 0.5, 1.0])
    assert first["size"] == [1.9, 4.5, 1.6]
    w, x, y, z = first["rotation"]
    expected = yaw_rotation(1.2) @ ROLL @ yaw_rotation(0.5)
    np.testing.assert_allclose(rotation_from_quaternion(x, y, z, w), expected, atol=1e-12)
    np.testing.assert_allclose(first["velocity"], (yaw_rotation(1.2) @ ROLL @ [3.0, -1.0, 0.0])[:2])
    assert (first["detection_name"], first["attribute_name"]) == ("car", "vehicle.moving")
    assert first["detection_score"] == 0.9
    assert (second["detection_name"], second["attribute_name"]) == ("pedestrian", "pedestrian.standing")
    assert {entry["sample_token"] for entry in (first, second)} == {"token"}


@pytest.mark.parametrize(
    ("name", "speed_mps", "attribute"),
    [
        ("car", 0.21, "vehicle.moving"),
        ("car", 0.2, "vehicle.parked"),
        ("trailer", 0.0, "vehicle.parked"),
        ("bus", 0.0, "vehicle.stopped"),
        ("bus", 5.0, "vehicle.moving"),
        ("pedestrian", 1.0, "pedestrian.moving"),
        ("pedestrian", 0.0, "pedestrian.standing"),
        ("bicycle", 3.0, "cycle.with_rider"),
        ("motorcycle", 0.0, "cycle.without_rider"),
        ("barrier", 3.0, ""),
        ("traffic_cone", 0.0, ""),
    ],
)
def test_attribute_follows_class_and_speed(name: str, speed_mps: float, attribute: str) -> None:
    assert attribute_name(name, speed_mps) == attribute


def test_samples_without_boxes_are_in_the_file(tmp_path: Path) -> None:
    path = tmp_path / "new" / "submission.json"
    found = {"b": Detections(BOXES, FRAME2GLOBAL)}
    assert write_submission(path, ["a", "b", "c"], found, CLASS_NAMES) == 2
    content = json.loads(path.read_text())
    assert {token: len(entries) for token, entries in content["results"].items()} == {"a": 0, "b": 2, "c": 0}
    used = {"use_camera": True, "use_lidar": False, "use_radar": False, "use_map": False, "use_external": False}
    assert content["meta"] == used


@pytest.mark.parametrize(
    ("field", "value"),
    [("center", np.nan), ("size", 0.0), ("size", -1.0), ("yaw", np.inf), ("velocity", np.nan), ("score", np.nan)],
)
def test_bad_numbers_are_named(field: str, value: float) -> None:
    broken = getattr(BOXES, field).copy()
    broken[1] = value
    with pytest.raises(ValueError, match=r"box 1 of sample bad holds .*: not finite or without size"):
        sample_entries("bad", Detections(dataclasses.replace(BOXES, **{field: broken}), FRAME2GLOBAL), CLASS_NAMES)


def test_more_boxes_than_allowed_are_refused() -> None:
    many = BOXES[np.zeros(501, dtype=np.int64)]
    with pytest.raises(ValueError, match="sample full has 501 boxes, the task allows 500"):
        sample_entries("full", Detections(many, FRAME2GLOBAL), CLASS_NAMES)
