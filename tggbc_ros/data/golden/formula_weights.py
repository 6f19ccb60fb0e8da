"""Weights that are a pure function of their name: what the golden cases were recorded with.

They make a network's numbers comparable between implementations without shipping a checkpoint.
"""

from __future__ import annotations

import math
import re
import zlib
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

_LOSS_WEIGHTS = (2.0, 2.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0)
_FIXED: dict[str, tuple[float, ...]] = {
    "pts_bbox_head.code_weights": _LOSS_WEIGHTS,
    "pts_bbox_head.match_costs": _LOSS_WEIGHTS,
    "pts_bbox_head.pc_range": (-51.2, -51.2, -5.0, 51.2, 51.2, 3.0),
    "pts_bbox_head.position_range": (-61.2, -61.2, -10.0, 61.2, 61.2, 10.0),
}
_BRANCH_INDEX = re.compile(r"(?<=\b(?:cls|reg)_branches\.)\d+(?=\.)")


def formula_weights(shapes: Mapping[str, tuple[int, ...]], salt: str = "") -> dict[str, npt.NDArray[np.generic]]:
    """Every tensor of an official state dict, given its keys and shapes; other salts give other weights.

    float32, except for integer counters. The draws are float64 from NumPy's legacy generator, whose
    stream is frozen, seeded by the key: the order of the keys does not matter.
    """
    return {key: _tensor(_BRANCH_INDEX.sub("0", key), tuple(shape), salt) for key, shape in shapes.items()}


def _tensor(key: str, shape: tuple[int, ...], salt: str) -> npt.NDArray[np.generic]:
    if key.endswith("num_batches_tracked"):
        return np.zeros(shape, dtype=np.int64)
    if key in _FIXED:
        return np.array(_FIXED[key], dtype=np.float32)
    if key == "pts_bbox_head.coords_d":
        return _depth_bins()
    generator = np.random.RandomState(zlib.crc32((salt + key).encode("utf-8")))
    if key.endswith("reference_points.weight"):
        return generator.uniform(0.0, 1.0, shape).astype(np.float32)
    offset, scale = _offset_and_scale(key, shape)
    noise = generator.standard_normal(shape)
    if key.endswith("running_var"):
        noise = np.abs(noise)  # a variance grows from one, never shrinks below
    return (offset + scale * noise).astype(np.float32)


def _offset_and_scale(key: str, shape: tuple[int, ...]) -> tuple[float, float]:
    """Where a tensor's normal draws are centred and how far they spread; the first rule that fits wins."""
    is_vector = len(shape) == 1
    if key.endswith("running_mean"):
        return 0.0, 0.1
    if key.endswith("running_var"):
        return 1.0, 0.1
    if is_vector and key.endswith("bn3.weight"):
        return 0.25, 0.025
    if is_vector and key.endswith("weight") or key.endswith("gamma.bias"):
        return 1.0, 0.1
    if key == "pts_bbox_head.cls_branches.0.6.bias":
        return -2.0, 0.5
    if is_vector:
        return 0.0, 0.02
    feeds_relu = key.startswith("img_backbone.") and ".ese." not in key
    gain = math.sqrt(2.0) if feeds_relu else 1.0
    return 0.0, gain / math.sqrt(math.prod(shape[1:]))


def _depth_bins() -> npt.NDArray[np.float32]:
    """64 linearly widening depth bins from 1 m to 61.2 m, d_i = 1 + b i (i + 1), in float32 throughout."""
    index = np.arange(64, dtype=np.float32)
    first_width = (np.float32(61.2) - np.float32(1.0)) / np.float32(64 * 65)
    bins: npt.NDArray[np.float32] = np.float32(1.0) + first_width * index * (index + np.float32(1.0))
    return bins
