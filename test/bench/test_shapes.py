from __future__ import annotations

import pytest

from bench.shapes import SHAPES, cross_attention, multiply_adds, num_keys, speedup_limit
from tggbc_ros.core.config import PruningConfig
from tggbc_ros.core.pruning import plan


def keys_by_layer(shape: str, keep_ratio: float, trims: int) -> list[int]:
    keys = num_keys(SHAPES[shape])
    left = [quota[1] for quota in plan(PruningConfig(keep_ratio, layers=trims), keys, keys, 6) if quota]
    return [keys, *left, *[left[-1]] * (5 - len(left))]


def test_shapes_are_those_of_the_papers_image_sizes() -> None:
    assert list(SHAPES) == ["428x4224", "900x6000", "900x16896", "900x24000", "150x1056"]


@pytest.mark.parametrize(
    ("shape", "left", "dense_g", "pruned_g", "ratio"),
    [("900x24000", 3000, 85.2, 23.1, 3.7), ("428x4224", 2224, 8.9, 5.4, 1.65)],
)
def test_cross_attention_takes_what_the_formula_says(
    shape: str, left: int, dense_g: float, pruned_g: float, ratio: float
) -> None:
    model = SHAPES[shape]
    dense = 6 * cross_attention(model, num_keys(model))
    pruned = cross_attention(model, num_keys(model)) + 5 * cross_attention(model, left)
    assert dense / 1e9 == pytest.approx(dense_g, abs=0.05)
    assert pruned / 1e9 == pytest.approx(pruned_g, abs=0.05)
    assert dense / pruned == pytest.approx(ratio, rel=0.01)


def test_the_rest_of_a_decoder_bounds_what_pruning_can_save() -> None:
    model, keys = SHAPES["900x24000"], keys_by_layer("900x24000", 0.125, 1)
    assert keys == [24000] + [3000] * 5
    assert multiply_adds(model, [24000] * 6) / 1e9 == pytest.approx(97.7, rel=0.01)
    assert multiply_adds(model, keys) / 1e9 == pytest.approx(35.6, rel=0.02)
    assert multiply_adds(model, [24000]) / 1e9 == pytest.approx(16.3, rel=0.01)
    assert speedup_limit(model, keys) == pytest.approx(2.74, rel=0.01)
    assert speedup_limit(model, [24000] * 6) == 1.0


def test_more_trims_save_less() -> None:
    once, gradual = (speedup_limit(SHAPES["900x6000"], keys_by_layer("900x6000", 0.3, trims)) for trims in (1, 3))
    assert once > gradual > 1.0
