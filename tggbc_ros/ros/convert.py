"""Messages <-> the core's types. Whatever a message holds, the only exception is BadInputError."""

from __future__ import annotations

import copy
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
from builtin_interfaces.msg import Time as TimeMessage
from geometry_msgs.msg import Pose, Vector3
from PIL import Image as Pillow
from sensor_msgs.msg import CameraInfo, CompressedImage, Image
from std_msgs.msg import Header

from tggbc_ros.core.config import ModelConfig
from tggbc_ros.core.preprocess import jpeg_reduction
from tggbc_ros.core.types import Array, Boxes3D, CameraFrame, Rig
from tggbc_ros.msg import BoundingBox3D, BoundingBox3DArray
from tggbc_ros.ros.drops import BadInputError

Pixels = npt.NDArray[np.uint8]

MAX_PIXELS = 64_000_000
"""Larger images are refused before they are decoded: a few kilobytes can claim to be gigabytes."""

MAX_ASPECT = 16
"""Longer stripes are refused: scaled to the network's height they would fill the memory."""

ENCODINGS: dict[str, tuple[int, int | None]] = {
    "bgr8": (3, None),
    "8UC3": (3, None),
    "rgb8": (3, cv2.COLOR_RGB2BGR),
    "rgba8": (4, cv2.COLOR_RGBA2BGR),
    "bgra8": (4, cv2.COLOR_BGRA2BGR),
    "mono8": (1, cv2.COLOR_GRAY2BGR),
    "yuv422": (2, cv2.COLOR_YUV2BGR_UYVY),
    "uyvy": (2, cv2.COLOR_YUV2BGR_UYVY),
    "yuv422_yuy2": (2, cv2.COLOR_YUV2BGR_YUYV),
    "yuyv": (2, cv2.COLOR_YUV2BGR_YUYV),
}
"""Encoding -> bytes per pixel, and OpenCV's conversion to BGR (None: it is BGR). Others take cv_bridge."""

FILE_ENDS = {"JPEG": b"\xff\xd9", "MPO": b"\xff\xd9", "PNG": b"IEND\xaeB\x60\x82"}
"""What a whole file ends with; an MPO is a JPEG with more behind it.

OpenCV decodes half a file without complaint and leaves the rest grey."""


DECODE_FLAGS = {
    1: cv2.IMREAD_COLOR,
    2: cv2.IMREAD_REDUCED_COLOR_2,
    4: cv2.IMREAD_REDUCED_COLOR_4,
    8: cv2.IMREAD_REDUCED_COLOR_8,
}
"""How OpenCV decodes a JPEG that much smaller."""


