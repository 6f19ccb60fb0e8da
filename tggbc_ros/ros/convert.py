"""Messages <-> the core's types. Whatever a message holds, the only exception is BadInputError."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
from builtin_interfaces.msg import Time as TimeMessage
from geometry_msgs.msg import Pose, Vector3
from sensor_msgs.msg import CameraInfo, CompressedImage, Image
from std_msgs.msg import Header

from tggbc_ros.core.config import ModelConfig
from tggbc_ros.core.types import Array, Boxes3D, CameraFrame, Rig
from tggbc_ros.msg import BoundingBox3D, BoundingBox3DArray
from tggbc_ros.ros.drops import BadInputError
from tggbc_ros.ros.foreign import foreign
from tggbc_ros.ros.image_file import MAX_PIXELS as MAX_PIXELS
from tggbc_ros.ros.image_file import Decoded, Pixels, check_size, decode_file

UINT32_MAX = 2**32 - 1

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


def header(stamp_ns: int, frame_id: str) -> Header:
    """A header of that time and frame."""
    return Header(stamp=TimeMessage(sec=stamp_ns // 1_000_000_000, nanosec=stamp_ns % 1_000_000_000), frame_id=frame_id)


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
        return decode_file(memoryview(message.data).tobytes(), message.format, needed)
    lacks = f"grey, published as {message.encoding}" if message.encoding.startswith("mono") else ""
    return Decoded(_view(message), (message.height, message.width), lacks)


def _view(message: Image) -> Pixels:
    height, width = message.height, message.width
    check_size(height, width)
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
    if conversion is None:
        return pixels
    with foreign("bad_image", f"OpenCV's conversion of {message.encoding} to bgr8"):
        return np.asarray(cv2.cvtColor(pixels, conversion), np.uint8)


def _by_cv_bridge(message: Image) -> Pixels:
    """For what NumPy and OpenCV cannot view directly; cv_bridge is imported here so that others live without."""
    needs = f"{message.encoding!r} is none of {', '.join(ENCODINGS)}, and needs cv_bridge"
    with foreign("bad_encoding", f"{needs}, which cannot be imported (apt install ros-$ROS_DISTRO-cv-bridge)"):
        from cv_bridge import CvBridge
    with foreign("bad_encoding", f"cv_bridge cannot convert {message.encoding!r}"):
        pixels = np.asarray(CvBridge().imgmsg_to_cv2(message, "bgr8"))
    if pixels.dtype != np.uint8 or pixels.shape != (message.height, message.width, 3):
        found = f"{pixels.dtype} {pixels.shape} of a {message.width}x{message.height} {message.encoding!r}"
        raise BadInputError("bad_encoding", f"cv_bridge made {found}, expected bgr8 of that size")
    return pixels


@dataclass(frozen=True)
class Window:
    """What of a camera's full-resolution image, which K and P refer to, is in the image that it publishes.

    left, top: the first pixel. size: (height, width) of the published image, None where CameraInfo gives none.
    binning: (y, x), how many full-resolution pixels are one of it.
    """

    left: int
    top: int
    size: tuple[int, int] | None
    binning: tuple[int, int]

    def to_image(self, height: int, width: int) -> Array:
        """[3, 3], full-resolution pixels -> pixels of an image of that size, be it the window's or another."""
        down, right = (1.0 / by for by in self.binning)
        if self.size is not None:
            down, right = down * height / self.size[0], right * width / self.size[1]
        return np.array([[right, 0.0, -self.left * right], [0.0, down, -self.top * down], [0.0, 0.0, 1.0]])


def window(info: CameraInfo) -> Window:
    """CameraInfo's size, roi and binning, as sensor_msgs defines them: the roi is cut out first, then binned.

    A roi of all zeros is the whole image, a binning of 0 is 1, a size of 0 is not given. Raises BadInputError:
    bad_camera_info, for a roi or a binning that leaves nothing of the image, or reaches out of it.
    """
    name, roi, binning = info.header.frame_id, info.roi, (info.binning_y or 1, info.binning_x or 1)
    if (info.width == 0) != (info.height == 0):
        raise BadInputError("bad_camera_info", f"size of {name!r} is {info.width}x{info.height}")
    size = info.height, info.width
    if roi.width or roi.height or roi.x_offset or roi.y_offset:
        inside = not info.width or (roi.x_offset + roi.width <= info.width and roi.y_offset + roi.height <= info.height)
        if not (roi.width and roi.height and inside):
            found = f"roi of {name!r} is {roi.width}x{roi.height} at ({roi.x_offset}, {roi.y_offset})"
            raise BadInputError("bad_camera_info", f"{found}, expected one within {info.width}x{info.height}, or all 0")
        size = roi.height, roi.width
    if not any(size):
        return Window(roi.x_offset, roi.y_offset, None, binning)
    binned = size[0] // binning[0], size[1] // binning[1]
    if 0 in binned:
        found = f"binning of {name!r} is {binning[1]}x{binning[0]}"
        raise BadInputError("bad_camera_info", f"{found}, expected at most its {size[1]}x{size[0]} pixels")
    return Window(roi.x_offset, roi.y_offset, binned, binning)


def with_size(info: CameraInfo, size: tuple[int, int]) -> CameraInfo:
    """``info`` where it says of which image size it speaks, else the same of published images of (height, width).

    Raises BadInputError: bad_camera_info.
    """
    if info.width or info.height or info.roi.width or info.roi.height:
        return info
    sized, full = copy.copy(info), (size[0] * (info.binning_y or 1), size[1] * (info.binning_x or 1))
    if max(full) > UINT32_MAX:
        found = f"binning of {info.header.frame_id!r} is {info.binning_x}x{info.binning_y}"
        raise BadInputError("bad_camera_info", f"{found}, too large for an image of {size[1]}x{size[0]}")
    sized.height, sized.width = full
    return sized


def intrinsics(info: CameraInfo, image: Pixels) -> Array:
    """Camera matrix [3, 3] in pixels of ``image``: K, less what roi and binning cut off, scaled to its size.

    Raises BadInputError: bad_camera_info.
    """
    return in_image("K", np.array(info.k, dtype=np.float64).reshape(3, 3), info, image)


def in_image(name: str, matrix: Array, info: CameraInfo, image: Pixels) -> Array:
    """A camera matrix [3, 3] of CameraInfo, in pixels of ``image``; raises as `intrinsics`, which it does for K."""
    if not is_camera_matrix(matrix):
        raise BadInputError("bad_camera_info", f"{name} of {info.header.frame_id!r} is {matrix.tolist()}")
    with np.errstate(over="ignore", invalid="ignore"):
        scaled = np.asarray(window(info).to_image(*image.shape[:2]) @ matrix)
    if not np.isfinite(scaled).all():
        found = f"{name} of {info.header.frame_id!r} is {matrix.tolist()}"
        raise BadInputError("bad_camera_info", f"{found}, too large a number")
    return scaled


def is_camera_matrix(matrix: Array) -> bool:
    """Whether these [3, 3] numbers are finite, with positive focal lengths and (0, 0, 1) below."""
    focal_ok = matrix[0, 0] > 0 and matrix[1, 1] > 0
    return bool(np.isfinite(matrix).all() and focal_ok and (matrix[2] == (0.0, 0.0, 1.0)).all())


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
