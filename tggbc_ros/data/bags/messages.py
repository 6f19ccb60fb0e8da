"""One sample as standard ROS 2 messages: which topic, which stamp, which content.

Frames: ``map`` (nuScenes' global frame), ``base_link`` (its ego frame), ``LIDAR_TOP`` and one optical frame per
camera, named like it. ``/tf`` holds the ego pose at every image's stamp and at the reference time, ``/tf_static``
the mounting, so that a listener can rebuild the matrices which nuScenes' own tools compute.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from rosbags.typesys.stores import ros2_jazzy as ros

from tggbc_ros.core.geometry import invert_rigid, quaternion_from_rotation, rigid, rotation_from_quaternion
from tggbc_ros.core.types import Array
from tggbc_ros.data.records import CameraShot, Sample

MAP_FRAME = "map"
BASE_FRAME = "base_link"
LIDAR_FRAME = "LIDAR_TOP"
TF_TOPIC = "/tf"
TF_STATIC_TOPIC = "/tf_static"
ODOMETRY_TOPIC = "/odom"
IMAGE_FORMATS = ("jpeg", "raw")
UNKNOWN_COVARIANCE = -1.0
"""First element of a covariance whose estimate does not exist, as sensor_msgs/Imu has it."""


class Stamped(NamedTuple):
    """A message with its topic, ROS type and time in nanoseconds: header stamp and log time alike."""

    timestamp_ns: int
    topic: str
    msgtype: str
    message: object


def image_topic(camera: str, images: str) -> str:
    """Where a camera's images go, raw or jpeg, as image_transport names them."""
    return f"/camera/{camera}/image/compressed" if images == "jpeg" else f"/camera/{camera}/image"


def info_topic(camera: str) -> str:
    """Where a camera's calibration goes."""
    return f"/camera/{camera}/camera_info"


def sample_messages(sample: Sample, images: str) -> list[Stamped]:
    """Poses, calibrations and images of one sample in time order; at equal stamps the pose comes first."""
    messages = [*_pose_messages(sample)]
    for shot in sample.cameras:
        messages.append(camera_info(shot))
        messages.append(jpeg_image(shot) if images == "jpeg" else raw_image(shot))
    return sorted(messages, key=lambda stamped: stamped.timestamp_ns)


def static_transforms(sample: Sample, timestamp_ns: int) -> Stamped:
    """base_link -> LIDAR_TOP and every camera's optical frame, in the sample's order."""
    mounts = [(LIDAR_FRAME, sample.lidar2ego), *((shot.name, shot.cam2ego) for shot in sample.cameras)]
    transforms = [_transform(timestamp_ns, BASE_FRAME, frame, sensor2ego) for frame, sensor2ego in mounts]
    message = ros.tf2_msgs__msg__TFMessage(transforms=transforms)
    return Stamped(timestamp_ns, TF_STATIC_TOPIC, message.__msgtype__, message)


def camera_info(shot: CameraShot) -> Stamped:
    """Calibration of an undistorted, unrectified camera: K as given, P = [K | 0], R = identity."""
    message = ros.sensor_msgs__msg__CameraInfo(
        header=make_header(shot.timestamp_ns, shot.name),
        height=shot.height,
        width=shot.width,
        distortion_model="plumb_bob",
        d=np.zeros(5),
        k=shot.intrinsics.reshape(-1).copy(),
        r=np.eye(3).reshape(-1),
        p=np.hstack([shot.intrinsics, np.zeros((3, 1))]).reshape(-1),
        binning_x=0,
        binning_y=0,
        roi=ros.sensor_msgs__msg__RegionOfInterest(x_offset=0, y_offset=0, height=0, width=0, do_rectify=False),
    )
    return Stamped(shot.timestamp_ns, info_topic(shot.name), message.__msgtype__, message)


def jpeg_image(shot: CameraShot) -> Stamped:
    """The encoded image as it is; raises ValueError if it is not a JPEG."""
    encoded = shot.jpeg_bytes()
    if encoded[:2] != b"\xff\xd8":
        start = encoded[:4].hex(" ") or "nothing"
        raise ValueError(f"image of {shot.name} at {shot.timestamp_ns} ns starts with {start}, expected a JPEG (ff d8)")
    message = ros.sensor_msgs__msg__CompressedImage(
        header=make_header(shot.timestamp_ns, shot.name), format="jpeg", data=np.frombuffer(encoded, dtype=np.uint8)
    )
    return Stamped(shot.timestamp_ns, image_topic(shot.name, "jpeg"), message.__msgtype__, message)


def raw_image(shot: CameraShot) -> Stamped:
    """The decoded image, bgr8."""
    message = ros.sensor_msgs__msg__Image(
        header=make_header(shot.timestamp_ns, shot.name),
        height=shot.height,
        width=shot.width,
        encoding="bgr8",
        is_bigendian=0,
        step=3 * shot.width,
        data=shot.image().reshape(-1),
    )
    return Stamped(shot.timestamp_ns, image_topic(shot.name, "raw"), message.__msgtype__, message)


