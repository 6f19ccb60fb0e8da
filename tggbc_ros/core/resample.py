"""Pillow's bicubic filter as tensor operations, equal to the bit: what `preprocess` resizes with on a GPU.

Pillow (its Resample.c) filters images of 8 bits in integers: columns first, then rows, with weights of 22 bits, and
rounds to a grey level after each. Integers add up to the same on every device. (Pillow 13 takes the rows of some images
that are much higher than wide first, which makes a grey level's difference; older ones, and this, do not.)
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt
import torch

from tggbc_ros.core.types import Array

SHARPNESS = -0.5  # the bicubic filter's one parameter
REACH = 2.0  # how far the filter looks, in pixels of the coarser image
WEIGHT_BITS = 22


@dataclass(frozen=True, eq=False)
class Axis:
    """How some pixels of one scaled axis come from those of the raw one.

    needed: the raw pixels that they depend on. places: [pixels, taps] int64, counted from the first of those.
    weights: [pixels, taps] int32, of 2^22.
    """

    needed: slice
    places: torch.Tensor
    weights: torch.Tensor


@lru_cache(maxsize=64)
def plan_axis(raw: int, scaled: int, first: int, count: int, device: torch.device) -> Axis:
    """For ``count`` pixels from ``first`` on, of an axis of ``raw`` pixels that is resized to ``scaled``."""
    places, weights = _taps(raw, scaled)
    places, weights = places[first : first + count], weights[first : first + count]
    low, high = int(places.min()), int(places.max()) + 1
    on_device = (torch.from_numpy(each).to(device) for each in (places - low, weights))
    return Axis(slice(low, high), *on_device)


def resample(pixels: torch.Tensor, rows: Axis, columns: Axis) -> torch.Tensor:
    """uint8 [N, height, width, 3], cut to what both axes need -> int32 [N, rows, columns, 3] in 0..255."""
    return _filtered(_filtered(pixels, columns, dim=2), rows, dim=1)


def _filtered(pixels: torch.Tensor, axis: Axis, dim: int) -> torch.Tensor:
    """One pass. A tap after the other, so that memory does not grow with their number."""
    shape, sides = list(pixels.shape), [1] * pixels.dim()
    shape[dim], sides[dim] = len(axis.places), -1
    half = 1 << (WEIGHT_BITS - 1)  # the sum is rounded by cutting
    total = pixels.new_full(shape, half, dtype=torch.int32)
    for place, weight in zip(axis.places.unbind(1), axis.weights.unbind(1), strict=True):
        total += pixels.index_select(dim, place).int() * weight.view(sides)
    return (total >> WEIGHT_BITS).clamp(0, 255)


def _taps(raw: int, scaled: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int32]]:
    """Places and weights [scaled, taps] of a whole axis; taps that would lie outside the image weigh nothing."""
    step = raw / scaled
    coarser = max(1.0, step)
    center = (np.arange(scaled) + 0.5) * step
    low = np.maximum((center - REACH * coarser + 0.5).astype(np.int64), 0)
    high = np.minimum((center + REACH * coarser + 0.5).astype(np.int64), raw)
    places = low[:, None] + np.arange(int((high - low).max()))
    distance = (places - center[:, None] + 0.5) * (1.0 / coarser)
    share = np.where(places < high[:, None], _bicubic(distance), 0.0)
    share /= share.cumsum(axis=1)[:, -1:]  # added up in order, as Pillow does: np.sum rounds otherwise
    weights = np.trunc(share * (1 << WEIGHT_BITS) + np.copysign(0.5, share)).astype(np.int32)
    return places.clip(max=raw - 1), weights


def _bicubic(distance: Array) -> Array:
    """The filter (Keys 1981) at distances in pixels of the coarser image; Horner's scheme, in Pillow's order."""
    a, x = SHARPNESS, np.abs(distance)
    near = ((a + 2.0) * x - (a + 3.0)) * x * x + 1.0
    far = (((x - 5.0) * x + 8.0) * x - 4.0) * a
    return np.where(x < 1.0, near, np.where(x < REACH, far, 0.0))
