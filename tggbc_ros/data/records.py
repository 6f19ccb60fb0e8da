"""What a data set, a sample folder and a bag have in common: one set of images with all that is known about it.

Frames and units as in ``core.types``: ``a2b`` takes column vectors in ``a`` to ``b``; metres, pixels, radians.
The *ego frame* is the vehicle's, REP-103 (x forward, y left, z up), nuScenes' ``ego`` and ROS' ``base_link``.
"""

from __future__ import annotations

import io
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image

from tggbc_ros.core.config import CLASS_NAMES, ModelConfig
from tggbc_ros.core.geometry import invert_rigid
from tggbc_ros.core.preprocess import jpeg_reduction
from tggbc_ros.core.types import Array, Boxes3D, CameraFrame, Rig

CAMERA_NAMES = ("CAM_FRONT", "CAM_FRONT_RIGHT", "CAM_FRONT_LEFT", "CAM_BACK", "CAM_BACK_LEFT", "CAM_BACK_RIGHT")
"""nuScenes' cameras in the order the networks were trained with."""

MAX_PIXELS = 64_000_000
"""Larger images are refused before they are decoded: a few kilobytes can claim to be gigabytes."""

DECODE_FLAGS = {
    1: cv2.IMREAD_COLOR,
    2: cv2.IMREAD_REDUCED_COLOR_2,
    4: cv2.IMREAD_REDUCED_COLOR_4,
    8: cv2.IMREAD_REDUCED_COLOR_8,
}
"""How OpenCV decodes a JPEG that much smaller."""


@dataclass(frozen=True, eq=False)
class CameraShot:
    """One image, not yet decoded, and where its camera was when it was taken.

    jpeg: a file or its content. intrinsics: [3, 3], pixels. cam2ego: [4, 4], the mounting.
    ego2global: [4, 4], ego pose at this image's own stamp.
    """

    name: str
    timestamp_ns: int
    jpeg: Path | bytes
    width: int
    height: int
    intrinsics: Array
    cam2ego: Array
    ego2global: Array

    def jpeg_bytes(self) -> bytes:
        """The encoded image; raises FileNotFoundError naming camera and file."""
        if isinstance(self.jpeg, bytes):
            return self.jpeg
        if not self.jpeg.is_file():
            raise FileNotFoundError(f"image of {self.name} at {self.timestamp_ns} ns: no file {self.jpeg}")
        return self.jpeg.read_bytes()

    def image(self, needed: ModelConfig | None = None) -> npt.NDArray[np.uint8]:
        """The decoded image [height, width, 3], BGR; raises ValueError if broken or of another size.

        needed: the network for which a JPEG is decoded smaller, where `jpeg_reduction` says that this is enough.
        """
        source = self.jpeg if isinstance(self.jpeg, Path) else f"{len(self.jpeg)} bytes"
        where = f"image of {self.name} at {self.timestamp_ns} ns ({source})"
        encoded = self.jpeg_bytes()
        kind, width, height = _read_head(encoded, where)
        if (width, height) != (self.width, self.height):
            raise ValueError(f"{where} is {width}x{height}, expected {self.width}x{self.height}")
        if width * height > MAX_PIXELS:
            raise ValueError(f"{where} is {width}x{height}, expected at most {MAX_PIXELS} pixels")
        by = jpeg_reduction(height, width, needed) if needed and kind in ("JPEG", "MPO") else 1
        flags = DECODE_FLAGS[by] | cv2.IMREAD_IGNORE_ORIENTATION
        decoded = cv2.imdecode(np.frombuffer(encoded, dtype=np.uint8), flags)
        if decoded is None or decoded.shape[:2] != (-(-height // by), -(-width // by)):
            raise ValueError(f"{where} cannot be decoded")
        return decoded.astype(np.uint8, copy=False)


def _read_head(encoded: bytes, where: str) -> tuple[str, int, int]:
    """Kind of file, width and height, without decoding any of it."""
    try:
        with Image.open(io.BytesIO(encoded), formats=("JPEG", "PNG", "BMP")) as file:
            return str(file.format), *file.size
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise ValueError(f"{where} cannot be decoded: {error}") from error


@dataclass(frozen=True, eq=False)
class Annotations:
    """Ground truth of one sample, in the lidar frame at the sample's time.

    boxes: score 1, label an index into ``core.config.CLASS_NAMES``, velocity NaN where unknown.
    instances: per box a token that follows the object through its scene. num_points: per box the lidar
    (and, where the data set has it, radar) points inside. ignored: objects left out because they are of no
    detection class.
    """

    boxes: Boxes3D
    instances: tuple[str, ...]
    num_points: npt.NDArray[np.int64]
    ignored: int = 0

    def __post_init__(self) -> None:
        if not len(self.boxes) == len(self.instances) == len(self.num_points):
            counts = len(self.boxes), len(self.instances), len(self.num_points)
            raise ValueError(f"boxes, instances and num_points have lengths {counts}, expected equal ones")

    @property
    def class_names(self) -> tuple[str, ...]:
        """Class of each box."""
        return tuple(CLASS_NAMES[label] for label in self.boxes.label)


@dataclass(frozen=True, eq=False)
class Sample:
    """One set of images, its reference time and ego pose, and its annotations if it has any.

    timestamp_ns: reference time. ego2global: [4, 4] at that time. lidar2ego: [4, 4], the mounting.
    cameras: in network order. is_keyframe: a nuScenes keyframe (2 Hz), else a sweep between two.
    """

    token: str
    timestamp_ns: int
    ego2global: Array
    lidar2ego: Array
    cameras: tuple[CameraShot, ...]
    annotations: Annotations | None = None
    is_keyframe: bool = True

    @property
    def lidar2global(self) -> Array:
        """Pose [4, 4] of the lidar frame at the reference time."""
        return self.ego2global @ self.lidar2ego

    def rig(self) -> Rig:
        """Calibration with the vehicle's motion between reference time and each image in it.

        lidar2cam = inv(cam2ego) inv(ego2global at the image) ego2global at the reference lidar2ego,
        as nuScenes' own tools chain it.
        """
        lidar2cam = [invert_rigid(shot.ego2global @ shot.cam2ego) @ self.lidar2global for shot in self.cameras]
        return Rig(
            names=tuple(shot.name for shot in self.cameras),
            intrinsics=np.stack([shot.intrinsics for shot in self.cameras]),
            lidar2cam=np.stack(lidar2cam),
        )

    def camera_frame(self, needed: ModelConfig | None = None) -> CameraFrame:
        """Decode the images: what ``Detector.step`` takes. needed: as for `image`; intrinsics follow the size."""
        images = tuple(shot.image(needed) for shot in self.cameras)
        scales = [
            np.diag((image.shape[1] / shot.width, image.shape[0] / shot.height, 1.0))
            for shot, image in zip(self.cameras, images, strict=True)
        ]
        rig = self.rig()
        rig = replace(rig, intrinsics=np.stack(scales) @ rig.intrinsics)
        return CameraFrame(images, rig, self.timestamp_ns, self.lidar2global)