def stamp_ns(header: ros.std_msgs__msg__Header) -> int:
    """A header's stamp in nanoseconds."""
    return int(header.stamp.sec) * 1_000_000_000 + int(header.stamp.nanosec)


def transform_matrix(transform: ros.geometry_msgs__msg__Transform) -> Array:
    """4x4 matrix of a geometry_msgs/Transform."""
    t, q = transform.translation, transform.rotation
    return rigid(rotation_from_quaternion(q.x, q.y, q.z, q.w), (t.x, t.y, t.z))


def pose_matrix(pose: ros.geometry_msgs__msg__Pose) -> Array:
    """4x4 matrix of a geometry_msgs/Pose."""
    p, q = pose.position, pose.orientation
    return rigid(rotation_from_quaternion(q.x, q.y, q.z, q.w), (p.x, p.y, p.z))


def _pose_messages(sample: Sample) -> Iterator[Stamped]:
    """The ego pose, once per distinct stamp, as a transform and as odometry."""
    poses = {shot.timestamp_ns: shot.ego2global for shot in sample.cameras} | {sample.timestamp_ns: sample.ego2global}
    twist = _twist(poses)
    for timestamp_ns, ego2global in poses.items():
        transform = _transform(timestamp_ns, MAP_FRAME, BASE_FRAME, ego2global)
        message = ros.tf2_msgs__msg__TFMessage(transforms=[transform])
        yield Stamped(timestamp_ns, TF_TOPIC, message.__msgtype__, message)
        odometry = ros.nav_msgs__msg__Odometry(
            header=make_header(timestamp_ns, MAP_FRAME),
            child_frame_id=BASE_FRAME,
            pose=ros.geometry_msgs__msg__PoseWithCovariance(pose=make_pose(ego2global), covariance=np.zeros(36)),
            twist=twist,
        )
        yield Stamped(timestamp_ns, ODOMETRY_TOPIC, odometry.__msgtype__, odometry)


def _twist(poses: dict[int, Array]) -> ros.geometry_msgs__msg__TwistWithCovariance:
    """Velocity in base_link, m/s and rad/s about z, from a sample's first to its last pose.

    With a single stamp it is unknown: zero, and the covariance says so.
    """
    first_ns, last_ns = min(poses), max(poses)
    covariance = np.zeros(36)
    linear, yaw_rate = np.zeros(3), 0.0
    if first_ns == last_ns:
        covariance[0] = UNKNOWN_COVARIANCE
    else:
        step = invert_rigid(poses[first_ns]) @ poses[last_ns]
        seconds = (last_ns - first_ns) / 1e9
        linear, yaw_rate = step[:3, 3] / seconds, float(np.arctan2(step[1, 0], step[0, 0])) / seconds
    angular = np.array([0.0, 0.0, yaw_rate])
    twist = ros.geometry_msgs__msg__Twist(linear=make_vector(linear), angular=make_vector(angular))
    return ros.geometry_msgs__msg__TwistWithCovariance(twist=twist, covariance=covariance)


def make_header(timestamp_ns: int, frame: str) -> ros.std_msgs__msg__Header:
    """std_msgs/Header with the exact stamp."""
    seconds, nanoseconds = divmod(timestamp_ns, 1_000_000_000)
    return ros.std_msgs__msg__Header(
        stamp=ros.builtin_interfaces__msg__Time(sec=seconds, nanosec=nanoseconds), frame_id=frame
    )


def _transform(
    timestamp_ns: int, parent: str, child: str, child2parent: Array
) -> ros.geometry_msgs__msg__TransformStamped:
    return ros.geometry_msgs__msg__TransformStamped(
        header=make_header(timestamp_ns, parent),
        child_frame_id=child,
        transform=ros.geometry_msgs__msg__Transform(
            translation=make_vector(child2parent[:3, 3]), rotation=_quaternion(child2parent)
        ),
    )


def make_pose(matrix: Array) -> ros.geometry_msgs__msg__Pose:
    """geometry_msgs/Pose of a 4x4 matrix."""
    return ros.geometry_msgs__msg__Pose(position=make_point(matrix[:3, 3]), orientation=_quaternion(matrix))


def _quaternion(matrix: Array) -> ros.geometry_msgs__msg__Quaternion:
    x, y, z, w = quaternion_from_rotation(matrix[:3, :3])
    return ros.geometry_msgs__msg__Quaternion(x=x, y=y, z=z, w=w)


def make_vector(xyz: Array) -> ros.geometry_msgs__msg__Vector3:
    """geometry_msgs/Vector3 of [3]."""
    return ros.geometry_msgs__msg__Vector3(x=float(xyz[0]), y=float(xyz[1]), z=float(xyz[2]))


def make_point(xyz: Array) -> ros.geometry_msgs__msg__Point:
    """geometry_msgs/Point of [3]."""
    return ros.geometry_msgs__msg__Point(x=float(xyz[0]), y=float(xyz[1]), z=float(xyz[2]))
