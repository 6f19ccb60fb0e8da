"""nuscenes_tables: rows keep what is needed; a broken table is named with its record."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tggbc_ros.data.nuscenes.tables import AnnotationRow, SampleDataRow, SensorRow, find_row, read_table

IMAGE = {
    "token": "i", "sample_token": "s", "ego_pose_token": "p", "calibrated_sensor_token": "c", "timestamp": 1,
    "is_key_frame": True, "filename": "i.jpg", "width": 16, "height": 9,
}  # fmt: skip
BOX = {
    "token": "b", "sample_token": "s", "instance_token": "i", "translation": [1, 2.5, 3], "size": [1.0, 2.0, 3.0],
    "rotation": [1, 0, 0, 0], "prev": "", "next": "", "num_lidar_pts": 4, "num_radar_pts": 0,
}  # fmt: skip


def table(tmp_path: Path, content: str) -> Path:
    path = tmp_path / "sensor.json"
    path.write_text(content)
    return path


def test_rows_by_token_in_order_without_the_rest(tmp_path: Path) -> None:
    rows = [{"token": "b", "channel": "CAM", "modality": "camera"}, {"token": "a", "channel": "LIDAR", "x": [1, [2]]}]
    read = read_table(table(tmp_path, json.dumps(rows)), SensorRow)
    assert list(read.items()) == [("b", SensorRow("b", "CAM")), ("a", SensorRow("a", "LIDAR"))]
    kept = read_table(tmp_path / "sensor.json", SensorRow, lambda row: row.channel == "CAM")
    assert list(kept) == ["b"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('[{"token": "a", "channel": "C"}', "sensor.json is not JSON: Expecting ',' delimiter: line 1 column 32"),
        ('[{"token": "a"}]', "sensor.json: record a has no field 'channel'"),
        ('{"token": "a", "channel": "C"}', "sensor.json is not a list of records"),
        ("[1, 2]", "sensor.json is not a list of records"),
        ('[{"token": "a", "channel": "C"}, {"token": "a", "channel": "D"}]', "token a is there twice"),
    ],
)
def test_broken_table_is_named(tmp_path: Path, content: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        read_table(table(tmp_path, content), SensorRow)


@pytest.mark.parametrize(
    ("row_type", "change", "message"),
    [
        (SampleDataRow, {"timestamp": None}, "record i has timestamp None, expected a whole number"),
        (SampleDataRow, {"timestamp": 1.5}, "record i has timestamp 1.5, expected a whole number"),
        (SampleDataRow, {"filename": None}, "record i has filename None, expected a string"),
        (SampleDataRow, {"is_key_frame": 1}, "record i has is_key_frame 1, expected true or false"),
        (SampleDataRow, {"width": True}, "record i has width True, expected a whole number"),
        (SampleDataRow, {"token": []}, r"record \[\] has token \[\], expected a string"),
        (AnnotationRow, {"num_lidar_pts": None}, "record b has num_lidar_pts None, expected a whole number"),
        (AnnotationRow, {"translation": "1 2 3"}, "record b has translation '1 2 3', expected a list"),
        (AnnotationRow, {"prev": None}, "record b has prev None, expected a string"),
    ],
)
def test_field_of_another_type_is_named(
    tmp_path: Path, row_type: type[SampleDataRow] | type[AnnotationRow], change: dict[str, object], message: str
) -> None:
    good = IMAGE if row_type is SampleDataRow else BOX
    path = table(tmp_path, json.dumps([good]))
    assert len(read_table(path, row_type)) == 1
    table(tmp_path, json.dumps([good | change]))
    with pytest.raises(ValueError, match=f"sensor.json: {message}$"):
        read_table(path, row_type)


def test_table_that_is_no_text_is_named(tmp_path: Path) -> None:
    path = tmp_path / "sensor.json"
    path.write_bytes(b"[\xff\xfe]")
    with pytest.raises(ValueError, match="sensor.json is not JSON"):
        read_table(path, SensorRow)


def test_missing_table_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="table .*sensor.json does not exist"):
        read_table(tmp_path / "sensor.json", SensorRow)


def test_dangling_reference_names_who_asks() -> None:
    with pytest.raises(ValueError, match="calibrated_sensor c refers to sensor 'x', which sensor.json does not hold"):
        find_row({"a": SensorRow("a", "C")}, "sensor", "x", "calibrated_sensor c")
