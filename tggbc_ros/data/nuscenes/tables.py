"""The JSON tables of the nuScenes v1.0 schema as typed rows; only the tables and fields that this project reads."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple, TypeVar, get_origin, get_type_hints

Vector = tuple[float, ...]

END_OF_TIME_US = 2**31 * 1_000_000
"""A time in a ROS message has 31 bits of seconds."""

MILLISECONDS_OF_TODAY = range(900_000_000_000, 2**31 * 1000)
"""Since 1970, for the years from 1998 on; as microseconds they would be the eleventh to the 25th day of 1970."""

EXPECTED = {str: "a string", int: "a whole number", bool: "true or false", list: "a list"}
"""What JSON has for a type of Python's."""


class SceneRow(NamedTuple):
    """scene.json."""

    token: str
    name: str


class SampleRow(NamedTuple):
    """sample.json: a keyframe; timestamp in microseconds."""

    token: str
    timestamp: int
    scene_token: str


class SampleDataRow(NamedTuple):
    """sample_data.json: one image or sweep of one sensor; timestamp in microseconds."""

    token: str
    sample_token: str
    ego_pose_token: str
    calibrated_sensor_token: str
    timestamp: int
    is_key_frame: bool
    filename: str
    width: int
    height: int


class PoseRow(NamedTuple):
    """ego_pose.json: translation x, y, z in metres; rotation a quaternion w, x, y, z."""

    token: str
    translation: Vector
    rotation: Vector


class CalibrationRow(NamedTuple):
    """calibrated_sensor.json: sensor to ego frame, as in ego_pose.json; camera_intrinsic is empty but for cameras."""

    token: str
    sensor_token: str
    translation: Vector
    rotation: Vector
    camera_intrinsic: tuple[Vector, ...]


class SensorRow(NamedTuple):
    """sensor.json."""

    token: str
    channel: str


class AnnotationRow(NamedTuple):
    """sample_annotation.json: a box in the global frame; size is width, length, height in metres."""

    token: str
    sample_token: str
    instance_token: str
    translation: Vector
    size: Vector
    rotation: Vector
    prev: str
    next: str
    num_lidar_pts: int
    num_radar_pts: int


class InstanceRow(NamedTuple):
    """instance.json."""

    token: str
    category_token: str


class CategoryRow(NamedTuple):
    """category.json."""

    token: str
    name: str


Row = TypeVar(
    "Row",
    SceneRow,
    SampleRow,
    SampleDataRow,
    PoseRow,
    CalibrationRow,
    SensorRow,
    AnnotationRow,
    InstanceRow,
    CategoryRow,
)


def read_table(path: Path, row_type: type[Row], keep: Callable[[Row], bool] | None = None) -> dict[str, Row]:
    """Rows by token, in the file's order, those that ``keep`` accepts.

    Raises FileNotFoundError naming the file; ValueError naming file and record if it is not JSON, not a list of
    records, lacks a field, has one of another type, holds a token twice or a time that is not in microseconds; what is
    in lists is not looked at. Rows are made while parsing, so a table of millions of records never lies in memory as
    dictionaries.
    """
    if not path.is_file():
        raise FileNotFoundError(f"table {path} does not exist")
    rows: dict[str, Row] = {}
    types = _json_types(row_type)

    def take(record: dict[str, Any]) -> bool:
        row = _row(path, row_type, types, record)
        if row.token in rows:
            raise ValueError(f"{path}: token {row.token} is there twice")
        if keep is None or keep(row):
            rows[row.token] = row
        return True

    try:
        parsed = json.loads(path.read_text(encoding="utf-8"), object_hook=take)
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"table {path} is not JSON: {error}") from error
    if not isinstance(parsed, list) or not all(entry is True for entry in parsed):
        raise ValueError(f"table {path} is not a list of records")
    return rows


def read_json(path: Path) -> Any:
    """A whole file's content; raises ValueError naming it if it is not JSON."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path} is not JSON: {error}") from error


def find_row(table: Mapping[str, Row], name: str, token: str, asked_by: str) -> Row:
    """The row with that token; raises ValueError naming who refers to it."""
    if token not in table:
        raise ValueError(f"{asked_by} refers to {name} {token!r}, which {name}.json does not hold")
    return table[token]


def _json_types(row_type: type[Row]) -> list[type]:
    """Of each field in a parsed record; JSON has no tuples."""
    return [list if get_origin(hint) is tuple else hint for hint in get_type_hints(row_type).values()]


def _row(path: Path, row_type: type[Row], types: list[type], record: dict[str, Any]) -> Row:
    try:
        values = [record[field] for field in row_type._fields]
    except KeyError as error:
        raise ValueError(f"{path}: record {record.get('token', record)} has no field {error}") from error
    if list(map(type, values)) != types:  # at once, for there are millions of rows
        _refuse(path, row_type, types, values)
    _check_time(path, record)
    return row_type(*values)


def _check_time(path: Path, record: dict[str, Any]) -> None:
    """Also where the row has no time: all tables of a data set have it in one unit."""
    time_us = record.get("timestamp", 0)
    likely = isinstance(time_us, (int, float)) and 0 <= time_us < END_OF_TIME_US
    if not likely or MILLISECONDS_OF_TODAY.start <= time_us < MILLISECONDS_OF_TODAY.stop:
        raise unlikely_time(path, f"record {record.get('token')} has timestamp {time_us!r}")


def unlikely_time(path: Path, what: str) -> ValueError:
    """For a time, or the time between two, that is not in microseconds."""
    return ValueError(f"{path}: {what}, expected microseconds (since 1970, or since any other day)")


def _refuse(path: Path, row_type: type[Row], types: list[type], values: list[Any]) -> None:
    """Raise ValueError for the first value that is not of its type."""
    token = values[row_type._fields.index("token")]
    for field, value, expected in zip(row_type._fields, values, types, strict=True):
        if type(value) is not expected:
            unit = " of microseconds" if field == "timestamp" and type(value) is float and value > 1e6 else ""
            raise ValueError(f"{path}: record {token} has {field} {value!r}, expected {EXPECTED[expected]}{unit}")
