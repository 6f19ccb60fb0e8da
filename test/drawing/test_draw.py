"""draw: lines are cut at the edges, plates keep out of each other's way."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tggbc_ros.drawing.draw import BLACK, WHITE, blank, clip_segments, draw_segments, write_plate

WIDTH, HEIGHT = 100, 60


def clipped(*ends: float) -> list[list[float]] | None:
    lines, seen = clip_segments(np.array(ends, float).reshape(1, 2, 2), WIDTH, HEIGHT)
    return lines[0].tolist() if seen[0] else None


def test_lines_are_cut_where_they_leave_the_picture() -> None:
    assert clipped(10, 20, 30, 40) == [[10, 20], [30, 40]]
    assert clipped(-50, 30, 150, 30) == [[0, 30], [99, 30]]
    assert clipped(50, 1000, 50, -1000) == [[50, 59], [50, 0]]
    assert clipped(-10, 20, 10, 40) == [[0, 30], [10, 40]]


def test_lines_beside_the_picture_are_not_seen() -> None:
    for ends in ((-5, 0, -5, 50), (0, 60, 90, 60), (-10, 10, 10, -20), (200, 0, 300, 50), (-5, -5, -5, -5)):
        assert clipped(*ends) is None, ends


@settings(max_examples=100, deadline=None)
@given(st.lists(st.floats(-1e15, 1e15), min_size=4, max_size=4))
def test_what_is_seen_lies_inside_however_far_the_ends_are(ends: list[float]) -> None:
    line = clipped(*ends)
    if line is not None:
        slack = 1e-9 * max(1.0, *map(abs, ends))
        assert (np.array(line) >= -slack).all()
        assert (np.array(line) <= np.array([WIDTH - 1, HEIGHT - 1]) + slack).all()


def test_dashes_leave_gaps_in_the_middle_and_no_line_is_all_gap() -> None:
    solid, dashed, dot = (blank(WIDTH, HEIGHT) for _ in range(3))
    line = np.array([[[5.0, 30.0], [95.0, 30.0]]])
    draw_segments(solid, line, WHITE, 1)
    draw_segments(dashed, line, WHITE, 1, dashed=True)
    draw_segments(dot, np.array([[[5.0, 30.0], [7.0, 30.0]]]), WHITE, 1, dashed=True)
    lit = [(image[30] > 200).all(axis=-1).sum() for image in (solid, dashed, dot)]
    assert lit[0] >= 88
    assert 40 <= lit[1] <= 65
    assert lit[2] >= 1


def test_a_rim_is_dark() -> None:
    image = np.full((HEIGHT, WIDTH, 3), 255, np.uint8)
    draw_segments(image, np.array([[[5.0, 30.0], [95.0, 30.0]]]), WHITE, 2)
    assert image.min() < 130
    bare = np.full((HEIGHT, WIDTH, 3), 255, np.uint8)
    draw_segments(bare, np.array([[[5.0, 30.0], [95.0, 30.0]]]), WHITE, 2, rim=False)
    assert bare.min() == 255


def test_plates_move_aside_until_there_is_no_room() -> None:
    """At the same corner: the place itself, above, above that, below, below that twice, and no more."""
    image, taken = blank(WIDTH, 200), []
    tops = []
    for _ in range(6):
        plate = write_plate(image, "car", (10.0, 100.0), (0, 0, 255), 0.4, taken)
        assert plate is not None
        taken.append(plate)
        tops.append(plate[1])
    tall = tops[0] - tops[1]
    assert [top - tops[0] for top in tops] == [0, -tall, -2 * tall, tall, 2 * tall, 3 * tall]
    assert write_plate(image, "car", (10.0, 100.0), (0, 0, 255), 0.4, taken) is None
    assert write_plate(image, "car", (70.0, 100.0), (0, 0, 255), 0.4, taken) is not None


@pytest.mark.parametrize("corner", [(-50.0, -50.0), (98.0, 3.0), (98.0, 500.0)])
def test_plates_stay_inside(corner: tuple[float, float]) -> None:
    image = blank(WIDTH, HEIGHT)
    plate = write_plate(image, "car", corner, (0, 0, 255), 0.4, [])
    if plate is not None:
        assert plate[0] >= 0 and plate[1] >= 0 and plate[2] < WIDTH and plate[3] < HEIGHT
    assert (plate is None) == (corner[1] > HEIGHT)


@pytest.mark.parametrize(("ground", "tone"), [((255, 255, 0), BLACK), ((80, 0, 0), WHITE), ((169, 47, 247), BLACK)])
def test_text_is_the_shade_with_more_contrast(ground: tuple[int, int, int], tone: tuple[int, int, int]) -> None:
    image = blank(WIDTH, HEIGHT)
    plate = write_plate(image, "car", (10.0, 40.0), ground, 0.6, [])
    assert plate is not None
    inside = image[plate[1] : plate[3], plate[0] : plate[2]].astype(int)
    assert (np.abs(inside - tone).max(axis=-1) < 60).sum() > 5
