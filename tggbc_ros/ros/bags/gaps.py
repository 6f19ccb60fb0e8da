"""Stretches of a bag without a message: which are left out, and where a start offset leads to then.

Recorders write zero for a time that they do not know, and clocks are set while they record; a player that believed
every time would sleep for decades.
"""

from __future__ import annotations

from tggbc_ros.data.bags.bag_file import Bag
from tggbc_ros.ros.bags.lockstep import PlayError

YEAR_S = 365.25 * 86400


class Gaps:
    """Follows the times of messages, in order. longest_s: what is longer is left out; 0: nothing is."""

    def __init__(self, start_ns: int, longest_s: float) -> None:
        self._last_ns = start_ns
        self._longest_ns = longest_s * 1e9

    def before(self, time_ns: int) -> int:
        """Nanoseconds to leave out between the last message and the one of that time, which is now the last."""
        gap_ns, self._last_ns = time_ns - self._last_ns, time_ns
        return gap_ns if self._longest_ns and gap_ns > self._longest_ns else 0


def start_time_ns(bag: Bag, offset_s: float, longest_s: float) -> int:
    """The bag's time after so many seconds of playing; raises PlayError for a bag that is shorter."""
    offset_ns, length_ns = round(offset_s * 1e9), bag.end_ns - bag.start_ns
    if offset_ns > length_ns:
        raise PlayError(f"start offset is {offset_s:g} s, but {bag.path} lasts {length_ns / 1e9:.3f} s")
    if not offset_ns or not longest_s or length_ns <= longest_s * 1e9:
        return bag.start_ns + offset_ns
    gaps, from_ns = Gaps(bag.start_ns, longest_s), bag.start_ns
    for _, time_ns, _ in bag.messages():
        from_ns += gaps.before(time_ns)
        if time_ns - from_ns >= offset_ns:
            return from_ns + offset_ns
    played_s = (bag.end_ns - from_ns) / 1e9
    raise PlayError(f"start offset is {offset_s:g} s, but {bag.path} lasts {played_s:.3f} s without its gaps")


def describe(gap_ns: int, until_ns: int) -> str:
    """A gap in one line, with the times around it."""
    gap_s = gap_ns / 1e9
    years = f" ({gap_s / YEAR_S:.1f} years)" if gap_s > YEAR_S else ""
    between = f"between {(until_ns - gap_ns) / 1e9:.3f} s and {until_ns / 1e9:.3f} s"
    return f"{gap_s:.0f} s{years} without a message, {between}"
