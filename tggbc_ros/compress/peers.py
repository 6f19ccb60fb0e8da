"""What one would do without the exact program, on the same tables: uniform widths, greedy steps, HALP.

Each takes a `Problem` and returns a `Solution` without a proof; not feasible where it finds nothing within the budget.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence

import numpy as np

from tggbc_ros.compress.knapsack import Knapsack
from tggbc_ros.compress.problem import Integers, Layer, Problem, Solution, importance, latency, solution

HALP_ROUNDS = 30
"""As HALP's own settings: costs hold only near the widths they were taken at."""


def uniform(problem: Problem) -> Solution:
    """The same share of every group's steps, rounded, at least one; the largest share within the budget."""
    started = time.perf_counter()
    _, keep = problem.full()
    steps = np.array(problem.choices) - 1
    shares = np.unique(np.concatenate([(np.arange(1, count + 1) - 0.5) / count for count in np.unique(steps)]))
    choice: list[int] = []
    for share in shares[::-1]:
        widths = np.clip(np.floor(steps * share + 0.5), 1, steps).astype(int).tolist()
        choice = [problem.fixed.get(group, width) for group, width in enumerate(widths)]
        if problem.evaluate(choice, keep)[1] <= problem.budget:
            break
    return solution(problem, choice, keep, started)


def greedy(problem: Problem) -> Solution:
    """From the dense network on, again and again what loses the least importance for a microsecond saved.

    A move makes one group narrower by any number of steps, or drops one block.
    """
    started = time.perf_counter()
    choice, keep = problem.full()
    while problem.evaluate(choice, keep)[1] > problem.budget:
        moves = [
            ((before[0] - after[0]) / (before[1] - after[1]), new_choice, new_keep)
            for before, after, new_choice, new_keep in _moves(problem, choice, keep)
            if after[1] < before[1]
        ]
        if not moves:
            break
        _, choice, keep = min(moves, key=lambda move: move[0])
    return solution(problem, choice, keep, started)


Worth = tuple[int, int]


def _moves(
    problem: Problem, choice: list[int], keep: list[bool]
) -> Iterator[tuple[Worth, Worth, list[int], list[bool]]]:
    """Importance and latency of the layers concerned, before and after a move; choice and keep after it."""
    for group in sorted(problem.touched(keep) - set(problem.fixed)):
        near = [e for e in problem.layers if keep[e.block] and (e.group == group or group in e.reads)]
        before = _worth(near, choice)
        for width in range(choice[group] - 1, 0, -1):
            narrower = [*choice[:group], width, *choice[group + 1 :]]
            yield before, _worth(near, narrower), narrower, keep
    for block in range(1, problem.n_blocks):
        if keep[block]:
            inside = [layer for layer in problem.layers if layer.block == block]
            yield _worth(inside, choice), (0, 0), choice, [*keep[:block], False, *keep[block + 1 :]]


def _worth(layers: Sequence[Layer], choice: Sequence[int]) -> Worth:
    return sum(importance(e, choice) for e in layers), sum(latency(e, choice) for e in layers)


def halp(problem: Problem) -> Solution:
    """HALP (arXiv 2110.10811): channels only, by a knapsack whose costs are those at the widths of the round before.

    A layer's cost depends on its own width alone, its inputs held; the budget falls geometrically over the rounds.
    """
    started = time.perf_counter()
    choice, keep = problem.full()
    dense = problem.evaluate(choice, keep)[1]
    for turn in range(1, HALP_ROUNDS + 1):
        budget = round(dense * (max(problem.budget, 1) / max(dense, 1)) ** (turn / HALP_ROUNDS))
        if problem.evaluate(choice, keep)[1] > max(budget, problem.budget):
            choice = _halp_round(problem, choice, budget)
    return solution(problem, choice, keep, started)


def _halp_round(problem: Problem, choice: list[int], budget: int) -> list[int]:
    """The best narrower widths if inputs stay as wide as they are; the cheapest ones if none are within the budget."""
    costs, losses, widths = [], [], []
    for group, now in enumerate(choice):
        own = [layer for layer in problem.layers if layer.group == group]
        left = np.array([now]) if group in problem.fixed else np.arange(1, now + 1)
        worth = sum((e.importance[left] for e in own if e.importance is not None), np.zeros(len(left), np.int64))
        costs.append(sum((_costs_of_widths(e, left, choice) for e in own), np.zeros(len(left), np.int64)))
        losses.append(worth.max() - worth)
        widths.append(left)
    knapsack = Knapsack(costs, losses)
    picked = knapsack.solve(max(budget, knapsack.least_cost)) or []
    return [int(left[index]) for left, index in zip(widths, picked, strict=True)]


def _costs_of_widths(layer: Layer, widths: Integers, choice: Sequence[int]) -> Integers:
    """Latency of a layer at each of its own widths, its inputs as they are."""
    return layer.latency[widths] if not layer.reads else layer.latency[widths, sum(choice[g] for g in layer.reads)]


PEERS = {"halp": halp, "greedy": greedy, "uniform": uniform}
