"""transform_buffer: chains, interpolation and refusals, each against a matrix worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest
from rclpy.time import Time
from synthetic_rig import transform

from tggbc_ros.core.geometry import invert_rigid, rigid, yaw_rotation
from tggbc_ros.ros.poses.ego_pose import matrix_of
from tggbc_ros.ros.poses.transform_buffer import TransformBuffer, TransformException

SECOND = 1_000_000_000


def lookup(buffer: TransformBuffer, target: str, source: str, stamp_ns: int = 0) -> np.ndarray:
    return matrix_of(buffer.lookup_transform(target, source, Time(nanoseconds=stamp_ns)).transform)


@pytest.fixture
def buffer() -> TransformBuffer:
    """map -> base turns from 170 to 190 degrees (through 180, not back through 0) while it moves 10 m."""
    buffer = TransformBuffer(cache_s=10.0)
    for second, yaw, x in ((1, 170.0, 0.0), (2, 190.0, 10.0)):
        matrix = rigid(yaw_rotation(np.deg2rad(yaw)), [x, 1.0, 0.0])
        buffer.set_transform(transform(matrix, "map", "base", second * SECOND), "test")
    buffer.set_transform_static(transform(rigid(np.eye(3), [1.0, 0.0, 2.0]), "base", "lidar"), "test")
    buffer.set_transform_static(transform(rigid(yaw_rotation(np.pi / 2), [0.0, 3.0, 0.0]), "base", "camera"), "test")
    return buffer


def test_interpolates_along_the_shortest_arc(buffer: TransformBuffer) -> None:
    expected = rigid(yaw_rotation(np.deg2rad(175.0)), [2.5, 1.0, 0.0])
    np.testing.assert_allclose(lookup(buffer, "map", "base", SECOND * 5 // 4), expected, atol=1e-12)


def test_chains_up_and_down_through_the_common_ancestor(buffer: TransformBuffer) -> None:
    expected = rigid(yaw_rotation(-np.pi / 2), [-3.0, -1.0, 2.0])
    np.testing.assert_allclose(lookup(buffer, "camera", "lidar"), expected, atol=1e-12)
    # Any time will do: the way from lidar to camera does not pass through the map.
    np.testing.assert_allclose(lookup(buffer, "camera", "lidar", 99 * SECOND), expected, atol=1e-12)
    forth, back = lookup(buffer, "map", "camera", SECOND), lookup(buffer, "camera", "map", SECOND)
    np.testing.assert_allclose(forth, invert_rigid(back), atol=1e-12)
    np.testing.assert_allclose(lookup(buffer, "lidar", "lidar"), np.eye(4), atol=0)


def test_time_zero_is_the_latest(buffer: TransformBuffer) -> None:
    message = buffer.lookup_transform("map", "lidar", Time())
    assert (message.header.stamp.sec, message.header.frame_id, message.child_frame_id) == (2, "map", "lidar")
    np.testing.assert_allclose(lookup(buffer, "map", "base"), lookup(buffer, "map", "base", 2 * SECOND), atol=0)


@pytest.mark.parametrize("stamp_ns", [SECOND - 1, 2 * SECOND + 1])
def test_never_extrapolates(buffer: TransformBuffer, stamp_ns: int) -> None:
    assert not buffer.can_transform("map", "base", Time(nanoseconds=stamp_ns))
    with pytest.raises(TransformException, match="extrapolation"):
        lookup(buffer, "map", "lidar", stamp_ns)


def test_nanoseconds_of_today_stay_apart() -> None:
    buffer, start_ns = TransformBuffer(), 1_600_000_000_000_000_000
    buffer.set_transform(transform(rigid(np.eye(3), [0.0, 0.0, 0.0]), "map", "base", start_ns), "test")
    buffer.set_transform(transform(rigid(np.eye(3), [100.0, 0.0, 0.0]), "map", "base", start_ns + 100), "test")
    assert lookup(buffer, "map", "base", start_ns + 37)[0, 3] == pytest.approx(37.0, abs=1e-9)


def test_unknown_frames_and_two_trees_are_named(buffer: TransformBuffer) -> None:
    buffer.set_transform_static(transform(np.eye(4), "moon", "crater"), "test")
    for target in ("nowhere", "crater"):
        with pytest.raises(TransformException, match=target):
            lookup(buffer, target, "base", SECOND)


def test_a_loop_of_frames_is_refused(buffer: TransformBuffer) -> None:
    buffer.set_transform_static(transform(np.eye(4), "lidar", "map"), "test")
    with pytest.raises(TransformException, match="own ancestor"):
        lookup(buffer, "map", "base", SECOND)


def test_samples_may_come_out_of_order_twice_and_expire(buffer: TransformBuffer) -> None:
    middle = rigid(yaw_rotation(np.deg2rad(180.0)), [9.0, 1.0, 0.0])
    for _ in range(2):
        buffer.set_transform(transform(middle, "map", "base", SECOND * 3 // 2), "test")
    np.testing.assert_allclose(lookup(buffer, "map", "base", SECOND * 3 // 2), middle, atol=1e-12)
    assert lookup(buffer, "map", "base", SECOND * 7 // 4)[0, 3] == pytest.approx(9.5)
    buffer.set_transform(transform(middle, "map", "base", 11 * SECOND + SECOND // 2), "test")
    assert buffer.can_transform("map", "base", Time(nanoseconds=SECOND * 3 // 2))
    assert not buffer.can_transform("map", "base", Time(nanoseconds=SECOND))


def test_clear_keeps_the_static_ones(buffer: TransformBuffer) -> None:
    buffer.clear()
    assert not buffer.can_transform("map", "base", Time())
    assert buffer.can_transform("camera", "lidar", Time())
