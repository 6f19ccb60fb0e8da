"""The usual ways to share out sparsity, equal to recorded ones, and within every budget."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tggbc_ros.compress.allocation import BudgetError, allocate
from tggbc_ros.compress.allocation_peers import by_erk, by_lamp, by_magnitude, lamp_scores, uniform
from tggbc_ros.compress.curves import read_curves

LAYERS = ("c1", "c2", "c3", "box", "cls")
SHAPES = [(16, 8, 3, 3), (8, 3, 3, 3), (4, 16, 1, 1), (2, 4)]


class TestRecorded:
    def test_magnitude_and_lamp_keep_what_was_recorded(self, compress_dir: Path) -> None:
        with np.load(compress_dir / "public_distortion.npz") as recorded:
            weights = [recorded[f"weight.{name}"] for name in LAYERS]
            for name, layer in zip(LAYERS, weights, strict=True):
                np.testing.assert_allclose(lamp_scores(layer), recorded[f"lamp.{name}"], rtol=1e-12)
            for place, budget in enumerate((428, 285, 178)):
                assert by_magnitude(weights, budget) == recorded["global_magnitude_kept"][place].tolist()
                assert by_lamp(weights, budget) == recorded["lamp_kept"][place].tolist()

    def test_uniform_is_within_budget_and_no_better_than_the_exact_one(self, compress_dir: Path) -> None:
        for curves in read_curves(compress_dir / "public_rd_alloc.json"):
            for of, budget in curves.budgets.items():
                found = uniform(curves, of, budget)
                assert found.used <= budget
                assert found.distortion >= allocate(curves, of, budget).distortion - 1e-12


class TestUniform:
    def test_the_least_common_sparsity_within_the_budget(self, tmp_path: Path) -> None:
        case = {
            "phi": [[0.0, 0.4, 0.8], [0.0, 0.5, 0.9]],
            "distortion": [[0.0, 1.0, 2.0], [0.0, 1.0, 2.0]],
            "kept_weights": [[100, 60, 20], [100, 50, 10]],
            "min_index": [0, 2],
            "weights": {"budget": 70},
        }
        path = tmp_path / "case.json"
        path.write_text(json.dumps({"cases": [case]}), encoding="utf-8")
        curves = read_curves(path)[0]
        assert uniform(curves, "weights", 70).index == (1, 2)
        with pytest.raises(BudgetError, match="the least of uniform is 30"):
            uniform(curves, "weights", 29)


class TestByWeights:
    @given(st.integers(0, 2**32), st.floats(0, 1), st.booleans())
    def test_kept_counts_are_within_layers_and_budget(self, seed: int, share: float, by_macs: bool) -> None:
        rng = np.random.default_rng(seed)
        weights = [rng.standard_normal(shape) for shape in SHAPES]
        units = [40, 90, 10, 1] if by_macs else None
        sizes = [layer.size for layer in weights]
        costs = np.array(units or [1] * len(SHAPES))
        budget = int(costs @ sizes * share)
        for kept in (
            by_magnitude(weights, budget, units),
            by_lamp(weights, budget, units),
            by_erk(SHAPES, budget, units),
        ):
            assert all(0 <= count <= size for count, size in zip(kept, sizes, strict=True))
            assert costs @ kept <= budget

    def test_all_is_kept_where_all_may_be(self) -> None:
        sizes = [int(np.prod(shape)) for shape in SHAPES]
        weights = [np.ones(shape) for shape in SHAPES]
        assert by_magnitude(weights, sum(sizes)) == by_lamp(weights, sum(sizes)) == by_erk(SHAPES, sum(sizes)) == sizes

    def test_magnitude_keeps_the_largest_of_the_network(self) -> None:
        assert by_magnitude([np.array([5.0, -4.0, 0.1]), np.array([3.0, 0.2])], 3) == [2, 1]

    def test_lamp_keeps_the_largest_of_each_layer_first(self) -> None:
        assert by_lamp([np.array([50.0, 40.0, 30.0]), np.array([0.3, 0.01])], 2) == [1, 1]

    def test_erk_spares_small_layers(self) -> None:
        kept = by_erk(SHAPES, 400)
        density = [count / np.prod(shape) for count, shape in zip(kept, SHAPES, strict=True)]
        assert density == sorted(density)
        assert density[-1] == 1

    def test_lamp_of_a_layer_of_zeros_is_zero(self) -> None:
        assert lamp_scores(np.zeros((2, 3))).tolist() == [[0.0] * 3] * 2
