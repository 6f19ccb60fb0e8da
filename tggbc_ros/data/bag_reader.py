"""Bags that ``data.bag`` wrote -> samples, without ROS."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
from rosbags.typesys.stores import ros2_jazzy as ros

from tggbc_ros.core.types import Array
from tggbc_ros.data.bag import BagError, read_messages
from tggbc_ros.data.bag_markers import MarkerArray, annotations_from_markers
from tggbc_ros.data.bag_messages import LIDAR_FRAME, TF_STATIC_TOPIC, TF_TOPIC, stamp_ns, transform_matrix
from tggbc_ros.data.records import CameraShot, Sample

CameraInfo = ros.sensor_msgs__msg__CameraInfo
CompressedImage = ros.sensor_msgs__msg__CompressedImage
Image = ros.sensor_msgs__msg__Image
TFMessage = ros.tf2_msgs__msg__TFMessage


@dataclass
class _Gathered:
    """What the bag has said so far."""

    mounting: dict[str, Array] = field(default_factory=dict)
    poses: dict[int, Array] = field(default_factory=dict)
    infos: dict[str, CameraInfo] = field(default_factory=dict)
    images: dict[str, tuple[int, bytes]] = field(default_factory=dict)
    markers: MarkerArray | None = None


def read_samples(path: Path) -> Iterator[Sample]:
    """The samples of a bag in time order; a set ends when one of its cameras shows up again.

    The reference time is that of the ground truth, for a set without one its newest image's. Raw images
    come as lossless BMP. Raises BagError naming the bag and what is wrong with it or what a set lacks.
    """
    try:
        yield from _samples(path)
    except BagError:
        raise
    except ValueError as error:
        raise BagError(f"bag {path}: {error}") from error


def _samples(path: Path) -> Iterator[Sample]:
    gathered = _Gathered()
    for stamped in read_messages(path):
        message = stamped.message
        if isinstance(message, (Image, CompressedImage)) and message.header.frame_id in gathered.images:
            yield _sample(path, gathered)
        _take(gathered, stamped.topic, message)
    if gathered.images:
        yield _sample(path, gathered)


def _take(gathered: _Gathered, topic: str, message: object) -> None:
    if isinstance(message, TFMessage) and topic == TF_STATIC_TOPIC:
        gathered.mounting |= {tf.child_frame_id: transform_matrix(tf.transform) for tf in message.transforms}
    elif isinstance(message, TFMessage) and topic == TF_TOPIC:
        gathered.poses |= {stamp_ns(tf.header): transform_matrix(tf.transform) for tf in message.transforms}
    elif isinstance(message, CameraInfo):
        gathered.infos[message.header.frame_id] = message
    elif isinstance(message, CompressedImage):
        gathered.images[message.header.frame_id] = stamp_ns(message.header), message.data.tobytes()
    elif isinstance(message, Image):
        gathered.images[message.header.frame_id] = stamp_ns(message.header), _bmp(message)
    elif isinstance(message, MarkerArray) and message.markers:
        gathered.markers = message


def _sample(path: Path, gathered: _Gathered) -> Sample:
    """The set gathered, which leaves ``gathered`` ready for the next one."""
    newest_ns = max(timestamp_ns for timestamp_ns, _ in gathered.images.values())
    markers = gathered.markers
    reference_ns = stamp_ns(markers.markers[0].header) if markers else newest_ns
    where = f"bag {path}, set at {reference_ns} ns"
    cameras = [frame for frame in gathered.mounting if frame != LIDAR_FRAME]
    missing = [name for name in cameras if name not in gathered.images or name not in gathered.infos]
    if missing or LIDAR_FRAME not in gathered.mounting:
        raise BagError(f"{where}: no image or camera_info of {missing}, mounting of {list(gathered.mounting)}")
    lidar2ego = gathered.mounting[LIDAR_FRAME]
    sample = Sample(
        token=f"{path.name}:{reference_ns}",
        timestamp_ns=reference_ns,
        ego2global=_pose(where, gathered, reference_ns),
        lidar2ego=lidar2ego,
        cameras=tuple(_shot(where, gathered, name) for name in cameras),
        annotations=annotations_from_markers(markers, lidar2ego) if markers else None,
        is_keyframe=markers is not None,
    )
    gathered.images, gathered.markers = {}, None
    return sample


def _shot(where: str, gathered: _Gathered, name: str) -> CameraShot:
    info = gathered.infos[name]
    timestamp_ns, encoded = gathered.images[name]
    return CameraShot(
        name=name,
        timestamp_ns=timestamp_ns,
        jpeg=encoded,
        width=info.width,
        height=info.height,
        intrinsics=np.array(info.k, dtype=np.float64).reshape(3, 3),
        cam2ego=gathered.mounting[name],
        ego2global=_pose(where, gathered, timestamp_ns),
    )


def _pose(where: str, gathered: _Gathered, timestamp_ns: int) -> Array:
    if timestamp_ns not in gathered.poses:
        raise BagError(f"{where}: no ego pose in {TF_TOPIC} at {timestamp_ns} ns")
    return gathered.poses[timestamp_ns]


def _bmp(message: Image) -> bytes:
    where = f"image of {message.header.frame_id}"
    if message.encoding != "bgr8":
        raise BagError(f"{where} is {message.encoding!r}, expected bgr8")
    height, width, step = message.height, message.width, message.step
    if not height or not width or step < 3 * width or message.data.size != height * step:
        raise BagError(f"{where} is {width}x{height} in rows of {step} bytes, and has {message.data.size} bytes")
    pixels = message.data.reshape(height, step)[:, : 3 * width]
    _, encoded = cv2.imencode(".bmp", np.ascontiguousarray(pixels).reshape(height, width, 3))
    return encoded.tobytes()
