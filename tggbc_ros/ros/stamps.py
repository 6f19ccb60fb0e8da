"""Header stamps as integer nanoseconds."""

from __future__ import annotations

from builtin_interfaces.msg import Time as TimeMessage

from tggbc_ros.ros.drops import BadInputError

NANOSECONDS = 1_000_000_000


def nanoseconds(stamp: TimeMessage) -> int:
    """A stamp as integer nanoseconds; raises BadInputError for one that no clock shows."""
    if stamp.sec < 0 or stamp.nanosec >= NANOSECONDS:
        raise BadInputError("bad_stamp", f"header.stamp is {stamp.sec} s and {stamp.nanosec} ns")
    return stamp.sec * NANOSECONDS + stamp.nanosec
