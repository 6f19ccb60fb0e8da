"""What changes over a training run: the learning rate, and how many keys are kept."""

from __future__ import annotations

import math
from dataclasses import dataclass


def learning_rate(step: int, steps: int, peak: float, warmup: int) -> float:
    """Linear from 0 to ``peak`` over ``warmup`` steps, then half a cosine down to 1 % of it at ``steps``."""
    if step < warmup:
        return peak * (step + 1) / warmup
    done = min(1.0, (step - warmup) / max(1, steps - warmup))
    return peak * (0.01 + 0.99 * (1 + math.cos(math.pi * done)) / 2)


@dataclass(frozen=True)
class KeepRamp:
    """Keys kept while training: all up to share ``begin`` of a run, then linearly fewer, ``final`` from ``end`` on."""

    final: float = 1.0
    begin: float = 0.3
    end: float = 0.7

    def __post_init__(self) -> None:
        if not 0.0 < self.final <= 1.0:
            raise ValueError(f"prune_final_keep is {self.final!r}, expected a number in (0, 1]")
        if not 0.0 <= self.begin < self.end <= 1.0:
            raise ValueError(f"prune ramp is {self.begin!r} to {self.end!r}, expected 0 <= begin < end <= 1")

    def keep_ratio(self, step: int, steps: int) -> float:
        """The ratio at a step of ``steps``."""
        done = (step / steps - self.begin) / (self.end - self.begin)
        return 1.0 - (1.0 - self.final) * min(max(done, 0.0), 1.0)
