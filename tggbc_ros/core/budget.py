"""Latency budget: which share of the keys the next frame may keep, from the times of the frames before.

Pure functions on `Budget`; they read no clock. The decoder's time is modelled as speed x (fixed + (1 - fixed) x
ratio), where fixed is the share of the dense decoder's time that no trimming saves; what is around the decoder adds
to it. Speed is a median, so that single slow frames do not move it, and follows a change of load after three frames.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

import numpy as np

from tggbc_ros.core.config import KeepConfig

FIXED_AT_FIRST = 0.25
"""About what self-attention, feed-forward and heads take of a dense decoder of the usual sizes; learned after that."""

FIXED_LIMIT = 0.95
NOISE_AT_FIRST = 0.1
LEAST_NOISE = 0.01
QUICK = 3
"""Frames after which a change of load, or the effect of a new ratio, is believed."""

STEADY = 15
"""Frames over which speed is measured while the load does not change."""

SPREAD = 120
"""Frames from which the 95th percentile is taken."""

STEP = 0.1
"""Share by which the load must change to be noticed at once, and that must be left unused before the ratio rises."""

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
    frames: under the present load, newest last. spread: measured over expected time of recent frames.
    noise: by what share a frame may exceed the median and still be among the 95 % that must not be late.
    before: ratio and decoder time before the last change of ratio, until its effect has been learned.
    """

    ratio: float
    feasible: bool = True
    fixed: float = FIXED_AT_FIRST
    frames: tuple[Timed, ...] = ()
    spread: tuple[float, ...] = ()
    noise: float = NOISE_AT_FIRST
    before: tuple[float, float] | None = None

    def work(self, ratio: float) -> float:
        """The decoder's time at a ratio, as a share of the dense decoder's."""
        return self.fixed + (1.0 - self.fixed) * ratio

    def speed_ms(self, frames: Sequence[Timed]) -> float:
        """Time of the dense decoder, by the median of these frames."""
        return median(frame.decode_ms / self.work(frame.ratio) for frame in frames)

    @property
    def settled(self) -> bool:
        """Whether the present ratio has shown what it does."""
        recent = self.frames[-QUICK:]
        return len(recent) == QUICK and all(frame.ratio == self.ratio for frame in recent)

    @property
    def margin(self) -> float:
        """Allowance for noise: of a frame, and of a median over few frames."""
        return (1.0 + self.noise) * (1.0 + 0.5 * self.noise / math.sqrt(len(self.frames)))

    def expected_ms(self, ratio: float) -> float:
        """95th percentile of the time of a frame with this ratio."""
        other_ms = median(frame.other_ms for frame in self.frames)
        return self.margin * (other_ms + self.speed_ms(self.frames) * self.work(ratio))

    def saved_at_most(self, low: float, high: float) -> float:
        """Share of a frame's time that going from one ratio to another can save, were nothing of it fixed."""
        dense_ms, other_ms = self.speed_ms(self.frames), median(frame.other_ms for frame in self.frames)
        return dense_ms * (high - low) / (other_ms + dense_ms * high)

    def ratio_for(self, time_ms: float) -> float:
        """The ratio at which `expected_ms` is ``time_ms``; may be outside of 0..1."""
        other_ms = median(frame.other_ms for frame in self.frames)
        work = (time_ms / self.margin - other_ms) / self.speed_ms(self.frames)
        return (work - self.fixed) / (1.0 - self.fixed)


def start(keep_ratio: float, keep: KeepConfig) -> Budget:
    """Before the first frame: the ratio asked for, within bounds."""
    return Budget(ratio=min(max(keep_ratio, keep.min_ratio), keep.max_ratio))


def after_frame(budget: Budget, keep: KeepConfig, decode_ms: float, other_ms: float) -> Budget:
    """The budget with one frame more, decoded with ``budget.ratio``, and the decision for the next."""
    seen = observe(budget, Timed(budget.ratio, decode_ms, other_ms))
    return decide(seen, keep) if seen.settled else seen


