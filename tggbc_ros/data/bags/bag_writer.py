"""rosbags' writer with SQLite files at any path, and of which a killed recorder loses no more than a second."""

from __future__ import annotations

import os
import time
from pathlib import Path
from urllib.parse import quote

from rosbags.interfaces import Connection
from rosbags.rosbag2 import CompressionMode, StoragePlugin, Writer
from rosbags.rosbag2.storage_sqlite3 import Sqlite3Writer

STORAGES = {"mcap": StoragePlugin.MCAP, "sqlite3": StoragePlugin.SQLITE3}
COMMIT_PERIOD_S = 1.0


class _SqliteWriter(Sqlite3Writer):
    """rosbags takes the path for part of a URI, in which ``#``, ``?`` and ``%`` end or change it, and commits once."""

    def __init__(self, path: Path, compression: CompressionMode) -> None:
        super().__init__(Path(quote(os.fsencode(path))), compression)
        self.path = path / f"{path.name}.db3"
        self.conn.execute("PRAGMA journal_mode = WAL")
        self._committed_s = time.monotonic()

    def write(self, connection: Connection, timestamp: int, data: bytes | memoryview) -> None:
        super().write(connection, timestamp, data)
        if time.monotonic() - self._committed_s > COMMIT_PERIOD_S:
            self.conn.commit()
            self._committed_s = time.monotonic()

    def close(self, version: int, metadata: str) -> None:
        """The finished file needs no other beside it, so that it can be read where nothing can be written."""
        self.conn.commit()
        self.conn.execute("PRAGMA journal_mode = DELETE")
        super().close(version, metadata)


class BagFileWriter(Writer):
    """Writes a new rosbag2 of the newest version. storage: one of STORAGES. Raises what rosbags' Writer raises."""

    STORAGE_PLUGINS = {**Writer.STORAGE_PLUGINS, StoragePlugin.SQLITE3: _SqliteWriter}

    def __init__(self, path: Path, storage: str) -> None:
        super().__init__(path, version=9, storage_plugin=STORAGES[storage])
