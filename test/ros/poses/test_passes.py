"""passes: a set belongs to the pass of time in which it was formed, whatever came of the sets before it."""

from __future__ import annotations

import pytest

from tggbc_ros.ros.poses.passes import Pass, Passes

S = 1_000_000_000


def placed(passes: Passes, *seconds: float, clock_s: float = 0.0) -> list[int]:
    return [passes.place(round(s * S), round(clock_s * S)).number for s in seconds]


def test_time_that_goes_forward_is_one_pass() -> None:
    assert placed(Passes(), 10, 10.5, 11, 3600, 1e9) == [0] * 5


@pytest.mark.parametrize("again_s", [12, 11.9, 10])
def test_a_set_not_after_the_one_before_begins_a_pass(again_s: float) -> None:
    passes = Passes()
    assert placed(passes, 10, 12, again_s, again_s + 0.5) == [0, 0, 1, 1]
    assert passes.place(round(13 * S), 0) == Pass(1, "time went backward")


def test_a_jump_of_the_clock_begins_a_pass_with_the_first_set_near_it() -> None:
    passes = Passes()
    placed(passes, 10, 20)
    assert passes.clock_went_back(5 * S)
    assert passes.place(round(20.5 * S), 5 * S) == Pass(0, ""), "its images were still on their way"
    assert passes.place(round(5.2 * S), 5 * S) == Pass(1, "clock jump")
    assert placed(passes, 6, clock_s=6) == [1]


def test_a_jump_over_all_earlier_sets_begins_a_pass_too() -> None:
    """Cameras that were silent in the old pass when they speak in the new one: stamps alone would not tell."""
    passes = Passes()
    placed(passes, 10)
    assert passes.clock_went_back(2 * S)
    assert passes.place(round(10.2 * S), round(10.1 * S)) == Pass(1, "clock jump")


def test_a_clock_that_follows_its_images_begins_no_second_pass() -> None:
    passes = Passes()
    assert placed(passes, 10, 20, 5) == [0, 0, 1]
    assert not passes.clock_went_back(round(4.9 * S))
    assert placed(passes, 5.5, clock_s=5.4) == [1]


@pytest.mark.parametrize("lags_s", [0.6, 1.0, 30.0])
def test_a_clock_that_lags_behind_its_images_begins_no_second_pass_either(lags_s: float) -> None:
    """/clock once a second, or a bag played ten times as fast."""
    passes = Passes()
    placed(passes, 10, 20)
    assert passes.clock_went_back(5 * S)
    assert passes.place(round((5 + lags_s) * S) % (20 * S), 5 * S) == Pass(1, "clock jump")
    assert placed(passes, 18, 18.5, clock_s=18.2) == [1, 1]
    assert passes.place(3 * S, 3 * S) == Pass(2, "time went backward"), "the jump has been used up"


def test_every_loop_is_a_pass() -> None:
    passes = Passes()
    assert placed(passes, *([10, 10.5, 11] * 20)) == [number for number in range(20) for _ in range(3)]
