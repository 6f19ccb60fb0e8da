"""Rigid transforms: 4x4 matrices on column vectors, numpy float64.

``a2b`` takes a point in frame ``a`` to frame ``b``, so ``b2c @ a2b`` is ``a2c``.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from tggbc_ros.core.types import Array, Boxes3D


def rigid(rotation: npt.ArrayLike, translation: npt.ArrayLike) -> Array:
    """[3, 3] and [3] -> [4, 4]."""
    matrix = np.eye(4)
    matrix[:3, :3] = rotation
    matrix[:3, 3] = translation
    return matrix


def invert_rigid(a2b: Array) -> Array:
    """Inverse of rigid transforms [..., 4, 4] by the transposed rotation."""
    inverse = np.zeros_like(a2b, dtype=np.float64)
    rotation = np.swapaxes(a2b[..., :3, :3], -1, -2)
    inverse[..., :3, :3] = rotation
    inverse[..., :3, 3] = -(rotation @ a2b[..., :3, 3, None])[..., 0]
    inverse[..., 3, 3] = 1.0
    return inverse


def rotation_from_quaternion(x: float, y: float, z: float, w: float) -> Array:
    """Rotation [3, 3] of a quaternion in ROS order; raises if its norm is not 1 within 1 %.

    In plain floats: transforms come by the hundred a second, and for four numbers NumPy takes ten times as long.
    """
    norm = math.hypot(x, y, z, w)
    if not abs(norm - 1.0) <= 0.01:
        raise ValueError(f"quaternion (x, y, z, w) = {[x, y, z, w]} has norm {norm:.4g}, expected 1")
    x, y, z, w = x / norm, y / norm, z / norm, w / norm
    return np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
            [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
            [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
        ]
    )


def quaternion_from_rotation(rotation: npt.ArrayLike) -> tuple[float, float, float, float]:
    """Unit quaternion (x, y, z, w), ROS order, w >= 0, of a rotation [3, 3].

    The eigenvector method (Bar-Itzhack 2000): no branches, exact for any rotation angle.
    """
    (xx, xy, xz), (yx, yy, yz), (zx, zy, zz) = np.asarray(rotation, dtype=np.float64)
    symmetric = np.array(
        [
            [xx - yy - zz, 0, 0, 0],
            [yx + xy, yy - xx - zz, 0, 0],
            [zx + xz, zy + yz, zz - xx - yy, 0],
            [zy - yz, xz - zx, yx - xy, xx + yy + zz],
        ]
    )
    _, vectors = np.linalg.eigh(symmetric)  # reads the lower triangle
    x, y, z, w = vectors[:, -1] * (1.0 if vectors[3, -1] >= 0 else -1.0)
    return float(x), float(y), float(z), float(w)


def yaw_rotation(yaw_rad: float) -> Array:
    """Rotation [3, 3] by ``yaw_rad`` about z."""
    cos, sin = np.cos(yaw_rad), np.sin(yaw_rad)
    return np.array([[cos, -sin, 0.0], [sin, cos, 0.0], [0.0, 0.0, 1.0]])


def transform_points(a2b: Array, points: Array) -> Array:
    """Points [..., 3] in frame a -> the same points in frame b."""
    return points @ a2b[:3, :3].T + a2b[:3, 3]


def transform_boxes(a2b: Array, boxes: Boxes3D) -> Boxes3D:
    """Boxes in frame a -> frame b: centre, yaw and velocity; sizes do not change.

    Yaw is that of the heading vector projected to b's ground plane: a roll or pitch between the
    frames (about one degree from lidar to vehicle on nuScenes) cannot be held by a yaw-only box.
    """
    heading = np.stack([np.cos(boxes.yaw), np.sin(boxes.yaw), np.zeros_like(boxes.yaw)], axis=-1)
    heading = heading @ a2b[:3, :3].T
    velocity = boxes.velocity @ a2b[:3, :2].T
    return Boxes3D(
        center=transform_points(a2b, boxes.center),
        size=boxes.size,
        yaw=np.arctan2(heading[:, 1], heading[:, 0]),
        velocity=velocity[:, :2],
        score=boxes.score,
        label=boxes.label,
        query=boxes.query,
    )


def box_corners(boxes: Boxes3D) -> Array:
    """Corners [M, 8, 3] in metres: the four at the bottom, counter-clockwise from front left, then the top."""
    forward = np.array([1, -1, -1, 1, 1, -1, -1, 1]) / 2
    left = np.array([1, 1, -1, -1, 1, 1, -1, -1]) / 2
    up = np.array([-1, -1, -1, -1, 1, 1, 1, 1]) / 2
    local = np.stack([forward, left, up], axis=-1)[None] * boxes.size[:, None, :]
    cos, sin = np.cos(boxes.yaw)[:, None], np.sin(boxes.yaw)[:, None]
    x = cos * local[..., 0] - sin * local[..., 1]
    y = sin * local[..., 0] + cos * local[..., 1]
    return np.stack([x, y, local[..., 2]], axis=-1) + boxes.center[:, None, :]