def header(stamp_ns: int, frame_id: str) -> Header:
    """A header of that time and frame."""
    return Header(stamp=TimeMessage(sec=stamp_ns // 1_000_000_000, nanosec=stamp_ns % 1_000_000_000), frame_id=frame_id)


@dataclass(frozen=True, eq=False)
class Decoded:
    """pixels: [height, width, 3], BGR. full_size: (height, width) of the image as it was published."""

    pixels: Pixels
    full_size: tuple[int, int]


def bgr_image(message: Image | CompressedImage) -> Pixels:
    """Pixels [height, width, 3], BGR; shares the message's memory where it can.

    Raises BadInputError: bad_size, bad_encoding or bad_image.
    """
    return decoded(message).pixels


def decoded(message: Image | CompressedImage, needed: ModelConfig | None = None) -> Decoded:
    """As `bgr_image`; a JPEG in a half, a quarter or an eighth of its size, where the network ``needed`` needs no more.

    Raw images and PNGs stay as they are.
    """
    if isinstance(message, CompressedImage):
        return _decode(message, needed)
    return Decoded(_view(message), (message.height, message.width))


def _view(message: Image) -> Pixels:
    height, width = message.height, message.width
    _check_size(height, width)
    if message.encoding not in ENCODINGS:
        return _by_cv_bridge(message)
    channels, conversion = ENCODINGS[message.encoding]
    if message.step < width * channels or len(message.data) != message.step * height:
        raise BadInputError(
            "bad_image",
            f"{width}x{height} {message.encoding} with {len(message.data)} bytes in rows of {message.step}, "
            f"expected rows of at least {width * channels} and {height} of them",
        )
    if channels == 2 and width % 2:
        raise BadInputError("bad_size", f"{message.encoding} image is {width} wide, expected an even width")
    strides = (message.step, channels, 1)
    pixels: Pixels = np.ndarray((height, width, channels), np.uint8, message.data, strides=strides)
    return pixels if conversion is None else np.asarray(cv2.cvtColor(pixels, conversion), np.uint8)


def _check_size(height: int, width: int) -> None:
    short, long = sorted((height, width))
    if short == 0 or height * width > MAX_PIXELS or long > MAX_ASPECT * short:
        raise BadInputError(
            "bad_size", f"image is {width}x{height}, expected 1 to {MAX_PIXELS} pixels, sides 1:{MAX_ASPECT} at most"
        )


def _by_cv_bridge(message: Image) -> Pixels:
    """For what NumPy and OpenCV cannot view directly; cv_bridge is imported here so that others live without."""
    try:
        from cv_bridge import CvBridge, CvBridgeError
    except ImportError as error:
        raise BadInputError(
            "bad_encoding",
            f"{message.encoding!r} is none of {', '.join(ENCODINGS)}, and needs cv_bridge, which is not "
            f"installed ({error}); on ROS 2: apt install ros-$ROS_DISTRO-cv-bridge",
        ) from error
    try:
        return np.asarray(CvBridge().imgmsg_to_cv2(message, "bgr8"), np.uint8)
    except (CvBridgeError, cv2.error, ValueError, TypeError, KeyError) as error:
        raise BadInputError("bad_encoding", f"cv_bridge cannot convert {message.encoding!r}: {error}") from error


def _decode(message: CompressedImage, needed: ModelConfig | None) -> Decoded:
    data = memoryview(message.data)
    kind, height, width = _read_head(data, message.format)
    _check_size(height, width)
    if not data.tobytes().rstrip(b"\0").endswith(FILE_ENDS[kind]):
        raise BadInputError("bad_image", f"{kind} of {width}x{height} is cut off after {len(data)} bytes")
    by = jpeg_reduction(height, width, needed) if needed and kind != "PNG" else 1
    flags = DECODE_FLAGS[by] | cv2.IMREAD_IGNORE_ORIENTATION
    try:
        pixels = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    except cv2.error as error:
        raise BadInputError("bad_image", f"OpenCV cannot decode a {kind} of {len(data)} bytes: {error}") from error
    expected = -(-height // by), -(-width // by), 3
    if pixels is None or pixels.shape != expected:
        found = None if pixels is None else pixels.shape
        raise BadInputError("bad_image", f"{kind} of {len(data)} bytes decodes to {found}, its head says {expected}")
    return Decoded(np.asarray(pixels, np.uint8), (height, width))


def _read_head(data: memoryview, said: str) -> tuple[str, int, int]:
    """Kind of file, height and width, without decoding any of it."""
    try:
        with Pillow.open(io.BytesIO(data), formats=("JPEG", "PNG")) as file:
            width, height = file.size
            return str(file.format), height, width
    except Pillow.DecompressionBombError as error:
        raise BadInputError("bad_size", str(error)) from error
    except (OSError, ValueError, SyntaxError) as error:
        raise BadInputError("bad_image", f"{len(data)} bytes of {said!r}: {error}") from error


def with_size(info: CameraInfo, size: tuple[int, int]) -> CameraInfo:
    """``info`` where it says of which image size it speaks, else the same of (height, width)."""
    if info.width or info.height:
        return info
    sized = copy.copy(info)
    sized.height, sized.width = size
    return sized


def intrinsics(info: CameraInfo, image: Pixels) -> Array:
    """Camera matrix [3, 3] in pixels of ``image``, scaled if CameraInfo speaks of another size.

    A size of 0 means that it is not given. Raises BadInputError: bad_camera_info.
    """
    matrix = np.array(info.k, dtype=np.float64).reshape(3, 3)
    focal_ok = matrix[0, 0] > 0 and matrix[1, 1] > 0
    if not (np.isfinite(matrix).all() and focal_ok and (matrix[2] == (0.0, 0.0, 1.0)).all()):
        raise BadInputError("bad_camera_info", f"K of {info.header.frame_id!r} is {matrix.tolist()}")
    if (info.width == 0) != (info.height == 0):
        raise BadInputError("bad_camera_info", f"size of {info.header.frame_id!r} is {info.width}x{info.height}")
    with np.errstate(over="ignore"):
        scaled = np.asarray(size_scale(info, image) @ matrix)
    if not np.isfinite(scaled).all():
        raise BadInputError(
            "bad_camera_info", f"K of {info.header.frame_id!r} is {matrix.tolist()}, too large a number"
        )
    return scaled


def size_scale(info: CameraInfo, image: Pixels) -> Array:
    """[3, 3], pixels of the size that CameraInfo speaks of -> pixels of ``image``."""
    height, width = image.shape[:2]
    return np.diag((width / info.width, height / info.height, 1.0) if info.width else (1.0, 1.0, 1.0))


@dataclass(frozen=True, eq=False)
class View:
    """One camera in one set. pixels: [height, width, 3], BGR. intrinsics: [3, 3], theirs. lidar2cam: [4, 4]."""

    pixels: Pixels
    intrinsics: Array
    lidar2cam: Array


def camera_frame(
    views: Mapping[str, View], stamp_ns: int, lidar2global: Array, cells: npt.NDArray[np.bool_] | None = None
) -> CameraFrame:
    """All of one set as the core takes it: camera -> view, in the rig's order; raises BadInputError."""
    seen = views.values()
    try:
        matrices = np.stack([view.intrinsics for view in seen]), np.stack([view.lidar2cam for view in seen])
        rig = Rig(tuple(views), *matrices)
        return CameraFrame(tuple(view.pixels for view in seen), rig, stamp_ns, lidar2global, cells)
    except ValueError as error:
        raise BadInputError("bad_calibration", str(error)) from error


def boxes_array(boxes: Boxes3D, class_names: Sequence[str], head: Header) -> BoundingBox3DArray:
    """Boxes in the header's frame as our own message, which has a velocity."""
    message = BoundingBox3DArray(header=head)
    message.boxes = [
        BoundingBox3D(
            class_name=class_names[label],
            score=score,
            pose=pose(center, yaw),
            size=Vector3(x=size[0], y=size[1], z=size[2]),
            velocity=Vector3(x=velocity[0], y=velocity[1]),
        )
        for label, score, center, yaw, size, velocity in rows(boxes)
    ]
    return message


def detections(boxes: Boxes3D, class_names: Sequence[str], head: Header) -> Any:
    """Boxes in the header's frame as vision_msgs/Detection3DArray: no velocity there, one result each."""
    from vision_msgs.msg import Detection3D, Detection3DArray, ObjectHypothesisWithPose

    message = Detection3DArray(header=head)
    for label, score, center, yaw, size, _ in rows(boxes):
        result = ObjectHypothesisWithPose()
        result.hypothesis.class_id = class_names[label]
        result.hypothesis.score = score
        result.pose.pose = pose(center, yaw)
        detection = Detection3D(header=head, results=[result])
        detection.bbox.center = pose(center, yaw)
        detection.bbox.size = Vector3(x=size[0], y=size[1], z=size[2])
        message.detections.append(detection)
    return message


def rows(boxes: Boxes3D) -> Any:
    """Per box (label, score, center, yaw, size, velocity) as Python numbers, which messages want."""
    columns = (boxes.label, boxes.score, boxes.center, boxes.yaw, boxes.size, boxes.velocity)
    return zip(*(np.asarray(column).tolist() for column in columns), strict=True)


def pose(center: Sequence[float], yaw_rad: float) -> Pose:
    """A pose with yaw only."""
    message = Pose()
    message.position.x, message.position.y, message.position.z = center
    message.orientation.z, message.orientation.w = float(np.sin(yaw_rad / 2)), float(np.cos(yaw_rad / 2))
    return message
