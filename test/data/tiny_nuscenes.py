"""A small data set in nuScenes' v1.0 schema, written to a folder: two scenes, real JPEGs, known numbers."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from tggbc_ros.core.geometry import quaternion_from_rotation, yaw_rotation
from tggbc_ros.data.records import CAMERA_NAMES

VERSION = "v1.0-tiny"
START_US = 1_600_000_000_000_000
PERIOD_US = 500_000
WIDTH, HEIGHT = 48, 27
INTRINSICS = [[40.0, 0.0, 23.5], [0.0, 40.0, 13.0], [0.0, 0.0, 1.0]]
OPTICAL = np.array([[0.0, 0.0, 1.0], [-1.0, 0.0, 0.0], [0.0, -1.0, 0.0]])
CAMERA_YAW = dict(zip(CAMERA_NAMES, (0.0, -0.96, 0.96, math.pi, 1.92, -1.92), strict=True))
CAMERA_OFFSET_US = dict(zip(CAMERA_NAMES, (-35_000, -27_000, -43_000, -10_000, -500, -20_000), strict=True))
LIDAR_YAW, LIDAR_TRANSLATION = -math.pi / 2, [0.9, 0.0, 1.8]
SWEEPS_BETWEEN = (100_000, 200_000, 250_000, 350_000, 400_000)
SCENES = {"scene-0001": 3, "scene-0002": 1}
CAR_SIZE_WLH = [1.9, 4.6, 1.7]


def ego_pose(time_us: int) -> tuple[list[float], float]:
    """Where the vehicle is: translation and yaw in the global frame."""
    t = (time_us - START_US) / 1e6
    return [400.0 + 6.0 * t, 1100.0 + 2.0 * t, 0.0], 0.3 + 0.1 * t


def car_position(sample: int) -> list[float]:
    """The car's centre at a keyframe of the first scene: x = 430 + t^2, y = 1110 - 2 t."""
    t = sample * PERIOD_US / 1e6
    return [430.0 + t * t, 1110.0 - 2.0 * t, 0.8]


def write_tiny_nuscenes(root: Path) -> Path:
    """Write tables, splits.json and images below ``root`` and return it."""
    tables = _tables(root)
    (root / VERSION).mkdir(parents=True)
    for name, rows in tables.items():
        (root / VERSION / f"{name}.json").write_text(json.dumps(rows, indent=0))
    (root / VERSION / "splits.json").write_text(json.dumps({"tiny_val": ["scene-0002"]}))
    return root


def edit_table(root: Path, name: str) -> Any:
    """The rows of a table and a function that writes them back."""
    path = root / VERSION / f"{name}.json"
    rows = json.loads(path.read_text())
    return rows, lambda: path.write_text(json.dumps(rows))


def _tables(root: Path) -> dict[str, list[dict[str, Any]]]:
    channels = {"LIDAR_TOP": "lidar", "RADAR_FRONT": "radar"} | dict.fromkeys(CAMERA_NAMES, "camera")
    tables: dict[str, list[dict[str, Any]]] = {
        "sensor": [{"token": f"s-{c}", "channel": c, "modality": m} for c, m in channels.items()],
        "calibrated_sensor": [_calibration(channel) for channel in channels],
        "category": [{"token": f"cat-{i}", "name": name, "description": ""} for i, name in enumerate(CATEGORIES)],
        "instance": [],
        "scene": [],
        "sample": [],
        "sample_data": [],
        "ego_pose": [],
        "sample_annotation": [],
        "attribute": [],
        "visibility": [],
        "log": [{"token": "log", "logfile": "", "vehicle": "", "date_captured": "", "location": "nowhere"}],
        "map": [{"token": "map", "log_tokens": ["log"], "category": "", "filename": ""}],
    }
    start_us = START_US
    for name, count in SCENES.items():
        times = [start_us + index * PERIOD_US for index in range(count)]
        tables["scene"].append(_scene(name, count))
        tables["sample"] += [_sample(name, index, count, time_us) for index, time_us in enumerate(times)]
        for row in _sample_data(name, times):
            tables["sample_data"].append(row)
            translation, yaw = ego_pose(row["timestamp"])
            pose = {"token": row["ego_pose_token"], "timestamp": row["timestamp"]}
            tables["ego_pose"].append(pose | {"translation": translation, "rotation": _wxyz(yaw_rotation(yaw))})
            if row["fileformat"] == "jpg":
                _write_image(root / row["filename"], row["timestamp"])
        start_us += 60_000_000
    tables["sample_annotation"] = list(_annotations())
    names = sorted({row["instance_token"] for row in tables["sample_annotation"]})
    tables["instance"] = [_instance(token, tables["sample_annotation"]) for token in names]
    return tables


