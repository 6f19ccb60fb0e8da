"""Distorted images -> what a pinhole camera would have seen, by maps that are kept while the calibration stays."""

from __future__ import annotations

from dataclasses import dataclass, field

import cv2
import numpy as np
from sensor_msgs.msg import CameraInfo

from tggbc_ros.core.types import Array
from tggbc_ros.ros.convert import Pixels, in_image, intrinsics, is_camera_matrix
from tggbc_ros.ros.distortion import Distortion, distortion, is_distorted
from tggbc_ros.ros.drops import BadInputError
from tggbc_ros.ros.foreign import foreign


@dataclass(frozen=True, eq=False)
class Lens:
    """One camera's way from distorted pixels to straight ones, for one image size.

    intrinsics: [3, 3], pixels of the straight image, which is as large as the distorted one. maps: as cv2.remap
    takes them; they refer to the whole image at once, so that a frame costs one interpolation a pixel.
    """

    intrinsics: Array
    maps: tuple[Pixels, Pixels] = field(repr=False)

    def straighten(self, pixels: Pixels, interpolation: int = cv2.INTER_LINEAR) -> Pixels:
        """The image [height, width, 3] or a mask [height, width] without distortion; 0 where nothing was seen."""
        with foreign("bad_image", "OpenCV cannot straighten it"):
            return np.asarray(cv2.remap(pixels, *self.maps, interpolation), np.uint8)


class Lenses:
    """Every camera's lens, made anew only when its CameraInfo or its image size changes; any thread may ask."""

    def __init__(self) -> None:
        self._known: dict[str, tuple[tuple[object, ...], Lens]] = {}

    def lens(self, camera: str, info: CameraInfo, image: Pixels) -> Lens | None:
        """What takes the distortion out of ``image``; None where CameraInfo says that there is none.

        Raises BadInputError: unknown_distortion, or bad_camera_info for numbers that do not fit the model.
        """
        if not is_distorted(info):
            return None
        roi = info.roi
        cut = (roi.x_offset, roi.y_offset, roi.width, roi.height, info.binning_x, info.binning_y)
        calibration = (info.k.tobytes(), info.p.tobytes(), info.d.tobytes(), info.width, info.height)
        key = (info.distortion_model, image.shape[:2], *calibration, *cut)
        known = self._known.get(camera)
        if known is None or known[0] != key:
            known = self._known[camera] = key, make_lens(info, image)
        return known[1]


def make_lens(info: CameraInfo, image: Pixels) -> Lens:
    """The lens of a camera whose images are distorted; raises BadInputError as `Lenses.lens`.

    The straight image has the intrinsics of CameraInfo.P where that holds any, else those of K. CameraInfo.R is not
    applied: TF says where the camera that took the image looks, and R would turn it.
    """
    bend = _distortion(info)
    matrix = intrinsics(info, image)
    straight = _straight_intrinsics(info, image, matrix)
    size = image.shape[1], image.shape[0]
    with foreign("bad_camera_info", f"calibration of {info.header.frame_id!r} has no map from K {matrix.tolist()}"):
        model = cv2.fisheye if bend.fisheye else cv2
        maps = model.initUndistortRectifyMap(matrix, bend.coefficients, np.eye(3), straight, size, cv2.CV_16SC2)
    return Lens(straight, maps)


def _distortion(info: CameraInfo) -> Distortion:
    """What bends the camera's images; coefficients of 0 where nothing does."""
    try:
        found = distortion(info.distortion_model, info.d)
    except BadInputError as error:
        what, _, said = error.detail.partition(" is ")
        raise BadInputError(error.cause, f"{what} of {info.header.frame_id!r} is {said}") from error
    return found or Distortion(False, np.zeros(4))


def _straight_intrinsics(info: CameraInfo, image: Pixels, matrix: Array) -> Array:
    """The left half of P, in pixels of the image, where it is a camera matrix; else K's ``matrix``."""
    projection = camera_matrix_of_p(info)
    if projection is None:
        return matrix
    return in_image("P", projection, info, image)


def rectified_intrinsics(info: CameraInfo, image: Pixels) -> Array:
    """Camera matrix [3, 3] of an ``image`` that was rectified before it was published: the left half of P.

    K holds for it too where nothing was bent and P is all 0, as simple publishers leave it. Raises BadInputError:
    bad_camera_info, where P is none otherwise.
    """
    if not any(info.p) and not is_distorted(info):
        return intrinsics(info, image)
    return in_image("P", _left_of_p(info), info, image)


def camera_matrix_of_p(info: CameraInfo) -> Array | None:
    """The left half of CameraInfo.P [3, 3], where it is a camera matrix."""
    projection = _left_of_p(info)
    return projection if is_camera_matrix(projection) else None


def _left_of_p(info: CameraInfo) -> Array:
    return np.array(info.p, np.float64).reshape(3, 4)[:, :3]
