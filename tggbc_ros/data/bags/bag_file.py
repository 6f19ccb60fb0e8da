"""Opens rosbag2 files of any origin for reading. Whatever their bytes are, a BagError names what cannot be read."""

from __future__ import annotations

import struct
import sys
from collections.abc import Collection, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import apsw
from rosbags.interfaces import Connection
from rosbags.rosbag2 import Reader, ReaderError

if sys.version_info >= (3, 14):
    from compression.zstd import ZstdError
else:
    from backports.zstd import ZstdError

END_OF_TIME_NS = 2**31 * 1_000_000_000
"""A time in a ROS message has 31 bits of seconds."""

_DAMAGED = (
    ReaderError,
    ZstdError,
    apsw.Error,
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
"""What rosbags was seen to raise, itself or from below, on files cut short or with bytes changed."""


class BagError(ValueError):
    """A bag that cannot be read: damaged, or without what is needed of it."""


@dataclass(frozen=True, eq=False)
class Bag:
    """A bag that is open for reading. start_ns, end_ns: of its messages, the end one after the last; 0 without any."""

    path: Path
    connections: tuple[Connection, ...]
    message_count: int
    start_ns: int
    end_ns: int
    _reader: Reader

    def messages(
        self, connections: Collection[Connection] = (), start_ns: int | None = None, stop_ns: int | None = None
    ) -> Iterator[tuple[Connection, int, bytes]]:
        """Connection, log time and bytes of each message, by time, from start_ns on and before stop_ns.

        connections: those asked for, none for all. Raises BagError.
        """
        with damage_named(self.path):
            for connection, time_ns, data in self._reader.messages(connections, start=start_ns, stop=stop_ns):
                _expect_time(time_ns)
                yield connection, time_ns, data


@contextmanager
def open_bag(path: Path) -> Iterator[Bag]:
    """A bag's folder, or one .mcap or .db3 file. Raises FileNotFoundError without a bag there, else BagError."""
    with damage_named(path):
        reader = Reader(path)
        reader.open()
    with closing(reader):
        with damage_named(path):
            bag = _bag(path, reader)
        yield bag


@contextmanager
def damage_named(path: Path) -> Iterator[None]:
    """What rosbags raises for a damaged bag becomes BagError, naming the bag; FileNotFoundError stays."""
    try:
        yield
    except (FileNotFoundError, BagError):
        raise
    except _DAMAGED as error:
        protobuf = "; if it holds protobuf: python -m tggbc_ros.tools.bag convert" if "Profile" in str(error) else ""
        raise BagError(f"bag {path} cannot be read: {type(error).__name__}: {error}{protobuf}") from error


def _bag(path: Path, reader: Reader) -> Bag:
    """Raises ValueError for what no bag says of itself."""
    connections = tuple(reader.connections)
    for entry in connections:
        if not (isinstance(entry.topic, str) and isinstance(entry.msgtype, str) and isinstance(entry.msgcount, int)):
            raise ValueError(f"topic {entry.topic!r} of type {entry.msgtype!r} with {entry.msgcount!r} messages")
        depths = [profile.depth for profile in getattr(entry.ext, "offered_qos_profiles", ())]
        if not all(isinstance(depth, int) for depth in depths):
            raise ValueError(f"topic {entry.topic!r} has queues of depth {depths!r}")
    if not reader.message_count:
        return Bag(path, connections, 0, 0, 0, reader)
    for time_ns in (reader.start_time, reader.end_time):
        _expect_time(time_ns)
    return Bag(path, connections, reader.message_count, reader.start_time, reader.end_time, reader)


def _expect_time(time_ns: int) -> None:
    if not 0 <= time_ns <= END_OF_TIME_NS:
        raise ValueError(f"a time in it is {time_ns} ns, expected 0 to {END_OF_TIME_NS}")
