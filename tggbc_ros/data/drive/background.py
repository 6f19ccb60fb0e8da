"""What is behind all things: sky, ground and the shadows on it."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from tggbc_ros.core.types import Array
from tggbc_ros.data.drive.scenery import CELL_M
from tggbc_ros.data.drive.world import Scene

NEAR_M = 14.0
NEAR_PLANE_M = 0.25
SHIFT = 4


def paint_background(
    scene: Scene, intrinsics: Array, cam2global: Array, size: tuple[int, int]
) -> npt.NDArray[np.uint8]:
    """Sky and ground [height, width, 4], the fourth channel zero, for intrinsics of an image of ``size``."""
    width, height = size
    slope = cam2global[2, :3] @ np.linalg.inv(intrinsics)  # height gained per metre of depth, by pixel
    horizon = -(slope[0] * np.array([0.0, width]) + slope[2]) / slope[1]
    sky = _sky_rows(scene, float(horizon.mean()), height)
    canvas = np.repeat(sky.view(np.uint32), width, axis=1).view(np.uint8).reshape(height, width, 4)
    top = int(np.clip(np.floor(horizon.min()), 0, height))
    if top < height:
        ground = _ground(scene, intrinsics, cam2global, float(horizon.mean()), (top, height, width))
        mask = np.zeros((height - top, width), np.uint8)
        outline = [[-1, horizon[0] - top], [width, horizon[1] - top], [width, height], [-1, height]]
        cv2.fillConvexPoly(mask, np.round(outline).astype(np.int32), 255)
        cv2.copyTo(ground, mask, canvas[top:])
    return canvas


def _sky_rows(scene: Scene, horizon: float, height: int) -> npt.NDArray[np.uint8]:
    """[height, 4]: from the zenith's colour to the horizon's."""
    share = np.clip(1.0 - (horizon - np.arange(height)) / (0.8 * height), 0.0, 1.0)[:, None]
    rows = np.zeros((height, 4), np.uint8)
    rows[:, :3] = scene.light.zenith * (1 - share) + scene.light.horizon * share
    return rows


def _ground(scene: Scene, intrinsics: Array, cam2global: Array, horizon: float,
            rows: tuple[int, int, int]) -> npt.NDArray[np.uint8]:  # fmt: skip
    """Rows top..bottom of the ground picture as the camera sees it, [bottom - top, width, 4]."""
    top, bottom, width = rows
    camera_height = cam2global[2, 3]
    split = int(np.clip(horizon + intrinsics[1, 1] * camera_height / NEAR_M, top, bottom))
    ground = np.zeros((bottom - top, width, 4), np.uint8)
    pixel2ground = _pixel_to_ground(intrinsics, cam2global)
    for first, last, picture, cell in (
        (top, split, scene.ground.coarse, 4 * CELL_M),
        (split, bottom, scene.ground.fine, CELL_M),
    ):
        if last > first:
            ground2cell = np.array([[1 / cell, 0, -scene.ground.origin[0] / cell - 0.5],
                                    [0, 1 / cell, -scene.ground.origin[1] / cell - 0.5], [0, 0, 1]])  # fmt: skip
            shift = np.array([[1.0, 0.0, 0.5], [0.0, 1.0, first + 0.5], [0.0, 0.0, 1.0]])
            flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
            ground[first - top : last - top, :, :3] = cv2.warpPerspective(
                picture, ground2cell @ pixel2ground @ shift, (width, last - first), flags=flags,
                borderMode=cv2.BORDER_REPLICATE)  # fmt: skip
    if split > top:
        _haze_rows(scene, ground[: split - top], intrinsics[1, 1] * camera_height, horizon - top)
    return ground


def _pixel_to_ground(intrinsics: Array, cam2global: Array) -> Array:
    """Homography [3, 3] from image coordinates to (x, y, 1) on the plane z = 0 of the global frame."""
    ray = cam2global[:3, :3] @ np.linalg.inv(intrinsics)
    x, y, z = cam2global[:3, 3]
    return np.stack([x * ray[2] - z * ray[0], y * ray[2] - z * ray[1], ray[2]])


def _haze_rows(scene: Scene, ground: npt.NDArray[np.uint8], focal_height: float, horizon: float) -> None:
    """Blend rows towards the horizon's colour with the distance they show."""
    below = np.maximum(np.arange(len(ground)) + 0.5 - horizon, 0.5)
    clear = np.exp(-focal_height / below / scene.light.haze_m)[:, None, None].astype(np.float32)
    ground[..., :3] = ground[..., :3] * clear + scene.light.horizon.astype(np.float32) * (1 - clear)


