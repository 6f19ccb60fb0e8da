"""MCAP files of rosbag2: by their index where it tells of every message, from the front where it does not."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import suppress
from pathlib import Path

from rosbags.interfaces import Connection
from rosbags.rosbag2.storage_mcap import McapReader

from tggbc_ros.data.bags.mcap_file import MAGIC
from tggbc_ros.data.bags.mcap_scan import ScannedMcap
from tggbc_ros.data.bags.storage import DAMAGED, Message, Storage

MCAP_MAGIC = MAGIC


class IndexedMcap:
    """An open .mcap file with an index, a `storage.Storage`; rosbags reads it."""

    def __init__(self, reader: McapReader) -> None:
        self.connections = list(reader.connections)
        self.start_ns, self.end_ns = reader.metadata.start_time, reader.metadata.end_time
        self.losses: list[str] = []
        self.notes: list[str] = []
        self._reader = reader

    def close(self) -> None:
        """To be called once."""
        self._reader.close()

    def messages(
        self, connections: Collection[Connection], start_ns: int | None, stop_ns: int | None
    ) -> Iterator[Message]:
        """As `Storage.messages`."""
        for connection, time_ns, data in self._reader.messages(connections, start_ns, stop_ns):
            yield connection.id, time_ns, data


def open_mcap(path: Path) -> Storage:
    """Raises what `storage.DAMAGED` lists for a file that gives no message."""
    reader = McapReader(path)
    with suppress(*DAMAGED):  # cut off in a crash, of another profile, damaged: what can be read is read
        reader.open()
        if _tells_of_every_message(reader):
            return IndexedMcap(reader)
        reader.close()
    return ScannedMcap(path)


def _tells_of_every_message(reader: McapReader) -> bool:
    """Writers may leave out any part of the index, and rosbags then passes over chunks, channels, loose messages."""
    indexed = sum(sum(chunk.channel_count.values()) for chunk in reader.chunks)
    named = sum(connection.msgcount for connection in reader.connections)
    return reader.metadata.message_count == indexed == named
