"""bag_writer: what a killed recorder has written so far can be read; a finished bag is one file without leftovers."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from small_bags import NUMBER, START_NS, STEP_NS, STORE, TOPICS, number, read_numbers

from tggbc_ros.data.bags import bag_writer
from tggbc_ros.data.bags.bag_writer import BagFileWriter


@pytest.mark.parametrize("storage", ["mcap", "sqlite3"])
def test_a_killed_recording_is_read_as_far_as_it_went(
    tmp_path: Path, storage: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bag_writer, "COMMIT_PERIOD_S", 0.0)
    with BagFileWriter(tmp_path / "bag", storage) as writer:
        added = [writer.add_connection(topic, NUMBER, typestore=STORE) for topic in TOPICS]
        for value in range(50_000 if storage == "mcap" else 50):
            writer.write(added[value % 2], START_NS + value * STEP_NS, number(value))
        shutil.copytree(tmp_path / "bag", tmp_path / "killed")
    found = read_numbers(tmp_path / "killed", with_losses=True)
    assert found == list(range(len(found)))
    assert len(found) == 50 if storage == "sqlite3" else len(found) > 10_000


def test_a_finished_bag_has_nothing_beside_it(tmp_path: Path) -> None:
    with BagFileWriter(tmp_path / "bag", "sqlite3") as writer:
        added = writer.add_connection("/a", NUMBER, typestore=STORE)
        writer.write(added, START_NS, number(0))
    assert sorted(path.name for path in (tmp_path / "bag").iterdir()) == ["bag.db3", "metadata.yaml"]
    assert (tmp_path / "bag" / "bag.db3").read_bytes()[18:20] == b"\1\1", "no write-ahead log (SQLite's file format)"
