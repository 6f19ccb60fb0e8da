"""A function called at even times on a thread of its own, however long the other threads are busy."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable


class Ticker:
    """Calls ``tick`` every ``period_s`` by the monotonic clock, first after one period; late calls are not made up for.

    name: the thread's. An exception out of ``tick`` ends the thread: `is_alive` tells.
    """

    def __init__(self, name: str, period_s: float, tick: Callable[[], None]) -> None:
        self._period_s = period_s
        self._tick = tick
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        """Begin to call."""
        self._thread.start()

    def is_alive(self) -> bool:
        """Whether the thread runs."""
        return self._thread.is_alive()

    def stop(self, timeout_s: float) -> bool:
        """Call no more; whether a call in work has ended within ``timeout_s``."""
        self._stopping.set()
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def _run(self) -> None:
        due_s = time.monotonic() + self._period_s
        while not self._stopping.wait(max(0.0, due_s - time.monotonic())):
            self._tick()
            due_s = max(due_s + self._period_s, time.monotonic())
