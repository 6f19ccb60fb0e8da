"""One thread that works on the newest set; what it could not take is dropped and counted."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Generic, TypeVar

Work = TypeVar("Work")


class NewestWorker(Generic[Work]):
    """A slot of one and the thread that empties it.

    name: the thread's. process: called with each item, on the thread. discard(item, cause): called for each item
    that is not processed. An exception out of ``process`` ends the thread: `is_alive` tells.
    """

    def __init__(self, name: str, process: Callable[[Work], None], discard: Callable[[Work, str], None]) -> None:
        self._process = process
        self._discard = discard
        self._changed = threading.Condition()
        self._waiting: Work | None = None
        self._busy = False
        self.stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        """Begin to work."""
        self._thread.start()

    def is_alive(self) -> bool:
        """Whether the thread runs."""
        return self._thread.is_alive()

    @property
    def is_idle(self) -> bool:
        """Whether an item offered now would be begun at once."""
        with self._changed:
            return self._waiting is None and not self._busy

    def offer(self, work: Work) -> None:
        """Put ``work`` in the slot; an older item that still waits there is superseded."""
        with self._changed:
            stopped = self.stopping.is_set()
            if not stopped:
                older, self._waiting = self._waiting, work
                self._changed.notify()
        if stopped:
            self._discard(work, "stopped")
        elif older is not None:
            self._discard(older, "superseded")

    def withdraw(self, cause: str) -> None:
        """Discard the item that waits, if any."""
        with self._changed:
            left, self._waiting = self._waiting, None
        if left is not None:
            self._discard(left, cause)

    def stop(self, timeout_s: float) -> bool:
        """Take no more work; whether the thread has ended within ``timeout_s``."""
        with self._changed:
            self.stopping.set()
            self._changed.notify()
        self.withdraw("stopped")
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def _run(self) -> None:
        while not self.stopping.is_set():
            work = self._take()
            if work is not None:
                self._process(work)

    def _take(self) -> Work | None:
        """The next item; None when stopped."""
        with self._changed:
            self._busy = False
            self._changed.wait_for(lambda: self._waiting is not None or self.stopping.is_set())
            if self.stopping.is_set():
                return None
            work, self._waiting, self._busy = self._waiting, None, True
            return work
