"""Times of messages as integer nanoseconds: from their headers, or from when they were received."""

from __future__ import annotations

from typing import Protocol

from builtin_interfaces.msg import Time as TimeMessage
from rclpy.time import Time

from tggbc_ros.ros.drops import BadInputError

NANOSECONDS = 1_000_000_000


class TellsTime(Protocol):
    """What is used of ``rclpy.clock.Clock``."""

    def now(self) -> Time:
        """The time when messages are received."""


def nanoseconds(stamp: TimeMessage) -> int:
    """A stamp as integer nanoseconds; raises BadInputError for one that no clock shows."""
    if stamp.sec < 0 or stamp.nanosec >= NANOSECONDS:
        raise BadInputError("bad_stamp", f"header.stamp is {stamp.sec} s and {stamp.nanosec} ns")
    return stamp.sec * NANOSECONDS + stamp.nanosec


def image_time(stamp: TimeMessage, policy: str, clock: TellsTime) -> int:
    """When an image was taken, by `stamp_policy`: as its header says, or now on the node's clock.

    0 where nobody knows: a zero stamp, or a simulated clock that has not begun. Raises BadInputError as `nanoseconds`.
    """
    return clock.now().nanoseconds if policy == "receive" else nanoseconds(stamp)


def pose_time(stamp: TimeMessage, policy: str, clock: TellsTime) -> int:
    """The time of a pose: its header's, which images that were stamped on arrival meet on the node's clock.

    Only a zero stamp is replaced, with policy receive: localisation is older when it arrives than images are,
    and its stamps say by how much. Raises BadInputError as `nanoseconds`.
    """
    return nanoseconds(stamp) or image_time(stamp, policy, clock)
