"""Rigid transforms and boxes, against closed forms."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tggbc_ros.core import geometry
from tggbc_ros.core.types import Boxes3D

angle = st.floats(-3.1, 3.1)
metre = st.floats(-1e4, 1e4)


def make_boxes(center: list[float], size: list[float], yaw: float, velocity: list[float]) -> Boxes3D:
    one = np.array
    return Boxes3D(one([center]), one([size]), one([yaw]), one([velocity]), one([0.5]), one([3]), one([7]))


def euler(roll: float, pitch: float, yaw: float) -> np.ndarray:
    turn_x = np.array([[1, 0, 0], [0, np.cos(roll), -np.sin(roll)], [0, np.sin(roll), np.cos(roll)]])
    turn_y = np.array([[np.cos(pitch), 0, np.sin(pitch)], [0, 1, 0], [-np.sin(pitch), 0, np.cos(pitch)]])
    return geometry.yaw_rotation(yaw) @ turn_y @ turn_x


@given(angle, angle, angle, metre, metre, metre)
def test_inverse_undoes(roll: float, pitch: float, yaw: float, x: float, y: float, z: float) -> None:
    a2b = geometry.rigid(euler(roll, pitch, yaw), [x, y, z])
    np.testing.assert_allclose(geometry.invert_rigid(a2b) @ a2b, np.eye(4), atol=1e-8)


@given(angle, angle, angle)
def test_quaternions_round_trip(roll: float, pitch: float, yaw: float) -> None:
    rotation = euler(roll, pitch, yaw)
    x, y, z, w = geometry.quaternion_from_rotation(rotation)
    assert w >= 0
    np.testing.assert_allclose(geometry.rotation_from_quaternion(x, y, z, w), rotation, atol=1e-12)


def test_quaternion_of_a_quarter_turn() -> None:
    half = np.sqrt(0.5)
    np.testing.assert_allclose(geometry.rotation_from_quaternion(0, 0, half, half) @ [1, 0, 0], [0, 1, 0], atol=1e-12)


@pytest.mark.parametrize("quaternion", [(0, 0, 0, 0), (0, 0, 0, 2), (np.nan, 0, 0, 1)])
def test_a_quaternion_that_is_no_rotation_is_refused(quaternion: tuple[float, ...]) -> None:
    with pytest.raises(ValueError, match="norm .*expected 1"):
        geometry.rotation_from_quaternion(*quaternion)


def test_boxes_from_lidar_to_base_link() -> None:
    """Lidar x right, y forward -> base x forward, y left, mounted 1 m ahead and 2 m up: a turn by -90 degrees."""
    lidar2base = geometry.rigid(geometry.yaw_rotation(-np.pi / 2), [1.0, 0.0, 2.0])
    boxes = make_boxes([3.0, 10.0, -1.0], [4.5, 1.9, 1.6], np.pi / 2, [0.5, 8.0])  # ahead, to the right, driving on
    moved = geometry.transform_boxes(lidar2base, boxes)
    np.testing.assert_allclose(moved.center, [[11.0, -3.0, 1.0]], atol=1e-12)
    np.testing.assert_allclose(moved.velocity, [[8.0, -0.5]], atol=1e-12)
    np.testing.assert_allclose(moved.yaw, [0.0], atol=1e-12)
    np.testing.assert_array_equal(moved.size, boxes.size)
    assert (moved.score[0], moved.label[0], moved.query[0]) == (0.5, 3, 7)


@given(angle, st.floats(0.1, 20), st.floats(0.1, 20), st.floats(0.1, 20))
def test_corners_span_the_box(yaw: float, length: float, width: float, height: float) -> None:
    boxes = make_boxes([1.0, 2.0, 3.0], [length, width, height], yaw, [0.0, 0.0])
    corners = geometry.box_corners(boxes)[0]
    np.testing.assert_allclose(corners.mean(0), [1, 2, 3], atol=1e-9)
    local = (corners - [1, 2, 3]) @ geometry.yaw_rotation(yaw)
    np.testing.assert_allclose(np.ptp(local, axis=0), [length, width, height], rtol=1e-9)
    np.testing.assert_allclose(local[0], [length / 2, width / 2, -height / 2], rtol=1e-9, atol=1e-9)