def observe(budget: Budget, frame: Timed) -> Budget:
    """Take in a measurement: forget another load, learn what the last change of ratio did, note the spread."""
    frames = (*budget.frames, frame)[-STEADY:]
    budget = dataclasses.replace(budget, frames=frames)
    if len(frames) < QUICK:
        return budget
    if budget.before is not None and budget.settled:
        budget = _learn_fixed(budget, budget.before)
    if len(frames) > QUICK and _load_changed(budget):
        budget = dataclasses.replace(budget, frames=frames[-QUICK:])
    return _note_spread(budget)


def decide(budget: Budget, keep: KeepConfig) -> Budget:
    """The next ratio: down at once where the budget is at risk, up where much of it is left, else unchanged.

    Where even the least ratio misses the budget, it is used nevertheless, and the budget called infeasible;
    but if trimming saves next to nothing, because other work takes the time, no keys are given up for it.
    """
    low, high, limit_ms = keep.min_ratio, keep.max_ratio, keep.budget_ms
    best = min(max(budget.ratio_for(AIM * limit_ms), low), high)
    least_ms, now_ms = budget.expected_ms(low), budget.expected_ms(budget.ratio)
    feasible = least_ms <= (limit_ms if budget.feasible else AIM * limit_ms)
    ratio = budget.ratio
    if not feasible:
        ratio = low if budget.saved_at_most(low, high) > (WORTH if ratio <= low else 1.5 * WORTH) else high
    elif not (AIM - max(STEP, budget.noise)) * limit_ms <= now_ms <= limit_ms:
        ratio = best
    return _changed(dataclasses.replace(budget, feasible=feasible), min(max(ratio, low), high))


def _changed(budget: Budget, ratio: float) -> Budget:
    """The budget with a new ratio; remembers the time before, if that is known, to compare it with."""
    if ratio == budget.ratio:
        return budget
    recent = budget.frames[-QUICK:]
    return dataclasses.replace(budget, ratio=ratio, before=(budget.ratio, median(frame.decode_ms for frame in recent)))


def _learn_fixed(budget: Budget, before: tuple[float, float]) -> Budget:
    """Move ``fixed`` towards what the time before and after the last change of ratio says: the clearer, the more."""
    (old, old_ms), new, recent = before, budget.ratio, budget.frames[-QUICK:]
    low, high = sorted((new / old, 1.0))
    change = min(max(median(frame.decode_ms for frame in recent) / old_ms, low), high)
    saved = change * old - new
    found = saved / (1.0 - change + saved)
    signal, noise = math.log(new / old) ** 2, (4.0 * budget.noise) ** 2
    fixed = budget.fixed + (found - budget.fixed) * signal / (signal + noise)
    return dataclasses.replace(budget, fixed=min(fixed, FIXED_LIMIT), before=None)


def _load_changed(budget: Budget) -> bool:
    """Whether the last frames are off the earlier ones by more than frames usually are."""
    recent, earlier = budget.frames[-QUICK:], budget.frames[:-QUICK]
    expected = [budget.speed_ms(earlier) * budget.work(frame.ratio) for frame in recent]
    other_ms = median(frame.other_ms for frame in earlier)
    off = [frame.total_ms / (other_ms + decode_ms) for frame, decode_ms in zip(recent, expected, strict=True)]
    step = max(STEP, budget.noise)
    return min(off) > 1.0 + step or max(off) < 1.0 / (1.0 + step)


def _note_spread(budget: Budget) -> Budget:
    """Set the frame in the middle of the last few against their median.

    Not the newest: a change of load lies to one side of the middle frame and so does not look like noise.
    """
    around = budget.frames[-2 * QUICK + 1 :]
    if len(around) < 2 * QUICK - 1:
        return budget
    middle = around[QUICK - 1]
    other_ms = median(frame.other_ms for frame in around)
    expected_ms = other_ms + budget.speed_ms(around) * budget.work(middle.ratio)
    spread = (*budget.spread, middle.total_ms / expected_ms)[-SPREAD:]
    noise = max(LEAST_NOISE, float(np.quantile((1.0 + NOISE_AT_FIRST, *spread), 0.95)) - 1.0)
    return dataclasses.replace(budget, spread=spread, noise=noise)
