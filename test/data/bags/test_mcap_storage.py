"""mcap_storage and mcap_scan: files without an index, with half of one, or cut off give every message that is there."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest
from mcap_writer import record, text, write_mcap
from rosbags.rosbag2 import CompressionFormat, CompressionMode
from small_bags import (
    COUNT,
    NUMBER,
    START_NS,
    STEP_NS,
    STORE,
    TOPICS,
    data_file,
    losses_of,
    notes_of,
    number,
    read_numbers,
    write_numbers,
)

from tggbc_ros.data.bags.bag_file import BagError, open_bag
from tggbc_ros.data.bags.bag_writer import BagFileWriter
from tggbc_ros.data.bags.mcap_file import DATA_END, MAGIC, RECORD_HEAD, Message

ALL = list(range(COUNT))
TEXT = "std_msgs/msg/String"
QOS = "- depth: 7\n  durability: transient_local\n"


def records(file: Path) -> list[tuple[int, bytes]]:
    """Of the whole file, up to the footer."""
    content, at, found = file.read_bytes(), len(MAGIC), []
    while at < len(content) - len(MAGIC):
        kind, size = RECORD_HEAD.unpack_from(content, at)
        found.append((kind, content[at + RECORD_HEAD.size : at + RECORD_HEAD.size + size]))
        at += RECORD_HEAD.size + size
    return found


def rewrite(file: Path, kept: list[tuple[int, bytes]]) -> None:
    file.write_bytes(MAGIC + b"".join(record(*each) for each in kept) + MAGIC)


def end_of_data(file: Path) -> int:
    """Where the record that says so begins."""
    content, at = file.read_bytes(), len(MAGIC)
    while content[at] != DATA_END:
        at += RECORD_HEAD.size + RECORD_HEAD.unpack_from(content, at)[1]
    return at


def write_texts(path: Path, count: int = 60, packed: bool = False) -> Path:
    """Texts of 50 kB in several chunks, and their numbers in the log time."""
    writer = BagFileWriter(path, "mcap")
    if packed:
        writer.set_compression(CompressionMode.STORAGE, CompressionFormat.ZSTD)
    with writer:
        added = writer.add_connection("/text", TEXT, typestore=STORE)
        for place in range(count):
            message = STORE.types[TEXT](data=bytes((place * k) % 89 + 33 for k in range(50_000)).decode())
            writer.write(added, place, STORE.serialize_cdr(message, TEXT))
    return path


def read_times(path: Path) -> list[int]:
    with open_bag(path, with_losses=True) as bag:
        return [time_ns for _, time_ns, _ in bag.messages()]


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("share", [0.2, 0.6, 0.95])
@pytest.mark.parametrize("as_folder", [True, False])
def test_a_cut_file_gives_its_front_and_says_how_to_repair_it(
    tmp_path: Path, packed: bool, share: float, as_folder: bool
) -> None:
    bag = write_texts(tmp_path / "bag", packed=packed)
    file = data_file(bag)
    file.write_bytes(file.read_bytes()[: int(share * end_of_data(file))])
    (bag / "metadata.yaml").unlink()
    path = bag if as_folder else file
    with pytest.raises(BagError, match="bag.mcap was cut off: it ends at byte .*mcap recover bag.mcap"):
        read_numbers(path)
    times = read_times(path)
    assert times == list(range(len(times)))
    assert 60 * share - (14 if packed else 2) < len(times) <= 60, "of a chunk that is cut, the front"


def test_a_file_cut_behind_its_data_gives_all(tmp_path: Path) -> None:
    bag = write_numbers(tmp_path / "bag", "mcap")
    file = data_file(bag)
    whole, end = file.read_bytes(), end_of_data(file)
    for kept in (end + RECORD_HEAD.size + 4, (end + len(whole)) // 2, len(whole) - 1):
        file.write_bytes(whole[:kept])
        assert read_numbers(bag) == ALL
        assert "lacks its end, behind all messages; repair: mcap recover" in notes_of(bag)


def test_a_file_cut_before_its_first_message_is_named(tmp_path: Path) -> None:
    bag = write_numbers(tmp_path / "bag", "mcap")
    data_file(bag).write_bytes(data_file(bag).read_bytes()[:60])
    with pytest.raises(BagError, match="bag .*bag.mcap was cut off"), open_bag(bag, with_losses=True):
        pass


def test_a_damaged_chunk_costs_its_own_messages_only(tmp_path: Path) -> None:
    bag = write_texts(tmp_path / "bag", packed=True)
    file = data_file(bag)
    kept = [(kind, content) for kind, content in records(file) if kind in (1, 3, 4, 6, DATA_END)]
    chunks = [place for place, (kind, _) in enumerate(kept) if kind == 6]
    assert len(chunks) >= 3
    damaged = bytearray(kept[chunks[1]][1])
    damaged[100:600] = b"\xff" * 500
    kept[chunks[1]] = (6, bytes(damaged))
    rewrite(file, kept)
    assert "bag.mcap is damaged at byte" in losses_of(bag)
    times = read_times(bag)
    assert times[0] == 0 and times[-1] == 59 and 0 < 60 - len(times) <= 30


def without_message_indexes(chunk_index: bytes) -> bytes:
    """Times, place and size (32 bytes); a map of channels' message indexes; their size; compression and sizes."""
    (size,) = struct.unpack_from("<I", chunk_index, 32)
    return chunk_index[:32] + bytes(4) + bytes(8) + chunk_index[36 + size + 8 :]


