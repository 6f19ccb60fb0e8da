"""kept_keys: each cell has its pixel, camera by camera where one looks for it, and the picture gives them back."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tggbc_ros.drawing.kept_keys import KEPT, TRIMMED, UNSTARTED, kept_by_camera, kept_mosaic
from tggbc_ros.drawing.overlay import MOSAIC
from tggbc_ros.ros.params import CAMERAS

ROWS, COLUMNS = 2, 3
CELLS = ROWS * COLUMNS


def pixel(picture: np.ndarray, camera: str, row: int, column: int) -> int:
    """Of a cell of that camera, counted out by hand from the mosaic's order."""
    (place,) = [(down, names.index(camera)) for down, names in enumerate(MOSAIC) if camera in names]
    return int(picture[place[0] * ROWS + row, place[1] * COLUMNS + column])


def test_one_cell_is_one_pixel_at_its_cameras_place() -> None:
    for number, camera in enumerate(CAMERAS):
        for row in range(ROWS):
            for column in range(COLUMNS):
                cell = number * CELLS + row * COLUMNS + column
                picture = kept_mosaic(np.array([cell]), CAMERAS, (ROWS, COLUMNS))
                assert picture.shape == (2 * ROWS, 3 * COLUMNS)
                assert (picture == KEPT).sum() == 1
                assert set(np.unique(picture)) == {TRIMMED, KEPT}
                assert pixel(picture, camera, row, column) == KEPT


def test_values_are_white_and_black() -> None:
    assert (KEPT, TRIMMED) == (255, 0)
    assert kept_mosaic(np.arange(6 * CELLS), CAMERAS, (ROWS, COLUMNS)).min() == 255
    assert kept_mosaic(np.arange(0), CAMERAS, (ROWS, COLUMNS)).max() == 0


@settings(max_examples=50, deadline=None)
@given(
    cameras=st.one_of(
        st.permutations(CAMERAS), st.permutations(CAMERAS[:4]), st.sampled_from([("front", "left", "right", "back")])
    ),
    size=st.tuples(st.integers(1, 4), st.integers(1, 5)),
    seed=st.integers(0, 1000),
)
def test_the_picture_gives_back_every_cameras_cells(cameras: list[str], size: tuple[int, int], seed: int) -> None:
    masks = np.random.default_rng(seed).random((len(cameras), *size)) < 0.3
    picture = kept_mosaic(np.flatnonzero(masks), cameras, size)
    assert (picture == KEPT).sum() == masks.sum()
    found = kept_by_camera(picture, cameras)
    assert list(sorted(found)) == sorted(cameras)
    for name, mask in zip(cameras, masks, strict=True):
        np.testing.assert_array_equal(found[name], mask)


def test_strange_cameras_stand_three_a_row_in_their_order() -> None:
    cameras = ("a", "b", "c", "d")
    picture = kept_mosaic(np.array([3 * CELLS]), cameras, (ROWS, COLUMNS))
    assert picture.shape == (2 * ROWS, 3 * COLUMNS)
    assert np.argwhere(picture).tolist() == [[ROWS, 0]]


def test_bad_cells_and_bad_pictures_are_refused() -> None:
    with pytest.raises(ValueError, match="range from 0 to 36, expected 0 to 35"):
        kept_mosaic(np.array([0, 36]), CAMERAS, (ROWS, COLUMNS))
    with pytest.raises(ValueError, match="range from -1 to 5"):
        kept_mosaic(np.array([-1, 5]), CAMERAS, (ROWS, COLUMNS))
    with pytest.raises(ValueError, match=r"shape \(5, 9\), expected 2 by 3 equal cameras"):
        kept_by_camera(np.zeros((5, 9), np.uint8), CAMERAS)


def test_what_never_started_is_neither_kept_nor_trimmed() -> None:
    kept, started = np.array([0, 7]), np.array([0, 1, 7])
    picture = kept_mosaic(kept, CAMERAS, (ROWS, COLUMNS), started)
    first, second = CAMERAS[:2]
    assert [pixel(picture, first, 0, column) for column in range(3)] == [KEPT, TRIMMED, UNSTARTED]
    assert [pixel(picture, second, 0, column) for column in range(3)] == [UNSTARTED, KEPT, UNSTARTED]
    assert sum(cells.sum() for cells in kept_by_camera(picture, CAMERAS).values()) == 2
    everything = np.arange(len(CAMERAS) * CELLS)
    np.testing.assert_array_equal(
        kept_mosaic(kept, CAMERAS, (ROWS, COLUMNS), everything), kept_mosaic(kept, CAMERAS, (ROWS, COLUMNS))
    )
