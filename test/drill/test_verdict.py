"""verdict: a node that loses a set, publishes a bad one or forgets at the wrong time does not pass."""

from __future__ import annotations

from collections import Counter
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from synthetic_rig import PERIOD_NS, START_NS, stamp
from tggbc_ros.msg import FrameReport

from drill.books import Books
from drill.ground import Awaited, Mark, Sent
from drill.verdict import Row, judge

NOTHING_YET = Mark(Books(), 0, (0, 0), 0)


class Ground:
    """What `judge` reads of a ground where three good sets went out and came back, but for what is changed."""

    def __init__(self, causes: tuple[str, ...] = ("", "", ""), step: int = 1, moved_m: float = 0.0) -> None:
        stamps_ns = [START_NS + index * step * PERIOD_NS for index in range(3)]
        self.sent = {t: Sent(True, np.array([moved_m * place, 0.0, 0.0])) for place, t in enumerate(stamps_ns)}
        self.reports = [FrameReport(reset_cause=cause) for cause in causes]
        for report, stamp_ns in zip(self.reports, stamps_ns, strict=True):
            report.header.stamp = stamp(stamp_ns)
        self.awaited: list[Awaited] = []
        self.forced: dict[int, set[str]] = {}
        self.problems: list[str] = []
        self.process = SimpleNamespace(is_running=lambda: True, output=lambda: "all is well")
        self.rig = SimpleNamespace(received={"boxes": self.reports})
        resets = Counter(cause for cause in causes if cause)
        self.after = Mark(Books(3, 3, Counter(), resets), 3, (3, 3), 18)

    def mark(self) -> Mark:
        return self.after


def problems(ground: Ground, recovered: int | None = 1, **drops: bool) -> str:
    given: Any = ground
    return "; ".join(judge("fault", given, NOTHING_YET, recovered, drops, all_images=True).problems)


def test_a_node_in_order_passes() -> None:
    assert problems(Ground()) == ""


@pytest.mark.parametrize(
    ("books", "problem"),
    [
        (Books(3, 2), "3 sets in, 2 published and 0 dropped"),
        (Books(2, 2), "2 complete sets counted, 3 to 3 went out"),
        (Books(4, 3, Counter({"set_superseded": 1})), "4 complete sets counted"),
        (Books(3, 3, Counter({"image_late": 1})), "18 images sent, 19 accounted for"),
        (Books(3, 2, Counter({"set_bad_image": 1})), "drops that are not of this fault: set_bad_image"),
        (Books(3, 2, Counter({"set_superseded": 1})), "3 reports heard, 2 counted as published"),
        (Books(3, 3, Counter(), Counter({"service": 1})), "resets counted {'service': 1}, reported {}"),
    ],
)
def test_books_that_do_not_fit_are_told(books: Books, problem: str) -> None:
    ground = Ground()
    ground.after = ground.after._replace(books=books)
    assert problem in problems(ground)


def test_a_cause_that_must_be_counted_and_is_not_is_told() -> None:
    assert problems(Ground(), set_bad_image=True) == "never counted: set_bad_image"
    assert problems(Ground(), set_bad_image=False) == ""


@pytest.mark.parametrize(
    ("ground", "missing"),
    [
        (Ground(step=5), "'gap in time'"),
        (Ground(moved_m=100.0), "'pose jump'"),
        (Ground(step=-1), "'clock jump' or 'time went backward'"),
    ],
)
def test_memory_that_should_have_been_reset_is_told(ground: Ground, missing: str) -> None:
    assert f"memory reset '', expected {missing}" in problems(ground)


def test_memory_reset_for_its_cause_passes_and_for_none_does_not() -> None:
    assert problems(Ground(("", "gap in time", "gap in time"), step=5)) == ""
    assert "memory reset 'gap in time', expected ''" in problems(Ground(("", "gap in time", "")))
    forced = Ground(("", "deactivated", ""))
    forced.forced = {1: {"deactivated"}}
    assert problems(forced) == ""


def test_a_set_with_a_fault_must_not_be_published() -> None:
    ground = Ground()
    first = next(iter(ground.sent))
    ground.sent[first] = ground.sent[first]._replace(good=False)
    assert f"published for sets with a fault in them, or none at all: [{first}]" in problems(ground)


def test_a_set_that_had_to_be_inferred_is_looked_up_in_the_record() -> None:
    """Not by the clock: what a busy machine inferred too late to be waited for has been inferred."""
    ground = Ground()
    first, second, _ = ground.sent
    ground.awaited = [Awaited((first,), "the first is missing"), Awaited((7, second), "none of both")]
    assert problems(ground) == ""
    assert ground.awaited == []
    ground.awaited = [Awaited((7,), "the first is missing"), Awaited((8, 9), "none of both")]
    assert problems(ground) == "the first is missing: 7; none of both: 8 or 9"


def test_death_traceback_and_late_recovery_are_told() -> None:
    ground = Ground()
    ground.process = SimpleNamespace(is_running=lambda: False, output=lambda: "Traceback (most recent call last)")
    found = problems(ground, recovered=None)
    assert all(text in found for text in ("has died", "a traceback", "after None good sets"))


def test_a_row_is_written_with_its_accounts() -> None:
    row = Row("loss", Books(3, 2, Counter({"set_superseded": 1}), Counter({"gap in time": 1})), 1)
    assert row.as_json() == {
        "fault": "loss",
        "sets_in": 3,
        "published": 2,
        "drops": {"set_superseded": 1},
        "resets": {"gap in time": 1},
        "recovered_after_sets": 1,
        "pass": True,
        "problems": [],
    }
