"""Who keeps how much: within the target by whatever is counted, exact where there are curves."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from tggbc_ros.compress.sparse.choice import COUNTED, METHODS, chosen, costs, shares
from tggbc_ros.compress.sparse.curves_file import Found
from tggbc_ros.compress.sparse.layers import Layer
from tggbc_ros.compress.sparse.levels import SPARSITIES, kept_counts

SHAPES = {"a": (20, 10), "b": (10, 4, 3, 3), "c": (50, 10)}
LAYERS = tuple(Layer(name, name, name, (0, shape[0]), shape, "") for name, shape in SHAPES.items())
POSITIONS = (100, 10, 1)
ITEM = 2


def found() -> Found:
    rng = np.random.default_rng(0)
    rows = [np.cumsum(rng.uniform(0, 1, len(SPARSITIES)) ** 2) - 1e-9 for _ in LAYERS]
    predicted = [[0.0, *(row[1:] - row[0]).tolist()] for row in rows]
    return Found(tuple(SHAPES), tuple(layer.size for layer in LAYERS), POSITIONS, ITEM, predicted, [], None)


def weights() -> list[np.ndarray]:
    rng = np.random.default_rng(1)
    return [rng.normal(size=(layer.shape[0], layer.size // layer.shape[0])) for layer in LAYERS]


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("counted", COUNTED)
@pytest.mark.parametrize("target", [0.9, 0.55, 0.3])
def test_every_method_keeps_within_the_target_and_nearly_all_of_it(method: str, counted: str, target: float) -> None:
    kept = chosen(method, found().curves("predicted"), counted, target, LAYERS, weights(), POSITIONS, ITEM)
    assert kept.keys() == SHAPES.keys() and all(0 <= kept[layer.name] <= layer.size for layer in LAYERS)
    left = shares(kept, LAYERS, POSITIONS, ITEM)[counted]
    assert left <= target + 1e-9
    assert left > target - (0.12 if method == "dm3d" else 0.02)


@pytest.mark.parametrize("counted", COUNTED)
def test_dm3d_is_the_best_of_all_combinations(counted: str) -> None:
    curves = found().curves("predicted")
    kept = chosen("dm3d", curves, counted, 0.5, LAYERS, weights(), POSITIONS, ITEM)
    most = 0.5 * sum(int(row[0]) for row in curves.kept[counted])
    best = min(
        sum(float(row[at]) for row, at in zip(curves.distortion, index, strict=True))
        for index in itertools.product(range(len(SPARSITIES)), repeat=3)
        if sum(int(row[at]) for row, at in zip(curves.kept[counted], index, strict=True)) <= most
    )
    index = [kept_counts(layer.size).index(kept[layer.name]) for layer in LAYERS]
    assert sum(float(row[at]) for row, at in zip(curves.distortion, index, strict=True)) == pytest.approx(best)


def test_a_whole_target_prunes_nothing() -> None:
    for method in METHODS:
        kept = chosen(method, found().curves("predicted"), "weights", 1.0, LAYERS, weights(), POSITIONS, ITEM)
        assert kept == {layer.name: layer.size for layer in LAYERS}, method


def test_costs_are_what_they_are_called() -> None:
    kept = np.array([200, 150, 10], np.int64)
    assert costs("weights", 200, kept, 7, 2).tolist() == [200, 150, 10]
    assert costs("macs", 200, kept, 7, 2).tolist() == [1400, 1050, 70]
    assert costs("bytes", 200, kept, 7, 2).tolist() == [400, 325, 45]
    assert costs("bytes", 8, np.array([8], np.int64), 7, 2).tolist() == [16]  # dense is smaller than with a mask
