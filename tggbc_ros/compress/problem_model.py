"""MDP's program made linear (its products of choices as flows), exact for every structure it can describe.

Only what is chosen is integer: a choice a group, a keep a block. What two widths cost together is a transport between
both (rows: the one's choices, columns: the other's), which is integer where its ends are; so is a total of several.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import numpy as np

from tggbc_ros.compress.linear_model import Columns, Floats, LinearModel, Relaxation
from tggbc_ros.compress.problem import Integers, Layer, Problem


class ProblemModel(LinearModel):
    """The program of one problem; ``importance`` and ``latency`` are its two objectives [n_variables].

    allowed: [G] the choices left to each group, ascending, of its 1 to K - 1 (0 is forbidden); none: its block goes.
    """

    def __init__(self, problem: Problem, allowed: Sequence[Integers]) -> None:
        super().__init__()
        self._problem = problem
        self.allowed = allowed
        self._costs: list[tuple[Columns, Floats]] = []
        self._worths: list[tuple[Columns, Floats]] = []
        self.flows: list[tuple[Columns, Columns]] = []  # columns of a width [n], and of its flows [n, other's n]
        self._home = home_blocks(problem)
        self.keep = self._block_variables()
        self.choice = self._choice_variables()
        self._shared: dict[tuple[int, int], Columns] = {}
        self._totals: dict[tuple[tuple[int, ...], int], tuple[Columns, Integers]] = {}
        self._add_layers()
        self.importance, self.latency = self._objective(self._worths), self._objective(self._costs)

    def limit_latency(self, budget: int) -> None:
        """At most so many microseconds."""
        used = np.flatnonzero(self.latency)
        self.add(self.rows(-np.inf, budget, 1), used, self.latency[used])

    def narrowed(self, relaxed: Relaxation, reach: float) -> list[Integers]:
        """[G]: the choices that can be part of a structure whose objective is at most ``reach``.

        A choice that is taken raises the bound by its own reduced cost and, in each transport that it is an end of,
        by the least one of its flows.
        """
        raised = np.maximum(relaxed.reduced_costs, 0)
        raised_by = raised.copy()
        for ends, flows in self.flows:
            raised_by[ends] += raised[flows].min(axis=1)
        left = list(self.allowed)
        for group, columns in self.choice.items():
            left[group] = self.allowed[group][relaxed.bound + raised_by[columns] <= reach]
        return left

    def _objective(self, terms: list[tuple[Columns, Floats]]) -> Floats:
        total = np.zeros(self.n_variables)
        for columns, values in terms:
            np.add.at(total, columns, values)
        return total

    def _block_variables(self) -> dict[int, int]:
        """Block -> column of its keep, for the blocks that can go and have a layer."""
        blocks = sorted({layer.block for layer in self._problem.layers} - {0})
        return dict(zip(blocks, self.variables(len(blocks), integer=True).tolist(), strict=True))

    def _choice_variables(self) -> dict[int, Columns]:
        """Group -> columns of its choices. One of them is taken, or none where the group goes with its block."""
        found = {}
        for group, home in self._home.items():
            found[group] = self.variables(len(self.allowed[group]), integer=True)
            self._sum_is_keep(found[group], home)
        return found

    def _sum_is_keep(self, columns: Columns, block: int) -> None:
        if block == 0:
            self.add(self.rows(1, 1, 1), columns, 1)
        else:
            row = self.rows(0, 0, 1)
            self.add(row, columns, 1)
            self.add(row, self.keep[block], -1)

    def _in_block(self, group: int, block: int) -> Columns:
        """Columns of "choice k of the group, and the block is kept"."""
        if block == 0 or self._home[group] == block:
            return self.choice[group]
        if (group, block) not in self._shared:
            both = self.variables(len(self.allowed[group]))
            self._sum_is_keep(both, block)
            below = self.rows(-np.inf, 0, len(both))
            self.add(below, both, 1)
            self.add(below, self.choice[group], -1)
            self._shared[group, block] = both
        return self._shared[group, block]

    def _total_in_block(self, groups: tuple[int, ...], block: int) -> tuple[Columns, Integers]:
        """Columns of "these groups' steps add up to t, and the block is kept", and their t.

        Group after group, by a transport between the total so far and the next width. One row that says what the
        total is would do, but bounds far worse: a total could be a mix of its neighbours.
        """
        narrow_first = tuple(sorted(groups, key=lambda group: (len(self.allowed[group]), group)))
        key = narrow_first, block
        if key not in self._totals:
            columns, steps = self._in_block(narrow_first[0], block), self.allowed[narrow_first[0]]
            for group in narrow_first[1:]:
                flows = self._flows(columns, self._in_block(group, block))
                steps, total = np.unique(np.add.outer(steps, self.allowed[group]), return_inverse=True)
                columns = self.variables(len(steps))
                sums = self.rows(0, 0, len(steps))
                self.add(sums[total.reshape(flows.shape)], flows, 1)
                self.add(sums, columns, -1)
            self._totals[key] = columns, steps
        return self._totals[key]

    def _add_layers(self) -> None:
        """Layers between the same two widths in the same block share one transport."""
        pairs: dict[tuple[int, int, int], Integers] = {}
        for layer in self._problem.layers:
            own = self.allowed[layer.group]
            columns = self._in_block(layer.group, layer.block)
            if layer.importance is not None:
                self._worths.append((columns, layer.importance[own].astype(np.float64)))
            if len(layer.reads) > 1:
                totals, steps = self._total_in_block(layer.reads, layer.block)
                self._transport(columns, totals, layer.latency[np.ix_(own, steps)])
            elif layer.reads in ((), (layer.group,)):
                self._costs.append((columns, _of_own_width(layer, own).astype(np.float64)))
            else:
                key, table = _ordered(layer, layer.latency[np.ix_(own, self.allowed[layer.reads[0]])])
                pairs[key] = pairs[key] + table if key in pairs else table
        for (one, other, block), table in pairs.items():
            self._transport(self._in_block(one, block), self._in_block(other, block), table)

    def _transport(self, one: Columns, other: Columns, table: Integers) -> None:
        """Costs of a pair of widths [len(one), len(other)], where at most one of each is taken."""
        self._costs.append((self._flows(one, other).ravel(), table.ravel().astype(np.float64)))

    def _flows(self, one: Columns, other: Columns) -> Columns:
        """Columns of "this of one, that of the other" [len(one), len(other)]."""
        flows = self.variables(len(one) * len(other)).reshape(len(one), len(other))
        self.flows += [(one, flows)] if one is other else [(one, flows), (other, flows.T)]
        for ends, lines in ((one, flows), (other, flows.T)):
            rows = self.rows(0, 0, len(ends))
            self.add(rows[:, None], lines, 1)
            self.add(rows, ends, -1)
        return flows


def home_blocks(problem: Problem) -> dict[int, int]:
    """Group -> the one block of all its writers and readers, 0 if there are several; without groups of no layer."""
    blocks: dict[int, set[int]] = defaultdict(set)
    for layer in problem.layers:
        for group in (layer.group, *layer.reads):
            blocks[group].add(layer.block)
    return {group: min(found) if len(found) == 1 else 0 for group, found in sorted(blocks.items())}


def _of_own_width(layer: Layer, own: Integers) -> Integers:
    """What a layer costs that reads the image, or the very group it writes."""
    return layer.latency[own, own] if layer.reads else layer.latency[own]


def _ordered(layer: Layer, table: Integers) -> tuple[tuple[int, int, int], Integers]:
    """Key and table of a layer with the lower of its two groups first."""
    if layer.group <= layer.reads[0]:
        return (layer.group, layer.reads[0], layer.block), table
    return (layer.reads[0], layer.group, layer.block), table.T
