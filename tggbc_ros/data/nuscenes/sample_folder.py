"""One nuScenes keyframe in a folder: six JPEGs and ``sample.json``."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from tggbc_ros.core.config import CLASS_NAMES
from tggbc_ros.core.geometry import invert_rigid, rigid, yaw_rotation
from tggbc_ros.core.types import Array, Boxes3D
from tggbc_ros.data.nuscenes.tables import END_OF_TIME_US, read_json
from tggbc_ros.data.records import CAMERA_NAMES, Annotations, CameraShot, Sample

SAMPLE_FILE = "sample.json"
MATRIX_TOLERANCE = 1e-6
"""The file's matrices were rounded to float32 once."""


def read_sample_folder(folder: Path) -> Sample:
    """The keyframe in ``folder``, ego pose at each camera's own stamp included; images are not decoded.

    Raises FileNotFoundError without ``sample.json`` or an image, ValueError naming file and field if
    something in it is missing or broken.
    """
    path = folder / SAMPLE_FILE
    if not path.is_file():
        raise FileNotFoundError(f"no sample folder: {path} does not exist")
    record = read_json(path)
    try:
        if not isinstance(record, dict):
            raise ValueError(f"{path} holds a {type(record).__name__}, expected an object")
        return _parse(record, folder)
    except KeyError as error:
        raise ValueError(f"{path} has no field {error}") from error
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def moved(sample: Sample, dx_m: float, dyaw_rad: float, dt_s: float) -> Sample:
    """The same images seen one step later: ego2global' = ego2global [Rz(dyaw) | (dx, 0, 0)], all times + dt.

    Every camera keeps its pose relative to the reference pose, so ``rig()`` does not change.
    """
    step = rigid(yaw_rotation(dyaw_rad), (dx_m, 0.0, 0.0))
    dt_ns = round(dt_s * 1e9)
    global2global = sample.ego2global @ step @ invert_rigid(sample.ego2global)
    timestamp_ns = sample.timestamp_ns + dt_ns
    return replace(
        sample,
        token=f"{sample.token.partition('@')[0]}@{timestamp_ns}",
        timestamp_ns=timestamp_ns,
        ego2global=sample.ego2global @ step,
        cameras=tuple(
            replace(shot, timestamp_ns=shot.timestamp_ns + dt_ns, ego2global=global2global @ shot.ego2global)
            for shot in sample.cameras
        ),
    )


def _parse(record: dict[str, Any], folder: Path) -> Sample:
    ego2global = _nearest_rigid("ego2global", record["ego2global"])
    lidar2ego = _nearest_rigid("lidar2ego", record["lidar2ego"])
    cameras = record["cameras"]
    return Sample(
        token=record["sample_token"],
        timestamp_ns=_nanoseconds(record["timestamp"]),
        ego2global=ego2global,
        lidar2ego=lidar2ego,
        cameras=tuple(_shot(name, cameras[name], folder, ego2global, lidar2ego) for name in CAMERA_NAMES),
        annotations=_annotations(record["boxes"]),
    )


def _shot(name: str, camera: dict[str, Any], folder: Path, ego2global: Array, lidar2ego: Array) -> CameraShot:
    """One camera; its ego pose solves lidar2cam = inv(cam2ego) inv(ego at image) ego2global lidar2ego."""
    jpeg = folder / camera["file"]
    if not jpeg.is_file():
        raise FileNotFoundError(f"image of {name} named in {folder / SAMPLE_FILE}: no file {jpeg}")
    cam2ego = _nearest_rigid(f"cam2ego of {name}", camera["cam2ego"])
    lidar2cam = _nearest_rigid(f"lidar2cam of {name}", camera["lidar2cam"])
    at_image = ego2global @ lidar2ego @ invert_rigid(cam2ego @ lidar2cam)
    _expect_same(name, invert_rigid(at_image @ cam2ego) @ ego2global @ lidar2ego, np.asarray(camera["lidar2cam"]))
    return CameraShot(
        name=name,
        timestamp_ns=_nanoseconds(camera["timestamp"]),
        jpeg=jpeg,
        width=int(camera["width"]),
        height=int(camera["height"]),
        intrinsics=np.asarray(camera["cam2img"], dtype=np.float64),
        cam2ego=cam2ego,
        ego2global=at_image,
    )


def _expect_same(name: str, solved: Array, official: Array) -> None:
    error = float(np.abs(solved - official).max())
    if not error <= MATRIX_TOLERANCE:
        raise ValueError(f"lidar2cam of {name} is off by {error:.3g} after solving, expected {MATRIX_TOLERANCE:g}")


def _nearest_rigid(name: str, value: npt.ArrayLike) -> Array:
    """The 4x4 matrix with its rotation made exact (polar decomposition); raises if it was not near one."""
    matrix = np.asarray(value, dtype=np.float64)
    if matrix.shape != (4, 4):
        raise ValueError(f"{name} has shape {matrix.shape}, expected (4, 4)")
    left, _, right = np.linalg.svd(matrix[:3, :3])
    exact = rigid(left @ right, matrix[:3, 3])
    error = float(np.abs(exact - matrix).max())
    if not error <= MATRIX_TOLERANCE or np.linalg.det(exact[:3, :3]) < 0:
        raise ValueError(f"{name} is off a rigid transform by {error:.3g}: {matrix.tolist()}")
    return exact


def _nanoseconds(timestamp_s: float) -> int:
    """Seconds as nuScenes rounds them, to the microsecond, as exact nanoseconds."""
    if not 0 <= timestamp_s < END_OF_TIME_US / 1e6:
        raise ValueError(f"timestamp is {timestamp_s!r}, expected seconds since 1970")
    return round(timestamp_s * 1e6) * 1000


def _annotations(boxes: list[dict[str, Any]]) -> Annotations:
    """Boxes of a detection class; the file names no instances, so a box's place in it stands for one."""
    known = [(index, box) for index, box in enumerate(boxes) if box["category"] is not None]
    count = len(known)
    velocity = [[np.nan if v is None else v for v in box["velocity"]] for _, box in known]
    return Annotations(
        boxes=Boxes3D(
            center=np.array([box["center"] for _, box in known], dtype=np.float64).reshape(count, 3),
            size=np.array([box["size_lwh"] for _, box in known], dtype=np.float64).reshape(count, 3),
            yaw=np.array([box["yaw"] for _, box in known], dtype=np.float64),
            velocity=np.array(velocity, dtype=np.float64).reshape(count, 2),
            score=np.ones(count),
            label=np.array([_label(box["category"]) for _, box in known], dtype=np.int64),
            query=np.arange(count, dtype=np.int64),
        ),
        instances=tuple(str(index) for index, _ in known),
        num_points=np.array([box["num_lidar_pts"] for _, box in known], dtype=np.int64),
        ignored=len(boxes) - count,
    )


def _label(category: str) -> int:
    if category not in CLASS_NAMES:
        raise ValueError(f"category of a box is {category!r}, expected one of {', '.join(CLASS_NAMES)} or null")
    return CLASS_NAMES.index(category)
