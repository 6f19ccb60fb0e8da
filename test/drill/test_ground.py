"""ground: what counts as inferred is what was reported, however late, and not what came within a time."""

from __future__ import annotations

import time
from types import SimpleNamespace
from typing import Any

import pytest
from synthetic_rig import stamp
from tggbc_ros.msg import FrameReport

from drill import ground
from drill.ground import Ground


class LateGround(Ground):
    """No node: set k is answered when set ``answered_with[k]`` goes out, which is later on a busy machine."""

    def __init__(self, answered_with: dict[int, int]) -> None:
        self._answered_with = answered_with
        self._answered = 0, 0
        self.sets = 0, 0
        self.awaited, self.problems = [], []
        self.process: Any = SimpleNamespace(is_running=lambda: True)
        self.rig: Any = SimpleNamespace(received={"report": []}, spin_for=lambda seconds: None)

    def send(self, **options: Any) -> int:
        number = self.sets[0] + 1
        self.sets = number, number
        for answered, sent in self._answered_with.items():
            if sent == number:
                report = FrameReport()
                report.header.stamp = stamp(answered)
                self.reports.append(report)
        return number


@pytest.fixture(autouse=True)
def no_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ground, "ANSWER_TURNS", 1)


@pytest.mark.parametrize(
    ("answered_with", "recovered"),
    [({1: 1}, 1), ({1: 2, 2: 2}, 1), ({2: 2}, 2), ({1: 4, 2: 4, 4: 4}, 1), ({}, None)],
    ids=["at once", "the first, but late", "the second", "the first, much too late", "never"],
)
def test_recovery_is_the_first_set_that_was_inferred(answered_with: dict[int, int], recovered: int | None) -> None:
    assert LateGround(answered_with).recover() == recovered


def test_a_machine_that_stood_still_has_not_used_up_the_patience() -> None:
    """However long the pause, what has arrived meanwhile is looked at before anything is called missing."""
    paused = LateGround({})
    paused.rig.spin_for = lambda seconds: time.sleep(0.05) or paused.reports.append(FrameReport())
    assert paused.is_answered(0)


def test_a_set_that_is_late_is_no_problem_yet() -> None:
    late = LateGround({1: 2})
    late.expect_inferred(late.send(), "not inferred")
    assert late.problems == []
    assert [awaited.references_ns for awaited in late.awaited] == [(1,)]
