"""calibration: which frames are taken, and which images will not do."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tggbc_ros.export.calibration import FEWEST_FRAMES, CalibrationError, describe, parse, spread

SHAPE = 32, 64


@given(st.lists(st.integers(0, 40), min_size=1, max_size=6), st.integers(0, 80), st.integers(0, 3))
def test_frames_are_spread_over_all_sequences_and_over_their_time(lengths: list[int], frames: int, seed: int) -> None:
    taken = spread(lengths, frames, seed)
    assert sum(map(len, taken)) == min(frames, sum(lengths))
    assert taken == spread(lengths, frames, seed)
    shares = [len(indices) for indices in taken]
    for length, share, indices in zip(lengths, shares, taken, strict=True):
        assert share == length or share >= max(shares) - 1
        assert indices == sorted(set(indices)) and all(0 <= index < length for index in indices)
        if share:  # one of each equal stretch, so that no gap is longer than two of them
            assert max(np.diff([-1, *indices, length])) <= 2 * length / share + 1


def some(count: int, seed: int = 0) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    return [rng.normal(size=(6, 3, *SHAPE)).astype(np.float32) for _ in range(count)]


def test_images_are_told_by_their_content_and_order() -> None:
    told = describe(some(FEWEST_FRAMES), "bag drive", SHAPE)
    assert (told.source, told.frames, told.cameras) == ("bag drive", FEWEST_FRAMES, 6)
    assert told == describe(some(FEWEST_FRAMES), "bag drive", SHAPE)
    assert told.sha256 != describe(some(FEWEST_FRAMES)[::-1], "bag drive", SHAPE).sha256
    assert parse(json.loads(json.dumps(dataclasses.asdict(told)))) == told


def changed(index: int, image: np.ndarray) -> list[np.ndarray]:
    images = some(FEWEST_FRAMES)
    images[index] = image
    return images


BLACK = np.full((6, 3, *SHAPE), -2.1, np.float32)


@pytest.mark.parametrize(
    ("images", "said"),
    [
        (some(3), "bag drive gives 3 sets of images, expected at least 8"),
        ([], "bag drive gives 0 sets of images"),
        ([BLACK] * 9, "9 of the 9 sets of images of bag drive are of one colour"),
        ([*some(7), BLACK, BLACK], "2 of the 9 sets"),
        (changed(3, np.zeros((6, 3, 32, 32), np.float32)), r"set 3 of bag drive has shape \(6, 3, 32, 32\), expected"),
        (changed(2, np.zeros((5, 3, *SHAPE), np.float32)), r"set 2 of bag drive has shape \(5, 3, 32, 64\), expected"),
        (changed(1, np.full((6, 3, *SHAPE), np.nan, np.float32)), "set 1 of bag drive holds NaN"),
    ],
    ids=["few", "none", "black", "nearly all black", "other size", "other cameras", "NaN"],
)
def test_images_that_will_not_do_are_named(images: list[np.ndarray], said: str) -> None:
    with pytest.raises(CalibrationError, match=said):
        describe(images, "bag drive", SHAPE)
