"""The tiny nuScenes data set with other annotations: one object of each detection class in every sample.

The vehicle and its lidar are tilted, as real ones are, so that a yaw alone cannot carry a box to the global frame.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
from tiny_nuscenes import SCENES, START_US, VERSION, edit_table, ego_pose, write_tiny_nuscenes

from tggbc_ros.core.config import CLASS_NAMES
from tggbc_ros.core.geometry import quaternion_from_rotation, rotation_from_quaternion, yaw_rotation
from tggbc_ros.data.nuscenes.boxes import DETECTION_CLASS

SPLIT = "all_scenes"
SCENE_PERIOD_US = 60_000_000
TILT_RAD = 0.02
CATEGORY = {name: category for category, name in DETECTION_CLASS.items()}
SIZE_WLH = {
    "car": (1.9, 4.6, 1.7),
    "truck": (2.5, 7.0, 2.8),
    "construction_vehicle": (2.8, 6.5, 3.2),
    "bus": (2.9, 11.0, 3.5),
    "trailer": (2.9, 12.0, 3.9),
    "barrier": (2.5, 0.5, 1.0),
    "motorcycle": (0.8, 2.1, 1.5),
    "bicycle": (0.6, 1.7, 1.3),
    "pedestrian": (0.7, 0.7, 1.8),
    "traffic_cone": (0.4, 0.4, 1.1),
}
SPEED_MPS = dict(zip(CLASS_NAMES, (5.0, 0.0, 0.0, 3.0, 4.0, 0.0, 6.0, 0.0, 1.2, 0.0), strict=True))
ATTRIBUTE = {
    "car": "vehicle.moving",
    "truck": "vehicle.parked",
    "construction_vehicle": "vehicle.parked",
    "bus": "vehicle.moving",
    "trailer": "vehicle.moving",
    "motorcycle": "cycle.with_rider",
    "bicycle": "cycle.without_rider",
    "pedestrian": "pedestrian.moving",
}
"""What the annotators wrote; in the scene of one sample, where speeds are unknown, nothing."""


def write_ten_classes(root: Path) -> Path:
    """Write the data set below ``root`` and return it."""
    write_tiny_nuscenes(root)
    tables: dict[str, list[dict[str, Any]]] = {
        "category": [{"token": f"cat-{name}", "name": CATEGORY[name], "description": ""} for name in CLASS_NAMES],
        "attribute": [{"token": name, "name": name, "description": ""} for name in sorted(set(ATTRIBUTE.values()))],
        "sample_annotation": [],
        "instance": [],
    }
    for number, (scene, count) in enumerate(SCENES.items()):
        for name in CLASS_NAMES:
            tables["sample_annotation"] += [_annotation(scene, number, index, count, name) for index in range(count)]
            tables["instance"].append(_instance(scene, count, name))
        tables["sample_annotation"].append(_unseen(scene, number))
        tables["instance"].append(_instance(scene, 1, "unseen") | {"category_token": "cat-car"})
    for name, rows in tables.items():
        (root / VERSION / f"{name}.json").write_text(json.dumps(rows))
    splits = {SPLIT: list(SCENES), "no_scenes": [], "head": [list(SCENES)[0]], "tail": [list(SCENES)[1]]}
    (root / VERSION / "splits.json").write_text(json.dumps(splits))
    _tilt(root)
    return root


def _annotation(scene: str, number: int, index: int, count: int, name: str) -> dict[str, Any]:
    """An object on a ring around the vehicle, every 36 degrees, far enough apart never to be mistaken for another."""
    place = CLASS_NAMES.index(name)
    middle, _ = ego_pose(START_US + number * SCENE_PERIOD_US)
    bearing, distance, time_s = place * 2 * math.pi / len(CLASS_NAMES), 15.0 + place, index * 0.5
    heading = bearing + 0.3
    along = SPEED_MPS[name] * time_s
    x = distance * math.cos(bearing) + along * math.cos(heading)
    y = distance * math.sin(bearing) + along * math.sin(heading)
    own = f"{scene}-{name}"
    return {
        "token": f"{own}-{index}",
        "sample_token": f"{scene}-{index}",
        "instance_token": own,
        "visibility_token": "",
        "attribute_tokens": [ATTRIBUTE[name]] if name in ATTRIBUTE and count > 1 else [],
        "translation": [middle[0] + x, middle[1] + y, 0.9],
        "size": list(SIZE_WLH[name]),
        "rotation": _wxyz(yaw_rotation(heading)),
        "prev": f"{own}-{index - 1}" if index else "",
        "next": f"{own}-{index + 1}" if index + 1 < count else "",
        "num_lidar_pts": 5,
        "num_radar_pts": 0,
    }


def _unseen(scene: str, number: int) -> dict[str, Any]:
    """A car that no lidar point hit, in the first sample: the evaluator leaves such objects out."""
    row = _annotation(scene, number, 0, 1, "car")
    x, y, z = row["translation"]
    changes = {"token": f"{scene}-unseen-0", "instance_token": f"{scene}-unseen", "translation": [x + 20.0, y + 8.0, z]}
    return row | changes | {"num_lidar_pts": 0}


def _instance(scene: str, count: int, name: str) -> dict[str, Any]:
    own = f"{scene}-{name}"
    tokens = {"first_annotation_token": f"{own}-0", "last_annotation_token": f"{own}-{count - 1}"}
    return {"token": own, "category_token": f"cat-{name}", "nbr_annotations": count} | tokens


def _tilt(root: Path) -> None:
    """Roll the lidar and pitch the vehicle a little."""
    cos, sin = math.cos(TILT_RAD), math.sin(TILT_RAD)
    roll = np.array([[1.0, 0.0, 0.0], [0.0, cos, -sin], [0.0, sin, cos]])
    pitch = np.array([[cos, 0.0, sin], [0.0, 1.0, 0.0], [-sin, 0.0, cos]])
    for table, turn in (("calibrated_sensor", roll), ("ego_pose", pitch)):
        rows, write = edit_table(root, table)
        for row in rows:
            if table == "ego_pose" or row["token"] == "c-LIDAR_TOP":
                w, x, y, z = row["rotation"]
                row["rotation"] = _wxyz(rotation_from_quaternion(x, y, z, w) @ turn)
        write()


def _wxyz(rotation: np.ndarray) -> list[float]:
    x, y, z, w = quaternion_from_rotation(rotation)
    return [w, x, y, z]
