"""MCAP files for tests, of any encoding, with one chunk; field by field as mcap.dev/spec has them."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence
from pathlib import Path

import lz4.frame

from tggbc_ros.data.bags.mcap_file import Message, zstd

MAGIC = b"\x89MCAP0\r\n"
HEADER = struct.pack("<I", 0) + struct.pack("<I4s", 4, b"test")
CHUNK_AT = len(MAGIC) + 9 + len(HEADER) + 9
"""Where the chunk's content begins: start and end (16 bytes), size (8), checksum (4), compression, records."""

PACKERS = {"": bytes, "zstd": zstd.compress, "lz4": lz4.frame.compress}


def write_mcap(path: Path, messages: Sequence[Message], compression: str = "zstd") -> Path:
    """A file of these messages, in that order; its path."""
    kinds = list(dict.fromkeys((message.topic, message.encoding, message.schema) for message in messages))
    records = b""
    for number, (topic, encoding, schema) in enumerate(kinds):
        records += record(0x03, struct.pack("<H", number + 1) + text(schema) + text(encoding) + text(""))
        records += record(0x04, struct.pack("<HH", number, number + 1) + text(topic) + text(encoding) + bytes(4))
    for message in messages:
        number = kinds.index((message.topic, message.encoding, message.schema))
        head = struct.pack("<HIQQ", number, 0, message.log_time_ns, message.log_time_ns)
        records += record(0x05, head + message.data)
    times = [message.log_time_ns for message in messages]
    packed = PACKERS[compression](records)
    chunk = struct.pack("<QQQI", min(times), max(times), len(records), zlib.crc32(records)) + text(compression)
    chunk += struct.pack("<Q", len(packed)) + packed
    ending = record(0x0F, bytes(4)) + record(0x02, bytes(20))
    path.write_bytes(MAGIC + record(0x01, HEADER) + record(0x06, chunk) + ending + MAGIC)
    return path


def record(kind: int, content: bytes) -> bytes:
    return struct.pack("<BQ", kind, len(content)) + content


def text(value: str) -> bytes:
    return struct.pack("<I", len(value.encode())) + value.encode()
