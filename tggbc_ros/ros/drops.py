"""What was not inferred, and why: the one exception for bad input, and the books on every set."""

from __future__ import annotations

import json
import threading
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass


class BadInputError(Exception):
    """A message that cannot be used. ``cause`` is a short name to count it by, the text says the details."""

    def __init__(self, cause: str, detail: str) -> None:
        super().__init__(f"{cause}: {detail}")
        self.cause = cause
        self.detail = detail


@dataclass(frozen=True)
class Totals:
    """The books at one moment: sets_received = sets_published + the drops whose cause begins with ``set_``."""

    sets_received: int
    sets_published: int
    drops: Mapping[str, int]
    resets: Mapping[str, int]
    last_reset_cause: str

    def as_json(self) -> str:
        """All of it in one line, for a log."""
        return json.dumps(asdict(self))


class Account:
    """Counts what happened since activation; several threads write and read. Causes come out sorted.

    A set counts as received when its fate is decided, so that the books balance at any moment.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._received = 0
        self._published = 0
        self._drops: Counter[str] = Counter()
        self._resets: Counter[str] = Counter()
        self._last_reset_cause = ""

    def drop(self, cause: str, count: int = 1) -> None:
        """Count messages (images, transforms) that were dropped; 0 leaves no entry."""
        if count:
            with self._lock:
                self._drops[cause] += count

    def drop_set(self, cause: str) -> None:
        """Count a complete set that was not inferred."""
        with self._lock:
            self._received += 1
            self._drops[f"set_{cause}"] += 1

    def note_reset(self, cause: str) -> None:
        """Count that memory was dropped before the set in work, whatever becomes of that set; "" for it was not."""
        if cause:
            with self._lock:
                self._resets[cause] += 1
                self._last_reset_cause = cause

    def publish_set(self) -> Totals:
        """Count a set that was inferred; the books after that."""
        with self._lock:
            self._received += 1
            self._published += 1
        return self.totals()

    def totals(self) -> Totals:
        """The books now."""
        with self._lock:
            return Totals(
                self._received,
                self._published,
                dict(sorted(self._drops.items())),
                dict(sorted(self._resets.items())),
                self._last_reset_cause,
            )
