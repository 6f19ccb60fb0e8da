"""Opens rosbag2 files of any origin for reading. Whatever their bytes are, a BagError names what cannot be read.

What a bag holds is read from its files, and metadata.yaml only compared with it: recorders, editors and crashes leave
the two in different forms, and a message counts that is there.
"""

from __future__ import annotations

import importlib
import shutil
import sys
from collections import Counter, defaultdict
from collections.abc import Collection, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from heapq import merge
from operator import itemgetter
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from rosbags.interfaces import Connection, ConnectionExtRosbag2

from tggbc_ros.data.bags.bag_folder import METADATA, BagFiles, Metadata, find_files
from tggbc_ros.data.bags.mcap_storage import MCAP_MAGIC, open_mcap
from tggbc_ros.data.bags.recorded_profiles import without_times
from tggbc_ros.data.bags.sqlite_file import SQLITE_MAGIC, SqliteFile, has_leftovers
from tggbc_ros.data.bags.storage import DAMAGED, Storage, make_connection

zstd: Any = importlib.import_module("compression.zstd" if sys.version_info >= (3, 14) else "backports.zstd")

ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"
"""A compressed file begins so, and a compressed message, which uncompressed begins with a zero byte."""

Key = tuple[str, str]
"""Topic and type."""


class BagError(ValueError):
    """A bag that cannot be read: damaged, or without what is needed of it."""


@dataclass(frozen=True, eq=False)
class Bag:
    """A bag that is open for reading. start_ns, end_ns: of its messages, the end one after the last; 0 without any.

    connections: one for each topic and type. losses: what the bag has lost or does not give, a cause an entry; empty
    unless asked for. notes: what was odd about it and cost nothing.
    """

    path: Path
    connections: tuple[Connection, ...]
    message_count: int
    start_ns: int
    end_ns: int
    losses: tuple[str, ...]
    notes: tuple[str, ...]
    _storages: tuple[Storage, ...]

    def messages(
        self, connections: Collection[Connection] = (), start_ns: int | None = None, stop_ns: int | None = None
    ) -> Iterator[tuple[Connection, int, bytes]]:
        """Connection, log time and bytes of each message, by time, from start_ns on and before stop_ns.

        connections: those asked for, none for all. Raises BagError for what is damaged, and in the end where fewer
        messages came than the bag promised.
        """
        wanted = {_key(connection): connection for connection in connections or self.connections}
        came: Counter[Key] = Counter()
        with damage_named(self.path):
            parts = [_part(storage, wanted, start_ns, stop_ns) for storage in self._storages]
            for time_ns, connection, data in merge(*parts, key=itemgetter(0)):
                if connection is not None:
                    came[_key(connection)] += 1
                    yield connection, time_ns, data
            if stop_ns is None and (start_ns is None or start_ns <= self.start_ns):
                _expect_all(wanted, came)


@contextmanager
def open_bag(path: Path, with_losses: bool = False) -> Iterator[Bag]:
    """A bag's folder, or one .mcap or .db3 file. Raises FileNotFoundError without a bag there, else BagError.

    with_losses: a bag that has lost messages is opened too, and says so; without, it is a BagError.
    """
    with ExitStack() as stack:
        with damage_named(path):
            found = find_files(path)
            if found.metadata.compression not in ("", "zstd"):
                raise ValueError(f"compression_format is {found.metadata.compression!r}, expected zstd")
            bag = _bag(path, found, *_open_files(found.files, stack))
        if bag.losses and not with_losses:
            raise BagError(f"bag {path} cannot be read: not all of it is there: {'; '.join(bag.losses)}")
        yield bag


@contextmanager
def damage_named(path: Path) -> Iterator[None]:
    """What readers raise for a damaged bag becomes BagError, naming the bag; FileNotFoundError stays."""
    try:
        yield
    except (FileNotFoundError, BagError):
        raise
    except DAMAGED as error:
        raise BagError(f"bag {path} cannot be read: {type(error).__name__}: {error}") from error


def _open_files(files: Sequence[Path], stack: ExitStack) -> tuple[tuple[Storage, ...], list[str]]:
    """Those that can be opened, and why the others cannot. Raises what `DAMAGED` lists if none can."""
    storages: list[Storage] = []
    losses: list[str] = []
    for file in files:
        try:
            storages.append(_open_file(file, stack, losses))
        except DAMAGED as error:
            if len(files) == 1:
                raise
            losses.append(f"{file.name} cannot be read: {type(error).__name__}: {error}")
    if not storages:
        raise ValueError("; ".join(losses))
    return tuple(storages), losses


def _open_file(path: Path, stack: ExitStack, losses: list[str]) -> Storage:
    """By what the file begins with, whatever its name ends in."""
    with path.open("rb") as file:
        head = file.read(16)
    if head.startswith(ZSTD_MAGIC):
        return _open_file(_unpacked(path, Path(stack.enter_context(TemporaryDirectory())), losses), stack, losses)
    if head == SQLITE_MAGIC or (not head and has_leftovers(path)):
        storage: Storage = SqliteFile(path)
    elif head.startswith(MCAP_MAGIC):
        storage = open_mcap(path)
    else:
        raise ValueError(f"{path.name} begins with {head!r}, expected an MCAP or SQLite file")
    stack.enter_context(closing(storage))
    return storage


