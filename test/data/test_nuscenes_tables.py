"""nuscenes_tables: rows keep what is needed; a broken table is named with its record."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tggbc_ros.data.nuscenes_tables import SensorRow, find_row, read_table


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
