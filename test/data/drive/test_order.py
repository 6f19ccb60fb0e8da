"""The painting order: what hides must be painted after what it hides."""

from __future__ import annotations

import numpy as np

from tggbc_ros.data.drive.order import paint_order

EYE = np.zeros(2)


def test_long_box_hides_what_stands_behind_its_end_although_its_middle_is_farther() -> None:
    poses = np.array([[15.0, 9.75, 0.0], [11.0, 12.25, 0.0]])
    half = np.array([[6.0, 1.45], [0.35, 0.35]])
    assert np.hypot(*poses[0, :2]) > np.hypot(*poses[1, :2])
    assert paint_order(poses, half, EYE).tolist() == [1, 0]


def test_unrelated_boxes_go_farthest_first() -> None:
    poses = np.array([[10.0, 0.0, 0.3], [0.0, 30.0, 0.0], [-20.0, 0.0, 0.0]])
    assert paint_order(poses, np.ones((3, 2)), EYE).tolist() == [1, 2, 0]


def test_a_cycle_still_gives_every_box_once() -> None:
    turn = np.arange(3) * 2 * np.pi / 3
    poses = np.column_stack([20 + 3.0 * np.cos(turn), 3.0 * np.sin(turn), turn + np.pi / 2 + 0.35])
    assert sorted(paint_order(poses, np.tile([6.0, 0.2], (3, 1)), EYE).tolist()) == [0, 1, 2]


def test_no_boxes_no_order() -> None:
    assert paint_order(np.zeros((0, 3)), np.zeros((0, 2)), EYE).shape == (0,)


def test_order_agrees_with_rays_through_random_pairs() -> None:
    rng = np.random.default_rng(0)
    checked = 0
    for _ in range(500):
        poses = np.column_stack([rng.uniform(4, 30, 2), rng.uniform(-8, 8, 2), rng.uniform(-np.pi, np.pi, 2)])
        half = rng.uniform(0.3, 4.0, (2, 2))
        if not (_apart(poses, half, 0, 1) or _apart(poses, half, 1, 0)):
            continue
        painted_first = int(paint_order(poses, half, EYE)[0])
        for azimuth in np.linspace(-1.2, 1.2, 49):
            spans = [_span(poses[k], half[k], float(azimuth)) for k in range(2)]
            if spans[0] and spans[1]:
                checked += 1
                assert painted_first == (0 if spans[0][0] > spans[1][0] else 1)
    assert checked > 500


def _span(pose: np.ndarray, half: np.ndarray, azimuth: float) -> tuple[float, float] | None:
    """Where a ray from the eye enters and leaves a rectangle."""
    cos, sin = np.cos(pose[2]), np.sin(pose[2])
    turn = np.array([[cos, sin], [-sin, cos]])
    start, step = turn @ -pose[:2], turn @ np.array([np.cos(azimuth), np.sin(azimuth)])
    edges = np.sort(np.stack([(-half - start) / step, (half - start) / step]), axis=0)
    low, high = edges[0].max(), edges[1].min()
    return (float(low), float(high)) if 0 < low < high else None


def _apart(poses: np.ndarray, half: np.ndarray, own: int, other: int) -> bool:
    """Whether the plane of one of ``own``'s sides parts it from ``other``."""
    cos, sin = np.cos(poses[own, 2]), np.sin(poses[own, 2])
    delta = np.array([[cos, sin], [-sin, cos]]) @ (poses[other, :2] - poses[own, :2])
    turn = poses[other, 2] - poses[own, 2]
    c, s = abs(np.cos(turn)), abs(np.sin(turn))
    reach = np.array([c * half[other, 0] + s * half[other, 1], s * half[other, 0] + c * half[other, 1]])
    return bool((np.abs(delta) > half[own] + reach).any())
