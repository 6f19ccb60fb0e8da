"""The multiple-choice knapsack, exact: one candidate a row, least total loss, total cost within a budget.

A dynamic program, last row first, keeps every pair (cost, loss) of the rows so far that no other beats in both. Left
out is what a price on cost (Lagrange's multiplier) proves to end worse than a solution at hand: that keeps the pairs
few whatever the unit of the costs, where a table over all costs would not fit into memory. Where they are too many
all the same, HiGHS solves it, with the candidates that the price leaves.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

from tggbc_ros.compress.linear_model import LinearModel

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]

AT_ONCE = 1 << 21
"""So many combinations of pairs and candidates are looked at in one go."""
WIDTHS = (1 << 8, 1 << 11)
"""So many pairs are kept at most: a narrow first run finds a good solution, which leaves little to a wider one."""
SCALE = 1e6
"""What budget and least loss are scaled to for HiGHS, whose tolerances are 1e-6."""
EQUAL = 1e-12
"""Losses that differ by no more than this share of themselves are equal: sums in another order do."""


class Knapsack:
    """Rows of candidates: costs [n][P_row], whole numbers >= 0, and losses alike, finite and >= 0."""

    def __init__(self, costs: Sequence[npt.ArrayLike], losses: Sequence[npt.ArrayLike]) -> None:
        self._costs = [np.asarray(row, np.int64) for row in costs]
        self._losses = [np.asarray(row, np.float64) for row in losses]
        width = max(len(row) for row in self._costs)
        # Cheapest first, so that of equals the cheapest is taken; filled up with what nobody takes.
        self._padded_costs = np.zeros((len(self._costs), width), np.int64)
        self._padded_losses = np.full((len(self._costs), width), np.inf)
        for place, (cost, loss) in enumerate(zip(self._costs, self._losses, strict=True)):
            order = np.argsort(cost, kind="stable")
            self._padded_costs[place, : len(cost)], self._padded_losses[place, : len(cost)] = cost[order], loss[order]
        self._cheapest = np.array([row.min() for row in self._costs])
        self.least_cost = int(self._cheapest.sum())

    def solve(self, budget: int, seconds: float = 300.0) -> list[int] | None:
        """Index of the candidate of each row; None if the budget is below ``least_cost``.

        Of equally good ones the first is given (the first row's index as low as can be, then the second's, and so
        on), unless HiGHS had to help. Raises ArithmeticError where nothing is proven within the time limit.
        """
        if budget < self.least_cost:
            return None
        price = self._price(budget)
        best = float(self._priced(price)[1].sum())
        for width in WIDTHS:
            fronts, best, complete = self._fronts(budget, price, best, width)
            if complete:
                return self._traced(fronts, budget, best * (1 + EQUAL))
        return self._by_highs(budget, price, best, seconds)

    def _priced(self, price: float) -> tuple[Integers, Floats]:
        """Cost and loss of the candidate with the least loss + price * cost of each row."""
        at = np.argmin(self._padded_losses + price * self._padded_costs, axis=1)
        rows = np.arange(len(at))
        return self._padded_costs[rows, at], self._padded_losses[rows, at]

    def _price(self, budget: int) -> float:
        """The least price at which what is taken is within the budget."""
        if self._priced(0.0)[0].sum() <= budget:
            return 0.0
        low, high = 0.0, max(float(row.max()) for row in self._losses)  # at which the cheapest ones are taken
        for _ in range(100):
            middle = (low + high) / 2
            if self._priced(middle)[0].sum() <= budget:
                high = middle
            else:
                low = middle
        return high

    def _fronts(
        self, budget: int, price: float, best: float, width: int
    ) -> tuple[list[tuple[Integers, Floats]], float, bool]:
        """Undominated (costs, losses) of the rows from each on, ascending in cost; the least loss; are they all.

        best: the loss of some solution. width: so many pairs are kept of each.
        """
        taken_costs, taken_losses = self._priced(price)
        # [n]: of all rows before each: the least they cost, their bound, and one solution of theirs
        cheapest = _sums_before(self._cheapest)
        bound = _sums_before(taken_losses + price * taken_costs)
        cost_before, loss_before = _sums_before(taken_costs), _sums_before(taken_losses)
        slack = EQUAL * price * budget
        front = np.zeros(1, np.int64), np.zeros(1)
        fronts, complete = [front], True
        for row in reversed(range(len(self._costs))):
            parts = []
            for costs, losses in self._extended(front, row):
                finished = (losses + loss_before[row])[costs + cost_before[row] <= budget]
                best = min(best, float(finished.min(initial=np.inf)))
                hopeful = losses + price * (costs - budget) + bound[row] <= best * (1 + 2 * EQUAL) + slack
                hopeful &= costs + cheapest[row] <= budget
                parts.append((costs[hopeful], losses[hopeful]))
            front = _undominated(*(np.concatenate(part) for part in zip(*parts, strict=True)))
            if len(front[0]) > width:
                complete = False
                likeliest = np.sort(np.argpartition(front[1] + price * front[0], width)[:width])
                front = front[0][likeliest], front[1][likeliest]
            fronts.append(front)
        return fronts[::-1], best, complete

    def _extended(self, front: tuple[Integers, Floats], row: int) -> Iterator[tuple[Integers, Floats]]:
        """All pairs with each candidate of one more row, in parts."""
        at_once = max(1, AT_ONCE // len(self._costs[row]))
        for start in range(0, len(front[0]), at_once):
            costs, losses = front[0][start : start + at_once, None], front[1][start : start + at_once, None]
            yield (costs + self._costs[row]).ravel(), (losses + self._losses[row]).ravel()

    def _traced(self, fronts: list[tuple[Integers, Floats]], budget: int, loss: float) -> list[int]:
        """The first candidates that can still end within budget and loss."""
        picked = []
        for row, (costs, losses) in enumerate(zip(self._costs, self._losses, strict=True)):
            rest_costs, rest_losses = fronts[row + 1]
            places = np.searchsorted(rest_costs, budget - costs, side="right") - 1
            able = (places >= 0) & (losses + rest_losses[np.maximum(places, 0)] <= loss)
            index = int(np.argmax(able))
            if not able[index]:
                raise ArithmeticError(f"row {row}: no candidate leads to the least loss")
            picked.append(index)
            budget -= int(costs[index])
            loss -= float(losses[index])
        return picked

    def _by_highs(self, budget: int, price: float, best: float, seconds: float) -> list[int]:
        """Of the candidates that can be part of something no worse than the loss ``best``."""
        priced = [loss + price * cost for cost, loss in zip(self._costs, self._losses, strict=True)]
        spare = best - sum(float(row.min()) for row in priced) + price * budget + EQUAL * (best + price * budget)
        left = [np.flatnonzero(row - row.min() <= spare) for row in priced]
        costs = [row[at] for row, at in zip(self._costs, left, strict=True)]
        losses = [row[at] for row, at in zip(self._losses, left, strict=True)]
        model = LinearModel()
        picks = [model.variables(len(at), integer=True) for at in left]
        model.add(np.repeat(model.rows(1, 1, len(left)), [len(at) for at in left]), np.concatenate(picks), 1)
        model.add(model.rows(-np.inf, SCALE, 1), np.concatenate(picks), np.concatenate(costs) * (SCALE / budget))
        found = model.minimise(np.concatenate(losses) * (SCALE / best), seconds, 0.0)
        if found.values is None or not found.proven:
            raise ArithmeticError(f"no allocation is proven the best within {seconds:g} s")
        picked = [int(at[np.argmax(found.values[columns])]) for at, columns in zip(left, picks, strict=True)]
        used = sum(int(row[i]) for row, i in zip(self._costs, picked, strict=True))
        if used > budget:
            raise ArithmeticError(f"HiGHS overspent by its tolerance: {used} of {budget}")
        return picked


def _sums_before(values: npt.NDArray[np.generic]) -> npt.NDArray[np.generic]:
    """[n]: the sum of all entries before each."""
    return np.concatenate([np.zeros(1, values.dtype), np.cumsum(values)[:-1]])


def _undominated(costs: Integers, losses: Floats) -> tuple[Integers, Floats]:
    """Those that no cheaper or equally dear one equals in loss, ascending in cost."""
    order = np.lexsort((losses, costs))
    costs, losses = costs[order], losses[order]
    least_before = np.concatenate([[np.inf], np.minimum.accumulate(losses)[:-1]])
    kept = losses < least_before
    return costs[kept], losses[kept]
