from __future__ import annotations

import pytest

from bench.goals import GOALS, Goal, compared
from bench.modes import all_modes
from bench.shapes import SHAPES
from bench.table import goals_table
from bench.with_embedding import RATIOS, USUAL

ROW = {
    "shape": "900x24000",
    "label": "pruned 0.125 n=1",
    "device": "cpu",
    "dtype": "float32",
    "engine": "eager",
    "ratio_to_dense_sdpa": 2.4,
    "ratio_to_dense_explicit": 9.5,
    "scoring_share_of_dense": 0.02,
    "peak_extra_mb": 70.0,
}


def test_every_goal_is_about_a_row_that_is_measured() -> None:
    labels = {mode.label for mode in all_modes()}
    for goal in GOALS:
        first, last = RATIOS.get(goal.shape, USUAL)
        together = {f"start {first:g} keep {last:g}, rays {rays}" for rays in ("kept", "anew")}
        assert goal.label in labels | together
        assert goal.shape in SHAPES


def test_bounds_hold_from_the_side_they_are_meant_for() -> None:
    found = {goal.field: goal.reached(row) for goal, row in compared([ROW])}
    assert found == {
        "ratio_to_dense_sdpa": False,
        "ratio_to_dense_explicit": True,
        "scoring_share_of_dense": True,
        "peak_extra_mb": False,
    }


def test_other_devices_and_precisions_have_other_goals() -> None:
    assert [goal.bound for goal, _ in compared([ROW | {"device": "cuda", "dtype": "float16"}])] == [2.2]
    assert compared([ROW | {"dtype": "float16"}]) == []


def test_a_figure_that_is_missing_is_an_error() -> None:
    with pytest.raises(ValueError, match="ratio_to_dense_sdpa of x is None"):
        Goal("900x24000", "x", "ratio_to_dense_sdpa", 1.0).reached({"ratio_to_dense_sdpa": None})


def test_the_table_names_what_was_missed() -> None:
    lines = goals_table([ROW]).splitlines()
    assert len(lines) == 6
    assert [line.split()[-1] for line in lines if "MISSED" in line] == ["MISSED"] * 2
    assert goals_table([]) == ""
