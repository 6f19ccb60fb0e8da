"""birds_eye: forward is up, right is right, arrows end where things will be."""

from __future__ import annotations

import numpy as np
import pytest
from pictures import CAR, PALETTE, box, pixels_of, shows

from tggbc_ros.drawing.birds_eye import birds_eye
from tggbc_ros.drawing.draw import WHITE


def test_birds_eye_has_forward_up_right_right_and_arrows_along_the_velocity() -> None:
    pixel_m = 900 / 110
    still, moving = birds_eye(box(20.0, 10.0), PALETTE), birds_eye(box(20.0, 10.0, velocity=(0.0, 15.0)), PALETTE)
    drawn = pixels_of(still[60:], CAR) + (0, 60)
    np.testing.assert_allclose(drawn.min(axis=0), (450 + 19 * pixel_m, 450 - 11 * pixel_m), atol=3)
    np.testing.assert_allclose(drawn.max(axis=0), (450 + 21 * pixel_m, 450 - 9 * pixel_m), atol=3)
    rows, columns = np.nonzero((still != moving).any(axis=-1))
    assert rows.min() == pytest.approx(450 - 25 * pixel_m, abs=3), "the arrow ends where the car is in a second"
    assert columns[rows.argmin()] == pytest.approx(450 + 20 * pixel_m, abs=3)


def test_trails_lie_below_the_boxes_at_their_places() -> None:
    pixel_m = 900 / 110
    way = np.array([[20.0, -20.0, 0.0], [20.0, 10.0, 0.0]])
    plain, trailed = birds_eye(box(20.0, 10.0), PALETTE), birds_eye(box(20.0, 10.0), PALETTE, trails=[(way, WHITE)])
    rows, columns = np.nonzero((plain != trailed).any(axis=-1))
    assert rows.max() == pytest.approx(450 + 20 * pixel_m, abs=3)
    assert columns.mean() == pytest.approx(450 + 20 * pixel_m, abs=2)
    assert shows(trailed, 450 + 21 * pixel_m, 450 - 10 * pixel_m, CAR), "the box is still there"


def test_birds_eye_draws_no_arrow_for_unknown_velocity() -> None:
    unknown = birds_eye(box(20.0, 10.0, velocity=(np.nan, np.nan)), PALETTE)
    np.testing.assert_array_equal(unknown, birds_eye(box(20.0, 10.0), PALETTE))


def test_what_is_far_beyond_any_picture_is_no_error() -> None:
    """OpenCV takes 32 bits only; a network without weights says anything."""
    empty = birds_eye(box(0.0, 0.0)[:0], PALETTE)
    far = birds_eye(box(1e12, 1e12), PALETTE)
    assert (empty[200:] == far[200:]).all()
    assert birds_eye(box(0.0, 0.0, velocity=(1e12, 0.0)), PALETTE).shape == empty.shape
