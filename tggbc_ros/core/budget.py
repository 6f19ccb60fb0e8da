"""Latency budget: which share of the keys the next frame may keep, from the times of the frames before.

Pure functions on `Budget`; they read no clock. The decoder's time is modelled as load x (fixed + (1 - fixed) x
ratio), where load is the dense decoder's time and fixed the share of it that no trimming saves; what is around the
decoder adds to it. By this model every past frame tells what it would have taken with another ratio. A ratio must suit
the present load with an allowance for noise, and the last frames as they were: the more frames were late, the more.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from statistics import median

import numpy as np

from tggbc_ros.core.config import KeepConfig

FIXED_AT_FIRST = 0.25
"""About what self-attention, feed-forward and heads take of a dense decoder of the usual sizes; learned after that."""

FIXED_LIMIT = 0.95
CHANGES = 8
"""Changes of ratio from which the fixed share is learned."""

NOISE_AT_FIRST = 0.1
LEAST_NOISE = 0.01
SPREAD = 120
"""Frames from which noise is measured."""

QUICK = 3
"""Frames that a ratio gets before it is judged."""

STEADY = 7
"""Frames over which the present load is measured: half of them, rounded up, notice that it fell."""

LATE = 0.05
"""Share of the frames that may be late: what is beyond the 95th percentile."""

REPAID = 0.03
"""Late frames forgiven with each frame: less than may be late, so that fewer are."""

DEBT_LIMIT = 3.0
"""Also the debt at first: a machine that is not known yet is not trusted."""

TRUST = 3
"""How many times as far to look back for each late frame that is not forgiven."""

LONGEST = int(QUICK * TRUST**DEBT_LIMIT)
KNOWN = 40
"""Frames after which the machine's own ups and downs are taken to have been seen."""

STEP = 0.1
"""Share of the budget that must be left unused before the ratio rises."""

AIM = 0.95
"""Share of the budget that a new ratio is chosen for."""

WORTH = 0.1
"""Share of the frame's time that trimming must be able to save before keys are given up for a budget out of reach."""


@dataclass(frozen=True)
class Timed:
    """One frame: the ratio it was decoded with, the decoder's time, and what else counts towards the budget."""

    ratio: float
    decode_ms: float
    other_ms: float

    def __post_init__(self) -> None:
        if not (0.0 < self.decode_ms < math.inf and 0.0 <= self.other_ms < math.inf):
            raise ValueError(f"times are {self.decode_ms} and {self.other_ms} ms, expected more than 0 and at least 0")

    @property
    def total_ms(self) -> float:
        """What the budget is compared with."""
        return self.decode_ms + self.other_ms


