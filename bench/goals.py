"""What the figures are meant to reach: the multiply-add limits, less what a good implementation may lose."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from bench.decoder import Row


@dataclass(frozen=True)
class Goal:
    """A bound on one field of one row: at least, or, where ``most``, at most."""

    shape: str
    label: str
    field: str
    bound: float
    most: bool = False
    device: str = "cpu"
    dtype: str = "float32"

    def fits(self, row: Row) -> bool:
        """Whether the row is the one that this goal is about."""
        return all(row[name] == getattr(self, name) for name in ("shape", "label", "device", "dtype"))

    def reached(self, row: Row) -> bool:
        """Whether the row's figure is on the right side of the bound."""
        value = row[self.field]
        if not isinstance(value, float):
            raise ValueError(f"{self.field} of {self.label} is {value!r}, expected a number")
        return value <= self.bound if self.most else value >= self.bound


LARGE = "900x24000", "pruned 0.125 n=1"
GOALS = (
    Goal(*LARGE, "ratio_to_dense_sdpa", 2.5),
    Goal(*LARGE, "ratio_to_dense_explicit", 9.0),
    Goal("900x6000", "pruned 0.3 n=1", "ratio_to_dense_sdpa", 1.6),
    Goal("428x4224", "pruned 0.5 n=1", "ratio_to_dense_sdpa", 1.5),
    Goal("900x24000", "carry 0.125 n=1 from 0.4", "ratio_to_dense_sdpa", 3.5),
    *(
        Goal(shape, f"start {start:g} keep {keep:g}, rays {rays}", "ratio_with_embed", bound)
        for shape, start, keep, bound in (
            ("900x24000", 0.3, 0.125, 3.2),
            ("900x6000", 0.4, 0.2, 2.2),
            ("428x4224", 0.5, 0.3, 1.7),
            ("150x1056", 0.4, 0.2, 1.3),
        )
        for rays in ("kept", "anew")
    ),
    Goal(*LARGE, "scoring_share_of_dense", 0.05, most=True),
    Goal("428x4224", "pruned 0.5 n=1", "scoring_share_of_dense", 0.08, most=True),
    Goal(*LARGE, "peak_extra_mb", 64.0, most=True),
    Goal(*LARGE, "ratio_to_dense_sdpa", 2.2, device="cuda", dtype="float16"),
)
"""Times are for two CPU cores, and the last for a GPU. To start with four tenths of the keys costs less than 0.01 mAP
where cameras run at 12 Hz (docs/pruning.md, Study)."""


def compared(rows: Sequence[Row]) -> list[tuple[Goal, Row]]:
    """Every goal with each row that it is about."""
    return [(goal, row) for goal in GOALS for row in rows if goal.fits(row)]
