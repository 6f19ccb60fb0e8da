"""Boxes drawn into a view from above; OpenCV only, no ROS. Boxes as in overlay.py."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from tggbc_ros.core.geometry import box_corners
from tggbc_ros.core.types import Array, Boxes3D
from tggbc_ros.drawing.draw import GREY, WHITE, Image, blank, clip_segments, draw_segments, write_text
from tggbc_ros.drawing.palette import Color, Palette

RING = (70, 66, 64)
VELOCITY_S = 1.0
MIN_SPEED_MPS = 0.3
FAR_PX = 1e4
"""What is farther out is drawn as if it were here: OpenCV does not take any number."""


def birds_eye(
    boxes: Boxes3D,
    palette: Palette,
    truth: Boxes3D | None = None,
    size_px: int = 900,
    range_m: float = 55.0,
    trails: Sequence[tuple[Array, Color]] = (),
) -> Image:
    """View from above, forward up, the lidar in the middle: rings every 10 m, boxes, velocity arrows, legend.

    size_px: width and height. range_m: from the middle to an edge. An arrow ends where the object will be in
    a second. trails: lines [n, 2 or more] in the lidar frame, metres, each in a colour, below the boxes.
    """
    canvas = blank(size_px, size_px)
    lidar2pixel = _lidar2pixel(size_px, range_m)
    _draw_rings(canvas, lidar2pixel, range_m)
    for line, color in trails:
        cv2.polylines(canvas, [_to_pixels(lidar2pixel, line).round().astype(np.int32)], False, color, 2, cv2.LINE_AA)
    if truth is not None:
        for index in range(len(truth)):
            _draw_box(canvas, truth[index : index + 1], lidar2pixel, palette.ground_truth, 1, dashed=True)
    for index in np.argsort(boxes.score):
        color = palette.colors[int(boxes.label[index])]
        _draw_box(canvas, boxes[index : index + 1], lidar2pixel, color, 2, dashed=False)
    _draw_legend(canvas, boxes, palette, truth)
    return canvas


def _lidar2pixel(size_px: int, range_m: float) -> Array:
    """[2, 3] matrix from (x right, y forward, 1) in metres to (u right, v down) in pixels."""
    scale = size_px / (2 * range_m)
    return np.array([[scale, 0.0, size_px / 2], [0.0, -scale, size_px / 2]])


def _to_pixels(lidar2pixel: Array, points: Array) -> Array:
    """Points [..., 2 or more] in metres -> pixels [..., 2]."""
    return points[..., :2] @ lidar2pixel[:, :2].T + lidar2pixel[:, 2]


def _pixel(lidar2pixel: Array, x_m: float, y_m: float) -> tuple[int, int]:
    u, v = np.clip(_to_pixels(lidar2pixel, np.array([x_m, y_m])), -FAR_PX, FAR_PX)
    return round(float(u)), round(float(v))


def _draw_rings(canvas: Image, lidar2pixel: Array, range_m: float) -> None:
    """Rings every 10 m, numbered every 20, and the vehicle's outline (nuScenes' car, lidar in the middle)."""
    center = _pixel(lidar2pixel, 0.0, 0.0)
    for radius_m in range(10, int(range_m) + 1, 10):
        cv2.circle(canvas, center, round(radius_m * lidar2pixel[0, 0]), RING, 1, cv2.LINE_AA)
        if radius_m % 20 == 0:
            u, v = _pixel(lidar2pixel, 0.0, float(radius_m))
            write_text(canvas, f"{radius_m} m", (u + 4, v - 4), GREY, 0.45)
    outline = np.array([[-0.87, -2.1], [-0.87, 1.4], [0.0, 2.1], [0.87, 1.4], [0.87, -2.1]])
    cv2.fillPoly(canvas, [_to_pixels(lidar2pixel, outline).round().astype(np.int32)], GREY, cv2.LINE_AA)


def _draw_box(canvas: Image, box: Boxes3D, lidar2pixel: Array, color: Color, thickness: int, dashed: bool) -> None:
    """One box: outline, a line from its centre to its front, and its velocity if it moves."""
    corners = box_corners(box)[0, :4]
    center = box.center[0, :2]
    lines = [
        *((corners[k, :2], corners[(k + 1) % 4, :2]) for k in range(4)),
        (center, corners[[0, 3], :2].mean(axis=0)),
    ]
    pixels, seen = clip_segments(_to_pixels(lidar2pixel, np.array(lines)), canvas.shape[1], canvas.shape[0])
    draw_segments(canvas, pixels[seen], color, thickness, dashed, rim=False)
    velocity = box.velocity[0]
    if np.isfinite(velocity).all() and np.hypot(*velocity) >= MIN_SPEED_MPS:
        tip = center + VELOCITY_S * velocity
        ends = _pixel(lidar2pixel, *center), _pixel(lidar2pixel, *tip)
        cv2.arrowedLine(canvas, *ends, color, thickness, cv2.LINE_AA, tipLength=0.2)


def _draw_legend(canvas: Image, boxes: Boxes3D, palette: Palette, truth: Boxes3D | None) -> None:
    """What the colours mean, for the classes that are there, with their number."""
    lines = [
        (f"{palette.labels[label]}  {count}", palette.colors[label])
        for label, count in zip(*np.unique(boxes.label, return_counts=True), strict=True)
    ]
    if truth is not None:
        lines.append((f"annotated (dashed)  {len(truth)}", palette.ground_truth))
    for row, (text, color) in enumerate(lines):
        cv2.rectangle(canvas, (12, 14 + 22 * row), (26, 26 + 22 * row), color, -1)
        write_text(canvas, text, (34, 26 + 22 * row), WHITE, 0.5)
