"""nuScenes annotations -> boxes of the ten detection classes in the lidar frame."""

from __future__ import annotations

import sys
from dataclasses import dataclass

import numpy as np

from tggbc_ros.core.config import CLASS_NAMES
from tggbc_ros.core.geometry import invert_rigid, rotation_from_quaternion, transform_boxes
from tggbc_ros.core.types import Array, Boxes3D
from tggbc_ros.data.nuscenes.tables import AnnotationRow, CategoryRow, InstanceRow, SampleRow, Vector, find_row
from tggbc_ros.data.records import Annotations

DETECTION_CLASS = {
    "human.pedestrian.adult": "pedestrian",
    "human.pedestrian.child": "pedestrian",
    "human.pedestrian.construction_worker": "pedestrian",
    "human.pedestrian.police_officer": "pedestrian",
    "movable_object.barrier": "barrier",
    "movable_object.trafficcone": "traffic_cone",
    "vehicle.bicycle": "bicycle",
    "vehicle.bus.bendy": "bus",
    "vehicle.bus.rigid": "bus",
    "vehicle.car": "car",
    "vehicle.construction": "construction_vehicle",
    "vehicle.motorcycle": "motorcycle",
    "vehicle.trailer": "trailer",
    "vehicle.truck": "truck",
}
"""nuScenes category -> detection class, as the detection task defines it."""

IGNORED_CATEGORIES = frozenset(
    {
        "animal",
        "human.pedestrian.personal_mobility",
        "human.pedestrian.stroller",
        "human.pedestrian.wheelchair",
        "movable_object.debris",
        "movable_object.pushable_pullable",
        "static_object.bicycle_rack",
        "vehicle.emergency.ambulance",
        "vehicle.emergency.police",
    }
)
"""Categories that the detection task leaves out."""

MAX_TIME_DIFFERENCE_S = 1.5
"""Velocity over a longer gap is unknown; twice that between the two neighbours of a box."""


@dataclass(frozen=True)
class BoxTables:
    """The tables that say what an annotation is and how it moves."""

    annotations: dict[str, AnnotationRow]
    instances: dict[str, InstanceRow]
    categories: dict[str, CategoryRow]
    samples: dict[str, SampleRow]


def annotations_in_lidar(tables: BoxTables, rows: list[AnnotationRow], lidar2global: Array) -> Annotations:
    """One sample's annotations in the lidar frame; other classes are counted as ignored.

    Raises ValueError naming the annotation if its category is not one of nuScenes', or its box none.
    """
    classes = [_detection_class(tables, row) for row in rows]
    known = [(row, name) for row, name in zip(rows, classes, strict=True) if name is not None]
    kept = [row for row, _ in known]
    count = len(kept)
    boxes = Boxes3D(
        center=np.array([_numbers(row, "translation", 3) for row in kept], dtype=np.float64).reshape(count, 3),
        size=np.array([_size_wlh(row) for row in kept], dtype=np.float64).reshape(count, 3)[:, [1, 0, 2]],
        yaw=np.array([_global_yaw(row) for row in kept], dtype=np.float64),
        velocity=np.array([_global_velocity(tables, row) for row in kept], dtype=np.float64).reshape(count, 2),
        score=np.ones(count),
        label=np.array([CLASS_NAMES.index(name) for _, name in known], dtype=np.int64),
        query=np.arange(count, dtype=np.int64),
    )
    return Annotations(
        boxes=transform_boxes(invert_rigid(lidar2global), boxes),
        instances=tuple(row.instance_token for row in kept),
        num_points=np.array([row.num_lidar_pts + row.num_radar_pts for row in kept], dtype=np.int64),
        ignored=len(rows) - count,
    )


def _detection_class(tables: BoxTables, row: AnnotationRow) -> str | None:
    """The detection class, or None for a category the task leaves out."""
    asked_by = f"sample_annotation {row.token}"
    instance = find_row(tables.instances, "instance", row.instance_token, asked_by)
    category = find_row(tables.categories, "category", instance.category_token, f"instance {instance.token}").name
    if category in IGNORED_CATEGORIES:
        return None
    if category not in DETECTION_CLASS:
        raise ValueError(f"{asked_by} is of category {category!r}, which nuScenes does not have")
    return DETECTION_CLASS[category]


def _numbers(row: AnnotationRow, field: str, count: int) -> Vector:
    """A field's numbers; raises ValueError unless there are so many, all finite."""
    values: Vector = getattr(row, field)
    finite = all(type(value) in (int, float) and abs(value) <= sys.float_info.max for value in values)
    if len(values) != count or not finite:
        raise ValueError(_wrong(row, field, f"{count} finite numbers"))
    return values


def _size_wlh(row: AnnotationRow) -> Vector:
    size = _numbers(row, "size", 3)
    if min(size) <= 0:
        raise ValueError(_wrong(row, "size", "3 positive numbers"))
    return size


def _wrong(row: AnnotationRow, field: str, expected: str) -> str:
    return f"sample_annotation.json: record {row.token} has {field} {getattr(row, field)!r}, expected {expected}"


def _global_yaw(row: AnnotationRow) -> float:
    """Yaw in radians of the heading, projected to the global ground plane."""
    w, x, y, z = _numbers(row, "rotation", 4)
    try:
        heading = rotation_from_quaternion(x, y, z, w)[:, 0]
    except ValueError as error:
        raise ValueError(f"sample_annotation {row.token}: {error}") from error
    return float(np.arctan2(heading[1], heading[0]))


def _global_velocity(tables: BoxTables, row: AnnotationRow) -> tuple[float, float]:
    """Velocity x, y in m/s by central differences over the neighbouring keyframes, one-sided at a track's ends.

    NaN for a track of one box or over a gap in time, as nuScenes' box_velocity has it.
    """
    unknown = float("nan"), float("nan")
    before, after = _neighbour(tables, row, row.prev), _neighbour(tables, row, row.next)
    seconds = (_timestamp_us(tables, after) - _timestamp_us(tables, before)) / 1e6
    both = bool(row.prev and row.next)
    if seconds <= 0 or seconds > MAX_TIME_DIFFERENCE_S * (2 if both else 1):
        return unknown
    (x, y, _), (x_before, y_before, _) = (_numbers(box, "translation", 3) for box in (after, before))
    return (x - x_before) / seconds, (y - y_before) / seconds


def _neighbour(tables: BoxTables, row: AnnotationRow, token: str) -> AnnotationRow:
    """The track's box of that token, or the box itself where the track ends."""
    return find_row(tables.annotations, "sample_annotation", token, f"sample_annotation {row.token}") if token else row


def _timestamp_us(tables: BoxTables, row: AnnotationRow) -> int:
    return find_row(tables.samples, "sample", row.sample_token, f"sample_annotation {row.token}").timestamp