def _unpacked(path: Path, folder: Path, losses: list[str]) -> Path:
    """The front of the file where its end is missing; that is a loss."""
    plain = folder / path.name.removesuffix(".zstd")
    with path.open("rb") as packed, plain.open("wb") as file:
        try:
            shutil.copyfileobj(zstd.open(packed, "rb"), file)
        except (EOFError, zstd.ZstdError) as error:
            losses.append(f"{path.name} is damaged: {error}")
    return plain


def _bag(path: Path, found: BagFiles, storages: Sequence[Storage], losses: Sequence[str]) -> Bag:
    """Raises ValueError for what no bag says of itself."""
    lost, notes = [*found.losses, *losses], [*found.notes]
    groups: defaultdict[Key, list[Connection]] = defaultdict(list)
    counts: Counter[str] = Counter()
    for storage in storages:
        lost += storage.losses
        notes += storage.notes
        for entry in storage.connections:
            if not (isinstance(entry.topic, str) and isinstance(entry.msgtype, str)):
                raise ValueError(f"topic {entry.topic!r} of type {entry.msgtype!r}, expected names")
            counts[entry.topic] += entry.msgcount
            groups[_key(entry)].append(entry)
    lost += _less_than_counted(found.metadata, counts)
    unreadable = {key: group for key, group in groups.items() if not _is_cdr(group[0])}
    lost += [_not_cdr(group) for group in unreadable.values() if _count(group)]
    readable = [group for key, group in groups.items() if key not in unreadable]
    if unreadable and not sum(map(_count, readable)):
        raise ValueError("; ".join(lost) or "no topic is of CDR messages")
    connections = tuple(_merged(number, group, found.metadata) for number, group in enumerate(readable, 1))
    held = [storage for storage in storages if storage.end_ns > storage.start_ns]
    return Bag(
        path,
        connections,
        sum(map(_count, readable)),
        min((storage.start_ns for storage in held), default=0),
        max((storage.end_ns for storage in held), default=0),
        tuple(lost),
        tuple(notes),
        tuple(storages),
    )


def _less_than_counted(metadata: Metadata, counts: Counter[str]) -> list[str]:
    """Topics of which metadata.yaml counts more messages than the files hold; more in the files is no loss."""
    return [
        f"{METADATA} counts {count} messages on {topic}, the files hold {counts[topic]}"
        for topic, count in metadata.counts.items()
        if count > counts[topic]
    ]


def _merged(number: int, group: Sequence[Connection], metadata: Metadata) -> Connection:
    """What several files, and several publishers, have of a topic."""
    topic, msgtype = _key(group[0])
    profiles = metadata.profiles.get(topic, []) + [
        without_times(profile) for entry in group for profile in _extension(entry).offered_qos_profiles
    ]
    definition = next((entry for entry in group if entry.msgdef.data), group[0])
    return make_connection(
        number,
        topic,
        msgtype,
        _count(group),
        "cdr",
        list(dict.fromkeys(profiles)),
        definition.msgdef,
        definition.digest,
    )


def _part(
    storage: Storage, wanted: dict[Key, Connection], start_ns: int | None, stop_ns: int | None
) -> Iterator[tuple[int, Connection | None, bytes]]:
    """A file's messages; first an entry without any, so that merging begins to read no file before its time."""
    yield storage.start_ns, None, b""
    asked = [entry for entry in storage.connections if _key(entry) in wanted and _is_cdr(entry)]
    by_number = {entry.id: wanted[_key(entry)] for entry in asked}
    for number, time_ns, data in storage.messages(asked, start_ns, stop_ns) if asked else ():
        yield time_ns, by_number[number], zstd.decompress(data) if data[:4] == ZSTD_MAGIC else data


def _expect_all(wanted: dict[Key, Connection], came: Counter[Key]) -> None:
    missing = [
        f"{entry.msgcount - came[key]} of {entry.msgcount} messages on {entry.topic}"
        for key, entry in wanted.items()
        if came[key] < entry.msgcount
    ]
    if missing:
        raise ValueError(f"{', '.join(missing)} are there and cannot be reached")


def _key(connection: Connection) -> Key:
    """Types are also written without the /msg/ in their middle."""
    package, slash, name = connection.msgtype.partition("/")
    short = slash and name and "/" not in name
    return connection.topic, f"{package}/msg/{name}" if short else connection.msgtype


def _count(group: Sequence[Connection]) -> int:
    return sum(entry.msgcount for entry in group)


def _extension(connection: Connection) -> ConnectionExtRosbag2:
    assert isinstance(connection.ext, ConnectionExtRosbag2)
    return connection.ext


def _is_cdr(connection: Connection) -> bool:
    """Recorders made of rosbag2's parts may leave the name empty; the messages are what the middleware gave."""
    return str(_extension(connection).serialization_format).strip().lower() in ("cdr", "")


def _not_cdr(group: Sequence[Connection]) -> str:
    encoding = _extension(group[0]).serialization_format
    hint = "; `python -m tggbc_ros.tools.bag convert` makes a bag of Foxglove's" if encoding == "protobuf" else ""
    return f"{_count(group)} messages on {group[0].topic} are {encoding!r}, expected cdr{hint}"