CATEGORIES = ("vehicle.car", "human.pedestrian.adult", "animal", "vehicle.bus.bendy")
TRACKS = {"car": ("cat-0", 3), "walker": ("cat-1", 1), "dog": ("cat-2", 2)}


def _annotations() -> Iterator[dict[str, Any]]:
    """A car in all three keyframes of the first scene, a pedestrian in the first, a dog in the first two."""
    for name, (_, count) in TRACKS.items():
        for index in range(count):
            yield {
                "token": f"{name}-{index}",
                "sample_token": f"scene-0001-{index}",
                "instance_token": name,
                "visibility_token": "",
                "attribute_tokens": [],
                "translation": car_position(index) if name == "car" else [405.0, 1102.0, 1.0],
                "size": CAR_SIZE_WLH if name == "car" else [0.5, 0.6, 1.7],
                "rotation": _wxyz(yaw_rotation(2.0)),
                "prev": f"{name}-{index - 1}" if index else "",
                "next": f"{name}-{index + 1}" if index + 1 < count else "",
                "num_lidar_pts": 10 + index,
                "num_radar_pts": 2,
            }


def _instance(token: str, annotations: list[dict[str, Any]]) -> dict[str, Any]:
    own = [row["token"] for row in annotations if row["instance_token"] == token]
    tokens = {"first_annotation_token": own[0], "last_annotation_token": own[-1]}
    return {"token": token, "category_token": TRACKS[token][0], "nbr_annotations": len(own)} | tokens


def _scene(name: str, count: int) -> dict[str, Any]:
    tokens = {"first_sample_token": f"{name}-0", "last_sample_token": f"{name}-{count - 1}"}
    return {"token": f"t-{name}", "name": name, "log_token": "log", "nbr_samples": count, "description": ""} | tokens


def _sample(scene: str, index: int, count: int, time_us: int) -> dict[str, Any]:
    links = {
        "prev": f"{scene}-{index - 1}" if index else "",
        "next": f"{scene}-{index + 1}" if index + 1 < count else "",
    }
    return {"token": f"{scene}-{index}", "timestamp": time_us, "scene_token": f"t-{scene}"} | links


def _sample_data(scene: str, times: list[int]) -> Iterator[dict[str, Any]]:
    for index, time_us in enumerate(times):
        sample = f"{scene}-{index}"
        yield _data_row(sample, "LIDAR_TOP", time_us, True)
        yield _data_row(sample, "RADAR_FRONT", time_us + 3, True)
        for name in CAMERA_NAMES:
            yield _data_row(sample, name, time_us + CAMERA_OFFSET_US[name], True)
        if index + 1 == len(times):
            continue
        for delay_us in SWEEPS_BETWEEN:
            yield _data_row(sample, "LIDAR_TOP", time_us + delay_us, False)
            for name in CAMERA_NAMES:
                jitter_us = 1_000 * (len(name) % 3)
                yield _data_row(sample, name, time_us + delay_us + CAMERA_OFFSET_US[name] + jitter_us, False)


def _data_row(sample: str, channel: str, time_us: int, is_key: bool) -> dict[str, Any]:
    is_camera = channel.startswith("CAM")
    folder, ending = ("samples" if is_key else "sweeps"), ("jpg" if is_camera else "pcd")
    return {
        "token": f"{channel}-{time_us}",
        "sample_token": sample,
        "ego_pose_token": f"pose-{channel}-{time_us}",
        "calibrated_sensor_token": f"c-{channel}",
        "timestamp": time_us,
        "fileformat": ending,
        "is_key_frame": is_key,
        "height": HEIGHT if is_camera else 0,
        "width": WIDTH if is_camera else 0,
        "filename": f"{folder}/{channel}/{time_us}.{ending}",
        "prev": "",
        "next": "",
    }


def _calibration(channel: str) -> dict[str, Any]:
    rotation, translation = np.eye(3), [1.0, 0.0, 0.5]
    if channel in CAMERA_YAW:
        yaw = CAMERA_YAW[channel]
        rotation, translation = yaw_rotation(yaw) @ OPTICAL, [math.cos(yaw), math.sin(yaw), 1.5]
    elif channel == "LIDAR_TOP":
        rotation, translation = yaw_rotation(LIDAR_YAW), LIDAR_TRANSLATION
    return {
        "token": f"c-{channel}",
        "sensor_token": f"s-{channel}",
        "translation": translation,
        "rotation": _wxyz(rotation),
        "camera_intrinsic": INTRINSICS if channel in CAMERA_YAW else [],
    }


def _wxyz(rotation: np.ndarray) -> list[float]:
    x, y, z, w = quaternion_from_rotation(rotation)
    return [w, x, y, z]


def _write_image(path: Path, time_us: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    shade = time_us // 1000 % 200
    cv2.imwrite(str(path), np.full((HEIGHT, WIDTH, 3), (shade, 255 - shade, 40), dtype=np.uint8))
