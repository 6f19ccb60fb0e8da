"""Numbers for weights and maps that only a clock sees: drawn once, and repeated as often as needed."""

from __future__ import annotations

import functools
import math

import numpy as np
import numpy.typing as npt

DRAWN = (1 << 20) - 3
"""Odd, so that channels of usual sizes do not repeat each other."""


def noise(shape: tuple[int, ...], spread: float = 1.0) -> npt.NDArray[np.float32]:
    """Of a normal distribution, the same for equal shapes; drawing them anew would take longer than what is timed."""
    found: npt.NDArray[np.float32] = np.resize(_drawn(), math.prod(shape)).reshape(shape)
    return found if spread == 1.0 else found * np.float32(spread)


@functools.cache
def _drawn() -> npt.NDArray[np.float32]:
    return np.random.default_rng(0).standard_normal(DRAWN, np.float32)
