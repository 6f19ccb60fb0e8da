"""MCAP files of any profile -> their messages, undecoded; rosbags reads those of ROS 2 only.

Source of the format: the MCAP specification, https://mcap.dev/spec. Nothing that a file claims is believed before it
is checked: sizes are bounded, checksums compared, and what is wrong is a ValueError naming the file.
"""

from __future__ import annotations

import importlib
import struct
import sys
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import lz4.frame  # type: ignore[import-untyped]

zstd: Any = importlib.import_module("compression.zstd" if sys.version_info >= (3, 14) else "backports.zstd")

MAGIC = b"\x89MCAP0\r\n"
HEADER, SCHEMA, CHANNEL, MESSAGE, CHUNK, DATA_END = 0x01, 0x03, 0x04, 0x05, 0x06, 0x0F
RECORD_HEAD = struct.Struct("<BQ")
MAX_RECORD_BYTES = 1_000_000_000
"""No record, and no chunk once unpacked, may be larger: a few kilobytes can claim to be gigabytes."""


class Message(NamedTuple):
    """One message. encoding: of ``data``, for example cdr or protobuf. schema: name of its type."""

    log_time_ns: int
    topic: str
    encoding: str
    schema: str
    data: bytes


@dataclass
class Known:
    """What the file has said so far. channels: id -> topic, encoding and schema's id."""

    schemas: dict[int, str] = field(default_factory=lambda: {0: ""})
    channels: dict[int, tuple[str, str, int]] = field(default_factory=dict)


def read_messages(path: Path) -> Iterator[Message]:
    """Every message in the file's order; raises FileNotFoundError, or ValueError naming the file."""
    known = Known()
    with path.open("rb") as file:
        try:
            for kind, content in file_records(file):
                inner = records(unpacked(content)) if kind == CHUNK else [(kind, content)]
                for inner_kind, inner_content in inner:
                    message = take(known, inner_kind, inner_content)
                    if message is not None:
                        yield message
        except (BrokenError, struct.error, UnicodeDecodeError) as error:
            raise ValueError(f"MCAP file {path}, about byte {file.tell()}: {error}") from error


class BrokenError(Exception):
    """What is not as the specification has it."""


def file_records(file: BinaryIO) -> Iterator[tuple[int, bytes]]:
    """Kind and content of each record up to the end of the data."""
    if file.read(len(MAGIC)) != MAGIC:
        raise BrokenError("it does not begin as an MCAP file does")
    kind = HEADER
    while kind != DATA_END:
        kind, size = RECORD_HEAD.unpack(_exactly(file, RECORD_HEAD.size))
        if size > MAX_RECORD_BYTES:
            raise BrokenError(f"a record claims {size} bytes, expected at most {MAX_RECORD_BYTES}")
        yield kind, _exactly(file, size)


def _exactly(file: BinaryIO, size: int) -> bytes:
    data = file.read(size)
    if len(data) != size:
        raise BrokenError(f"the file ends where {size} bytes were expected; `mcap recover` may help")
    return data


def records(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Kind and content of each record of a chunk."""
    at = 0
    while at < len(data):
        kind, size = RECORD_HEAD.unpack_from(data, at)
        at += RECORD_HEAD.size
        if size > len(data) - at:
            raise BrokenError(f"a record of {size} bytes does not fit into its chunk")
        yield kind, data[at : at + size]
        at += size


def unpacked(chunk: bytes) -> bytes:
    """The records of a chunk."""
    size, checksum, data = _chunk_data(chunk)
    if len(data) != size or (checksum and zlib.crc32(data) != checksum):
        raise BrokenError(f"a chunk's {len(data)} bytes are not the {size} that its checksum is of")
    return data


def unpacked_part(chunk: bytes) -> bytes:
    """What a chunk that the file's end cuts off still gives; its checksum is of the whole."""
    return _chunk_data(chunk)[2]


def _chunk_data(chunk: bytes) -> tuple[int, int, bytes]:
    """Size, checksum and data of: message start and end time, size, checksum, compression, packed records."""
    _, _, size, checksum = struct.unpack_from("<QQQI", chunk)
    compression, at = text(chunk, 28)
    (packed_size,) = struct.unpack_from("<Q", chunk, at)
    if size > MAX_RECORD_BYTES:
        raise BrokenError(f"a chunk claims {size} bytes, expected at most {MAX_RECORD_BYTES}")
    return size, checksum, _decompressed(chunk[at + 8 : at + 8 + packed_size], compression, size)


def _decompressed(packed: bytes, compression: str, size: int) -> bytes:
    """At most ``size`` bytes, whatever else the data would unpack to."""
    if compression == "":
        return packed
    try:
        if compression == "zstd":
            return bytes(zstd.ZstdDecompressor().decompress(packed, max_length=size))
        if compression == "lz4":
            return bytes(lz4.frame.LZ4FrameDecompressor().decompress(packed, max_length=size))
    except (zstd.ZstdError, RuntimeError, EOFError) as error:
        raise BrokenError(f"a chunk cannot be unpacked: {error}") from error
    raise BrokenError(f"a chunk's compression is {compression!r}, expected zstd, lz4 or none")


def take(known: Known, kind: int, content: bytes) -> Message | None:
    """Remember a schema or a channel, or make a message; other records say nothing here."""
    if kind == SCHEMA:
        name, _ = text(content, 2)
        known.schemas[struct.unpack_from("<H", content)[0]] = name
    elif kind == CHANNEL:
        number, schema = struct.unpack_from("<HH", content)
        topic, at = text(content, 4)
        encoding, _ = text(content, at)
        known.channels[number] = topic, encoding, schema
    elif kind == MESSAGE:
        number, _, log_time_ns, _ = struct.unpack_from("<HIQQ", content)
        if number not in known.channels or known.channels[number][2] not in known.schemas:
            raise BrokenError(f"a message is of channel {number}, which nothing describes")
        topic, encoding, schema = known.channels[number]
        return Message(log_time_ns, topic, encoding, known.schemas[schema], content[22:])
    return None


def text(data: bytes, at: int) -> tuple[str, int]:
    """A string after its length, and where it ends."""
    (size,) = struct.unpack_from("<I", data, at)
    end = at + 4 + size
    if end > len(data):
        raise BrokenError(f"a text of {size} bytes does not fit into its record")
    return data[at + 4 : end].decode("utf-8"), end
