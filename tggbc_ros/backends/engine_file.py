"""A built engine on disk: run only as it was written, and only by what it was built for."""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

_logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class EngineFile:
    """Where one graph's engine is kept, and what it is built for: export, graph, GPU, version, by name.

    The file's first line, JSON, repeats that and holds the hash of the rest, which is the serialized engine.
    """

    path: Path
    built_for: Mapping[str, str]

    def read(self) -> bytes | None:
        """The serialized engine; None where there is none, or, after a line in the log, not the one that was written.

        TensorRT may crash on a damaged one, so that none is handed to it before the hash is found to be right. Building
        it anew loses nothing but time: it holds no more than the export does, whose own hashes are right.
        """
        if not self.path.is_file():
            return None
        head, _, plan = self.path.read_bytes().partition(b"\n")
        wrong = self._whats_wrong(head, plan)
        if wrong:
            _logger.warning("%s is refused, and built anew: %s", self.path, wrong)
            return None
        return plan

    def write(self, plan: bytes) -> None:
        """Keep it; the file appears whole or not at all."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        unfinished = self.path.with_name(f".{self.path.name}-{os.getpid()}")
        try:
            unfinished.write_bytes(self._head(plan) + b"\n" + plan)
            unfinished.rename(self.path)
        finally:
            unfinished.unlink(missing_ok=True)

    def _head(self, plan: bytes) -> bytes:
        head = {"built_for": dict(self.built_for), "sha256": hashlib.sha256(plan).hexdigest()}
        return json.dumps(head, sort_keys=True).encode()

    def _whats_wrong(self, head: bytes, plan: bytes) -> str:
        if head == self._head(plan):
            return ""
        try:
            found = dict(json.loads(head)["built_for"])
        except (ValueError, KeyError, TypeError):
            return "its first line is damaged"
        differing = [
            f"{key} is {found.get(key)}, expected {value}"
            for key, value in self.built_for.items()
            if found.get(key) != value
        ]
        return "; ".join(differing) or "it is damaged, its sha256 is not the one it was written with"
