"""MDP's choice of widths and blocks as data (arXiv 2406.12079): what is chosen, what it costs, what it is worth.

A *group* is a set of layers that share one output width, counted in steps: *choice* k keeps the k best steps.
A *block* is what can vanish as a whole. Block 0 is what always stays: stem, shortcuts, neck.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

Integers = npt.NDArray[np.int64]

MAX_TOTAL = 1 << 50
"""Sums above this would not be exact in the solver's float64."""


@dataclass(frozen=True, eq=False)
class Layer:
    """One layer: it writes ``group``, reads the groups ``reads`` (concatenated; none: the image), lies in ``block``.

    latency: [K] if it reads the image, else [K, sum of the read groups' steps + 1]; integer microseconds.
    importance: [K], cumulated, or None for a layer without a term (stem, neck).
    """

    name: str
    group: int
    reads: tuple[int, ...]
    block: int
    latency: Integers
    importance: Integers | None = None


@dataclass(frozen=True, eq=False)
class Problem:
    """Maximise the importance of the layers in kept blocks, at a latency of at most ``budget`` microseconds.

    choices: [G] choices of each group, 0 (forbidden wherever a kept layer reads or writes it) to K - 1.
    fixed: group -> its only choice. Raises ValueError naming the layer or group that does not fit.
    """

    name: str
    choices: tuple[int, ...]
    n_blocks: int
    budget: int
    layers: tuple[Layer, ...]
    fixed: Mapping[int, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        try:
            self._check()
        except ValueError as error:
            raise ValueError(f"{self.name}: {error}") from error

    def _check(self) -> None:
        if not self.layers:
            raise ValueError("no layers, expected at least one")
        if self.n_blocks < 1:
            raise ValueError(f"n_blocks is {self.n_blocks}, expected at least 1")
        for group, count in enumerate(self.choices):
            if count < 2:
                raise ValueError(f"group {group} has {count} choices, expected at least 2")
        for group, choice in self.fixed.items():
            if not 0 <= group < len(self.choices):
                raise ValueError(f"fixed names group {group}, expected 0 to {len(self.choices) - 1}")
            if not 1 <= choice < self.choices[group]:
                raise ValueError(f"group {group} is fixed to choice {choice}, expected 1 to {self.choices[group] - 1}")
        for layer in self.layers:
            self._check_layer(layer)
        if not 0 <= self.budget <= MAX_TOTAL:
            raise ValueError(f"budget is {self.budget}, expected 0 to {MAX_TOTAL}")
        for what in (max(_worth(layer) for layer in self.layers), max(int(e.latency.max()) for e in self.layers)):
            if what * len(self.layers) > MAX_TOTAL:
                raise ValueError(f"a table entry is {what}, expected sums of at most {MAX_TOTAL}")

    def _check_layer(self, layer: Layer) -> None:
        for group in (layer.group, *layer.reads):
            if not 0 <= group < len(self.choices):
                raise ValueError(f"layer {layer.name} names group {group}, expected 0 to {len(self.choices) - 1}")
        if not 0 <= layer.block < self.n_blocks:
            raise ValueError(f"layer {layer.name} is in block {layer.block}, expected 0 to {self.n_blocks - 1}")
        _check_table(layer, "latency", layer.latency, self.table_shape(layer))
        if layer.importance is not None:
            _check_table(layer, "importance", layer.importance, (self.choices[layer.group],))

    def table_shape(self, layer: Layer) -> tuple[int, ...]:
        """The shape that the layer's latency table has to have."""
        rows = self.choices[layer.group]
        return (rows, sum(self.choices[g] - 1 for g in layer.reads) + 1) if layer.reads else (rows,)

    def evaluate(self, choice: Sequence[int], keep: Sequence[bool]) -> tuple[int, int]:
        """Importance and latency of a structure, exact; choice: [G], keep: [n_blocks]."""
        kept = [layer for layer in self.layers if keep[layer.block]]
        return sum(importance(e, choice) for e in kept), sum(latency(e, choice) for e in kept)

    def touched(self, keep: Sequence[bool]) -> frozenset[int]:
        """The groups that some kept layer reads or writes."""
        return frozenset(g for layer in self.layers if keep[layer.block] for g in (layer.group, *layer.reads))

    def most_importance(self) -> int:
        """What no structure can exceed."""
        return sum(_worth(layer) for layer in self.layers)

    def full(self) -> tuple[list[int], list[bool]]:
        """Choice and keep of the dense network."""
        return [self.fixed.get(g, count - 1) for g, count in enumerate(self.choices)], [True] * self.n_blocks


@dataclass(frozen=True)
class Solution:
    """What a method chose. choice: [G], 0 for a group that no kept layer touches; keep: [n_blocks].

    latency: microseconds, the least one that the method reaches where that is above the budget (not feasible).
    gap: proven share of the importance by which no structure is better than this; None where nothing is proven.
    """

    feasible: bool
    importance: int
    latency: int
    choice: tuple[int, ...]
    keep: tuple[bool, ...]
    gap: float | None
    seconds: float


def solution(problem: Problem, choice: Sequence[int], keep: Sequence[bool], started: float) -> Solution:
    """What a structure is worth; started: `time.perf_counter()` at the method's begin."""
    touched = problem.touched(keep)
    chosen = tuple(k if group in touched else 0 for group, k in enumerate(choice))
    worth, cost = problem.evaluate(chosen, keep)
    seconds = time.perf_counter() - started
    return Solution(cost <= problem.budget, worth, cost, chosen, tuple(keep), None, seconds)


def latency(layer: Layer, choice: Sequence[int]) -> int:
    """Microseconds of one layer at these choices."""
    if not layer.reads:
        return int(layer.latency[choice[layer.group]])
    return int(layer.latency[choice[layer.group], sum(choice[g] for g in layer.reads)])


def importance(layer: Layer, choice: Sequence[int]) -> int:
    """Importance that one layer keeps at these choices; 0 for one without a term."""
    return 0 if layer.importance is None else int(layer.importance[choice[layer.group]])


def _worth(layer: Layer) -> int:
    return 0 if layer.importance is None else int(layer.importance.max())


def _check_table(layer: Layer, what: str, table: Integers, shape: tuple[int, ...]) -> None:
    if table.shape != shape:
        raise ValueError(f"layer {layer.name}: {what} has shape {list(table.shape)}, expected {list(shape)}")
    if table.dtype != np.int64:
        raise ValueError(f"layer {layer.name}: {what} is {table.dtype}, expected int64")
    if table.min() < 0:
        raise ValueError(f"layer {layer.name}: {what} holds {table.min()}, expected no negative number")
