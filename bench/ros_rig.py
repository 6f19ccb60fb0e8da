"""Six cameras as a publisher sees them: JPEG or raw images of 1600 x 900, CameraInfo and poses, on real time."""

from __future__ import annotations

import array
import struct
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt
from geometry_msgs.msg import TransformStamped
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from rclpy.serialization import serialize_message
from sensor_msgs.msg import CameraInfo, CompressedImage, Image
from tf2_msgs.msg import TFMessage

from tggbc_ros.core.geometry import quaternion_from_rotation, rigid, yaw_rotation
from tggbc_ros.core.types import Array
from tggbc_ros.ros.convert import header
from tggbc_ros.ros.params import CAMERAS

HEIGHT, WIDTH = 900, 1600
JPEG_QUALITY = 85
STAMP_AT = 4
"""The stamp comes first in a serialised message, after CDR's own four bytes."""

OCTAVES = ((9, 16, 60.0), (45, 80, 30.0), (225, 400, 4.0), (900, 1600, 0.5))
"""Rows, columns and strength of the noise that an image is made of: as a JPEG as large as those of nuScenes."""

YAWS_RAD = np.deg2rad([0.0, -55.0, 55.0, 180.0, 110.0, -110.0])
OPTICAL2BODY = np.array([[0.0, 0.0, 1.0], [-1.0, 0.0, 0.0], [0.0, -1.0, 0.0]])
LIDAR2BASE = rigid(yaw_rotation(-np.pi / 2), [0.9, 0.0, 1.8])
K = (1266.0, 0.0, 816.0, 0.0, 1266.0, 491.0, 0.0, 0.0, 1.0)
DISTORTION = [-0.3, 0.1, 0.0005, -0.0005, 0.0]

Pixels = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Input:
    """What the cameras send. encoding: jpeg or raw. stagger_s: from one camera's image to the next one's."""

    encoding: str = "jpeg"
    distorted: bool = False
    rate_hz: float = 12.0
    stagger_s: float = 0.007
    reliable: bool = True


def image_topics(raw: bool) -> list[str]:
    """Where the images are, camera by camera."""
    return [f"/camera/{name}/image{'' if raw else '/compressed'}" for name in CAMERAS]


def image_qos(reliable: bool) -> QoSProfile:
    """Ten images deep, as camera drivers have it."""
    return QoSProfile(depth=10, reliability=ReliabilityPolicy.RELIABLE if reliable else ReliabilityPolicy.BEST_EFFORT)


