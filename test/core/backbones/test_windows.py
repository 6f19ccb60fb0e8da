"""Windows: each cell is in one, turned by its place in it; padding weighs what it weighs when computed."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from tggbc_ros.core.backbones.windows import attend, cut, rectangles, rotary_map, turn

EXTENTS = st.integers(1, 12)


@settings(max_examples=60, deadline=None)
@given(EXTENTS, EXTENTS, st.integers(1, 7))
def test_every_cell_lies_in_one_window(height: int, width: int, side: int) -> None:
    seen = torch.zeros(height, width, dtype=torch.int64)
    for rectangle in (each for band in rectangles(height, width, side) for each in band):
        rows, columns = rectangle.rows * rectangle.height, rectangle.columns * rectangle.width
        seen[rectangle.top :, rectangle.left :][:rows, :columns] += 1
        assert rectangle.missing == side**2 - rectangle.height * rectangle.width
        assert rectangle.top % side == rectangle.left % side == 0
    assert (seen == 1).all()


@settings(max_examples=40, deadline=None)
@given(EXTENTS, EXTENTS, st.integers(1, 7))
def test_taken_windows_are_squares_of_the_map_and_go_back_to_their_place(height: int, width: int, side: int) -> None:
    heads, dims = 2, 4
    x = torch.randn(3, height, width, heads, dims)
    bands = []
    for band in rectangles(height, width, side):
        parts = []
        for rectangle in band:
            windows = rectangle.take(x)
            first = x[:, rectangle.top :, rectangle.left :][:, : rectangle.height, : rectangle.width, 1]
            torch.testing.assert_close(windows[:, 1], first.flatten(1, 2))
            parts.append(rectangle.put(windows, heads))
        bands.append(torch.cat(parts, dim=2))
    assert torch.equal(torch.cat(bands, dim=1), x.flatten(3))


@pytest.mark.parametrize("missing", [0, 1, 248])
def test_missing_slots_weigh_as_so_many_keys_of_zero(missing: int) -> None:
    torch.manual_seed(missing)
    query, key, value = torch.randn(3, 2, 4, 5, 8)  # two images, two windows of two heads, five cells
    void = torch.randn(2, 8)
    slots = void.repeat(2, 1)[None, :, None].expand(2, 4, missing, 8)
    computed = F.scaled_dot_product_attention(query, F.pad(key, (0, 0, 0, missing)), torch.cat([value, slots], dim=2))
    torch.testing.assert_close(attend(query, key, value, void, missing), computed, rtol=0, atol=1e-5)


def test_a_window_of_padding_alone_but_one_cell_nearly_gives_the_void() -> None:
    cell, void = torch.zeros(1, 1, 1, 4), torch.full((1, 4), 3.0)
    torch.testing.assert_close(attend(cell, cell, cell, void, 255), torch.full((1, 1, 1, 4), 3.0 * 255 / 256))


def test_rows_turn_the_first_half_of_the_channels_and_columns_the_second() -> None:
    """Angle = place in the window, scaled to 16 places a side, times 10000^(-2j / (d / 2)); each for two channels."""
    cosine, sine = rotary_map(7, 5, side=4, head_dims=8)
    row, column = 6, 3
    angles = [place % 4 * 16 / 4 * 10000.0 ** (-2 * j / 4) for place in (row, column) for j in (0, 1) for _ in "ab"]
    torch.testing.assert_close(cosine[row, column], torch.tensor([math.cos(angle) for angle in angles]))
    torch.testing.assert_close(sine[row, column], torch.tensor([math.sin(angle) for angle in angles]))


def test_neighbouring_channels_are_turned_as_a_pair() -> None:
    angle = torch.tensor([0.5, 0.5, 2.0, 2.0])
    a, b, c, d = 1.0, 2.0, -3.0, 0.5
    turned = turn(torch.tensor([a, b, c, d]), angle.cos(), angle.sin())
    expected = [
        a * math.cos(0.5) - b * math.sin(0.5),
        b * math.cos(0.5) + a * math.sin(0.5),
        c * math.cos(2.0) - d * math.sin(2.0),
        d * math.cos(2.0) + c * math.sin(2.0),
    ]
    torch.testing.assert_close(turned, torch.tensor(expected))


def test_the_order_of_cells_is_that_of_the_windows() -> None:
    windows = cut(torch.zeros(1, 3, 3, 8), side=2, head_dims=8)
    assert windows.order.tolist() == [0, 1, 3, 4, 2, 5, 6, 7, 8]
    assert windows.missing == [0, 2, 2, 3]
    assert [part.tolist() for part in windows.by_window(windows.order[None])] == [
        [[[0, 1, 3, 4]]],
        [[[2, 5]]],
        [[[6, 7]]],
        [[[8]]],
    ]
