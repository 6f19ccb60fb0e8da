"""Six images and the true boxes on them, side by side."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
import numpy.typing as npt

from tggbc_ros.core.geometry import box_corners, transform_points
from tggbc_ros.core.types import Array
from tggbc_ros.data.drive.background import clip_near
from tggbc_ros.data.drive.frames import DriveFrame

EDGES = [(a, b) for base in (0, 4) for a, b in ((base, base + 1), (base + 1, base + 2), (base + 2, base + 3),
                                                (base + 3, base))] + [(k, k + 4) for k in range(4)]  # fmt: skip
HEADING = ((0, 5), (1, 4))
ROWS = ((2, 0, 1), (4, 3, 5))


def contact_sheet(drive_frame: DriveFrame, colors: Sequence[tuple[int, int, int]]) -> npt.NDArray[np.uint8]:
    """[2 height, 3 width, 3]: front row, back row; boxes in class colours (BGR), a cross on the side they face."""
    images = [image.copy() for image in drive_frame.frame.images]
    truth = drive_frame.boxes()
    seen = drive_frame.annotations.lidar_points[truth.query] > 0
    corners, shades = box_corners(truth)[seen], [colors[label] for label in truth.label[seen]]
    for number, image in enumerate(images):
        _draw(image, corners, shades, drive_frame, number)
    return np.vstack([np.hstack([images[number] for number in row]) for row in ROWS])


def _draw(image: npt.NDArray[np.uint8], corners: Array, colors: Sequence[tuple[int, int, int]], frame: DriveFrame,
          number: int) -> None:  # fmt: skip
    rig = frame.frame.rig
    for box, color in zip(transform_points(rig.lidar2cam[number], corners), colors, strict=True):
        for first, second in (*EDGES, *HEADING):
            _line(image, box[[first, second]], rig.intrinsics[number], color)


def _line(image: npt.NDArray[np.uint8], ends: Array, intrinsics: Array, color: tuple[int, int, int]) -> None:
    visible = clip_near(ends)
    if len(visible) < 2:
        return
    pixels = visible[:2] @ intrinsics.T
    points = np.clip(pixels[:, :2] / pixels[:, 2:] - 0.5, -1e4, 1e4).round().astype(int)
    cv2.line(image, points[0].tolist(), points[1].tolist(), color, 1, cv2.LINE_AA)
