"""Cells that passed each gate, as one picture."""

from __future__ import annotations

import numpy as np
import pytest

from tggbc_ros.drawing.kept_keys import kept_mosaic
from tggbc_ros.drawing.kept_tokens import tokens_mosaic

CAMERAS = ("CAM_FRONT", "CAM_BACK")


def test_gates_lie_one_below_the_other() -> None:
    tokens = np.random.default_rng(0).random((3, 2 * 4 * 5)) < 0.5
    picture = tokens_mosaic(tokens, CAMERAS, (4, 5))
    one = kept_mosaic(np.flatnonzero(tokens[1]), CAMERAS, (4, 5))
    height = len(one)
    assert picture.shape == (3 * height, one.shape[1]) and picture.dtype == np.uint8
    assert np.array_equal(picture[height : 2 * height], one)
    assert (picture == 255).sum() == tokens.sum()


def test_all_passed_is_one_mosaic_and_another_number_of_cells_is_refused() -> None:
    assert (tokens_mosaic(None, CAMERAS, (4, 5)) == 255).sum() == 40
    with pytest.raises(ValueError, match="tokens have 39 cells, expected 40 of 2 cameras"):
        tokens_mosaic(np.ones((1, 39), dtype=np.bool_), CAMERAS, (4, 5))
