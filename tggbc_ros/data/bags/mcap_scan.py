"""MCAP files without an index that can be trusted: cut off in a crash, or written without one. Read from the front.

The first pass notes where messages are and of what they are; the second gives them by time. A chunk is the unit of
both: one that is damaged costs its messages only, of one that is cut off the front is read.
"""

from __future__ import annotations

import os
import struct
from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from heapq import merge
from operator import itemgetter
from pathlib import Path
from typing import BinaryIO, NamedTuple

from rosbags.interfaces import Connection, MessageDefinition

from tggbc_ros.data.bags.mcap_file import (
    CHANNEL,
    CHUNK,
    DATA_END,
    MAGIC,
    MAX_RECORD_BYTES,
    MESSAGE,
    RECORD_HEAD,
    SCHEMA,
    BrokenError,
    records,
    text,
    unpacked,
    unpacked_part,
)
from tggbc_ros.data.bags.recorded_profiles import read_profiles
from tggbc_ros.data.bags.storage import DEFINITION_FORMATS, NO_DEFINITION, Message, make_connection

MESSAGE_HEAD = struct.Struct("<HIQQ")
_NEVER_BEFORE, _NEVER_AFTER = 0, 2**64
REPAIR = "repair: mcap recover {0} -o NEW.mcap, then ros2 bag reindex"


class _Piece(NamedTuple):
    """Part of a file: a chunk, or one message outside of any; times of the messages in it."""

    first_ns: int
    last_ns: int
    at: int
    size: int
    is_chunk: bool
    is_cut: bool


@dataclass
class _Contents:
    """What has been found so far; schemas and channels by number, as the records have them."""

    schemas: dict[int, tuple[str, MessageDefinition]] = field(default_factory=lambda: {0: ("", NO_DEFINITION)})
    channels: dict[int, tuple[str, str, int, str]] = field(default_factory=dict)
    counts: Counter[int] = field(default_factory=Counter)
    pieces: list[_Piece] = field(default_factory=list)
    losses: list[str] = field(default_factory=list)


class ScannedMcap:
    """An open .mcap file, a `storage.Storage`. Raises ValueError for a damaged one without any message."""

    def __init__(self, path: Path) -> None:
        self._name = path.name
        self._file = path.open("rb")
        self.notes: list[str] = []
        try:
            found = self._scanned()
        except BaseException:
            self.close()
            raise
        self.losses = found.losses
        self._pieces = sorted(found.pieces)
        self.start_ns = min((piece.first_ns for piece in found.pieces), default=0)
        self.end_ns = max((piece.last_ns for piece in found.pieces), default=-1) + 1
        self.connections = [
            make_connection(
                number,
                topic,
                found.schemas[schema][0],
                found.counts[number],
                encoding,
                read_profiles(profiles),
                found.schemas[schema][1],
            )
            for number, (topic, encoding, schema, profiles) in found.channels.items()
            if schema in found.schemas
        ]
        nameless = found.counts.total() - sum(connection.msgcount for connection in self.connections)
        if nameless:
            self.losses.append(f"{nameless} messages in {path.name} are of channels that nothing describes")

    def close(self) -> None:
        """To be called once."""
        self._file.close()

    def messages(
        self, connections: Collection[Connection], start_ns: int | None, stop_ns: int | None
    ) -> Iterator[Message]:
        """As `Storage.messages`."""
        wanted = {connection.id for connection in connections}
        low, high = _NEVER_BEFORE if start_ns is None else start_ns, _NEVER_AFTER if stop_ns is None else stop_ns
        pieces = [piece for piece in self._pieces if piece.last_ns >= low and piece.first_ns < high]
        chunks = [self._chunk_messages(piece) for piece in pieces if piece.is_chunk]
        loose = self._loose_messages([piece for piece in pieces if not piece.is_chunk])
        for time_ns, number, data in merge(*chunks, loose, key=itemgetter(0)):
            if data is not None and number in wanted and low <= time_ns < high:
                yield number, time_ns, data

    def _chunk_messages(self, piece: _Piece) -> Iterator[tuple[int, int, bytes | None]]:
        """By time; first an entry without content, so that merging opens no chunk before its time."""
        yield piece.first_ns, 0, None
        inside = _chunk_records(self._read(piece), piece.is_cut)
        yield from sorted(_messages_of(inside), key=itemgetter(0))

    def _loose_messages(self, pieces: Iterable[_Piece]) -> Iterator[tuple[int, int, bytes | None]]:
        for piece in pieces:
            yield from _messages_of([(MESSAGE, self._read(piece))])

    def _read(self, piece: _Piece) -> bytes:
        self._file.seek(piece.at)
        return self._file.read(piece.size)

    def _scanned(self) -> _Contents:
        contents = _Contents()
        if self._file.read(len(MAGIC)) != MAGIC:
            raise ValueError(f"{self._name} does not begin as an MCAP file does")
        broken = self._scan_records(contents)
        if broken:
            contents.losses.append(f"{self._name} {broken}; {REPAIR.format(self._name)}")
            if not contents.pieces:
                raise ValueError(contents.losses[-1])
        elif not _ends_well(self._file):
            self.notes.append(f"{self._name} lacks its end, behind all messages; {REPAIR.format(self._name)}")
        return contents

    def _scan_records(self, contents: _Contents) -> str:
        """Note every record up to the end of the data; why it was not reached, empty if it was."""
        kind = 0
        while kind != DATA_END:
            begin = self._file.tell()
            head = self._file.read(RECORD_HEAD.size)
            if len(head) < RECORD_HEAD.size:
                return f"was cut off: it ends at byte {begin + len(head)}, before the end of its data"
            kind, size = RECORD_HEAD.unpack(head)
            if size > MAX_RECORD_BYTES:
                return f"is damaged: the record at byte {begin} claims {size} bytes"
            content = self._file.read(size)
            try:
                self._note(contents, kind, content, begin + RECORD_HEAD.size, len(content) < size)
            except (BrokenError, struct.error, UnicodeDecodeError) as error:
                if len(content) == size:
                    contents.losses.append(f"{self._name} is damaged at byte {begin}: {error}")
            if len(content) < size:
                return f"was cut off: it ends at byte {self._file.tell()}, within a record"
        return ""

    def _note(self, contents: _Contents, kind: int, content: bytes, at: int, cut: bool) -> None:
        """cut: the file ends within this record; of a chunk, the front counts all the same."""
        if cut and kind != CHUNK:
            return
        found = [_note_record(contents, *each) for each in _opened(kind, content, cut)]
        messages = [message for message in found if message is not None]
        if messages:
            contents.counts.update(number for number, _ in messages)
            times = [time_ns for _, time_ns in messages]
            contents.pieces.append(_Piece(min(times), max(times), at, len(content), kind == CHUNK, cut))


