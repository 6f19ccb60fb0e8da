"""Results on disk: whole or not there, of this bag and these settings, and one table of all."""

from __future__ import annotations

from pathlib import Path

import pytest
from rclpy.serialization import serialize_message
from tggbc_ros.msg import BoundingBox3DArray, FrameReport

from tggbc_ros.core.config import CLASS_NAMES
from tggbc_ros.evaluation.recorded import BOXES_TOPIC, REPORT_TOPIC, read_recording
from tggbc_ros.fleet.detections import COLUMNS, BagResult, Message
from tggbc_ros.fleet.store import held, is_done, join_tables, keep
from tggbc_ros.ros import convert

parquet = pytest.importorskip("pyarrow.parquet", reason="pyarrow is optional: ./run env/add.sh fleet")

SAID = {"job": "detect", "model": "demo", "keep_ratios": [1.0, 0.3]}


def result(boxes: int = 2) -> BagResult:
    def message(stamp_ns: int) -> Message:
        head = convert.header(stamp_ns, "base_link")
        array, report = BoundingBox3DArray(header=head), FrameReport(header=head, model="demo")
        row = (CLASS_NAMES[0], 0.5, *map(float, range(len(COLUMNS) - 2)))
        return Message(stamp_ns, serialize_message(array), serialize_message(report), (row,) * boxes)

    return BagResult({1.0: [message(10), message(20)], 0.3: [message(10)]}, "base_link", "fine")


def test_a_result_is_read_again_as_it_was(tmp_path: Path) -> None:
    of = {"path": "/some/bag", "files": [["bag.mcap", 7, 9]]}
    assert not is_done(tmp_path / "one", of)
    assert keep(tmp_path / "one", of, result()) == 6
    assert is_done(tmp_path / "one", of)
    assert not is_done(tmp_path / "one", of | {"files": [["bag.mcap", 8, 9]]}), "the bag has changed"
    rows = parquet.read_table(tmp_path / "one" / "boxes.parquet").to_pylist()
    assert [(row["bag"], row["keep_ratio"], row["stamp_ns"]) for row in rows[::2]] == [
        ("one", 1.0, 10),
        ("one", 1.0, 20),
        ("one", 0.3, 10),
    ]
    assert (rows[0]["class_name"], rows[0]["score"], rows[0]["vy"], rows[0]["frame_id"]) == (
        "car",
        0.5,
        8.0,
        "base_link",
    )
    boxes, reports = read_recording(tmp_path / "one" / "keep_1", BOXES_TOPIC, REPORT_TOPIC)
    assert [each.stamp_ns for each in boxes] == [each.stamp_ns for each in reports] == [10, 20]


def test_the_table_of_all_has_the_bags_in_order(tmp_path: Path) -> None:
    keep(tmp_path / "b", {}, result(1))
    keep(tmp_path / "a", {}, result(3))
    assert join_tables(tmp_path, [tmp_path / "b", tmp_path / "a"]) == 12
    names = parquet.read_table(tmp_path / "boxes.parquet")["bag"].to_pylist()
    assert names == ["b"] * 3 + ["a"] * 9
    assert join_tables(tmp_path, []) == 0, "no bag, no box"


def test_what_is_torn_goes_and_does_not_count(tmp_path: Path) -> None:
    with held(tmp_path, SAID):
        pass
    (tmp_path / ".partial-one" / "keep_1").mkdir(parents=True)
    (tmp_path / "one").mkdir()
    assert not is_done(tmp_path / "one", {})
    with held(tmp_path, SAID):
        assert not (tmp_path / ".partial-one").exists()
    broken = BagResult({1.0: [Message(10, b"", b"", (("car",),))]}, "base_link", "")
    with pytest.raises(ValueError, match="shorter|longer|argument"):
        keep(tmp_path / "two", {}, broken)
    assert not (tmp_path / "two").exists() and not (tmp_path / ".partial-two").exists()


def test_a_folder_of_other_settings_or_in_use_is_refused(tmp_path: Path) -> None:
    with held(tmp_path, SAID), pytest.raises(ValueError, match="another call is at work in"), held(tmp_path, SAID):
        pass
    other = SAID | {"keep_ratios": [1.0]}
    with (
        pytest.raises(ValueError, match=r"results whose keep_ratios is \[1.0, 0.3\], expected \[1.0\]: choose another"),
        held(tmp_path, other),
    ):
        pass
