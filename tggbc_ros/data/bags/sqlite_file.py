"""SQLite files of rosbag2, of any age, with what a killed recorder left beside them, and up to where one is cut.

Read here and not by rosbags, which takes the path for part of a URI, so that ``#``, ``?`` and ``%`` change it, and
opens the file as one that nothing lies beside, so that messages in a write-ahead log are not seen.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
import struct
from collections import Counter
from collections.abc import Collection, Iterator
from contextlib import ExitStack, closing, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.parse import quote

from rosbags.interfaces import Connection, MessageDefinition

from tggbc_ros.data.bags.recorded_profiles import read_profiles
from tggbc_ros.data.bags.storage import DEFINITION_FORMATS, NO_DEFINITION, Message, make_connection

SQLITE_MAGIC = b"SQLite format 3\0"
LEFTOVERS = ("-wal", "-journal")
"""Endings of the files that hold what a recorder had not yet put into the database, or what to undo in it."""

HEAD = struct.Struct(">16xH6xII60xI")
"""Page size, number of changes, number of pages, and the number of changes for which that holds."""

AS_WRITTEN = "typeof(timestamp) = 'integer' AND typeof(data) = 'blob'"
REPAIR = "repair: sqlite3 {0} .recover | sqlite3 NEW.db3, then ros2 bag reindex"


class SqliteFile:
    """An open .db3 file, a `storage.Storage`. Raises sqlite3.Error or ValueError for one that gives no message."""

    def __init__(self, path: Path) -> None:
        self.losses: list[str] = []
        self.notes: list[str] = []
        self._path = path
        self._stack = ExitStack()
        self._rows: list[tuple[int, int, int]] | None = None
        try:
            self._db = self._stack.enter_context(closing(self._connected()))
            self._read_contents()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """To be called once."""
        self._stack.close()

    def messages(
        self, connections: Collection[Connection], start_ns: int | None, stop_ns: int | None
    ) -> Iterator[Message]:
        """As `Storage.messages`; from a file that is cut, those that can be read."""
        wanted = sorted(connection.id for connection in connections)
        if self._rows is not None:
            yield from self._from_rows(set(wanted), start_ns, stop_ns)
            return
        low, high = _SQLITE_MIN if start_ns is None else start_ns, _SQLITE_MAX if stop_ns is None else stop_ns - 1
        query = (
            f"SELECT topic_id, timestamp, data FROM messages WHERE {AS_WRITTEN} AND timestamp BETWEEN ? AND ?"
            f" AND topic_id IN ({', '.join('?' * len(wanted))}) ORDER BY timestamp, rowid"
        )
        bounds = [max(low, _SQLITE_MIN), min(high, _SQLITE_MAX)]
        yield from self._db.execute(query, [*bounds, *wanted])

    def _connected(self) -> sqlite3.Connection:
        """Read-only. Where something is left beside the file, it takes part; on a copy, if it cannot in place."""
        real = self._path.resolve()
        left = [ending for ending in LEFTOVERS if _size(real, ending)]
        if not left:
            return _open(real, "immutable=1")
        self.notes.append(
            f"what the recorder left in {' and '.join(real.name + ending for ending in left)} is read too"
        )
        database = _open(real, "mode=ro")
        try:
            _probe(database)
            return database
        except sqlite3.OperationalError:  # the folder cannot be written to, or a write has to be undone
            database.close()
        folder = self._stack.enter_context(TemporaryDirectory())
        for ending in ("", *left):
            shutil.copy(f"{real}{ending}", f"{folder}/bag.db3{ending}")
        return _open(Path(folder, "bag.db3"), "mode=rw")

    def _read_contents(self) -> None:
        broken = self._cut_off()
        found: dict[int, tuple[int, int, int, int]] = {}
        if not broken:
            try:
                found = self._counted()
            except sqlite3.DatabaseError as error:
                broken = str(error)
        if broken:
            found = self._salvaged(broken)
        self.connections = list(self._connections({number: entry[1] for number, entry in found.items()}))
        known = {connection.id: connection.topic for connection in self.connections}
        for number, (count, readable, _, _) in found.items():
            if number not in known:
                self.losses.append(
                    f"{count} messages in {self._path.name} are of topic {number}, which it does not name"
                )
            elif readable < count:
                what = "have no whole number for a time or no bytes for content"
                self.losses.append(f"{count - readable} messages of {known[number]} in {self._path.name} {what}")
        times = [entry[2:] for number, entry in found.items() if number in known and entry[1]]
        self.start_ns = min((first for first, _ in times), default=0)
        self.end_ns = max((last for _, last in times), default=-1) + 1

    def _cut_off(self) -> str:
        """Why the file is not whole, by its size; empty if it is, or if a log may hold the rest."""
        there, whole = self._path.stat().st_size, _claimed_size(self._path)
        if there >= whole or has_leftovers(self._path):
            return ""
        self._db.execute("PRAGMA writable_schema = ON")  # SQLite then does not refuse a file that is too short
        return f"{there} of its {whole} bytes are there"

    def _counted(self) -> dict[int, tuple[int, int, int, int]]:
        """By topic: messages, those of them that can be read, their first and their last time."""
        time_ns = f"CASE WHEN {AS_WRITTEN} THEN timestamp END"
        query = f"SELECT topic_id, count(*), count({time_ns}), min({time_ns}), max({time_ns}) FROM messages"
        return {row[0]: row[1:] for row in self._db.execute(f"{query} GROUP BY topic_id")}

    def _salvaged(self, broken: str) -> dict[int, tuple[int, int, int, int]]:
        """As ``_counted``, row by row in the order of writing, up to the first that cannot be reached."""
        self.losses.append(f"{self._path.name} is damaged, {broken}; {REPAIR.format(self._path.name)}")
        self._rows = []
        query = "SELECT timestamp, rowid, topic_id FROM messages NOT INDEXED WHERE typeof(timestamp) = 'integer'"
        with suppress(sqlite3.DatabaseError):  # it is named already
            self._rows.extend(self._db.execute(query))
        if not self._rows:
            raise ValueError(self.losses[-1])
        self._rows.sort()
        counts = Counter(topic for _, _, topic in self._rows)
        last_ns = {topic: time_ns for time_ns, _, topic in self._rows}
        first_ns = {topic: time_ns for time_ns, _, topic in reversed(self._rows)}
        return {topic: (count, count, first_ns[topic], last_ns[topic]) for topic, count in counts.items()}

    def _from_rows(self, wanted: set[int], start_ns: int | None, stop_ns: int | None) -> Iterator[Message]:
        for time_ns, row, topic in self._rows or ():
            if topic not in wanted or (start_ns is not None and time_ns < start_ns):
                continue
            if stop_ns is not None and time_ns >= stop_ns:
                return
            try:
                (data,) = self._db.execute("SELECT data FROM messages WHERE rowid = ?", [row]).fetchone()
            except sqlite3.DatabaseError:
                continue  # its content lies behind the cut; who counts the messages finds it missing
            if isinstance(data, bytes):
                yield topic, time_ns, data

    def _connections(self, counts: dict[int, int]) -> Iterator[Connection]:
        """Of the table of topics; older ones have fewer columns."""
        there = self._columns("topics")
        names = ["id", "name", "type", "serialization_format", "offered_qos_profiles", "type_description_hash"]
        columns = ", ".join(name if name in there else "''" for name in names)
        definitions = self._definitions()
        for number, topic, msgtype, encoding, profiles, digest in self._db.execute(f"SELECT {columns} FROM topics"):
            definition = definitions.get(msgtype, NO_DEFINITION)
            count = counts.get(number, 0)
            yield make_connection(number, topic, msgtype, count, encoding, read_profiles(profiles), definition, digest)

    def _definitions(self) -> dict[str, MessageDefinition]:
        """By type; bags before Iron have none."""
        if not self._columns("message_definitions"):
            return {}
        query = "SELECT topic_type, encoding, encoded_message_definition FROM message_definitions"
        return {
            msgtype: MessageDefinition(DEFINITION_FORMATS[encoding], text)
            for msgtype, encoding, text in self._db.execute(query)
            if encoding in DEFINITION_FORMATS
        }

    def _columns(self, table: str) -> set[str]:
        return {row[1] for row in self._db.execute(f"PRAGMA table_info({table})")}


_SQLITE_MIN, _SQLITE_MAX = -(2**63), 2**63 - 1


def has_leftovers(path: Path) -> bool:
    """Whether a recorder that did not end well left something beside the file."""
    return any(_size(path.resolve(), ending) for ending in LEFTOVERS)


def _open(path: Path, how: str) -> sqlite3.Connection:
    return sqlite3.connect(f"file:{quote(os.fsencode(path))}?{how}", uri=True)


def _claimed_size(path: Path) -> int:
    """In bytes, by the file's header (https://sqlite.org/fileformat.html); 0 where it does not say."""
    with path.open("rb") as file:
        head = file.read(HEAD.size)
    if len(head) < HEAD.size:
        return 0
    page_bytes, changes, pages, valid_for = HEAD.unpack(head)
    return (65536 if page_bytes == 1 else page_bytes) * pages if changes == valid_for else 0


def _probe(database: sqlite3.Connection) -> None:
    """Raises sqlite3.OperationalError where what was left beside the file cannot be taken into account."""
    database.execute("SELECT count(*) FROM sqlite_master").fetchone()


def _size(path: Path, ending: str) -> int:
    """In bytes, 0 without a file."""
    beside = Path(f"{path}{ending}")
    return beside.stat().st_size if beside.is_file() else 0
