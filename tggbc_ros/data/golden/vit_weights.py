"""Weights and images of the vision transformer's golden cases, as pure functions of their name.

Not the rules of `formula_weights`: position embedding, biases and gains are larger, so that a mistake in any shows.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

Float32 = npt.NDArray[np.float32]


def vit_weights(shapes: Mapping[str, tuple[int, ...]], salt: str = "") -> dict[str, Float32]:
    """Every tensor, given keys and shapes; the draws are float64 from NumPy's frozen legacy generator."""
    return {key: _tensor(key, tuple(shape), salt) for key, shape in shapes.items()}


def vit_input(name: str, shape: tuple[int, ...], seed: int) -> Float32:
    """An input by its name: standard normal."""
    generator = np.random.RandomState(zlib.crc32(name.encode("utf-8")) ^ seed & 0xFFFFFFFF)
    return generator.standard_normal(shape).astype(np.float32)


def _tensor(key: str, shape: tuple[int, ...], salt: str) -> Float32:
    noise = np.random.RandomState(zlib.crc32((salt + key).encode("utf-8"))).standard_normal(shape)
    if "selective_modules." in key and key.endswith("mlp.fc2.weight"):
        noise = 2.0 * (noise - noise.mean(axis=1, keepdims=True))  # gates then decide both ways
    offset, scale = _offset_and_scale(key, shape)
    return (offset + scale * noise).astype(np.float32)


def _offset_and_scale(key: str, shape: tuple[int, ...]) -> tuple[float, float]:
    """Where a tensor's draws are centred and how far they spread; the first rule that fits wins."""
    if key.endswith(("pos_embed", "q_bias", "v_bias", "in_proj_bias")):
        return 0.0, 0.5
    if len(shape) == 1:
        return (1.0 if key.endswith("weight") else 0.0), 0.1
    return 0.0, 1.0 / math.sqrt(math.prod(shape[1:]))