def _opened(kind: int, content: bytes, cut: bool) -> list[tuple[int, bytes]]:
    """The records of a chunk; any other is one."""
    return _chunk_records(content, cut) if kind == CHUNK else [(kind, content)]


def _chunk_records(content: bytes, cut: bool) -> list[tuple[int, bytes]]:
    """Raises BrokenError or struct.error for a chunk that is whole and damaged."""
    if not cut:
        return list(records(unpacked(content)))
    found: list[tuple[int, bytes]] = []
    with suppress(BrokenError, struct.error):  # where the file ends
        found.extend(records(unpacked_part(content)))
    return found


def _note_record(contents: _Contents, kind: int, content: bytes) -> tuple[int, int] | None:
    """Remember a schema or a channel; channel and time of a message."""
    if kind == MESSAGE:
        number, _, time_ns, _ = MESSAGE_HEAD.unpack_from(content)
        return number, time_ns
    if kind == SCHEMA:
        (number,) = struct.unpack_from("<H", content)
        name, at = text(content, 2)
        encoding, at = text(content, at)
        form = DEFINITION_FORMATS.get(encoding)
        definition = MessageDefinition(form, text(content, at)[0]) if form else NO_DEFINITION
        contents.schemas[number] = name, definition
    elif kind == CHANNEL:
        number, schema = struct.unpack_from("<HH", content)
        topic, at = text(content, 4)
        encoding, at = text(content, at)
        contents.channels[number] = topic, encoding, schema, _profiles(content, at)
    return None


def _profiles(content: bytes, at: int) -> str:
    """Of a channel's metadata, a map of texts, what rosbag2 notes of the publishers' quality of service."""
    (size,) = struct.unpack_from("<I", content, at)
    at, end = at + 4, at + 4 + size
    while at < end:
        key, at = text(content, at)
        value, at = text(content, at)
        if key == "offered_qos_profiles":
            return value
    return ""


def _messages_of(found: Iterable[tuple[int, bytes]]) -> Iterator[tuple[int, int, bytes]]:
    """Time, channel and content of the messages among these records."""
    for kind, content in found:
        if kind == MESSAGE:
            number, _, time_ns, _ = MESSAGE_HEAD.unpack_from(content)
            yield time_ns, number, content[MESSAGE_HEAD.size :]


def _ends_well(file: BinaryIO) -> bool:
    """Whether the file's last bytes are as they have to be."""
    file.seek(-len(MAGIC), os.SEEK_END)
    return file.read() == MAGIC
