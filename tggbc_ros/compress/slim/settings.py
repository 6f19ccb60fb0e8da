"""What the command is given, checked before anything is begun."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path

from tggbc_ros.compress.slim.widths import METHODS
from tggbc_ros.compress.splits import Where
from tggbc_ros.compress.tuning import Tuning
from tggbc_ros.compress.values import expect_known, expect_least

STAGES = ("measure", "score", "solve", "cut", "tune", "evaluate", "report")


@dataclass(frozen=True)
class Settings:
    """Everything that a run of the stages depends on.

    checkpoint: of the dense network. budget: share of its encoder's predicted time, neck included. step: channels that
    come and go together. train: what is scored and tuned on; held_out: what is evaluated on, nothing where it is None.
    batches of ``batch`` frames are scored. tuning: steps of the encoder alone, with ``tune_batch`` frames
    each; joint: of everything.
    widths: a choice that was made elsewhere, in place of a method's; it is known by its file's name.
    table: a latency table made before, in place of one in ``out``; table_step: of one that is made here, in
    channels; encoders: whole ones that it is fitted to.
    judge: the backend that accuracy is found with.
    gap, seconds: what the exact program may leave unproven, and take. norm_frames: what norms are estimated on where
    nothing is tuned. repeats: of timing. cameras: images that an encoder gets at once.
    """

    model: str
    checkpoint: Path
    train: Where
    held_out: Where | None
    engine: str
    budget: float
    out: Path
    method: str = "mdp"
    widths: Path | None = None
    step: int = 8
    keep_stem: bool = True
    batches: int = 64
    batch: int = 4
    tuning: int = 0
    joint: int = 0
    tune_batch: int = Tuning.batch
    rate: float = Tuning.rate
    joint_rate: float = Tuning.joint_rate
    seed: int = 0
    gap: float = 0.0
    seconds: float = 150.0
    norm_frames: int = 64
    repeats: int = 30
    cameras: int = 6
    threads: int = 1
    device: str = "cpu"
    foreign_table: bool = False
    table: Path | None = None
    table_step: int = 8
    encoders: int = 20
    judge: str = "torch"
    stop_after: str = STAGES[-1]
    skip: frozenset[str] = field(default_factory=frozenset)

    def __post_init__(self) -> None:
        if not (math.isfinite(self.budget) and 0.0 < self.budget <= 1.0):
            raise ValueError(f"budget is {self.budget}, expected a share of the dense encoder's time in (0, 1]")
        for name, known, given in (
            ("method", METHODS, () if self.widths else (self.method,)),
            ("stage", STAGES, (self.stop_after, *sorted(self.skip))),
        ):
            expect_known(name, known, given)
        least = dict.fromkeys(("step", "batches", "batch", "tune_batch", "norm_frames"), 1)
        least |= {"tuning": 0, "joint": 0, "encoders": 2, "repeats": 2}
        expect_least({name: getattr(self, name) for name in least}, least)

    @property
    def tuned(self) -> bool:
        """Whether anything is tuned."""
        return self.tuning > 0 or self.joint > 0

    @property
    def name(self) -> str:
        """Of the run within the folder: what was chosen by which method within which budget."""
        return f"{self.chosen_by}_{self.budget:g}"

    @property
    def chosen_by(self) -> str:
        """The method's name, or that of the file with a choice that was made elsewhere."""
        return self.widths.stem if self.widths else self.method
