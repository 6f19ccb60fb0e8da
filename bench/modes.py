"""The ways of running one decoder that are compared."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tggbc_ros.core.config import CarryConfig, PruningConfig

VOTERS = 175
KEEP_RATIOS = (0.7, 0.5, 0.3, 0.125)
TRIMS = (1, 3)
CARRY_RATIOS = (0.5, 0.4, 0.25)


@dataclass(frozen=True)
class Mode:
    """pruning: what is kept and when. explicit: with an attention map in every layer, as the reference runs."""

    name: str
    pruning: PruningConfig
    explicit: bool = False

    @property
    def trims(self) -> int:
        """How many layers trim; 0 for a dense decoder."""
        return self.pruning.trims if self.pruning.keep_ratio < 1.0 else 0

    @property
    def label(self) -> str:
        """Unique among `MODES`."""
        parts = [self.name]
        if self.trims:
            parts.append(f"{self.pruning.keep_ratio:g} n={self.trims}")
        if self.pruning.carry.active:
            parts.append(f"from {self.pruning.carry.ratio:g}")
        return " ".join(parts)


def _pruned(keep_ratio: float, trims: int, carry: CarryConfig | None = None) -> PruningConfig:
    return PruningConfig(keep_ratio, layers=trims, queries=VOTERS, carry=carry or CarryConfig())


def all_modes(keep_ratios: Sequence[float] = KEEP_RATIOS, trims: Sequence[int] = TRIMS) -> list[Mode]:
    """Dense, pruned at every ratio and number of trims, pruned as the reference does it, pruned with carry."""
    least = min(keep_ratios)
    return [
        DENSE,
        DENSE_EXPLICIT,
        *(Mode("pruned", _pruned(ratio, count)) for count in trims for ratio in keep_ratios),
        Mode("pruned_explicit", _pruned(least, 1), explicit=True),
        *(Mode("carry", _pruned(least, 1, CarryConfig(ratio))) for ratio in CARRY_RATIOS if ratio > least),
    ]


DENSE = Mode("dense_sdpa", PruningConfig())
DENSE_EXPLICIT = Mode("dense_explicit", PruningConfig(), explicit=True)
