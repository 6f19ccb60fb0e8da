"""How long the stages of the last sets took: what /diagnostics says of them."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

KEPT_SETS = 100


@dataclass(frozen=True)
class Spread:
    """Milliseconds: the median, what 95 % stay below, and the most."""

    p50_ms: float
    p95_ms: float
    max_ms: float


class StageTimes:
    """The last KEPT_SETS sets' times by stage; one thread adds, another asks."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._sets: deque[dict[str, float]] = deque(maxlen=KEPT_SETS)

    def add(self, stages_ms: Mapping[str, float]) -> None:
        """Note what a set took."""
        with self._lock:
            self._sets.append(dict(stages_ms))

    def spreads(self) -> dict[str, Spread]:
        """By stage, in the newest set's order; empty before the first set."""
        with self._lock:
            sets = list(self._sets)
        stages = sets[-1] if sets else {}
        return {stage: _spread([times[stage] for times in sets if stage in times]) for stage in stages}


def _spread(times_ms: list[float]) -> Spread:
    p50, p95 = np.percentile(times_ms, [50, 95]).tolist()
    return Spread(p50, p95, max(times_ms))
