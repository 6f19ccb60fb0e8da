"""sqlite_file: what a killed recorder left beside the file is read with it, and a cut file up to where it is cut."""

from __future__ import annotations

import shutil
import sqlite3
from pathlib import Path

import pytest
from small_bags import (
    COUNT,
    START_NS,
    STEP_NS,
    cut,
    data_file,
    losses_of,
    notes_of,
    number,
    read_numbers,
    write_numbers,
)

from tggbc_ros.data.bags import sqlite_file
from tggbc_ros.data.bags.bag_file import BagError

ALL = list(range(COUNT))
MORE = 1000


def killed(bag: Path, copy: Path, journal: str) -> Path:
    """The bag as it is on disk while a recorder of this journal mode adds further messages."""
    database = sqlite3.connect(data_file(bag), isolation_level=None)
    database.execute(f"PRAGMA journal_mode = {journal}")
    database.execute("PRAGMA cache_size = 1")  # so that an open transaction reaches the file
    database.execute("BEGIN")
    for value in range(COUNT, MORE):
        row = (value % 2 + 1, START_NS + value * STEP_NS, number(value))
        database.execute("INSERT INTO messages (topic_id, timestamp, data) VALUES (?, ?, ?)", row)
    if journal == "WAL":
        database.execute("COMMIT")
    shutil.copytree(bag, copy)
    database.close()
    return copy


def test_a_write_ahead_log_is_read(tmp_path: Path) -> None:
    bag = killed(write_numbers(tmp_path / "bag"), tmp_path / "copy", "WAL")
    with sqlite3.connect(f"file:{bag / 'bag.db3'}?immutable=1", uri=True) as database:
        assert database.execute("SELECT count(*) FROM messages").fetchone() == (COUNT,), "the rest is in the log"
    database.close()
    assert read_numbers(bag) == list(range(MORE))
    assert "bag.db3-wal" in notes_of(bag)


@pytest.mark.parametrize("journal", ["WAL", "DELETE"])
def test_what_cannot_be_read_in_place_is_read_from_a_copy(
    tmp_path: Path, journal: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in a folder that cannot be written to. A write that was cut off is undone: its messages never were whole."""

    def refuse(database: sqlite3.Connection) -> None:
        raise sqlite3.OperationalError("attempt to write a readonly database")

    bag = killed(write_numbers(tmp_path / "bag"), tmp_path / "copy", journal)
    before = {path.name: path.read_bytes() for path in bag.iterdir()}
    monkeypatch.setattr(sqlite_file, "_probe", refuse)
    assert read_numbers(bag) == (list(range(MORE)) if journal == "WAL" else ALL)
    assert {path.name: path.read_bytes() for path in bag.iterdir()} == before, "the bag stays as it is"


def test_a_write_that_was_cut_off_is_undone(tmp_path: Path) -> None:
    bag = killed(write_numbers(tmp_path / "bag"), tmp_path / "copy", "DELETE")
    assert (bag / "bag.db3-journal").stat().st_size
    assert read_numbers(bag) == ALL
    assert "bag.db3-journal" in notes_of(bag)


@pytest.mark.parametrize("endings", [("-shm",), ("-wal",), ("-wal", "-shm"), ("-journal",)])
def test_empty_leftovers_say_nothing(tmp_path: Path, endings: tuple[str, ...]) -> None:
    bag = write_numbers(tmp_path / "bag")
    with sqlite3.connect(data_file(bag)) as database:
        database.execute("PRAGMA journal_mode = WAL")
    database.close()
    for ending in endings:
        Path(f"{bag / 'bag.db3'}{ending}").write_bytes(bytes(32768) if ending == "-shm" else b"")
    assert read_numbers(bag) == ALL
    assert notes_of(bag) == ""


def test_messages_that_were_in_a_lost_log_are_missed(tmp_path: Path) -> None:
    """The file was copied without it: only metadata.yaml knows."""
    whole = write_numbers(tmp_path / "whole", values=range(MORE))
    bag = killed(write_numbers(tmp_path / "bag"), tmp_path / "copy", "WAL")
    shutil.copy(whole / "metadata.yaml", bag / "metadata.yaml")
    (bag / "metadata.yaml").write_text((bag / "metadata.yaml").read_text().replace("whole.db3", "bag.db3"))
    assert read_numbers(bag) == list(range(MORE))
    (bag / "bag.db3-wal").unlink()
    with pytest.raises(BagError, match="metadata.yaml counts 500 messages on /a, the files hold 20"):
        read_numbers(bag)


@pytest.mark.parametrize("share", [0.3, 0.5, 0.8, 0.95])
@pytest.mark.parametrize("with_metadata", [True, False])
def test_a_cut_file_gives_its_front_and_says_how_to_repair_it(
    tmp_path: Path, share: float, with_metadata: bool
) -> None:
    bag = write_numbers(tmp_path / "bag", values=range(4000))
    if not with_metadata:
        (bag / "metadata.yaml").unlink()
    cut(data_file(bag), share)
    with pytest.raises(BagError, match=r"bag .*bag.db3 is damaged, \d+ of its \d+ bytes are there; repair: sqlite3"):
        read_numbers(bag)
    found = read_numbers(bag, with_losses=True)
    assert found[:500] == list(range(500)) and found == sorted(set(found))
    assert 4000 * share * 0.5 < len(found) <= 4000
    assert ("metadata.yaml counts" in losses_of(bag)) == (with_metadata and len(found) < 4000)


def test_a_damaged_page_within_ends_what_is_read(tmp_path: Path) -> None:
    bag = write_numbers(tmp_path / "bag", values=range(4000))
    content = bytearray(data_file(bag).read_bytes())
    middle = len(content) // 2 // 4096 * 4096
    content[middle : middle + 8192] = b"\xff" * 8192
    data_file(bag).write_bytes(content)
    found = read_numbers(bag, with_losses=True)
    assert 0 < len(found) < 4000
    assert "bag.db3 is damaged, database disk image is malformed" in losses_of(bag)


@pytest.mark.parametrize("age", ["before types had definitions", "before publishers were noted"])
def test_older_bags(tmp_path: Path, age: str) -> None:
    bag = write_numbers(tmp_path / "bag")
    with sqlite3.connect(data_file(bag)) as database:
        database.execute("DROP TABLE message_definitions")
        database.execute("DROP TABLE schema")
        database.execute("ALTER TABLE topics DROP COLUMN type_description_hash")
        if age == "before publishers were noted":
            database.execute("ALTER TABLE topics DROP COLUMN offered_qos_profiles")
    database.close()
    assert read_numbers(bag) == ALL


def test_another_database_is_named(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "other.db3") as database:
        database.execute("CREATE TABLE birds (name TEXT)")
    database.close()
    with pytest.raises(BagError, match="bag .*other.db3 cannot be read"):
        read_numbers(tmp_path / "other.db3")
