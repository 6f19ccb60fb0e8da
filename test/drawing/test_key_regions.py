"""key_regions: a cell's pixels are where the network saw them; what was trimmed is dark."""

from __future__ import annotations

import numpy as np
import pytest

from tggbc_ros.core.config import MODELS
from tggbc_ros.drawing.key_regions import CUT, KEPT, TRIMMED, UNSTARTED, cell_fates, dim

DEMO, R50 = MODELS["demo"], MODELS["r50_704"]


def test_fates_of_the_demo_models_image_pixel_by_pixel() -> None:
    """352 x 198 is cut to the lower 352 x 128, unscaled: a cell is 16 x 16 pixels from row 70 on."""
    kept = np.zeros((8, 22), bool)
    kept[1, 2] = True
    fate = cell_fates(kept, DEMO, 198, 352)
    assert fate.shape == (198, 352)
    assert (fate[:70] == CUT).all()
    assert (fate[70:] != CUT).all()
    assert np.argwhere(fate == KEPT).min(axis=0).tolist() == [70 + 16, 32]
    assert np.argwhere(fate == KEPT).max(axis=0).tolist() == [70 + 31, 47]
    assert (fate == KEPT).sum() == 256


def test_fates_of_an_image_that_is_scaled() -> None:
    """900 x 1600 is scaled by 0.44 to 396 x 704, of which the lower 256 rows are kept."""
    fate = cell_fates(np.ones((16, 44), bool), R50, 900, 1600)
    assert fate.shape == (396, 704)
    assert (fate[:140] == CUT).all()
    assert (fate[140:] == KEPT).all()


def test_dimming_is_by_fate_and_stretches_over_the_image() -> None:
    image = np.full((60, 90, 3), (40, 100, 160), np.uint8)
    dim(image, np.array([[CUT, TRIMMED, KEPT]], np.uint8), (255, 0, 0))
    assert image[30, 15].tolist() == pytest.approx([84, 84, 84], abs=3), "grey, whatever the colour was"
    assert image[30, 45].tolist() == [12, 30, 48]
    assert image[30, 75].tolist() == [40, 100, 160]
    assert image[30, 60].tolist() == image[0, 75].tolist() == [255, 0, 0]


def test_what_never_started_is_dark_and_without_colour() -> None:
    kept, started = np.zeros((8, 22), bool), np.zeros((8, 22), bool)
    kept[0, 0], started[0, :2] = True, True
    fate = cell_fates(kept, DEMO, 198, 352, started)
    assert [int(fate[75, column]) for column in (5, 20, 40)] == [KEPT, TRIMMED, UNSTARTED]
    image = np.full((198, 352, 3), (40, 100, 160), np.uint8)
    dim(image, fate, (255, 0, 0))
    assert len(set(image[78, 40].tolist())) == 1
    assert len(set(image[78, 24].tolist())) == 3
    assert image[78, 40].max() < 60
