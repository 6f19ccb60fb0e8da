"""Passes of time: a bag loop, a seek, a clock set back. Temporal memory must not outlive the pass it was written in."""

from __future__ import annotations

from typing import NamedTuple

from tggbc_ros.ros.images.camera_sync import BACKWARD_JUMP_NS


class Pass(NamedTuple):
    """A stretch of time that only goes forward. cause: why the one before ended."""

    number: int
    cause: str


class Passes:
    """Tells from which pass each set is, by the order in which sets were formed, not by which of them were inferred.

    A slow network may infer the first half of one pass and the second half of the next: its own frames would only
    go forward. To be used from one thread.
    """

    def __init__(self) -> None:
        self._now = Pass(0, "")
        self._newest_ns = 0
        self._jumped = False

    def clock_went_back(self, now_ns: int) -> bool:
        """Note that the node's clock fell back to ``now_ns``; whether the newest set is from later, so of a past."""
        is_past = self._newest_ns > now_ns + BACKWARD_JUMP_NS
        self._jumped = self._jumped or is_past
        return is_past

    def place(self, reference_ns: int, now_ns: int) -> Pass:
        """The pass of a set that was just formed, the node's clock showing ``now_ns``.

        After a jump of the clock, images of the old pass may still come: a set far ahead of the clock belongs to it,
        as long as stamps go on rising. A clock that comes in large steps may lag behind the new pass as well.
        """
        if (self._jumped and reference_ns <= now_ns + BACKWARD_JUMP_NS) or reference_ns <= self._newest_ns:
            cause = "clock jump" if self._jumped else "time went backward"
            self._now, self._jumped = Pass(self._now.number + 1, cause), False
        self._newest_ns = reference_ns
        return self._now
