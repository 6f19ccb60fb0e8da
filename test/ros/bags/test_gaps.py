"""gaps: what is left out of a bag's time, and where a start offset leads to then."""

from __future__ import annotations

from pathlib import Path

import pytest
from small_bags import NUMBER, STORE, number

from tggbc_ros.data.bags.bag_file import open_bag
from tggbc_ros.data.bags.bag_writer import BagFileWriter
from tggbc_ros.ros.bags.gaps import Gaps, describe, start_time_ns
from tggbc_ros.ros.bags.lockstep import PlayError

SECOND_NS = 1_000_000_000
TODAY_NS = 1_700_000_000 * SECOND_NS


@pytest.mark.parametrize(
    ("longest_s", "left_out_s"),
    [(0.0, [0, 0, 0, 0, 0]), (3.0, [0, 0, 0, 4, 1000]), (4.0, [0, 0, 0, 0, 1000]), (2000.0, [0, 0, 0, 0, 0])],
)
def test_gaps_that_are_longer_are_left_out(longest_s: float, left_out_s: list[int]) -> None:
    gaps = Gaps(TODAY_NS, longest_s)
    times_ns = [TODAY_NS + s * SECOND_NS for s in (0, 1, 4, 8, 1008)]
    assert [gaps.before(time_ns) for time_ns in times_ns] == [s * SECOND_NS for s in left_out_s]


def odd_bag(path: Path, storage: str) -> Path:
    """Two messages of a recorder without a clock, two seconds of today, one of the far future."""
    with BagFileWriter(path, storage) as writer:
        added = writer.add_connection("/a", NUMBER, typestore=STORE)
        for time_ns in (0, SECOND_NS, *(TODAY_NS + s * SECOND_NS for s in range(3)), 2**63 - 2):
            writer.write(added, time_ns, number(0))
    return path


@pytest.mark.parametrize("storage", ["mcap", "sqlite3"])
def test_an_offset_is_of_the_time_that_is_played(tmp_path: Path, storage: str) -> None:
    """Played are 0 to 1 s, and at once then the seconds of today, which end at 3 s."""
    with open_bag(odd_bag(tmp_path / "bag", storage)) as bag:
        assert start_time_ns(bag, 0.0, 60.0) == 0
        assert start_time_ns(bag, 0.5, 60.0) == SECOND_NS // 2
        assert start_time_ns(bag, 2.5, 60.0) == TODAY_NS + 3 * SECOND_NS // 2
        assert start_time_ns(bag, 10.0, 0.0) == 10 * SECOND_NS
        with pytest.raises(PlayError, match=r"start offset is 10 s, but .*bag lasts 3.000 s without its gaps"):
            start_time_ns(bag, 10.0, 60.0)
        with pytest.raises(PlayError, match=r"start offset is 1e\+11 s, but .*bag lasts 9223372036.855 s"):
            start_time_ns(bag, 1e11, 60.0)


def test_a_gap_is_told_in_one_line() -> None:
    assert describe(12 * SECOND_NS, 20 * SECOND_NS) == "12 s without a message, between 8.000 s and 20.000 s"
    expected = "1700000000 s (53.9 years) without a message, between 0.000 s and 1700000000.000 s"
    assert describe(TODAY_NS, TODAY_NS) == expected