def picture(seed: int) -> Pixels:
    """[900, 1600, 3]: as uneven as a street, so that a decoder has as much to do."""
    generator = np.random.default_rng(seed)
    total = np.full((HEIGHT, WIDTH, 3), 128.0, np.float32)
    for rows, columns, strength in OCTAVES:
        noise = generator.standard_normal((rows, columns, 3)).astype(np.float32)
        total += strength * cv2.resize(noise, (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC)
    return np.asarray(total.clip(0, 255), np.uint8)


class Cameras(Node):
    """Publishes sets of images. Messages are serialised once; then only their stamps change."""

    def __init__(self, sent: Input) -> None:
        super().__init__("bench_cameras")
        self._input = sent
        raw = sent.encoding == "raw"
        kind, qos = Image if raw else CompressedImage, image_qos(sent.reliable)
        self._images = [self.create_publisher(kind, topic, qos) for topic in image_topics(raw)]
        self._infos = [self.create_publisher(CameraInfo, f"/camera/{name}/camera_info", 10) for name in CAMERAS]
        self._tf = self.create_publisher(TFMessage, "/tf", 100)
        latched = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
        self._tf_static = self.create_publisher(TFMessage, "/tf_static", latched)
        self._tf_static.publish(mountings())
        make = raw_image if raw else jpeg_image
        self._image_bytes = [bytearray(serialize_message(make(name, seed))) for seed, name in enumerate(CAMERAS)]
        self._info_bytes = [bytearray(serialize_message(camera_info(name, sent.distorted))) for name in CAMERAS]

    def is_heard(self) -> bool:
        """Whether somebody has subscribed to everything."""
        publishers = (*self._images, *self._infos, self._tf, self._tf_static)
        return all(publisher.get_subscription_count() for publisher in publishers)

    def play(self, sets: int) -> Iterator[int]:
        """Publish that many sets at the rate asked for; yields each one's newest stamp, in nanoseconds.

        Stamps are those of cameras with a trigger: when an image was due, however late a busy machine sends it.
        """
        start_s, start_ns = time.monotonic(), time.time_ns()
        for number in range(sets):
            stamp_ns = 0
            for place in range(len(CAMERAS)):
                due_s = number / self._input.rate_hz + place * self._input.stagger_s
                time.sleep(max(0.0, start_s + due_s - time.monotonic()))
                stamp_ns = start_ns + round(due_s * 1e9)
                self._publish(place, stamp_ns)
            yield stamp_ns

    def _publish(self, place: int, stamp_ns: int) -> None:
        """One camera's image, with the pose it was taken from before it."""
        self._tf.publish(TFMessage(transforms=[transform(ego2global(stamp_ns), "map", "base_link", stamp_ns)]))
        for publisher, message in ((self._infos, self._info_bytes), (self._images, self._image_bytes)):
            publisher[place].publish(stamped(message[place], stamp_ns))


def stamped(message: bytearray, stamp_ns: int) -> bytes:
    """A serialised message that begins with a header, with that stamp written into it."""
    struct.pack_into("<iI", message, STAMP_AT, *divmod(stamp_ns, 1_000_000_000))
    return bytes(message)


def ego2global(stamp_ns: int) -> Array:
    """Straight on at 10 m/s."""
    return rigid(np.eye(3), [10.0 * (stamp_ns / 1e9 % 1000.0), 0.0, 0.0])


def transform(matrix: Array, parent: str, child: str, stamp_ns: int = 0) -> TransformStamped:
    """child2parent [4, 4] as a message."""
    message = TransformStamped(header=header(stamp_ns, parent), child_frame_id=child)
    place, turn = message.transform.translation, message.transform.rotation
    place.x, place.y, place.z = matrix[:3, 3].tolist()
    turn.x, turn.y, turn.z, turn.w = quaternion_from_rotation(matrix[:3, :3])
    return message


def mountings() -> TFMessage:
    """Where lidar and cameras sit."""
    places = [rigid(yaw_rotation(yaw) @ OPTICAL2BODY, [1.5 * np.cos(yaw), 0.5 * np.sin(yaw), 1.5]) for yaw in YAWS_RAD]
    cameras: Sequence[TransformStamped] = [
        transform(place, "base_link", name) for name, place in zip(CAMERAS, places, strict=True)
    ]
    return TFMessage(transforms=[transform(LIDAR2BASE, "base_link", "LIDAR_TOP"), *cameras])


def camera_info(name: str, distorted: bool) -> CameraInfo:
    """Calibration, with or without distortion to be taken out."""
    d = DISTORTION if distorted else [0.0] * 5
    return CameraInfo(header=header(0, name), height=HEIGHT, width=WIDTH, distortion_model="plumb_bob", d=d, k=K)


def jpeg_image(name: str, seed: int) -> CompressedImage:
    """A JPEG."""
    _, encoded = cv2.imencode(".jpg", picture(seed), [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
    return CompressedImage(header=header(0, name), format="jpeg", data=array.array("B", encoded.tobytes()))


def raw_image(name: str, seed: int) -> Image:
    """The same, bgr8."""
    data = array.array("B", picture(seed).tobytes())
    return Image(header=header(0, name), height=HEIGHT, width=WIDTH, encoding="bgr8", step=3 * WIDTH, data=data)
