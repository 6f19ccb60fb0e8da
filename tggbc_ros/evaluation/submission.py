"""Boxes -> a submission to the nuScenes detection task, the JSON file that its evaluator reads."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tggbc_ros.core.geometry import quaternion_from_rotation, transform_points, yaw_rotation
from tggbc_ros.evaluation.passes import Detections

MAX_BOXES_PER_SAMPLE = 500
MOVING_MPS = 0.2
META = {"use_camera": True, "use_lidar": False, "use_radar": False, "use_map": False, "use_external": False}

Entry = dict[str, Any]

_CYCLE = ("cycle.with_rider", "cycle.without_rider")
_VEHICLE = ("vehicle.moving", "vehicle.parked")
ATTRIBUTES = {
    "barrier": ("", ""),
    "bicycle": _CYCLE,
    "bus": ("vehicle.moving", "vehicle.stopped"),
    "car": _VEHICLE,
    "construction_vehicle": _VEHICLE,
    "motorcycle": _CYCLE,
    "pedestrian": ("pedestrian.moving", "pedestrian.standing"),
    "traffic_cone": ("", ""),
    "trailer": _VEHICLE,
    "truck": _VEHICLE,
}
"""Class -> its likeliest attribute moving and standing, as detectors without an attribute head guess it."""


def attribute_name(class_name: str, speed_mps: float) -> str:
    """nuScenes attribute of an object of that class and speed; empty for classes that have none."""
    moving, standing = ATTRIBUTES[class_name]
    return moving if speed_mps > MOVING_MPS else standing


def sample_entries(token: str, detections: Detections, class_names: Sequence[str]) -> list[Entry]:
    """One sample's boxes in the global frame, size as width, length, height, quaternions as w, x, y, z.

    The rotation is the frame's whole rotation times the box's yaw, not a yaw alone. Raises ValueError naming the
    sample for numbers that are not finite, sizes that are not positive, or more boxes than the task allows.
    """
    boxes, frame2global = detections.boxes, detections.frame2global
    if len(boxes) > MAX_BOXES_PER_SAMPLE:
        raise ValueError(f"sample {token} has {len(boxes)} boxes, the task allows {MAX_BOXES_PER_SAMPLE}")
    numbers = np.column_stack([boxes.center, boxes.size, boxes.yaw, boxes.velocity, boxes.score])
    if not np.isfinite(numbers).all() or (boxes.size <= 0).any():
        worst = int(np.argmin(np.isfinite(numbers).all(axis=1) & (boxes.size > 0).all(axis=1)))
        raise ValueError(f"box {worst} of sample {token} holds {numbers[worst].tolist()}: not finite or without size")
    center = transform_points(frame2global, boxes.center)
    velocity = boxes.velocity @ frame2global[:3, :2].T
    return [
        {
            "sample_token": token,
            "translation": center[row].tolist(),
            "size": boxes.size[row, [1, 0, 2]].tolist(),
            "rotation": _wxyz(frame2global[:3, :3] @ yaw_rotation(float(boxes.yaw[row]))),
            "velocity": velocity[row, :2].tolist(),
            "detection_name": class_names[label],
            "detection_score": float(boxes.score[row]),
            "attribute_name": attribute_name(class_names[label], float(np.hypot(*velocity[row, :2]))),
        }
        for row, label in enumerate(boxes.label)
    ]


def write_submission(
    path: Path, tokens: Iterable[str], detections: Mapping[str, Detections], class_names: Sequence[str]
) -> int:
    """Write the submission; a sample without detections gets an empty list, as the task asks. Number of boxes."""
    results = {
        token: sample_entries(token, detections[token], class_names) if token in detections else [] for token in tokens
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"meta": META, "results": results}, allow_nan=False), encoding="utf-8")
    return sum(map(len, results.values()))


def _wxyz(rotation: np.ndarray) -> list[float]:
    x, y, z, w = quaternion_from_rotation(rotation)
    return [w, x, y, z]
