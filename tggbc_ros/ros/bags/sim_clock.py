"""Recorded time: how fast it passes, and /clock, which tells the other nodes."""

from __future__ import annotations

import time

from rclpy.node import Node
from rosgraph_msgs.msg import Clock

CLOCK_TOPIC = "/clock"
DEPTH = 10
END_OF_TIME_NS = 2**31 * 1_000_000_000
"""A time in a ROS message has 31 bits of seconds."""


class Pace:
    """Bag time against the wall clock, from the moment it is made."""

    def __init__(self, start_ns: int, rate: float) -> None:
        self._start_ns = start_ns
        self._rate = rate
        self._wall_start_s = time.monotonic()
        self._left_out_ns = 0

    def remaining_s(self, timestamp_ns: int) -> float:
        """Wall seconds until that bag time, negative if it has passed."""
        due_s = self._wall_start_s + (timestamp_ns - self._start_ns) / 1e9 / self._rate
        return due_s - time.monotonic()

    def delay(self, wall_s: float) -> None:
        """Let bag time stand still for wall seconds that have passed."""
        self._wall_start_s += wall_s

    def leave_out(self, bag_ns: int) -> None:
        """Let bag time go on by that much at once."""
        self._wall_start_s -= bag_ns / 1e9 / self._rate
        self._left_out_ns += bag_ns

    def played_s(self, timestamp_ns: int) -> float:
        """Seconds of bag time from the start to that time, without what was left out."""
        return (timestamp_ns - self._start_ns - self._left_out_ns) / 1e9

    def now_ns(self) -> int:
        """Bag time now."""
        return self._start_ns + round((time.monotonic() - self._wall_start_s) * self._rate * 1e9)


class SimClock:
    """/clock: at a steady frequency between messages and at every message's time."""

    def __init__(self, node: Node, frequency_hz: float) -> None:
        self._publisher = node.create_publisher(Clock, CLOCK_TOPIC, DEPTH)
        self.period_s = 1.0 / frequency_hz
        self._last_ns = -1
        self._next_s = 0.0

    def restart(self) -> None:
        """Let the next time lie before the last one, as at the start of a loop."""
        self._last_ns = -1

    def tick(self, time_ns: int) -> None:
        """Publish if the period is over."""
        if time.monotonic() >= self._next_s:
            self.publish(time_ns)

    def publish(self, time_ns: int) -> None:
        """Publish, unless that would repeat a time or turn it back, or the message cannot hold it."""
        if self._last_ns < time_ns < END_OF_TIME_NS:
            message = Clock()
            message.clock.sec, message.clock.nanosec = divmod(time_ns, 1_000_000_000)
            self._publisher.publish(message)
            self._last_ns = time_ns
        self._next_s = time.monotonic() + self.period_s
