"""Boxes drawn into camera images; OpenCV only, no ROS.

Boxes come in the lidar frame (x right, y forward, z up; metres), images as [height, width, 3] uint8 BGR.
Detections are solid in their class colour, ground truth is dashed. The view from above is in birds_eye.py.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import cv2
import numpy as np

from tggbc_ros.core.geometry import box_corners, transform_points
from tggbc_ros.core.types import Array, Boxes3D, CameraFrame
from tggbc_ros.drawing.draw import (
    GREY,
    WHITE,
    Image,
    Rectangle,
    blank,
    clip_segments,
    draw_segments,
    write_plate,
    write_text,
)
from tggbc_ros.drawing.palette import Palette

MOSAIC = (("CAM_FRONT_LEFT", "CAM_FRONT", "CAM_FRONT_RIGHT"), ("CAM_BACK_LEFT", "CAM_BACK", "CAM_BACK_RIGHT"))
"""Rows of the mosaic: as if looking around from the vehicle, no image mirrored."""

NEAR_M = 0.3
FAR_M = 1e6
"""A box with a corner farther away is not drawn: cut at the near plane, its lines would be all rounding error."""
SMALL = 16
"""A box that covers less of an image's width than one in so many has thin edges, or it would be all edge."""
EDGES = ((0, 1), (1, 2), (2, 3), (3, 0), (4, 5), (5, 6), (6, 7), (7, 4), (0, 4), (1, 5), (2, 6), (3, 7))
"""Pairs of corners in the order of ``core.geometry.box_corners``: bottom, top, uprights."""


def resized(image: Image, intrinsics: Array, width: int) -> tuple[Image, Array]:
    """A copy of that width, and the intrinsics [3, 3] that go with it."""
    height = max(1, round(image.shape[0] / image.shape[1] * width))
    scale = np.diag([width / image.shape[1], height / image.shape[0], 1.0])
    return _fitted(image, width, height), scale @ intrinsics


def at_width(frame: CameraFrame, width: int) -> CameraFrame:
    """The frame with images of that width, so that lines and text are as fine in any of them."""
    pairs = [resized(*pair, width) for pair in zip(frame.images, frame.rig.intrinsics, strict=True)]
    rig = replace(frame.rig, intrinsics=np.stack([intrinsics for _, intrinsics in pairs]))
    return replace(frame, images=tuple(image for image, _ in pairs), rig=rig)


def draw_detections(
    image: Image, boxes: Boxes3D, intrinsics: Array, lidar2cam: Array, palette: Palette, labels: bool = True
) -> None:
    """Draw boxes into the image in place, far ones first: edges, a line to the front, label and score.

    Of labels that would cover each other the better ones have the choice; one without room is left out.
    """
    drawn = _project(image, boxes, intrinsics, lidar2cam)
    depth = dict(zip(drawn, transform_points(lidar2cam, boxes.center[list(drawn)])[:, 2], strict=True))
    for index in sorted(drawn, key=lambda index: -depth[index]):
        thickness = _thickness(image) if np.ptp(drawn[index], axis=(0, 1)).max() >= image.shape[1] / SMALL else 1
        draw_segments(image, drawn[index], palette.colors[int(boxes.label[index])], thickness)
    taken: list[Rectangle] = [(0, 0, round(0.4 * image.shape[1]), round(0.08 * image.shape[0]))]  # for a name
    for index in sorted(drawn, key=lambda index: -boxes.score[index]) if labels else ():
        label, corner = int(boxes.label[index]), drawn[index].min(axis=(0, 1))
        text = f"{palette.labels[label]} {boxes.score[index]:.2f}"
        plate = write_plate(image, text, (corner[0], corner[1]), palette.colors[label], _text_scale(image), taken)
        taken += [plate] if plate else []


def draw_ground_truth(image: Image, boxes: Boxes3D, intrinsics: Array, lidar2cam: Array, palette: Palette) -> None:
    """Draw annotated boxes into the image in place, dashed, with a line to the front."""
    for segments in _project(image, boxes, intrinsics, lidar2cam).values():
        draw_segments(image, segments, palette.ground_truth, max(1, _thickness(image) - 1), dashed=True)


