"""One camera's picture of a scene: a painter's rasteriser with an index channel, on OpenCV's polygon filling.

Things are painted farthest first, each whole; the fourth channel of the canvas holds who painted a pixel.
Right after a thing is painted all its pixels carry its index, so counting then gives its size without
occlusion, and counting at the end what is left of it.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from tggbc_ros.core.geometry import invert_rigid
from tggbc_ros.core.types import Array
from tggbc_ros.data.drive.background import (
    NEAR_PLANE_M,
    SHIFT,
    clip_near,
    paint_background,
    paint_shadows,
    to_fixed_point,
)
from tggbc_ros.data.drive.order import paint_order
from tggbc_ros.data.drive.rig import Camera
from tggbc_ros.data.drive.world import Scene

MAX_INDEX = 255
HORIZON_M = 130.0


@dataclass(frozen=True, eq=False)
class Rendering:
    """A picture and what it shows.

    image: [height, width, 3], uint8, BGR. visible_px, full_px: [objects], how much of each annotated thing
    is seen, and would be with nothing in front of it, in pixels of the image.
    """

    image: npt.NDArray[np.uint8]
    visible_px: Array
    full_px: Array

    @property
    def visible_share(self) -> Array:
        """[objects]: share of a thing's pixels in this image that is not hidden; 0 where it is not in it."""
        return self.visible_px / np.maximum(self.full_px, 1e-9)


@dataclass(frozen=True, eq=False)
class _Faces:
    """Faces to paint, in order: points [F, 4, 2] image coordinates, color [F, 4], rank [F] of their thing."""

    points: npt.NDArray[np.int32]
    color: list[tuple[float, ...]]
    clipped: dict[int, npt.NDArray[np.int32]]
    rank: npt.NDArray[np.int64]


def render_camera(scene: Scene, camera: Camera, time_s: float, exposure: int = 0) -> Rendering:
    """What ``camera`` sees at ``time_s`` after the first sample; ``exposure`` numbers the noise pattern."""
    factor = scene.config.supersample
    width, height = camera.size
    intrinsics = np.diag([factor, factor, 1.0]) @ camera.intrinsics
    cam2global = scene.ego2global(time_s) @ camera.cam2ego
    global2cam = invert_rigid(cam2global)
    poses = scene.poses(time_s)
    chosen = _in_view(scene, poses, global2cam, intrinsics, width * factor, scene.ego2global(time_s)[:2, 3])
    canvas = paint_background(scene, intrinsics, cam2global, (width * factor, height * factor))
    paint_shadows(scene, canvas, intrinsics, global2cam, poses, chosen)
    chosen = chosen[paint_order(poses[chosen], scene.size[chosen, :2] / 2, cam2global[:2, 3])]
    index = _canvas_index(scene, chosen)
    faces = _visible_faces(scene, poses, chosen, index, intrinsics, cam2global)
    full = _paint(canvas, faces, index)
    visible = np.bincount(canvas[..., 3].ravel(), minlength=MAX_INDEX + 1)
    image = _develop(scene, canvas, (width, height), exposure)
    return _rendering(scene, image, chosen, index, full / factor**2, visible / factor**2)


def _in_view(scene: Scene, poses: Array, global2cam: Array, intrinsics: Array, width: int,
             ego_xy: Array) -> npt.NDArray[np.int64]:  # fmt: skip
    """Indices of things that may touch the picture: in the field of view by their bounding sphere, and near enough."""
    middle = np.column_stack([poses[:, :2], scene.size[:, 2] / 2])
    radius = np.linalg.norm(scene.size, axis=1) / 2
    x, _, z = (middle @ global2cam[:3, :3].T + global2cam[:3, 3]).T
    focal, cx = intrinsics[0, 0], intrinsics[0, 2]
    left, right = cx / focal, (width - cx) / focal
    seen = (-x - left * z < radius * np.hypot(1, left)) & (x - right * z < radius * np.hypot(1, right))
    seen &= z > NEAR_PLANE_M - radius
    distance = np.hypot(*(poses[:, :2] - ego_xy).T)
    limit = np.where(np.arange(len(poses)) < scene.objects, scene.config.range_m, HORIZON_M)
    return np.flatnonzero(seen & (distance <= limit))


