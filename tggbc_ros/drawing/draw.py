"""Lines, dashes, arrows and text in pictures; OpenCV only, no ROS. Pictures are [height, width, 3] uint8 BGR."""

from __future__ import annotations

import math
from collections.abc import Sequence

import cv2
import numpy as np
import numpy.typing as npt

from tggbc_ros.core.types import Array
from tggbc_ros.drawing.palette import Color

Image = npt.NDArray[np.uint8]
Rectangle = tuple[int, int, int, int]
"""Left, top, right, bottom in pixels."""

WHITE, BLACK, GREY, DARK = (255, 255, 255), (0, 0, 0), (150, 150, 150), (32, 28, 26)
DASH_PX = 9
FONT = cv2.FONT_HERSHEY_SIMPLEX
SUBPIXEL_BITS = 4
BRIGHT = 0.179
"""Relative luminance (WCAG 2) above which black text has more contrast than white."""
SLOTS = (0, -1, -2, 1, 2, 3)
"""Where else a plate may go, in its own heights downwards."""


def blank(width: int, height: int) -> Image:
    """A dark picture; OpenCV fills it many times faster than NumPy."""
    canvas = np.empty((height, width, 3), dtype=np.uint8)
    cv2.rectangle(canvas, (0, 0), (width, height), DARK, -1)
    return canvas


def draw_segments(
    image: Image, segments: Array, color: Color, thickness: int, dashed: bool = False, rim: bool = True
) -> None:
    """Draw straight lines [n, 2 ends, 2 (u, v)] in place; a dark rim lets them show on any ground."""
    pieces = _dashes(segments) if dashed else segments
    fixed = np.round(pieces * (1 << SUBPIXEL_BITS)).astype(np.int32)
    for tone, width in ((BLACK, thickness + 1), (color, thickness)):
        if rim or tone is color:
            cv2.polylines(image, list(fixed), False, tone, width, cv2.LINE_AA, SUBPIXEL_BITS)


def clip_segments(segments: Array, width: int, height: int) -> tuple[Array, npt.NDArray[np.bool_]]:
    """Cut lines [n, 2, 2] at the edges of a picture (Liang and Barsky 1984); also which of them are seen at all.

    In floating point, because OpenCV's own does not take what is far outside.
    """
    start, step = segments[:, 0], segments[:, 1] - segments[:, 0]
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        to_low, to_high = -start / step, (np.array([width - 1.0, height - 1.0]) - start) / step
    first, last = np.minimum(to_low, to_high), np.maximum(to_low, to_high)
    inside = (start >= 0) & (start <= (width - 1.0, height - 1.0))
    still = step == 0
    first, last = np.where(still, -np.inf, first), np.where(still, np.where(inside, np.inf, -np.inf), last)
    enter, leave = first.max(axis=1), last.min(axis=1)
    seen = (enter <= leave) & (enter <= 1.0) & (leave >= 0.0)
    shares = np.clip(np.stack([enter, leave], axis=1), 0.0, 1.0)
    return start[:, None] + shares[..., None] * step[:, None], seen


def _dashes(segments: Array) -> Array:
    """Every other piece of each line, of about DASH_PX each."""
    pieces: list[Array] = [np.empty((0, 2, 2))]
    for start, end in segments:
        knots = np.linspace(start, end, max(1, round(math.dist(start, end) / DASH_PX)) + 1)
        pieces.append(np.stack([knots[:-1], knots[1:]], axis=1)[::2])
    return np.concatenate(pieces)


def write_text(image: Image, text: str, place: tuple[int, int], color: Color, scale: float) -> None:
    """Text with a dark rim; of shifted copies, because OpenCV 5 spaces thicker letters wider."""
    for dx, dy, tone in ((-1, 0, BLACK), (1, 0, BLACK), (0, -1, BLACK), (0, 1, BLACK), (0, 0, color)):
        shifted = (place[0] + dx, place[1] + dy)
        cv2.putText(image, text, shifted, FONT, scale, tone, 1, cv2.LINE_AA)


def write_plate(
    image: Image, text: str, corner: tuple[float, float], color: Color, scale: float, taken: Sequence[Rectangle]
) -> Rectangle | None:
    """Text on a plate of that colour, its lower left at ``corner``, or near it if that place is ``taken``.

    Inside the picture. Returns the plate, None where there is no room for it.
    """
    (width, height), base = cv2.getTextSize(text, FONT, scale, 1)
    tall = height + base + 1
    left = round(min(max(corner[0], 0.0), max(image.shape[1] - width - 4.0, 0.0)))
    top = round(max(corner[1], tall)) - tall
    places = ((left, top + slot * tall, left + width + 3, top + (slot + 1) * tall - 1) for slot in SLOTS)
    free = (place for place in places if _inside(place, image) and not any(_overlap(place, other) for other in taken))
    plate = next(free, None)
    if plate is not None:
        cv2.rectangle(image, plate[:2], plate[2:], color, -1)
        tone = BLACK if _luminance(color) > BRIGHT else WHITE
        cv2.putText(image, text, (left + 2, plate[3] + 1 - base), FONT, scale, tone, 1, cv2.LINE_AA)
    return plate


def _luminance(color: Color) -> float:
    """Relative luminance of an sRGB colour (BGR), 0 to 1."""
    share = np.array(color) / 255
    linear = np.where(share <= 0.04045, share / 12.92, ((share + 0.055) / 1.055) ** 2.4)
    return float(linear @ (0.0722, 0.7152, 0.2126))


def _inside(place: Rectangle, image: Image) -> bool:
    return place[1] >= 0 and place[3] < image.shape[0]


def _overlap(first: Rectangle, second: Rectangle) -> bool:
    return first[0] <= second[2] and second[0] <= first[2] and first[1] <= second[3] and second[1] <= first[3]
