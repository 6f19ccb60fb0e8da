"""Bags that ``data.bag`` wrote -> the samples they were made from, so that tests can hold one to the other."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
from rosbags.typesys.stores import ros2_jazzy as ros

from tggbc_ros.core.types import Array
from tggbc_ros.data.bags.markers import MarkerArray, annotations_from_markers
from tggbc_ros.data.bags.messages import LIDAR_FRAME, TF_STATIC_TOPIC, TF_TOPIC, stamp_ns, transform_matrix
from tggbc_ros.data.bags.sample_bag import read_messages
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
    come as lossless BMP.
    """
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
    cameras = [frame for frame in gathered.mounting if frame != LIDAR_FRAME]
    lidar2ego = gathered.mounting[LIDAR_FRAME]
    sample = Sample(
        token=f"{path.name}:{reference_ns}",
        timestamp_ns=reference_ns,
        ego2global=gathered.poses[reference_ns],
        lidar2ego=lidar2ego,
        cameras=tuple(_shot(gathered, name) for name in cameras),
        annotations=annotations_from_markers(markers, lidar2ego) if markers else None,
        is_keyframe=markers is not None,
    )
    gathered.images, gathered.markers = {}, None
    return sample


def _shot(gathered: _Gathered, name: str) -> CameraShot:
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
        ego2global=gathered.poses[timestamp_ns],
    )


def _bmp(message: Image) -> bytes:
    assert message.encoding == "bgr8"
    pixels = message.data.reshape(message.height, message.step)[:, : 3 * message.width]
    _, encoded = cv2.imencode(".bmp", np.ascontiguousarray(pixels).reshape(message.height, message.width, 3))
    return encoded.tobytes()