def _canvas_index(scene: Scene, chosen: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """For each chosen thing, in order: what it writes in the fourth channel; 0 for scenery."""
    annotated = chosen < scene.objects
    if annotated.sum() > MAX_INDEX:
        raise ValueError(f"{annotated.sum()} objects in one picture, expected at most {MAX_INDEX}: ask for fewer")
    return np.where(annotated, np.cumsum(annotated), 0)


def _visible_faces(scene: Scene, poses: Array, chosen: npt.NDArray[np.int64], index: npt.NDArray[np.int64],
                   intrinsics: Array, cam2global: Array) -> _Faces:  # fmt: skip
    """Faces of the chosen things that look at the camera, shaded, projected and sorted for painting."""
    geometry = scene.geometry
    rank_of = np.full(len(poses), -1)
    rank_of[chosen] = np.arange(len(chosen))
    face = np.flatnonzero(rank_of[geometry.owner] >= 0)
    rank = rank_of[geometry.owner[face]]
    local2global, eye = _local_frames(poses[chosen], cam2global[:3, 3])
    facing = ((eye[rank] - geometry.quads[face, 0]) * geometry.normal[face]).sum(axis=1) > 0
    face, rank = face[facing], rank[facing]
    part_distance = np.linalg.norm(eye[rank] - geometry.center[face], axis=1).round(6)
    order = np.lexsort((face, -part_distance, geometry.layer[face], rank))
    face, rank = face[order], rank[order]
    color = _shade(scene, face, rank, local2global, poses[chosen], cam2global[:3, 3])
    local2cam = invert_rigid(cam2global)[None] @ local2global
    points = np.einsum("fij,fvj->fvi", local2cam[rank, :3, :3], geometry.quads[face]) + local2cam[rank, None, :3, 3]
    return _project(points, np.column_stack([color, index[rank]]), rank, intrinsics)


def _local_frames(poses: Array, eye: Array) -> tuple[Array, Array]:
    """Things' frames [K, 4, 4] to the global one, and the camera's position [K, 3] in each."""
    local2global = np.tile(np.eye(4), (len(poses), 1, 1))
    cos, sin = np.cos(poses[:, 2]), np.sin(poses[:, 2])
    local2global[:, 0, 0], local2global[:, 0, 1] = cos, -sin
    local2global[:, 1, 0], local2global[:, 1, 1] = sin, cos
    local2global[:, :2, 3] = poses[:, :2]
    offset = eye - local2global[:, :3, 3]
    return local2global, np.einsum("kji,kj->ki", local2global[:, :3, :3], offset)


def _shade(scene: Scene, face: npt.NDArray[np.int64], rank: npt.NDArray[np.int64], local2global: Array, poses: Array,
           eye: Array) -> Array:  # fmt: skip
    """Colours [F, 3]: ambient light, direct sun by the face's angle, haze by the thing's distance."""
    light = scene.light
    sun = np.einsum("kji,j->ki", local2global[:, :3, :3], light.sun)
    direct = np.maximum((scene.geometry.normal[face] * sun[rank]).sum(axis=1), 0.0)
    bright = light.ambient + (1.0 - light.ambient) * direct
    clear = np.exp(-np.hypot(*(poses[:, :2] - eye[:2]).T) / light.haze_m)[rank, None]
    return np.asarray(scene.geometry.color[face] * bright[:, None] * clear + light.horizon * (1.0 - clear))


def _project(points: Array, color: Array, rank: npt.NDArray[np.int64], intrinsics: Array) -> _Faces:
    """Camera-frame quads -> image; those that reach behind the near plane are cut one by one, or dropped."""
    in_front = np.asarray((points[..., 2] >= NEAR_PLANE_M).all(axis=1))
    keep = np.flatnonzero((points[..., 2] >= NEAR_PLANE_M).any(axis=1))
    points, color, rank, in_front = points[keep], color[keep], rank[keep], in_front[keep]
    pixels = points @ intrinsics.T
    flat = to_fixed_point(pixels[..., :2] / np.maximum(pixels[..., 2:], NEAR_PLANE_M))
    clipped = {}
    for position in np.flatnonzero(~in_front):
        corners = clip_near(points[position]) @ intrinsics.T
        clipped[int(position)] = to_fixed_point(corners[:, :2] / corners[:, 2:])
    return _Faces(flat, [tuple(row) for row in color.tolist()], clipped, rank)


def _paint(canvas: npt.NDArray[np.uint8], faces: _Faces, index: npt.NDArray[np.int64]) -> Array:
    """Fill all faces in order; returns for each canvas index how many pixels its thing covers by itself."""
    full = np.zeros(MAX_INDEX + 1)
    bounds = np.searchsorted(faces.rank, np.arange(len(index) + 1))
    for rank, own in enumerate(index):
        first, last = int(bounds[rank]), int(bounds[rank + 1])
        for position in range(first, last):
            outline = faces.clipped.get(position, faces.points[position]) if faces.clipped else faces.points[position]
            cv2.fillConvexPoly(canvas, outline, faces.color[position], 8, SHIFT)
        if own and last > first:
            region = _region(canvas, faces, first, last)
            full[own] = np.count_nonzero(region == own)
    return full


def _region(canvas: npt.NDArray[np.uint8], faces: _Faces, first: int, last: int) -> npt.NDArray[np.uint8]:
    """The part of the index channel in which faces first..last lie."""
    outlines = [faces.points[first:last].reshape(-1, 2)]
    outlines += [points for position, points in faces.clipped.items() if first <= position < last]
    corners = np.concatenate(outlines) / (1 << SHIFT)
    height, width = canvas.shape[:2]
    low = np.clip(np.floor(corners.min(axis=0)) - 1, 0, (width, height)).astype(int)
    high = np.clip(np.ceil(corners.max(axis=0)) + 2, 0, (width, height)).astype(int)
    return canvas[low[1] : high[1], low[0] : high[0], 3]


def _develop(
    scene: Scene, canvas: npt.NDArray[np.uint8], size: tuple[int, int], exposure: int
) -> npt.NDArray[np.uint8]:
    """Canvas -> camera image: shrink, blur, exposure and tint, sensor noise."""
    image = cv2.cvtColor(canvas, cv2.COLOR_BGRA2BGR)
    if image.shape[1::-1] != size:
        image = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    if scene.light.blur_px > 0.15:
        image = cv2.GaussianBlur(image, (0, 0), scene.light.blur_px)
    image = cv2.LUT(image, scene.light.table[:, None, :])
    return np.asarray(cv2.add(image, _noise(scene, size, exposure), dtype=cv2.CV_8U), dtype=np.uint8)


def _noise(scene: Scene, size: tuple[int, int], exposure: int) -> npt.NDArray[np.int16]:
    """The drive's noise tile repeated over the image, shifted by a different amount for each exposure."""
    tile = scene.light.noise
    side = len(tile)
    row, column = np.random.default_rng((*scene.seed, exposure)).integers(0, side, 2)
    repeats = (-(-size[1] // side) + 1, -(-size[0] // side) + 1, 1)
    return np.tile(tile, repeats)[row : row + size[1], column : column + size[0]]


def _rendering(scene: Scene, image: npt.NDArray[np.uint8], chosen: npt.NDArray[np.int64],
               index: npt.NDArray[np.int64], full: Array, visible: Array) -> Rendering:  # fmt: skip
    visible_px, full_px = np.zeros(scene.objects), np.zeros(scene.objects)
    annotated = index > 0
    visible_px[chosen[annotated]] = visible[index[annotated]]
    full_px[chosen[annotated]] = full[index[annotated]]
    return Rendering(image, visible_px, full_px)