def clip_near(points: Array) -> Array:
    """A polygon [P, 3] in a camera frame, cut at the near plane (Sutherland-Hodgman); may come back empty."""
    kept: list[Array] = []
    for current, following in zip(points, np.roll(points, -1, axis=0), strict=True):
        inside, next_inside = current[2] >= NEAR_PLANE_M, following[2] >= NEAR_PLANE_M
        if inside:
            kept.append(current)
        if inside != next_inside:
            share = (NEAR_PLANE_M - current[2]) / (following[2] - current[2])
            kept.append(current + share * (following - current))
    return np.array(kept).reshape(-1, 3)


def to_fixed_point(pixels: Array) -> npt.NDArray[np.int32]:
    """Image coordinates -> OpenCV's fixed point, in which a pixel's middle has whole coordinates."""
    limited = np.clip((pixels - 0.5) * (1 << SHIFT), -(2**24), 2**24)
    return np.asarray(np.round(limited), dtype=np.int32)


def paint_shadows(scene: Scene, canvas: npt.NDArray[np.uint8], intrinsics: Array, global2cam: Array, poses: Array,
                  chosen: npt.NDArray[np.int64]) -> None:  # fmt: skip
    """Darken the ground where the chosen things keep the sun off it."""
    mask = np.zeros(canvas.shape[:2], np.uint8)
    casting = chosen[[scene.things[index].shadow for index in chosen]] if len(chosen) else chosen
    for outline in _shadow_outlines(scene, poses[casting], scene.size[casting]):
        hull = cv2.convexHull(outline)[:, 0].astype(np.float64)
        points = np.column_stack([hull, np.zeros(len(hull))]) @ global2cam[:3, :3].T + global2cam[:3, 3]
        if points[:, 2].min() < NEAR_PLANE_M:
            points = clip_near(points)
        if len(points) >= 3:
            pixels = points @ intrinsics.T
            cv2.fillConvexPoly(mask, to_fixed_point(pixels[:, :2] / pixels[:, 2:]), 255, 8, SHIFT)
    dark = cv2.convertScaleAbs(canvas, alpha=0.35 + 0.45 * scene.light.ambient)
    cv2.copyTo(dark, mask, canvas)


def _shadow_outlines(scene: Scene, poses: Array, size: Array) -> npt.NDArray[np.float32]:
    """[K, 8, 2]: each footprint, and the footprint of the top moved along the sun's rays to the ground."""
    local = np.array([[0.5, 0.5], [-0.5, 0.5], [-0.5, -0.5], [0.5, -0.5]])[None] * size[:, None, :2]
    cos, sin = np.cos(poses[:, 2])[:, None], np.sin(poses[:, 2])[:, None]
    foot = np.stack([cos * local[..., 0] - sin * local[..., 1], sin * local[..., 0] + cos * local[..., 1]], axis=-1)
    foot = foot + poses[:, None, :2]
    shift = -scene.light.sun[:2] / scene.light.sun[2] * size[:, 2:]
    # Most things are slimmer at the top; the shadow of the full box would be too broad.
    middle = poses[:, None, :2] + 0.8 * (foot - poses[:, None, :2])
    return np.concatenate([foot, middle + shift[:, None]], axis=1).astype(np.float32)
