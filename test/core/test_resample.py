"""The filter as tensor operations is Pillow's, to the bit. Whole network images: test_preprocess.py."""

from __future__ import annotations

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from tggbc_ros.core.resample import plan_axis, resample

CPU = torch.device("cpu")
EXTREMES = np.array([[0, 255] * 30, [255, 0] * 30] * 20, dtype=np.uint8)
"""A chequered image, on which the filter overshoots both ends."""


@settings(max_examples=60, deadline=None)
@given(height=st.integers(1, 60), more=st.integers(0, 60), scale=st.floats(0.05, 2.5), seed=st.integers(0, 99))
def test_any_size_and_scale_as_pillow(height: int, more: int, scale: float, seed: int) -> None:
    raw = height, height + more
    scaled = max(1, int(raw[0] * scale)), max(1, int(raw[1] * scale))
    image = np.random.default_rng(seed).integers(0, 256, (*raw, 3), dtype=np.uint8)
    rows, columns = (plan_axis(before, after, 0, after, CPU) for before, after in zip(raw, scaled, strict=True))
    pixels = torch.from_numpy(image[rows.needed, columns.needed])[None]
    expected = Image.fromarray(image).resize(scaled[::-1], Image.Resampling.BICUBIC)
    np.testing.assert_array_equal(resample(pixels, rows, columns)[0].numpy(), np.asarray(expected))


def test_what_overshoots_is_cut_to_a_grey_level() -> None:
    image = np.repeat(EXTREMES[..., None], 3, axis=2)
    rows, columns = plan_axis(40, 100, 0, 100, CPU), plan_axis(60, 130, 0, 130, CPU)
    found = resample(torch.from_numpy(image)[None], rows, columns)[0]
    expected = np.asarray(Image.fromarray(image).resize((130, 100), Image.Resampling.BICUBIC))
    np.testing.assert_array_equal(found.numpy(), expected)
    assert expected.min() == 0 and expected.max() == 255


def test_a_part_of_an_axis_needs_only_its_part_of_the_image() -> None:
    part = plan_axis(900, 396, 140, 256, CPU)
    assert part.needed == slice(315, 900)  # row 140 lies at 319.3, and reaches 2 x 900 / 396 rows further
    whole = plan_axis(900, 396, 0, 396, CPU)
    assert torch.equal(part.places + 315, whole.places[140:])
    assert torch.equal(part.weights, whole.weights[140:])
