"""docs/pruning.md: its table of multiply-adds is what the formulas say, its parameters are those of the node."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tggbc_ros.core.config import MODELS, ModelConfig

DOC = (Path(__file__).parents[2] / "docs" / "pruning.md").read_text(encoding="utf-8")
ROWS = re.findall(
    r"^\| (\d+) x (\d+) \(\S+\) \| (\d+) \| ([\d.]+) → ([\d.]+) \| ([\d.]+) \| ([\d.]+) → ([\d.]+) \| ([\d.]+) \|$",
    DOC,
    re.MULTILINE,
)


def cross_attention(keys: int, queries: int, dims: int) -> int:
    """Key and value projection, scores and weighted sum."""
    return 2 * keys * dims**2 + 2 * queries * keys * dims


def rest_of_a_layer(model: ModelConfig) -> int:
    """Self-attention over queries and memory, the projections of queries, feed-forward."""
    queries, dims = model.total_queries, model.embed_dims
    seen = queries + model.memory_length - model.num_propagated
    self_attention = 2 * queries * dims**2 + 2 * seen * dims**2 + 2 * queries * seen * dims
    return self_attention + 2 * queries * dims**2 + 2 * queries * dims * model.ffn_dims


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row[0]}x{row[1]}")
def test_the_table_of_multiply_adds(row: tuple[str, ...]) -> None:
    queries, keys, left = map(int, row[:3])
    model = next(model for model in MODELS.values() if model.total_queries == queries)  # their decoders are alike
    layers, rest = model.num_layers, model.num_layers * rest_of_a_layer(model)
    dense = layers * cross_attention(keys, queries, model.embed_dims)
    pruned = dense + (layers - 1) * (
        cross_attention(left, queries, model.embed_dims) - cross_attention(keys, queries, model.embed_dims)
    )
    work = [dense / 1e9, pruned / 1e9, dense / pruned]
    work += [(dense + rest) / 1e9, (pruned + rest) / 1e9, (dense + rest) / (pruned + rest)]
    assert [float(number) for number in row[3:]] == [round(number, 1) for number in work]


def test_the_table_has_the_shapes_of_the_shipped_models() -> None:
    keys = {(int(row[0]), int(row[1])) for row in ROWS}
    for name in ("r50_704", "vov_800"):
        rows, columns = MODELS[name].feature_size
        assert (MODELS[name].total_queries, 6 * rows * columns) in keys
