"""bag_file: every message that a bag's files hold is read, or what is missing is named, whatever metadata.yaml says."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from rosbags.interfaces import QosDurability
from rosbags.rosbag2 import CompressionMode
from small_bags import (
    COUNT,
    NUMBER,
    START_NS,
    STEP_NS,
    STORE,
    change_metadata,
    cut,
    data_file,
    losses_of,
    notes_of,
    number,
    read_numbers,
    write_numbers,
)

from tggbc_ros.data.bags.bag_file import BagError, open_bag
from tggbc_ros.data.bags.bag_writer import BagFileWriter

ALL = list(range(COUNT))
STORAGES = ("mcap", "sqlite3")


def topics(**changed: object) -> Callable[[dict[str, Any]], None]:
    """Another value of these fields in every topic's metadata."""

    def change(metadata: dict[str, Any]) -> None:
        for entry in metadata["topics_with_message_count"]:
            entry["topic_metadata"].update(changed)

    return change


QOS_AS_TEXT = "- history: 3\n  depth: 0\n  reliability: 1\n  durability: 2\n  deadline:\n    sec: 9\n    nsec: 9\n"
OTHER_FORMS = {
    "QoS as text with numbers": topics(offered_qos_profiles=QOS_AS_TEXT),
    "QoS without most fields": topics(offered_qos_profiles=[{"durability": "volatile"}]),
    "QoS that is none": topics(offered_qos_profiles=["x", 3, None]),
    "no QoS": topics(offered_qos_profiles=""),
    "no format": topics(serialization_format=""),
    "other format": topics(serialization_format="CDR"),
    "other hash": topics(type_description_hash="RIHS01_" + "0" * 64),
    "short type": topics(type="std_msgs/UInt32"),
    "one topic": lambda metadata: metadata["topics_with_message_count"].pop(),
    "no topics": lambda metadata: metadata.update(topics_with_message_count=[]),
    "topic of nothing": lambda metadata: metadata["topics_with_message_count"][0]["topic_metadata"].update(name=7),
    "fewer messages": lambda metadata: metadata["topics_with_message_count"][0].update(message_count=1),
    "no time": lambda metadata: metadata.update(starting_time={"nanoseconds_since_epoch": 0}, duration=None),
    "another age": lambda metadata: metadata.update(version=99),
    "another storage": lambda metadata: metadata.update(storage_identifier="rosbag_v9"),
    "a folder in the name": lambda metadata: metadata.update(
        relative_file_paths=[f"elsewhere/{metadata['relative_file_paths'][0]}"]
    ),
    "wrong compression": lambda metadata: metadata.update(compression_mode="MESSAGE", compression_format="zstd"),
}


