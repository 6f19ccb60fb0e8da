"""Boxes drawn into camera images and into a view from above; OpenCV only, no ROS.

Boxes come in the lidar frame (x right, y forward, z up; metres), images as [height, width, 3] uint8 BGR.
Detections are solid in their class colour, ground truth is dashed white.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import yaml

from tggbc_ros.core.geometry import box_corners, transform_points
from tggbc_ros.core.types import Array, Boxes3D, CameraFrame

Image = npt.NDArray[np.uint8]
Color = tuple[int, int, int]

MOSAIC = (("CAM_FRONT_LEFT", "CAM_FRONT", "CAM_FRONT_RIGHT"), ("CAM_BACK_LEFT", "CAM_BACK", "CAM_BACK_RIGHT"))
"""Rows of the mosaic: as if looking around from the vehicle, no image mirrored."""

WHITE, BLACK, GREY, DARK = (255, 255, 255), (0, 0, 0), (150, 150, 150), (32, 28, 26)
NEAR_M = 0.3
DASH_PX = 9
VELOCITY_S = 1.0
MIN_SPEED_MPS = 0.3
FACES_EDGES = ((0, 1), (1, 2), (2, 3), (3, 0), (4, 5), (5, 6), (6, 7), (7, 4), (0, 4), (1, 5), (2, 6), (3, 7))
"""Pairs of corners in the order of ``core.geometry.box_corners``: bottom, top, uprights."""


@dataclass(frozen=True)
class Palette:
    """Colour of each class, in the order of a network's class names; BGR."""

    names: tuple[str, ...]
    colors: tuple[Color, ...]


def load_palette(class_names: Sequence[str], path: Path | None = None) -> Palette:
    """Colours from ``config/classes.yaml`` (or another file of the same form: class -> [red, green, blue]).

    Raises ValueError naming the file and the class that has no proper colour.
    """
    file = path or find_classes_file()
    colors: dict[str, list[int]] = yaml.safe_load(file.read_text(encoding="utf-8"))
    for name in class_names:
        rgb = colors.get(name)
        if not (isinstance(rgb, list) and len(rgb) == 3 and all(isinstance(v, int) and 0 <= v <= 255 for v in rgb)):
            raise ValueError(f"{file}: colour of {name} is {rgb}, expected three whole numbers from 0 to 255")
    return Palette(tuple(class_names), tuple((colors[n][2], colors[n][1], colors[n][0]) for n in class_names))


@cache
def find_classes_file() -> Path:
    """``config/classes.yaml`` of the source tree, else of the installed package."""
    source = Path(__file__).resolve().parents[2] / "config" / "classes.yaml"
    if source.is_file():
        return source
    from ament_index_python.packages import get_package_share_directory

    return Path(get_package_share_directory("tggbc_ros")) / "config" / "classes.yaml"


def enlarged(frame: CameraFrame, width: int) -> CameraFrame:
    """The frame with images of that width, intrinsics to match, so that lines drawn into small images stay fine."""
    images, intrinsics = [], frame.rig.intrinsics.copy()
    for index, image in enumerate(frame.images):
        height = round(image.shape[0] / image.shape[1] * width)
        intrinsics[index] = np.diag([width / image.shape[1], height / image.shape[0], 1.0]) @ intrinsics[index]
        images.append(cv2.resize(image, (width, height), interpolation=cv2.INTER_CUBIC).astype(np.uint8, copy=False))
    return replace(frame, images=tuple(images), rig=replace(frame.rig, intrinsics=intrinsics))


def draw_detections(
    image: Image, boxes: Boxes3D, intrinsics: Array, lidar2cam: Array, palette: Palette, labels: bool = True
) -> None:
    """Draw boxes into the image in place, far ones first: edges, a line to the front, class and score."""
    corners = transform_points(lidar2cam, box_corners(boxes))
    thickness = _thickness(image)
    for index in np.argsort(-corners[:, :, 2].mean(axis=1)):
        label = int(boxes.label[index])
        drawn = _draw_box(image, corners[index], intrinsics, palette.colors[label], thickness, dashed=False)
        if drawn is not None and labels:
            _draw_label(image, drawn, f"{palette.names[label]} {boxes.score[index]:.2f}", palette.colors[label])


def draw_ground_truth(image: Image, boxes: Boxes3D, intrinsics: Array, lidar2cam: Array) -> None:
    """Draw annotated boxes into the image in place, dashed white, with a line to the front."""
    for corners in transform_points(lidar2cam, box_corners(boxes)):
        _draw_box(image, corners, intrinsics, WHITE, max(1, _thickness(image) - 1), dashed=True)


