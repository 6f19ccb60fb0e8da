"""tracks: boxes of one thing get one number, whatever crosses its way, and a trail is where it was."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tggbc_ros.core.types import Boxes3D
from tggbc_ros.showcase.tracks import GATE_M, Moment, link, trails

CAR, CONE = 0, 9
STEP_S = 0.5


def moment(number: int, *things: Sequence[float]) -> Moment:
    """Things as (x, y, vx, vy, label)."""
    rows = np.array(things, dtype=np.float64).reshape(-1, 5)
    count = len(rows)
    boxes = Boxes3D(
        center=np.column_stack([rows[:, :2], np.ones(count)]),
        size=np.ones((count, 3)),
        yaw=np.zeros(count),
        velocity=rows[:, 2:4],
        score=np.ones(count),
        label=rows[:, 4].astype(np.int64),
        query=np.arange(count),
    )
    return Moment(number * STEP_S, boxes)


def numbers(moments: Sequence[Moment]) -> list[list[int]]:
    return [row.tolist() for row in link(moments)]


def test_a_fast_thing_is_followed_by_its_velocity_and_a_slow_one_by_its_place() -> None:
    fast = [(10.0 * t * STEP_S, 0.0, 10.0, 0.0, CAR) for t in range(4)]
    slow = [(0.0, 20.0 + t, 0.0, 0.0, CAR) for t in range(4)]
    unknown = [(40.0, 40.0 + t, np.nan, np.nan, CAR) for t in range(4)]
    order = [(0, 1, 2), (2, 0, 1), (1, 2, 0), (0, 1, 2)]
    moments = [moment(t, *[(fast, slow, unknown)[k][t] for k in order[t]]) for t in range(4)]
    assert numbers(moments) == [[0, 1, 2], [2, 0, 1], [1, 2, 0], [0, 1, 2]]


def test_classes_do_not_mix_and_the_gate_holds() -> None:
    first = moment(0, (0.0, 0.0, 0.0, 0.0, CAR))
    assert numbers([first, moment(1, (0.0, 0.0, 0.0, 0.0, CONE))]) == [[0], [1]]
    assert numbers([first, moment(1, (GATE_M + 0.01, 0.0, 0.0, 0.0, CAR))]) == [[0], [1]]
    assert numbers([first, moment(1, (GATE_M - 0.01, 0.0, 0.0, 0.0, CAR))]) == [[0], [0]]


def test_the_nearest_pair_is_joined_first() -> None:
    two = moment(0, (0.0, 0.0, 0.0, 0.0, CONE), (2.0, 0.0, 0.0, 0.0, CONE))
    one = moment(1, (1.5, 0.0, 0.0, 0.0, CONE))
    assert numbers([two, one]) == [[0, 1], [1]]


def test_a_track_survives_one_missing_box_and_no_more() -> None:
    seen, gone = (0.0, 0.0, 0.0, 0.0, CAR), ()
    for missing, expected in ((1, 0), (2, 1)):
        moments = [moment(0, seen), *[moment(1 + k, *gone) for k in range(missing)], moment(1 + missing, seen)]
        assert numbers(moments)[-1] == [expected]


def test_numbers_are_never_used_twice() -> None:
    far = [moment(t, (100.0 * t, 0.0, 0.0, 0.0, CAR), (0.0, 100.0 * t + 50, 0.0, 0.0, CAR)) for t in range(3)]
    assert numbers(far) == [[0, 1], [2, 3], [4, 5]]


def test_a_trail_is_the_way_of_the_last_seconds_oldest_first() -> None:
    moments = [moment(t, (float(t), 0.0, 2.0, 0.0, CAR), *([(50.0, 50.0, 0.0, 0.0, CONE)] if t == 4 else []))
               for t in range(5)]  # fmt: skip
    found = trails(moments, link(moments), 4, seconds=1.0)
    assert [label for label, _ in found] == [CAR], "one box alone leaves no trail"
    np.testing.assert_array_equal(found[0][1], [[2.0, 0.0, 1.0], [3.0, 0.0, 1.0], [4.0, 0.0, 1.0]])
    assert trails(moments, link(moments), 0, seconds=1.0) == []