@pytest.mark.parametrize("storage", STORAGES)
@pytest.mark.parametrize("form", OTHER_FORMS)
def test_metadata_of_another_form_costs_nothing(tmp_path: Path, storage: str, form: str) -> None:
    bag = write_numbers(tmp_path / "bag", storage)
    change_metadata(bag, OTHER_FORMS[form])
    assert read_numbers(bag) == ALL
    with open_bag(bag) as opened:
        counts = {entry.topic: (entry.msgtype, entry.msgcount) for entry in opened.connections}
        assert counts == {"/a": (NUMBER, COUNT // 2), "/b": (NUMBER, COUNT // 2)}
        assert (opened.start_ns, opened.end_ns) == (START_NS, START_NS + (COUNT - 1) * STEP_NS + 1)


@pytest.mark.parametrize("storage", STORAGES)
def test_fewer_messages_than_metadata_counts_are_named(tmp_path: Path, storage: str) -> None:
    bag = write_numbers(tmp_path / "bag", storage)
    change_metadata(bag, lambda metadata: metadata["topics_with_message_count"][1].update(message_count=33))
    with pytest.raises(BagError, match="bag .*metadata.yaml counts 33 messages on /b, the files hold 20"):
        read_numbers(bag)
    assert read_numbers(bag, with_losses=True) == ALL
    change_metadata(bag, topics(name="/gone"))
    assert "messages on /gone, the files hold 0" in losses_of(bag)


def test_durability_is_that_of_file_or_metadata(tmp_path: Path) -> None:
    bag = write_numbers(tmp_path / "bag")
    change_metadata(bag, topics(offered_qos_profiles=[{"durability": 1}]))
    with open_bag(bag) as opened:
        profiles = [profile.durability for profile in opened.connections[0].ext.offered_qos_profiles]  # type: ignore
    assert profiles == [QosDurability.TRANSIENT_LOCAL, QosDurability.VOLATILE]


@pytest.mark.parametrize("storage", STORAGES)
@pytest.mark.parametrize(
    "name", ["run#3", "really?", "run%20two", "%23", "100%", "a b&mode=ro", "\u00e4'", "x?immutable=0#"]
)
def test_any_path_is_written_and_read(tmp_path: Path, storage: str, name: str) -> None:
    bag = write_numbers(tmp_path / name / name, storage)
    assert read_numbers(bag) == ALL
    assert read_numbers(data_file(bag)) == ALL
    assert [path.name for path in tmp_path.iterdir()] == [name], "nothing lies beside the folder"
    assert [path.name for path in (tmp_path / name).iterdir()] == [name]


@pytest.mark.parametrize("storage", STORAGES)
@pytest.mark.parametrize("content", [None, ""])
def test_without_metadata_the_files_are_read(tmp_path: Path, storage: str, content: str | None) -> None:
    bag = write_numbers(tmp_path / "bag", storage)
    (bag / "metadata.yaml").unlink()
    if content is not None:
        (bag / "metadata.yaml").write_text(content)
    assert read_numbers(bag) == ALL
    assert "ros2 bag reindex" in notes_of(bag)


def test_damaged_metadata_is_named_and_the_files_are_read(tmp_path: Path) -> None:
    bag = write_numbers(tmp_path / "bag")
    cut(bag / "metadata.yaml", 0.1)
    with pytest.raises(BagError, match="bag .*metadata.yaml is damaged.*ros2 bag reindex"):
        read_numbers(bag)
    assert read_numbers(bag, with_losses=True) == ALL


def test_a_folder_without_a_bag_is_named(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("none")
    with pytest.raises(FileNotFoundError, match=f"folder '{tmp_path}' holds no bag"):
        read_numbers(tmp_path)
    (tmp_path / "killed.db3").touch()
    with pytest.raises(BagError, match="killed.db3 begins with b'', expected an MCAP or SQLite file"):
        read_numbers(tmp_path)


def split_bag(folder: Path, storage: str, listed: int, parts: int = 3) -> Path:
    """A recording in parts, of which metadata.yaml lists the first; the times of two parts overlap."""
    for part in range(parts):
        written = write_numbers(folder / f"part_{part}", storage, [part, *range(part * 10 + 3, part * 10 + 13)])
        file = data_file(written)
        file.rename(folder / file.name)
    (folder / "part_0" / "metadata.yaml").rename(folder / "metadata.yaml")
    names = sorted(path.name for path in folder.iterdir() if path.is_file() and path.suffix != ".yaml")
    change_metadata(folder, lambda metadata: metadata.update(relative_file_paths=names[:listed]))
    return folder


@pytest.mark.parametrize("storage", STORAGES)
def test_parts_are_one_bag_in_order_of_time(tmp_path: Path, storage: str) -> None:
    bag = split_bag(tmp_path, storage, 3)
    assert read_numbers(bag) == list(range(33))
    with open_bag(bag) as opened:
        assert sorted(entry.topic for entry in opened.connections) == ["/a", "/b"]
        assert opened.message_count == sum(entry.msgcount for entry in opened.connections) == 33


@pytest.mark.parametrize("storage", STORAGES)
def test_a_part_that_is_missing_is_named_and_the_others_are_read(tmp_path: Path, storage: str) -> None:
    bag = split_bag(tmp_path, storage, 3)
    (missing,) = bag.glob("part_1.*")
    missing.unlink()
    with pytest.raises(BagError, match=f"metadata.yaml lists {missing.name}, which is not there"):
        read_numbers(bag)
    assert read_numbers(bag, with_losses=True) == [0, 2, *range(3, 13), *range(23, 33)]


@pytest.mark.parametrize("storage", STORAGES)
def test_a_part_behind_the_listed_ones_is_read_and_another_file_is_named(tmp_path: Path, storage: str) -> None:
    bag = split_bag(tmp_path, storage, 2)
    assert read_numbers(bag) == list(range(33))
    assert "goes on from the files" in notes_of(bag)
    (last,) = bag.glob("part_2.*")
    last.rename(bag / f"copy{last.suffix}")
    with pytest.raises(BagError, match=f"copy{last.suffix} is not read, as metadata.yaml does not list it"):
        read_numbers(bag)
    (bag / "metadata.yaml").unlink()
    assert read_numbers(bag) == list(range(33))


@pytest.mark.parametrize("storage", STORAGES)
def test_a_damaged_part_costs_no_other(tmp_path: Path, storage: str) -> None:
    bag = split_bag(tmp_path, storage, 3)
    (damaged,) = bag.glob("part_1.*")
    damaged.write_bytes(b"no bag")
    assert read_numbers(bag, with_losses=True) == [0, 2, *range(3, 13), *range(23, 33)]
    assert f"{damaged.name} cannot be read" in losses_of(bag)


@pytest.mark.parametrize("storage", STORAGES)
@pytest.mark.parametrize("mode", [CompressionMode.MESSAGE, CompressionMode.FILE])
@pytest.mark.parametrize("with_metadata", [True, False])
def test_compressed_bags(tmp_path: Path, storage: str, mode: CompressionMode, with_metadata: bool) -> None:
    bag = write_numbers(tmp_path / "bag", storage, compression=mode)
    if not with_metadata:
        (bag / "metadata.yaml").unlink()
    assert read_numbers(bag) == ALL
    assert read_numbers(data_file(bag)) == ALL


def test_another_compression_is_named(tmp_path: Path) -> None:
    bag = write_numbers(tmp_path / "bag")
    change_metadata(bag, lambda metadata: metadata.update(compression_mode="file", compression_format="lz4"))
    with pytest.raises(BagError, match="compression_format is 'lz4', expected zstd"):
        read_numbers(bag)


def write_kinds(path: Path, storage: str) -> Path:
    """Two messages each as cdr, without a name, and as something else."""
    with BagFileWriter(path, storage) as writer:
        for topic, encoding in (("/a", "cdr"), ("/b", ""), ("/c", "protobuf")):
            added = writer.add_connection(topic, NUMBER, typestore=STORE, serialization_format=encoding)
            for value in range(2):
                writer.write(added, START_NS, number(value))
    return path


@pytest.mark.parametrize("storage", STORAGES)
def test_messages_of_another_serialisation_are_named(tmp_path: Path, storage: str) -> None:
    bag = write_kinds(tmp_path / "bag", storage)
    with pytest.raises(BagError, match="2 messages on /c are 'protobuf', expected cdr"):
        read_numbers(bag)
    with open_bag(bag, with_losses=True) as opened:
        assert [entry.topic for entry, _, _ in opened.messages()] == ["/a", "/a", "/b", "/b"]


@pytest.mark.parametrize("storage", STORAGES)
def test_any_time_is_read(tmp_path: Path, storage: str) -> None:
    times_ns = [0, START_NS, 2**63 - 2] if storage == "mcap" else [-5, 0, START_NS, 2**63 - 2]
    with BagFileWriter(tmp_path / "bag", storage) as writer:
        added = writer.add_connection("/a", NUMBER, typestore=STORE)
        for time_ns in reversed(times_ns):
            writer.write(added, time_ns, number(0))
    with open_bag(tmp_path / "bag") as bag:
        assert [time_ns for _, time_ns, _ in bag.messages()] == times_ns
        assert (bag.start_ns, bag.end_ns) == (times_ns[0], times_ns[-1] + 1)


def test_messages_without_their_topic_and_of_other_types_are_named(tmp_path: Path) -> None:
    bag = write_numbers(tmp_path / "bag")
    with sqlite3.connect(data_file(bag)) as database:
        database.execute("UPDATE messages SET topic_id = 9 WHERE id <= 3")
        database.execute("UPDATE messages SET timestamp = 'noon' WHERE id = 5")
        database.execute("UPDATE messages SET data = 'text' WHERE id = 6")
    database.close()
    losses = losses_of(bag)
    assert "3 messages in bag.db3 are of topic 9, which it does not name" in losses
    assert "1 messages of /a in bag.db3 have no whole number for a time or no bytes for content" in losses
    assert read_numbers(bag, with_losses=True) == [3, *ALL[6:]]
