"""bag_markers: ground truth sits in base_link where the boxes are, and comes back unchanged."""

from __future__ import annotations

import numpy as np
import pytest

from tggbc_ros.core.geometry import rigid, rotation_from_quaternion, transform_points, yaw_rotation
from tggbc_ros.core.types import Boxes3D
from tggbc_ros.data.bags.markers import Marker, MarkerArray, annotations_from_markers, ground_truth
from tggbc_ros.data.records import Annotations, Sample

TILT = rotation_from_quaternion(0.01, 0.02, 0.0, np.sqrt(1 - 0.0005))
LIDAR2EGO = rigid(TILT @ yaw_rotation(-1.5), (0.9, 0.1, 1.8))
BOXES = Boxes3D(
    center=np.array([[3.0, 20.0, -1.0], [-5.0, 8.0, -0.5]]),
    size=np.array([[4.5, 1.9, 1.6], [0.7, 0.6, 1.8]]),
    yaw=np.array([0.4, -2.5]),
    velocity=np.array([[3.0, -4.0], [np.nan, np.nan]]),
    score=np.ones(2),
    label=np.array([3, 8]),
    query=np.arange(2),
)
ANNOTATIONS = Annotations(BOXES, ("bus-1", "walker-7"), np.array([12, 0]))


@pytest.fixture
def message() -> MarkerArray:
    sample = Sample("token", 1_600_000_000_123_456_789, np.eye(4), LIDAR2EGO, cameras=())
    written = ground_truth(sample, ANNOTATIONS).message
    assert isinstance(written, MarkerArray)
    return written


def test_round_trip(message: MarkerArray) -> None:
    back = annotations_from_markers(message, LIDAR2EGO)
    for name in ("center", "size", "yaw", "velocity", "label"):
        np.testing.assert_allclose(getattr(back.boxes, name), getattr(BOXES, name), atol=1e-12)
    assert back.instances == ANNOTATIONS.instances
    assert back.num_points.tolist() == [12, 0]


def test_markers_replace_older_ones_and_lie_in_base_link(message: MarkerArray) -> None:
    delete, bus, arrow, walker = message.markers
    assert delete.action == Marker.DELETEALL
    assert [m.type for m in (bus, arrow, walker)] == [Marker.CUBE, Marker.ARROW, Marker.CUBE]
    assert [m.ns for m in (bus, arrow, walker)] == ["bus", "velocity", "pedestrian"]
    assert {m.header.frame_id for m in message.markers} == {"base_link"}
    assert {m.header.stamp.nanosec for m in message.markers} == {123_456_789}
    np.testing.assert_allclose((bus.scale.x, bus.scale.y, bus.scale.z), (4.5, 1.9, 1.6))
    center = transform_points(LIDAR2EGO, BOXES.center)
    position = walker.pose.position
    np.testing.assert_allclose((position.x, position.y, position.z), center[1])


def test_cube_points_along_the_heading_and_arrow_along_the_velocity(message: MarkerArray) -> None:
    bus, arrow = message.markers[1:3]
    q = bus.pose.orientation
    heading = rotation_from_quaternion(q.x, q.y, q.z, q.w)[:, 0]
    np.testing.assert_allclose(heading, LIDAR2EGO[:3, :3] @ [np.cos(0.4), np.sin(0.4), 0.0], atol=1e-12)
    start, end = (np.array([p.x, p.y, p.z]) for p in arrow.points)
    np.testing.assert_allclose(end - start, LIDAR2EGO[:3, :3] @ [3.0, -4.0, 0.0], atol=1e-12)


def test_no_boxes_still_clears_the_view() -> None:
    none = np.zeros(0, np.int64)
    empty = Annotations(BOXES[none], (), none)
    message = ground_truth(Sample("token", 5, np.eye(4), LIDAR2EGO, cameras=()), empty).message
    assert isinstance(message, MarkerArray)
    assert [marker.action for marker in message.markers] == [Marker.DELETEALL]
    assert len(annotations_from_markers(message, LIDAR2EGO).boxes) == 0