def draw_cameras(
    frame: CameraFrame, boxes: Boxes3D, palette: Palette, truth: Boxes3D | None = None, labels: bool = True
) -> dict[str, Image]:
    """Copies of the frame's images by camera name, with detections and ground truth projected into each."""
    drawn = {}
    for index, name in enumerate(frame.rig.names):
        image = frame.images[index].copy()
        intrinsics, lidar2cam = frame.rig.intrinsics[index], frame.rig.lidar2cam[index]
        if truth is not None:
            draw_ground_truth(image, truth, intrinsics, lidar2cam)
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
    scale = min(0.7, max(0.45, cell_width / 800))
    canvas = np.full((cell_height * len(rows), cell_width * max(map(len, rows)), 3), DARK, dtype=np.uint8)
    for row, names in enumerate(rows):
        for column, name in enumerate(names):
            cell = canvas[row * cell_height : (row + 1) * cell_height, column * cell_width : (column + 1) * cell_width]
            if name in images:
                height = round(images[name].shape[0] / images[name].shape[1] * cell_width)
                cell[:height] = cv2.resize(images[name], (cell_width, height), interpolation=cv2.INTER_AREA)
            write_text(cell, name, (round(12 * scale), round(36 * scale)), WHITE, scale)
    return canvas


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
    canvas = np.full((size_px, size_px, 3), DARK, dtype=np.uint8)
    lidar2pixel = _lidar2pixel(size_px, range_m)
    _draw_rings(canvas, lidar2pixel, range_m)
    for line, color in trails:
        cv2.polylines(canvas, [np.array(_to_pixels(lidar2pixel, line))], False, color, 2, cv2.LINE_AA)
    if truth is not None:
        for index in range(len(truth)):
            _draw_from_above(canvas, truth[index : index + 1], lidar2pixel, WHITE, 1, dashed=True)
    for index in np.argsort(boxes.score):
        color = palette.colors[int(boxes.label[index])]
        _draw_from_above(canvas, boxes[index : index + 1], lidar2pixel, color, 2, dashed=False)
    _draw_legend(canvas, boxes, palette, truth)
    return canvas


def overview(frame: CameraFrame, boxes: Boxes3D, palette: Palette, truth: Boxes3D | None = None) -> Image:
    """The mosaic of all cameras with the view from above to its right."""
    cameras = mosaic(draw_cameras(frame, boxes, palette, truth))
    return np.hstack([cameras, birds_eye(boxes, palette, truth, size_px=cameras.shape[0])])


def _thickness(image: Image) -> int:
    return max(1, round(int(image.shape[1]) / 600))


def _draw_box(
    image: Image, corners: Array, intrinsics: Array, color: Color, thickness: int, dashed: bool
) -> tuple[int, int] | None:
    """Edges of one box, corners [8, 3] in the camera frame; returns where its label goes, None if out of view."""
    heading = corners[:4].mean(axis=0), corners[[0, 3]].mean(axis=0)
    segments = [heading, *((corners[a], corners[b]) for a, b in FACES_EDGES)]
    found = (_visible_segment(image, start, end, intrinsics) for start, end in segments)
    visible = [segment for segment in found if segment is not None]
    for tone, width in ((BLACK, thickness + 2), (color, thickness)):  # a dark rim, to show on any background
        for start_px, end_px in visible:
            _line(image, start_px, end_px, tone, width, dashed)
    if not visible:
        return None
    ends = [end for segment in visible for end in segment]
    return min(x for x, _ in ends), min(y for _, y in ends)


def _visible_segment(
    image: Image, start: Array, end: Array, intrinsics: Array
) -> tuple[tuple[int, int], tuple[int, int]] | None:
    """A line in the camera frame -> its two ends in pixels, clipped at the near plane and the image's edges."""
    if max(start[2], end[2]) <= NEAR_M:
        return None
    ends = []
    for this, other in ((start, end), (end, start)):
        point = this
        if this[2] < NEAR_M:
            share = (NEAR_M - this[2]) / (other[2] - this[2])
            point = this + share * (other - this)
        u, v, depth = intrinsics @ point
        ends.append((round(float(u / depth)), round(float(v / depth))))
    inside, first, second = cv2.clipLine((0, 0, image.shape[1], image.shape[0]), ends[0], ends[1])
    if not inside:
        return None
    return (int(first[0]), int(first[1])), (int(second[0]), int(second[1]))


def _line(
    image: Image, start: tuple[int, int], end: tuple[int, int], color: Color, thickness: int, dashed: bool
) -> None:
    """A whole or dashed line."""
    pieces = max(1, round(math.dist(start, end) / DASH_PX)) if dashed else 1
    knots = [(int(x), int(y)) for x, y in np.linspace(start, end, pieces + 1).round()]
    for piece in range(0, pieces, 2):
        cv2.line(image, knots[piece], knots[piece + 1], color, thickness, cv2.LINE_AA)


