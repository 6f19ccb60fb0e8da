"""The shapes that are measured, and how many multiply-adds a decoder of such a shape takes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from tggbc_ros.core.config import DEMO, R50_704, VOV_800, ModelConfig

CAMERAS = 6


def num_keys(model: ModelConfig) -> int:
    """Image cells of all cameras."""
    rows, columns = model.feature_size
    return CAMERAS * rows * columns


def shape_name(model: ModelConfig) -> str:
    """Queries x keys."""
    return f"{model.total_queries}x{num_keys(model)}"


_MEASURED = (
    R50_704,
    VOV_800,
    replace(VOV_800, image_size=(512, 1408)),
    replace(VOV_800, image_size=(640, 1600)),
    DEMO,
)
SHAPES = {shape_name(model): model for model in _MEASURED}


def cross_attention(model: ModelConfig, keys: int) -> int:
    """Multiply-adds of one layer that depend on its keys: their projection, scores, weighted sum."""
    dims = model.embed_dims
    return 2 * keys * dims**2 + 2 * model.total_queries * keys * dims


def without_keys(model: ModelConfig) -> int:
    """Multiply-adds of one layer that do not: self-attention over queries and memory, projections, feed-forward."""
    queries, dims = model.total_queries, model.embed_dims
    seen = queries + model.memory_length - model.num_propagated
    self_attention = 2 * (queries + seen) * dims**2 + 2 * queries * seen * dims
    return self_attention + 2 * queries * dims**2 + 2 * queries * dims * model.ffn_dims


def multiply_adds(model: ModelConfig, keys: Sequence[int]) -> int:
    """Of all decoder layers, given how many keys each sees; class and box branches are left out."""
    return sum(cross_attention(model, count) + without_keys(model) for count in keys)


def speedup_limit(model: ModelConfig, keys: Sequence[int]) -> float:
    """Multiply-adds with all keys in every layer, over those with ``keys``: what no time ratio should exceed."""
    return multiply_adds(model, [num_keys(model)] * len(keys)) / multiply_adds(model, keys)
