"""The choice of widths and blocks for one backbone: its program (`compress.problem`), and what a solution means.

A layer's latency is the table's, calibrated to whole encoders, so the sum over a structure is the encoder's predicted
time. The neck's two laterals read the last two trunks; what no choice touches is taken off the budget.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import numpy as np
import numpy.typing as npt

from tggbc_ros.compress import layout
from tggbc_ros.compress.cutting import Cut
from tggbc_ros.compress.importance import Array, best, curve, order, totals
from tggbc_ros.compress.peers import PEERS
from tggbc_ros.compress.problem import Integers, Layer, Problem, Solution, latency, solution
from tggbc_ros.compress.program import least_latency, solve
from tggbc_ros.compress.slim.scores_file import expect_scores
from tggbc_ros.core.shape import Shape, VoVNetShape

UNITS = 10**7
"""All importance together, in whole numbers."""
MDP = "mdp"
METHODS = (MDP, *PEERS)
RGB = 3
LATERAL = "neck.lateral"


class Table(Protocol):
    """What a latency table answers: microseconds, calibrated."""

    @property
    def rest_us(self) -> int:
        """What no choice touches."""

    def costs(self, layer: layout.Layer, widths_out: Sequence[int], widths_in: Sequence[int]) -> npt.NDArray[np.int64]:
        """Of a layer of the backbone [out, in]."""

    def lateral_costs(self, index: int, widths_in: Sequence[int]) -> npt.NDArray[np.int64]:
        """Of one of the neck's laterals [in]."""


@dataclass(frozen=True, eq=False)
class Choices:
    """What may be chosen for a backbone of that shape.

    step: channels that come and go together. keep_stem: a stem with a group of its own keeps its channels, as MDP has
    it; that of basic blocks shares the first trunk's. importance: of each layer's channels.
    """

    shape: Shape
    table: Table
    importance: Mapping[str, Array]
    step: int
    keep_stem: bool = True

    def __post_init__(self) -> None:
        if self.step < 1:
            raise ValueError(f"step is {self.step}, expected at least 1 channel")
        expect_scores(dict(self.importance), self.shape, "importance")

    @cached_property
    def widths(self) -> dict[str, int]:
        """Of each group."""
        return layout.widths(self.shape)

    @cached_property
    def groups(self) -> tuple[str, ...]:
        """Their names, as the program numbers them."""
        return tuple(self.widths)

    @cached_property
    def blocks(self) -> tuple[str, ...]:
        """Names of the blocks that may go, as the program numbers them from 1 on."""
        return layout.droppable(self.shape)

    @cached_property
    def totals(self) -> dict[str, Array]:
        """The importance of each group's channels."""
        names = {group: [each.name for each in layers] for group, layers in layout.members(self.shape).items()}
        return totals(self.importance, names)

    def ladder(self, group: str) -> list[int]:
        """The widths of a group's choices, from none on."""
        width = self.widths[group]
        return [*range(0, width, self.step), width]

    def problem(self, name: str, budget_us: int) -> Problem:
        """The program; budget_us: of all that is chosen, without the table's rest."""
        layers = [self._layer(each) for each in layout.layers(self.shape)]
        layers += [self._lateral(index, group) for index, group in enumerate(layout.out_groups(self.shape))]
        choices = tuple(len(self.ladder(group)) for group in self.groups)
        fixed = {self._number(group): len(self.ladder(group)) - 1 for group in self._stem()} if self.keep_stem else {}
        return Problem(name, choices, len(self.blocks) + 1, budget_us, tuple(layers), fixed)

    def cut(self, found: Solution) -> Cut:
        """Which channels and blocks a solution keeps."""
        width = {group: self.ladder(group)[choice] for group, choice in zip(self.groups, found.choice, strict=True)}
        kept = {group: best(self.totals[group], width[group]) for group in self.groups if width[group]}
        gone = {block for block, stays in zip(self.blocks, found.keep[1:], strict=True) if not stays}
        return Cut(kept, frozenset(gone))

    def _layer(self, layer: layout.Layer) -> Layer:
        reads = tuple(map(self._number, layer.reads))
        block = self.blocks.index(layer.block) + 1 if layer.block in self.blocks else 0
        worth = curve(self.importance[layer.name] * self._scale, self._order(layer.group), self.step)
        return Layer(
            layer.name, self._number(layer.group), reads, block, self._latency(layer), np.rint(worth).astype(np.int64)
        )

    def _latency(self, layer: layout.Layer) -> Integers:
        rows = self.ladder(layer.group)
        columns = self._widths_in(layer.reads)
        costs = np.zeros((len(rows), len(columns)), np.int64)
        first = 1 if layer.reads else 0
        costs[1:, first:] = self.table.costs(layer, rows[1:], columns[first:])
        return costs if layer.reads else costs[:, 0]

    def _widths_in(self, reads: Sequence[str]) -> list[int]:
        """Channels that come in, by the sum of the steps of the groups they come from.

        Of several groups whose widths are no multiples of the step, the most that there can be.
        """
        if len(reads) == 1:
            return self.ladder(reads[0])
        steps = sum(len(self.ladder(group)) - 1 for group in reads)
        whole = sum(self.widths[group] for group in reads) if reads else RGB
        return [min(whole, count * self.step) for count in range(steps + 1)] if reads else [whole]

    def _lateral(self, index: int, group: str) -> Layer:
        ladder = self.ladder(group)
        costs = np.concatenate([[0], self.table.lateral_costs(index, ladder[1:])]).astype(np.int64)
        return Layer(f"{LATERAL}.{index}", self._number(group), (), 0, costs)

    def _stem(self) -> tuple[str, ...]:
        if isinstance(self.shape, VoVNetShape):
            return tuple(group for group in self.groups if group.startswith(f"{layout.STEM}."))
        return (layout.STEM,) if layout.STEM in self.widths else ()

    @cached_property
    def _scale(self) -> float:
        whole = sum(float(each.sum()) for each in self.importance.values())
        return UNITS / whole if whole > 0 else 0.0

    def _order(self, group: str) -> npt.NDArray[np.int64]:
        return order(self.totals[group])

    def _number(self, group: str) -> int:
        return self.groups.index(group)