def test_chunks_that_the_index_does_not_tell_of_are_read(tmp_path: Path) -> None:
    """Writers may leave out which channels a chunk has messages of; rosbags then gives none."""
    bag = write_numbers(tmp_path / "bag", "mcap")
    file = data_file(bag)
    data = file.read_bytes()[: end_of_data(file) + RECORD_HEAD.size + 4]
    summary = [each for each in records(file) if each[0] in (3, 4, 8, 11)]
    content = data + b"".join(
        record(kind, without_message_indexes(fields) if kind == 8 else fields) for kind, fields in summary
    )
    file.write_bytes(content + record(2, struct.pack("<QQI", len(data), 0, 0)) + MAGIC)
    assert read_numbers(bag) == ALL


@pytest.mark.parametrize("compression", ["", "zstd", "lz4"])
def test_no_index_no_order_no_profile(tmp_path: Path, compression: str) -> None:
    """Neither ROS' name as the profile nor an order of time is needed."""
    messages = [
        Message(START_NS + value * STEP_NS, TOPICS[value % 2], "cdr", NUMBER, number(value))
        for value in (5, 3, 0, 1, 4, 2)
    ]
    assert read_numbers(write_mcap(tmp_path / "file.mcap", messages, compression)) == [0, 1, 2, 3, 4, 5]


def loose_file(path: Path, order: list[int]) -> Path:
    """Messages outside of any chunk, as recorders write that are in a hurry."""
    content = record(1, text("ros2") + text("")) + record(3, struct.pack("<H", 1) + text(NUMBER) + text("") + text(""))
    quality = text("offered_qos_profiles") + text(QOS)
    for place, topic in enumerate(TOPICS):
        fields = struct.pack("<HH", place, 1) + text(topic) + text("cdr") + struct.pack("<I", len(quality)) + quality
        content += record(4, fields)
    for value in order:
        time_ns = START_NS + value * STEP_NS
        content += record(5, struct.pack("<HIQQ", value % 2, 0, time_ns, time_ns) + number(value))
    path.write_bytes(MAGIC + content + record(DATA_END, bytes(4)) + record(2, bytes(20)) + MAGIC)
    return path


def test_messages_outside_of_chunks_in_any_order(tmp_path: Path) -> None:
    file = loose_file(tmp_path / "loose.mcap", [3, 1, 0, 2, 4])
    assert read_numbers(file) == [0, 1, 2, 3, 4]
    with open_bag(file) as bag:
        (profile,) = bag.connections[0].ext.offered_qos_profiles  # type: ignore[union-attr]
        assert (profile.depth, profile.durability.name) == (7, "TRANSIENT_LOCAL")
        later = [time_ns for _, time_ns, _ in bag.messages(start_ns=START_NS + STEP_NS, stop_ns=START_NS + 3 * STEP_NS)]
        assert later == [START_NS + STEP_NS, START_NS + 2 * STEP_NS]


def test_messages_of_a_channel_that_nothing_describes_are_named(tmp_path: Path) -> None:
    file = loose_file(tmp_path / "loose.mcap", ALL)
    kept = [each for each in records(file) if each[0] != 4 or each[1][:2] != b"\1\0"]
    rewrite(file, kept)
    assert "20 messages in loose.mcap are of channels that nothing describes" in losses_of(file)
    assert read_numbers(file, with_losses=True) == ALL[::2]
