"""How sparsity is usually shared out among layers, without curves: uniform, global magnitude, LAMP, ERK.

The last three say how many weights each layer keeps [L]; ``units`` [L] is what one weight of a layer costs: 1 for a
budget of weights, its multiply-adds for one of multiply-adds.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from tggbc_ros.compress.allocation import Allocation, BudgetError, allocation
from tggbc_ros.compress.curves import Curves
from tggbc_ros.compress.values import Floats


def uniform(curves: Curves, of: str, budget: int) -> Allocation:
    """One sparsity for all layers, each at its first candidate that is at least as sparse; the least within the budget.

    Raises BudgetError naming the least that it reaches.
    """
    tried = []
    for sparsity in np.unique(np.concatenate(curves.sparsity)):
        index = [max(first, _first(row >= sparsity)) for row, first in zip(curves.sparsity, curves.first, strict=True)]
        tried.append(allocation(curves, of, index))
        if tried[-1].used <= budget:
            return tried[-1]
    least = min(found.used for found in tried)
    raise BudgetError(f"{curves.name}: budget of {budget} {of} cannot be met, the least of uniform is {least}")


def _first(able: np.ndarray[tuple[int], np.dtype[np.bool_]]) -> int:
    """The first true place; the last one where none is."""
    return int(np.argmax(able)) if able.any() else len(able) - 1


def by_magnitude(weights: Sequence[Floats], budget: int, units: Sequence[int] | None = None) -> list[int]:
    """The largest weights of the whole network stay."""
    return _by_score([np.abs(layer).ravel() for layer in weights], budget, units)


def by_lamp(weights: Sequence[Floats], budget: int, units: Sequence[int] | None = None) -> list[int]:
    """Those of the largest LAMP score stay (arXiv 2010.07611)."""
    return _by_score([lamp_scores(layer).ravel() for layer in weights], budget, units)


def lamp_scores(weights: Floats) -> Floats:
    """Squared weight over the sum of all squares in its layer that are not smaller; same shape, 0 for zeros."""
    squares = np.square(weights, dtype=np.float64).ravel()
    order = np.argsort(squares, kind="stable")
    tails = np.cumsum(squares[order][::-1])[::-1]
    scores = np.zeros_like(squares)
    scores[order] = np.divide(squares[order], tails, out=np.zeros_like(tails), where=tails > 0)
    return scores.reshape(weights.shape)


def _by_score(scores: Sequence[Floats], budget: int, units: Sequence[int] | None) -> list[int]:
    """Best first over all layers, until the next one would exceed the budget."""
    sizes = [len(layer) for layer in scores]
    owner = np.repeat(np.arange(len(scores)), sizes)
    best_first = owner[np.argsort(-np.concatenate(scores), kind="stable")]
    costs = np.asarray(units or [1] * len(scores), np.int64)[best_first]
    kept = np.bincount(best_first[np.cumsum(costs) <= budget], minlength=len(scores))
    return [int(count) for count in kept]


def by_erk(shapes: Sequence[tuple[int, ...]], budget: int, units: Sequence[int] | None = None) -> list[int]:
    """Erdos-Renyi-Kernel (arXiv 1911.11134): density proportional to the sum over the product of a layer's dimensions.

    A layer that would have more than all its weights keeps all; the others share what is left.
    """
    sizes = np.array([math.prod(shape) for shape in shapes], np.float64)
    costs = sizes * np.asarray(units or [1] * len(shapes), np.float64)
    raw = np.array([sum(shape) for shape in shapes]) / sizes
    full = np.zeros(len(shapes), bool)
    while True:
        rest = (raw * costs)[~full].sum()
        factor = max(0.0, budget - costs[full].sum()) / rest if rest else 0.0
        density = np.where(full, 1.0, factor * raw)
        if not (density > 1).any():
            return [int(count) for count in np.floor(density * sizes + 1e-9)]
        full |= density > 1