@dataclass(frozen=True, eq=False)
class Chosen:
    """What a method chose within a budget. Times are the table's, microseconds of the whole encoder, neck included.

    dense_us, slim_us: of the encoder; rest_us: the part that no choice touches. layers: of each layer the time before
    and after, 0 where it is gone. kept_importance: share of all. gap: as the solution has it.
    """

    cut: Cut
    budget: float
    dense_us: int
    slim_us: int
    rest_us: int
    layers: Mapping[str, tuple[int, int]]
    kept_importance: float
    gap: float | None
    seconds: float


def priced(choices: Choices, cut: Cut, budget: float) -> Chosen:
    """What a choice that was made elsewhere costs and keeps.

    Raises ValueError where a width is none of the choices, or the budget is exceeded.
    """
    started = time.perf_counter()
    choice = [_rung(choices, group, cut) for group in choices.groups]
    keep = [True, *(block not in cut.gone for block in choices.blocks)]
    problem, dense = _within(choices, budget)
    found = solution(problem, choice, keep, started)
    if found.latency + choices.table.rest_us > budget * dense:
        share = (found.latency + choices.table.rest_us) / dense
        raise ValueError(
            f"the given widths are predicted to take {share:.4f} of the dense encoder's time, expected at "
            f"most the budget, {budget:g}"
        )
    return _chosen(choices, problem, found, cut, budget, dense)


def _rung(choices: Choices, group: str, cut: Cut) -> int:
    width, ladder = len(cut.kept.get(group, range(choices.widths[group]))), choices.ladder(group)
    if width not in ladder:
        raise ValueError(
            f"group {group} is given {width} channels, expected a multiple of {choices.step} or {ladder[-1]}"
        )
    return ladder.index(width)


def choose(choices: Choices, method: str, budget: float, gap: float, seconds: float) -> Chosen:
    """The widths and blocks that keep the most importance at that share of the dense encoder's predicted time.

    Raises ValueError naming the least share that can be reached where that is more than the budget.
    """
    if method not in METHODS:
        raise ValueError(f"method is {method!r}, expected one of {', '.join(METHODS)}")
    if not (math.isfinite(budget) and 0.0 < budget <= 1.0):
        raise ValueError(f"budget is {budget}, expected a share of the dense encoder's time in (0, 1]")
    problem, dense = _within(choices, budget)
    rest = choices.table.rest_us
    methods: dict[str, Callable[[Problem], Solution]] = {MDP: lambda given: solve(given, gap, seconds), **PEERS}
    found = methods[method](problem)
    if not found.feasible or found.latency + rest > budget * dense:
        raise ValueError(_unreachable(problem, method, budget, found, dense, rest))
    return _chosen(choices, problem, found, choices.cut(found), budget, dense)


def _within(choices: Choices, budget: float) -> tuple[Problem, int]:
    """The program of a budget, and the dense encoder's time in microseconds."""
    unbound, rest = choices.problem("the dense encoder", 0), choices.table.rest_us
    dense = unbound.evaluate(*unbound.full())[1] + rest
    return choices.problem(f"budget {budget:g}", max(0, math.floor(budget * dense) - rest)), dense


def _chosen(choices: Choices, problem: Problem, found: Solution, cut: Cut, budget: float, dense: int) -> Chosen:
    rest = choices.table.rest_us
    before, after = solution(problem, *problem.full(), started=0.0), found
    return Chosen(
        cut,
        budget,
        dense,
        found.latency + rest,
        rest,
        _by_layer(problem, before, after),
        found.importance / max(1, before.importance),
        found.gap,
        found.seconds,
    )


def _unreachable(problem: Problem, method: str, budget: float, found: Solution, dense: int, rest: int) -> str:
    least = found if method == MDP else least_latency(problem)
    share = math.ceil((least.latency + rest) / dense * 1e4) / 1e4
    words = (
        f"budget {budget:g} of the dense encoder's {dense / 1e3:.1f} ms cannot be met: the least reachable share is "
        f"{share:g} ({(least.latency + rest) / 1e3:.1f} ms, of which {rest / 1e3:.1f} ms are of no choice)"
    )
    if method != MDP and share <= budget:
        words = f"method {method} finds nothing within budget {budget:g}, although {share:g} can be reached"
    return words


def _by_layer(problem: Problem, before: Solution, after: Solution) -> dict[str, tuple[int, int]]:
    return {
        layer.name: (latency(layer, before.choice), latency(layer, after.choice) if after.keep[layer.block] else 0)
        for layer in problem.layers
    }