def draw_cameras(
    frame: CameraFrame, boxes: Boxes3D, palette: Palette, truth: Boxes3D | None = None, labels: bool = True
) -> dict[str, Image]:
    """Copies of the frame's images by camera name, with detections and ground truth projected into each."""
    drawn = {}
    for index, name in enumerate(frame.rig.names):
        image = frame.images[index].copy()
        intrinsics, lidar2cam = frame.rig.intrinsics[index], frame.rig.lidar2cam[index]
        if truth is not None:
            draw_ground_truth(image, truth, intrinsics, lidar2cam, palette)
        draw_detections(image, boxes, intrinsics, lidar2cam, palette, labels)
        drawn[name] = image
    return drawn


def mosaic(images: Mapping[str, Image], cell_width: int = 800, rows: Sequence[Sequence[str]] = MOSAIC) -> Image:
    """Images side by side, named, scaled to one width; a camera that is missing leaves its cell dark.

    Raises ValueError naming a camera that has no place in ``rows``.
    """
    unplaced = set(images) - {name for row in rows for name in row}
    if unplaced or not images:
        raise ValueError(f"cameras {sorted(unplaced)} have no place in the mosaic {rows}")
    cell_height = round(max(image.shape[0] / image.shape[1] for image in images.values()) * cell_width)
    scale = min(0.7, max(0.45, cell_width / 1000))
    canvas = blank(cell_width * max(map(len, rows)), cell_height * len(rows))
    for row, names in enumerate(rows):
        for column, name in enumerate(names):
            cell = canvas[row * cell_height : (row + 1) * cell_height, column * cell_width : (column + 1) * cell_width]
            if name in images:
                height = round(images[name].shape[0] / images[name].shape[1] * cell_width)
                fits = images[name].shape[:2] == (height, cell_width)
                cell[:height] = images[name] if fits else _fitted(images[name], cell_width, height)
            text, tone = (name, WHITE) if name in images else (f"{name}: no image", GREY)
            write_text(cell, text, (round(12 * scale), round(36 * scale)), tone, scale)
    return canvas


def _thickness(image: Image) -> int:
    return max(1, round(int(image.shape[1]) / 400))


def _text_scale(image: Image) -> float:
    return max(0.35, int(image.shape[1]) / 1800)


def _fitted(image: Image, width: int, height: int) -> Image:
    """A copy of that size. Shrunk by a whole number first, which OpenCV does many times faster than by any other."""
    whole = min(image.shape[1] // width, image.shape[0] // height)
    if whole > 1:
        size = image.shape[1] // whole, image.shape[0] // whole
        image = cv2.resize(image, size, interpolation=cv2.INTER_AREA).astype(np.uint8, copy=False)
    how = cv2.INTER_LINEAR if width < image.shape[1] else cv2.INTER_CUBIC
    return cv2.resize(image, (width, height), interpolation=how).astype(np.uint8, copy=False)


def _project(image: Image, boxes: Boxes3D, intrinsics: Array, lidar2cam: Array) -> dict[int, Array]:
    """Number of each box in view -> its edges and its line to the front [n, 2, 2] in pixels, inside the image.

    Any box will do, be its numbers as large as they may, or NaN.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        corners = transform_points(lidar2cam, box_corners(boxes))
    near = (np.abs(corners) < FAR_M).all(axis=(1, 2))
    corners, numbers = corners[near], np.nonzero(near)[0]
    ends = corners[:, EDGES, :]
    heading = np.stack([corners[:, :4].mean(axis=1), corners[:, (0, 3)].mean(axis=1)], axis=1)
    segments = np.concatenate([ends, heading[:, None]], axis=1)
    owner = np.repeat(numbers, segments.shape[1])
    segments, ahead = _clip_near(segments.reshape(-1, 2, 3))
    pixels = segments[ahead] @ intrinsics.T
    lines, seen = clip_segments(pixels[..., :2] / pixels[..., 2:], image.shape[1], image.shape[0])
    lines, owner = lines[seen], owner[ahead][seen]
    return {int(index): lines[owner == index] for index in np.unique(owner)}


def _clip_near(segments: Array) -> tuple[Array, Array]:
    """Cut lines [n, 2, 3] in the camera frame at the near plane; also which have anything before it."""
    depth = segments[..., 2]
    ahead = depth.max(axis=1) > NEAR_M
    run = depth[:, ::-1] - depth
    share = np.where(depth < NEAR_M, (NEAR_M - depth) / np.where(run == 0, 1.0, run), 0.0)
    return segments + share[..., None] * (segments[:, ::-1] - segments), ahead
