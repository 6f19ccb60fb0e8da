"""The multiple-choice knapsack against enumeration, its tie rule included."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tggbc_ros.compress import knapsack
from tggbc_ros.compress.knapsack import Knapsack

Rows = list[list[int]]

candidates = st.lists(st.tuples(st.integers(0, 12), st.integers(0, 6)), min_size=1, max_size=4)
tables = st.lists(candidates, min_size=1, max_size=5)


def enumerated(costs: Rows, losses: Rows, budget: int) -> list[int] | None:
    """The first of the best, in the order of indices."""
    best: tuple[int, list[int]] | None = None
    for index in product(*(range(len(row)) for row in costs)):
        cost, loss = (sum(row[i] for row, i in zip(rows, index, strict=True)) for rows in (costs, losses))
        if cost <= budget and (best is None or loss < best[0]):
            best = loss, list(index)
    return None if best is None else best[1]


@settings(max_examples=300, deadline=None)
@given(tables, st.integers(0, 40))
def test_the_first_of_the_best(table: list[list[tuple[int, int]]], budget: int) -> None:
    costs, losses = ([[pair[place] for pair in row] for row in table] for place in (0, 1))
    tenths = [[loss / 10 for loss in row] for row in losses]  # whose sums depend on their order
    assert Knapsack(costs, tenths).solve(budget) == enumerated(costs, losses, budget)


def curves(seed: int, layers: int = 40, candidates: int = 60) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Costs up to a billion, losses neither convex nor monotone."""
    rng = np.random.default_rng(seed)
    kept = np.linspace(1, 0, candidates)
    sizes = rng.lognormal(15, 2, layers).astype(np.int64) + 1
    costs = [np.rint(size * kept).astype(np.int64) for size in sizes]
    noise = 1 + 0.05 * rng.standard_normal((layers, candidates))
    losses = rng.lognormal(-3, 1.5, layers)[:, None] * (1 - kept) ** 2 * np.abs(noise)
    return costs, list(losses)


@pytest.mark.parametrize("seed", range(3))
def test_large_tables_are_solved_alike_with_and_without_highs(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    costs, losses = curves(seed, layers=16)
    budget = sum(int(row.max()) for row in costs) * 2 // 5
    results = []
    for widths in ((1 << 20,), (1,)):
        monkeypatch.setattr(knapsack, "WIDTHS", widths)
        picked = Knapsack(costs, losses).solve(budget)
        assert picked is not None
        assert sum(int(row[i]) for row, i in zip(costs, picked, strict=True)) <= budget
        results.append(sum(row[i] for row, i in zip(losses, picked, strict=True)))
    assert results[1] == pytest.approx(results[0], rel=1e-9)


def test_no_proof_in_time_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(knapsack, "WIDTHS", (1,))
    costs, losses = curves(0)
    with pytest.raises(ArithmeticError, match="proven the best within 1e-06 s"):
        Knapsack(costs, losses).solve(sum(int(row.max()) for row in costs) * 2 // 5, seconds=1e-6)
