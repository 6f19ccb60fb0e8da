"""What one file of a bag gives, whatever its format: `sqlite_file` and `mcap_storage` read the two there are."""

from __future__ import annotations

import sqlite3
import struct
import sys
from collections.abc import Collection, Iterator, Sequence
from typing import Protocol

from rosbags.interfaces import Connection, ConnectionExtRosbag2, MessageDefinition, MessageDefinitionFormat, Qos
from rosbags.rosbag2 import ReaderError
from rosbags.serde import SerdeError
from rosbags.typesys import TypesysError

if sys.version_info >= (3, 14):
    from compression.zstd import ZstdError
else:
    from backports.zstd import ZstdError

DAMAGED = (
    ReaderError,
    SerdeError,
    TypesysError,
    ZstdError,
    sqlite3.Error,
    struct.error,
    OSError,
    EOFError,
    ValueError,
    LookupError,
    TypeError,
    AttributeError,
    AssertionError,
    ArithmeticError,
    MemoryError,
    RuntimeError,
)
"""What readers were seen to raise, themselves or from below, on files cut short or with bytes changed."""

NO_DEFINITION = MessageDefinition(MessageDefinitionFormat.NONE, "")
DEFINITION_FORMATS = {
    "ros2msg": MessageDefinitionFormat.MSG,
    "ros2idl": MessageDefinitionFormat.IDL,
    "omgidl": MessageDefinitionFormat.IDL,
}

Message = tuple[int, int, bytes]
"""Number of the file's connection, log time in nanoseconds, content."""


class Storage(Protocol):
    """An open file of a bag; start_ns and end_ns as of `bag_file.Bag`.

    losses: what it holds and cannot give, one entry a cause; its counts are then of the rest. notes: what was odd and
    cost nothing.
    """

    connections: list[Connection]
    start_ns: int
    end_ns: int
    losses: list[str]
    notes: list[str]

    def messages(
        self, connections: Collection[Connection], start_ns: int | None, stop_ns: int | None
    ) -> Iterator[Message]:
        """By time, from start_ns on and before stop_ns, of these connections of the file."""

    def close(self) -> None:
        """To be called once."""


def make_connection(
    number: int,
    topic: str,
    msgtype: str,
    count: int,
    encoding: str,
    profiles: Sequence[Qos],
    definition: MessageDefinition = NO_DEFINITION,
    digest: str = "",
) -> Connection:
    """In rosbags' form, which the rest of the package reads."""
    extension = ConnectionExtRosbag2(encoding, list(profiles))
    return Connection(number, topic, msgtype, definition, digest, count, extension, None)