@dataclass(frozen=True)
class Budget:
    """What was decided, and what it rests on.

    ratio: for the next frame. feasible: whether some ratio in bounds holds the budget. fixed: see above.
    frames: the last ones, newest last. present: how many of them were under the present load.
    debt: frames that were late and are not forgiven yet.
    spread: measured over expected time of recent frames. noise: by what share a frame may exceed the median and still
    be among the 95 % that must not be late.
    before: the frame before the last change of ratio, until its effect has been learned. changes: the fixed share by
    each of the last changes, and its weight.
    """

    ratio: float
    feasible: bool = True
    fixed: float = FIXED_AT_FIRST
    frames: tuple[Timed, ...] = ()
    present: int = 0
    debt: float = DEBT_LIMIT
    spread: tuple[float, ...] = ()
    noise: float = NOISE_AT_FIRST
    before: Timed | None = None
    changes: tuple[tuple[float, float], ...] = ()

    def work(self, ratio: float) -> float:
        """The decoder's time at a ratio, as a share of the dense decoder's."""
        return self.fixed + (1.0 - self.fixed) * ratio

    def ratio_of(self, work: float) -> float:
        """The ratio that makes this share of the dense decoder's time; may be outside of 0..1."""
        return (work - self.fixed) / (1.0 - self.fixed)

    def load_ms(self, frames: tuple[Timed, ...]) -> tuple[float, float]:
        """The dense decoder's time, and what is around it, by the median of these frames."""
        dense_ms = median(frame.decode_ms / self.work(frame.ratio) for frame in frames)
        return dense_ms, median(frame.other_ms for frame in frames)

    @property
    def settled(self) -> bool:
        """Whether the present ratio has shown what it does."""
        recent = self.frames[-QUICK:]
        return len(recent) == QUICK and all(frame.ratio == self.ratio for frame in recent)

    @property
    def patience(self) -> int:
        """Frames to look back on before the ratio rises: one late frame triples them, the next triples them again."""
        return int(QUICK * TRUST**self.debt)

    def ratio_now(self, time_ms: float) -> float:
        """The ratio with which 95 % of the frames hold this time under the present load.

        The allowance is for the noise of a frame, and of a median over few of them.
        """
        dense_ms, other_ms = self.load_ms(self.frames[-self.present :])
        margin = (1.0 + self.noise) * (1.0 + 0.5 * self.noise / math.sqrt(self.present))
        return self.ratio_of((time_ms / margin - other_ms) / dense_ms)

    def ratio_then(self, time_ms: float, count: int) -> float:
        """The ratio with which 95 % of the last ``count`` frames, or all but one, would have held this time."""
        frames = self.frames[-count:]
        works = sorted((time_ms - frame.other_ms) / frame.decode_ms * self.work(frame.ratio) for frame in frames)
        return self.ratio_of(works[max(1, int(LATE * len(works)))])

    def ratio_for(self, time_ms: float) -> float:
        """The ratio that holds this time now, and would have, with half the noise to spare, while patience lasts."""
        return min(self.ratio_now(time_ms), self.ratio_then(time_ms / (1.0 + 0.5 * self.noise), self.patience))

    def saved_at_most(self, low: float, high: float) -> float:
        """Share of a frame's time that going from one ratio to another can save, were nothing of it fixed."""
        dense_ms, other_ms = self.load_ms(self.frames[-self.present :])
        return dense_ms * (high - low) / (other_ms + dense_ms * high)


def start(keep_ratio: float, keep: KeepConfig) -> Budget:
    """Before the first frame: the ratio asked for, within bounds."""
    return within(Budget(ratio=keep_ratio), keep)


def within(budget: Budget, keep: KeepConfig) -> Budget:
    """The budget with its ratio inside the bounds, which may have changed since it was decided."""
    return _changed(budget, min(max(budget.ratio, keep.min_ratio), keep.max_ratio))


def after_frame(budget: Budget, keep: KeepConfig, decode_ms: float, other_ms: float) -> Budget:
    """The budget with one frame more, decoded with ``budget.ratio``, and the decision for the next."""
    seen = observe(budget, Timed(budget.ratio, decode_ms, other_ms), keep.budget_ms)
    return decide(seen, keep) if seen.settled else seen


def observe(budget: Budget, frame: Timed, limit_ms: float) -> Budget:
    """Take in a measurement: count it if late, learn what the last change of ratio did, note the spread.

    A first few frames, with a ratio that nobody chose, are not counted, nor are those of a budget out of reach.
    """
    frames = (*budget.frames, frame)[-LONGEST:]
    late = frame.total_ms > limit_ms and budget.feasible and len(frames) > QUICK
    debt = min(max(0.0, budget.debt - REPAID + late), DEBT_LIMIT)
    budget = dataclasses.replace(budget, frames=frames, present=min(budget.present + 1, STEADY), debt=debt)
    if budget.before is not None and budget.settled:
        budget = _learn_fixed(budget, budget.before)
    if _load_fell(budget):
        budget = dataclasses.replace(budget, debt=0.0)
    return _note_spread(budget)


