"""An image message -> what is inferred on: pixels without distortion, their intrinsics, the cells to look at."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

import cv2
from sensor_msgs.msg import CameraInfo, CompressedImage, Image

from tggbc_ros.core.config import ModelConfig
from tggbc_ros.core.types import Array
from tggbc_ros.core.visible import Mask
from tggbc_ros.ros import convert
from tggbc_ros.ros.calibration_file import CameraCalibration
from tggbc_ros.ros.drops import BadInputError
from tggbc_ros.ros.images.ego_mask import EgoMasks
from tggbc_ros.ros.images.lenses import Lenses, rectified_intrinsics
from tggbc_ros.ros.plausibility import Told

Message: TypeAlias = Image | CompressedImage


@dataclass(frozen=True, eq=False)
class Picture:
    """One camera's image. pixels: [height, width, 3], BGR, a pinhole's. intrinsics: [3, 3], in those pixels.

    cells: [rows, columns] that the vehicle's own body leaves free; None: all of them. told: what CameraInfo said.
    lacks: as `convert.Decoded`.
    """

    pixels: convert.Pixels
    intrinsics: Array
    cells: Mask | None
    told: Told
    lacks: str = ""


class Pictures:
    """Makes them, on whichever thread asks, several at once; what is cached of a camera may at worst be made twice.

    needed: the network whose image size JPEGs are decoded for, as `convert.decoded`; None: they are decoded in full.
    published: the camera's newest CameraInfo, None before the first. calibration: used where none is published.
    rectified: whether the distortion that CameraInfo tells of has been taken out before the images were published.
    """

    def __init__(
        self,
        needed: ModelConfig | None,
        published: Callable[[str], CameraInfo | None],
        calibration: Mapping[str, CameraCalibration],
        masks: EgoMasks,
        rectified: bool = False,
    ) -> None:
        self._needed = needed
        self._published = published
        self._calibration = calibration
        self._masks = masks
        self._rectified = rectified
        self._lenses = Lenses()

    def is_calibrated(self, camera: str) -> bool:
        """Whether intrinsics are known by now; without them `make` fails."""
        return camera in self._calibration or self._published(camera) is not None

    def make(self, camera: str, message: Message) -> Picture:
        """Decode, and take out what distortion there is; raises BadInputError for an image or calibration of no use."""
        try:
            return self._make(camera, message)
        except (cv2.error, MemoryError) as error:  # an image too large for what memory is left
            raise BadInputError("bad_image", str(error)) from error

    def _make(self, camera: str, message: Message) -> Picture:
        found = convert.decoded(message, self._needed)
        pixels, info = found.pixels, convert.with_size(self._info(camera), found.full_size)
        lens = None if self._rectified else self._lenses.lens(camera, info, pixels)
        cells = self._masks.cells(camera, pixels.shape[:2], lens)
        told = _told(info, found, self._rectified)
        if lens is None:
            matrix = rectified_intrinsics(info, pixels) if self._rectified else convert.intrinsics(info, pixels)
            return Picture(pixels, matrix, cells, told, found.lacks)
        return Picture(lens.straighten(pixels), lens.intrinsics, cells, told, found.lacks)

    def _info(self, camera: str) -> CameraInfo:
        info = self._published(camera)
        if info is None and camera in self._calibration:
            return self._calibration[camera].info()
        if info is None:
            raise BadInputError("no_camera_info", "none received")
        return info


def _told(info: CameraInfo, found: convert.Decoded, rectified: bool) -> Told:
    """What CameraInfo says of the image as published. Focal lengths are K's: P may stretch what it straightens."""
    said = convert.window(info)
    scale = said.to_image(*found.full_size)
    fx, fy = float(info.k[0] * scale[0, 0]), float(info.k[4] * scale[1, 1])
    usable = not rectified and 0 < fx < math.inf and 0 < fy < math.inf
    return Told(said.size, found.full_size, (fx, fy) if usable else None)