def _draw_label(image: Image, corner: tuple[int, int], text: str, color: Color) -> None:
    """Text on a plate in the class colour, above the box and inside the image."""
    scale = image.shape[1] / 2600
    (width, height), base = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, scale, 1)
    x = min(max(corner[0], 0), max(image.shape[1] - width, 0))
    y = max(corner[1] - base, height)
    cv2.rectangle(image, (x, y - height - 1), (x + width, y + base), color, -1)
    luminance = 0.114 * color[0] + 0.587 * color[1] + 0.299 * color[2]
    tone = BLACK if luminance > 110 else WHITE
    cv2.putText(image, text, (x, y), cv2.FONT_HERSHEY_SIMPLEX, scale, tone, 1, cv2.LINE_AA)


def write_text(image: Image, text: str, place: tuple[int, int], color: Color, scale: float) -> None:
    """Text with a dark rim; of shifted copies, because OpenCV 5 spaces thicker letters wider."""
    for dx, dy, tone in ((-1, 0, BLACK), (1, 0, BLACK), (0, -1, BLACK), (0, 1, BLACK), (0, 0, color)):
        shifted = (place[0] + dx, place[1] + dy)
        cv2.putText(image, text, shifted, cv2.FONT_HERSHEY_SIMPLEX, scale, tone, 1, cv2.LINE_AA)


def _lidar2pixel(size_px: int, range_m: float) -> Array:
    """[2, 3] matrix from (x right, y forward, 1) in metres to (u right, v down) in pixels."""
    scale = size_px / (2 * range_m)
    return np.array([[scale, 0.0, size_px / 2], [0.0, -scale, size_px / 2]])


def _to_pixels(lidar2pixel: Array, points: Array) -> list[tuple[int, int]]:
    """Points [n, 2 or more] in metres -> pixels."""
    pixels = points[:, :2] @ lidar2pixel[:, :2].T + lidar2pixel[:, 2]
    return [(round(float(u)), round(float(v))) for u, v in pixels]


def _draw_rings(canvas: Image, lidar2pixel: Array, range_m: float) -> None:
    """Rings every 10 m, numbered every 20, and the vehicle's outline (nuScenes' car, lidar in the middle)."""
    (center,) = _to_pixels(lidar2pixel, np.zeros((1, 2)))
    for radius_m in range(10, int(range_m) + 1, 10):
        cv2.circle(canvas, center, round(radius_m * lidar2pixel[0, 0]), (70, 66, 64), 1, cv2.LINE_AA)
        if radius_m % 20 == 0:
            (place,) = _to_pixels(lidar2pixel, np.array([[0.0, float(radius_m)]]))
            write_text(canvas, f"{radius_m} m", (place[0] + 4, place[1] - 4), GREY, 0.45)
    outline = np.array([[-0.87, -2.1], [-0.87, 1.4], [0.0, 2.1], [0.87, 1.4], [0.87, -2.1]])
    cv2.fillPoly(canvas, [np.array(_to_pixels(lidar2pixel, outline))], GREY, cv2.LINE_AA)


def _draw_from_above(
    canvas: Image, box: Boxes3D, lidar2pixel: Array, color: Color, thickness: int, dashed: bool
) -> None:
    """One box: outline, a line from its centre to its front, and its velocity if it moves."""
    corners = box_corners(box)[0, :4]
    pixels = _to_pixels(lidar2pixel, corners)
    for start, end in zip(pixels, [*pixels[1:], pixels[0]], strict=True):
        _line(canvas, start, end, color, thickness, dashed)
    center = box.center[0, :2]
    middle, front = _to_pixels(lidar2pixel, np.stack([center, corners[[0, 3], :2].mean(axis=0)]))
    _line(canvas, middle, front, color, thickness, dashed)
    velocity = box.velocity[0]
    if np.isfinite(velocity).all() and np.hypot(*velocity) >= MIN_SPEED_MPS:
        (tip,) = _to_pixels(lidar2pixel, (center + VELOCITY_S * velocity)[None])
        cv2.arrowedLine(canvas, middle, tip, color, thickness, cv2.LINE_AA, tipLength=0.2)


def _draw_legend(canvas: Image, boxes: Boxes3D, palette: Palette, truth: Boxes3D | None) -> None:
    """What the colours mean, for the classes that are there, with their number."""
    lines = [
        (f"{palette.names[label]}  {count}", palette.colors[label])
        for label, count in zip(*np.unique(boxes.label, return_counts=True), strict=True)
    ]
    if truth is not None:
        lines.append((f"annotated (dashed)  {len(truth)}", WHITE))
    for row, (text, color) in enumerate(lines):
        cv2.rectangle(canvas, (12, 14 + 22 * row), (26, 26 + 22 * row), color, -1)
        write_text(canvas, text, (34, 26 + 22 * row), WHITE, 0.5)
