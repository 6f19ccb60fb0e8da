"""mcap_file: it reads what rosbags writes, as rosbags reads it; what is broken is one error naming the file."""

from __future__ import annotations

from pathlib import Path

import pytest
from mcap_writer import CHUNK_AT, write_mcap
from rosbags.rosbag2 import CompressionFormat, CompressionMode, Reader, StoragePlugin, Writer
from rosbags.typesys.stores import ros2_jazzy as ros

from tggbc_ros.data.bags.mcap_file import Message, read_messages
from tggbc_ros.data.bags.sample_bag import TYPESTORE

STRING = "std_msgs/msg/String"
NUMBER = "std_msgs/msg/Int32"


def write(folder: Path, compressed: bool = False) -> Path:
    """Two topics, more than one chunk's worth of messages; the path of the MCAP file."""
    writer = Writer(folder, version=9, storage_plugin=StoragePlugin.MCAP)
    if compressed:
        writer.set_compression(CompressionMode.STORAGE, CompressionFormat.ZSTD)
    with writer:
        texts = writer.add_connection("/texts", STRING, typestore=TYPESTORE)
        numbers = writer.add_connection("/numbers", NUMBER, typestore=TYPESTORE)
        for place in range(40):
            text, number = ros.std_msgs__msg__String(f"{place}" * 50_000), ros.std_msgs__msg__Int32(place)
            writer.write(texts, 1_000 + 10 * place, TYPESTORE.serialize_cdr(text, STRING))
            writer.write(numbers, 1_005 + 10 * place, TYPESTORE.serialize_cdr(number, NUMBER))
    return folder / f"{folder.name}.mcap"


@pytest.mark.parametrize("compressed", [False, True])
def test_what_rosbags_writes(tmp_path: Path, compressed: bool) -> None:
    file = write(tmp_path / "bag", compressed)
    assert (file.stat().st_size < 1_000_000) == compressed
    with Reader(tmp_path / "bag") as reader:
        expected = [Message(t, c.topic, "cdr", c.msgtype, bytes(data)) for c, t, data in reader.messages()]
    assert len(expected) == 80
    assert list(read_messages(file)) == expected


def test_half_a_file_gives_what_it_has_and_then_says_so(tmp_path: Path) -> None:
    file = write(tmp_path / "bag")
    half = tmp_path / "half.mcap"
    half.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    found = []
    with pytest.raises(ValueError, match=r"half.mcap, about byte \d+: the file ends where"):
        found.extend(read_messages(half))


@pytest.mark.parametrize("compression", ["", "zstd", "lz4"])
def test_chunks_are_unpacked_and_their_checksum_is_compared(tmp_path: Path, compression: str) -> None:
    messages = [Message(place, "/a", "protobuf", "pkg.Type", bytes([place]) * 100) for place in range(20)]
    file = write_mcap(tmp_path / "file.mcap", messages, compression)
    assert list(read_messages(file)) == messages
    content = file.read_bytes()
    checksum = CHUNK_AT + 24
    file.write_bytes(content[:checksum] + b"\x01\x02\x03\x04" + content[checksum + 4 :])
    with pytest.raises(ValueError, match=r"a chunk's \d+ bytes are not the \d+ that its checksum is of"):
        list(read_messages(file))


def test_a_chunk_does_not_unpack_to_more_than_it_says(tmp_path: Path) -> None:
    file = write_mcap(tmp_path / "bomb.mcap", [Message(0, "/a", "protobuf", "pkg.Type", bytes(10_000_000))], "zstd")
    content = bytearray(file.read_bytes())
    assert len(content) < 10_000
    size = CHUNK_AT + 16
    content[size : size + 8] = (1000).to_bytes(8, "little")
    file.write_bytes(content)
    with pytest.raises(ValueError, match="a chunk's 1000 bytes are not"):
        list(read_messages(file))
    content[size : size + 8] = (2**40).to_bytes(8, "little")
    file.write_bytes(content)
    with pytest.raises(ValueError, match="a chunk claims 1099511627776 bytes"):
        list(read_messages(file))


@pytest.mark.parametrize("sixtieth", range(60))
def test_a_flipped_byte_is_found_or_harms_nothing(tmp_path: Path, sixtieth: int) -> None:
    messages = [Message(place, "/a", "protobuf", "pkg.Type", bytes([place])) for place in range(20)]
    content = bytearray(write_mcap(tmp_path / "broken.mcap", messages, "").read_bytes())
    content[len(content) * sixtieth // 60] ^= 0xFF
    broken = tmp_path / "broken.mcap"
    broken.write_bytes(content)
    try:
        assert all(isinstance(message, Message) for message in read_messages(broken))
    except ValueError as error:
        assert str(broken) in str(error)


def test_other_files_are_refused(tmp_path: Path) -> None:
    other = tmp_path / "other.mcap"
    other.write_bytes(b"SQLite format 3\0")
    with pytest.raises(ValueError, match="other.mcap.*does not begin as an MCAP file does"):
        list(read_messages(other))
    with pytest.raises(FileNotFoundError):
        list(read_messages(tmp_path / "none.mcap"))
