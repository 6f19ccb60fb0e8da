"""Ground truth as visualization_msgs markers, and back."""

from __future__ import annotations

from typing import Any

import numpy as np
from rosbags.typesys.stores import ros2_jazzy as ros

from tggbc_ros.core.config import CLASS_NAMES
from tggbc_ros.core.geometry import invert_rigid, rigid, transform_points, yaw_rotation
from tggbc_ros.core.types import Array, Boxes3D
from tggbc_ros.data.bags.messages import (
    BASE_FRAME,
    Stamped,
    make_header,
    make_point,
    make_pose,
    make_vector,
    pose_matrix,
)
from tggbc_ros.data.records import Annotations, Sample

GROUND_TRUTH_TOPIC = "/ground_truth/markers"
VELOCITY_NAMESPACE = "velocity"
COLOR = (1.0, 1.0, 1.0, 0.35)
"""Red, green, blue, alpha: see-through white, so that detections keep the class colours for themselves."""

Marker = ros.visualization_msgs__msg__Marker
MarkerArray = ros.visualization_msgs__msg__MarkerArray


def ground_truth(sample: Sample, annotations: Annotations) -> Stamped:
    """Annotated boxes in base_link at the reference time: cubes whose namespace is the class, velocity arrows.

    A cube's text is ``<instance> points=<count>``; an arrow is as long as the object moves in one second, and
    missing where the velocity is unknown. Its log time is after the set's last image: a player that waits for a set's
    boxes then brings the truth with them, and not while those of the set before are shown.
    """
    header = make_header(sample.timestamp_ns, BASE_FRAME)
    boxes, names = annotations.boxes, annotations.class_names
    centers = transform_points(sample.lidar2ego, boxes.center)
    velocities = np.pad(boxes.velocity, ((0, 0), (0, 1))) @ sample.lidar2ego[:3, :3].T
    markers: list[Any] = [_marker(header, "", 0, action=Marker.DELETEALL)]
    for index in range(len(boxes)):
        box2ego = rigid(sample.lidar2ego[:3, :3] @ yaw_rotation(float(boxes.yaw[index])), centers[index])
        text = f"{annotations.instances[index]} points={annotations.num_points[index]}"
        markers.append(_cube(header, names[index], index, box2ego, boxes.size[index], text))
        if np.isfinite(velocities[index]).all():
            markers.append(_arrow(header, index, centers[index], centers[index] + velocities[index]))
    message = MarkerArray(markers=markers)
    after_ns = max([sample.timestamp_ns, *(shot.timestamp_ns for shot in sample.cameras)]) + 1
    return Stamped(after_ns, GROUND_TRUTH_TOPIC, message.__msgtype__, message)


def annotations_from_markers(message: MarkerArray, lidar2ego: Array) -> Annotations:
    """What ``ground_truth`` wrote, back in the lidar frame."""
    cubes = [marker for marker in message.markers if marker.type == Marker.CUBE and marker.ns in CLASS_NAMES]
    arrows = {marker.id: marker.points for marker in message.markers if marker.ns == VELOCITY_NAMESPACE}
    ego2lidar = invert_rigid(lidar2ego)
    box2lidar = np.array([ego2lidar @ pose_matrix(cube.pose) for cube in cubes]).reshape(-1, 4, 4)
    velocity = np.full((len(cubes), 2), np.nan)
    for row, cube in enumerate(cubes):
        if cube.id in arrows:
            start, end = (np.array([point.x, point.y, point.z]) for point in arrows[cube.id])
            velocity[row] = (ego2lidar[:3, :3] @ (end - start))[:2]
    texts = [cube.text.partition(" points=") for cube in cubes]
    return Annotations(
        boxes=Boxes3D(
            center=box2lidar[:, :3, 3],
            size=np.array([[cube.scale.x, cube.scale.y, cube.scale.z] for cube in cubes]).reshape(-1, 3),
            yaw=np.arctan2(box2lidar[:, 1, 0], box2lidar[:, 0, 0]),
            velocity=velocity,
            score=np.ones(len(cubes)),
            label=np.array([CLASS_NAMES.index(cube.ns) for cube in cubes], dtype=np.int64),
            query=np.arange(len(cubes), dtype=np.int64),
        ),
        instances=tuple(instance for instance, _, _ in texts),
        num_points=np.array([int(points) for _, _, points in texts], dtype=np.int64),
    )


def _cube(header: ros.std_msgs__msg__Header, name: str, index: int, box2ego: Array, size: Array, text: str) -> Marker:
    cube = _marker(header, name, index, type_=Marker.CUBE)
    cube.pose, cube.scale, cube.text = make_pose(box2ego), make_vector(size), text
    return cube


def _arrow(header: ros.std_msgs__msg__Header, index: int, start: Array, end: Array) -> Marker:
    """From the box's centre to where it will be in a second; scale is shaft and head diameter in metres."""
    arrow = _marker(header, VELOCITY_NAMESPACE, index, type_=Marker.ARROW)
    arrow.points, arrow.scale = [make_point(start), make_point(end)], make_vector(np.array([0.15, 0.4, 0.0]))
    return arrow


def _marker(
    header: ros.std_msgs__msg__Header, namespace: str, index: int, action: int = Marker.ADD, type_: int = Marker.CUBE
) -> Marker:
    """A marker with every field that rosbags wants filled and nothing to see yet."""
    red, green, blue, alpha = COLOR
    no_time = ros.builtin_interfaces__msg__Time(sec=0, nanosec=0)
    no_texture = ros.sensor_msgs__msg__CompressedImage(
        header=ros.std_msgs__msg__Header(stamp=no_time, frame_id=""), format="", data=np.zeros(0, dtype=np.uint8)
    )
    return Marker(
        header=header,
        ns=namespace,
        id=index,
        type=type_,
        action=action,
        pose=make_pose(np.eye(4)),
        scale=make_vector(np.zeros(3)),
        color=ros.std_msgs__msg__ColorRGBA(r=red, g=green, b=blue, a=alpha),
        lifetime=ros.builtin_interfaces__msg__Duration(sec=0, nanosec=0),
        frame_locked=False,
        points=[],
        colors=[],
        texture_resource="",
        texture=no_texture,
        uv_coordinates=[],
        text="",
        mesh_resource="",
        mesh_file=ros.visualization_msgs__msg__MeshFile(filename="", data=np.zeros(0, dtype=np.uint8)),
        mesh_use_embedded_materials=False,
    )