def decide(budget: Budget, keep: KeepConfig) -> Budget:
    """The next ratio: down at once where the budget is at risk, up where much of it is left, else unchanged.

    Where even the least ratio misses the budget, it is used nevertheless, and the budget called infeasible;
    but if trimming saves next to nothing, because other work takes the time, no keys are given up for it.
    """
    low, high, limit_ms = keep.min_ratio, keep.max_ratio, keep.budget_ms
    if budget.ratio_then(limit_ms, QUICK) < budget.ratio:  # two of three late: the load is another
        budget = dataclasses.replace(budget, present=QUICK)
    feasible = budget.ratio_now(limit_ms if budget.feasible else AIM * limit_ms) >= low
    ratio, best = budget.ratio, min(max(budget.ratio_for(AIM * limit_ms), low), high)
    if not feasible:
        ratio = low if budget.saved_at_most(low, high) > (WORTH if ratio <= low else 1.5 * WORTH) else high
    elif budget.ratio_for(limit_ms) < ratio:
        ratio = min(ratio, best)
    elif budget.ratio_for((AIM - max(STEP, budget.noise)) * limit_ms) > ratio:
        ratio = max(ratio, best)
    return _changed(dataclasses.replace(budget, feasible=feasible), min(max(ratio, low), high))


def _changed(budget: Budget, ratio: float) -> Budget:
    """The budget with a new ratio; remembers the frame before, to compare with it."""
    if ratio == budget.ratio:
        return budget
    return dataclasses.replace(budget, ratio=ratio, before=budget.frames[-1] if budget.frames else None)


def _load_fell(budget: Budget) -> bool:
    """Whether the last frames are all clearly faster than any before: less load, not ups and downs."""
    loads = [frame.other_ms + frame.decode_ms / budget.work(frame.ratio) for frame in budget.frames]
    last, earlier = loads[-STEADY:], loads[:-STEADY]
    return len(earlier) >= KNOWN and (1.0 + STEP) * max(last) < min(earlier)


def _learn_fixed(budget: Budget, before: Timed) -> Budget:
    """The fixed share by the times on both sides of the last changes of ratio: a median, as load changes with them.

    Larger changes weigh more. The share assumed at first weighs like a change that noise could hide.
    """
    old, new = before.ratio, budget.ratio
    low, high = sorted((new / old, 1.0))
    change = min(max(median(frame.decode_ms for frame in budget.frames[-QUICK:]) / before.decode_ms, low), high)
    saved = change * old - new
    found = min(saved / (1.0 - change + saved), FIXED_LIMIT) if new != old else budget.fixed
    changes = (*budget.changes, (found, math.log(new / old) ** 2))[-CHANGES:]
    assumed = (FIXED_AT_FIRST, (4.0 * budget.noise) ** 2)
    return dataclasses.replace(budget, changes=changes, fixed=_weighted_median((*changes, assumed)), before=None)


def _weighted_median(samples: tuple[tuple[float, float], ...]) -> float:
    """The value up to which half of the weight lies; of (value, weight)."""
    values, weights = np.array(sorted(samples)).T
    return float(values[np.searchsorted(np.cumsum(weights), 0.5 * weights.sum())])


def _note_spread(budget: Budget) -> Budget:
    """Set the frame in the middle of the last few against their median.

    Not the newest: a change of load lies to one side of the middle frame and so does not look like noise.
    """
    around = budget.frames[-2 * QUICK + 1 :]
    if len(around) < 2 * QUICK - 1:
        return budget
    middle = around[QUICK - 1]
    dense_ms, other_ms = budget.load_ms(around)
    expected_ms = other_ms + dense_ms * budget.work(middle.ratio)
    spread = (*budget.spread, middle.total_ms / expected_ms)[-SPREAD:]
    noise = max(LEAST_NOISE, float(np.quantile((1.0 + NOISE_AT_FIRST, *spread), 1.0 - LATE)) - 1.0)
    return dataclasses.replace(budget, spread=spread, noise=noise)
