"""Made-up boxes, and how to find what was drawn of them."""

from __future__ import annotations

import numpy as np

from tggbc_ros.core.config import CLASS_NAMES
from tggbc_ros.core.types import Boxes3D
from tggbc_ros.drawing.palette import load_palette

PALETTE = load_palette(CLASS_NAMES)
CAR = PALETTE.colors[0]


def box(x: float, y: float, yaw: float = 0.0, velocity: tuple[float, float] = (0.0, 0.0), label: int = 0) -> Boxes3D:
    """A cube of 2 m in the lidar frame."""
    return Boxes3D(
        center=np.array([[x, y, 0.0]]),
        size=np.full((1, 3), 2.0),
        yaw=np.array([yaw]),
        velocity=np.array([velocity]),
        score=np.array([0.5]),
        label=np.array([label]),
        query=np.array([0]),
    )


def pixels_of(image: np.ndarray, color: tuple[int, int, int]) -> np.ndarray:
    """(x, y) of every pixel of about that colour: lines are drawn with soft edges."""
    rows, columns = np.nonzero((np.abs(image.astype(int) - color) < 60).all(axis=-1))
    return np.stack([columns, rows], axis=-1)


def shows(image: np.ndarray, u: float, v: float, color: tuple[int, int, int]) -> bool:
    """Whether that colour is at the pixel or beside it."""
    u, v = round(u), round(v)
    return len(pixels_of(image[v - 1 : v + 2, u - 1 : u + 2], color)) > 0
