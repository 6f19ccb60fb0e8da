"""What the command is given, checked before anything is begun."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path

from tggbc_ros.compress.sparse.choice import COUNTED, METHODS
from tggbc_ros.compress.sparse.distortion import CONFIDENCE
from tggbc_ros.compress.sparse.pruning import ORDERS, REPAIRS
from tggbc_ros.compress.splits import Where
from tggbc_ros.compress.tuning import Tuning
from tggbc_ros.compress.values import expect_known, expect_least

STAGES = ("curves", "solve", "prune", "tune", "evaluate", "report")
CURVES = ("predicted", "measured")
LATENCY = "latency"
"""What one would like to count, and what is refused with the reason."""


@dataclass(frozen=True)
class Settings:
    """Everything that a run of the stages depends on.

    checkpoint: of the dense network. target: share that is kept, of all layers that may be pruned, of what ``counted``
    says. train: what is calibrated and tuned on; held_out: what is evaluated on, nothing where it is None. frames: of
    calibration, of whole scenes. passes: backward, of each frame. confidence: square metres that a whole probability is
    worth. probed: frames that measured curves are measured on. places: positions of a layer that are looked at in a
    frame. tuning: steps of the encoder alone, joint: of everything.
    """

    model: str
    checkpoint: Path
    train: Where
    held_out: Where | None
    target: float
    counted: str
    out: Path
    method: str = "dm3d"
    curves: str = "predicted"
    order: str = "obs"
    repair: str = "obs"
    frames: int = 64
    passes: int = 2
    probed: int = 8
    places: int = 512
    confidence: float = CONFIDENCE
    tuning: int = 0
    joint: int = 0
    tune_batch: int = Tuning.batch
    rate: float = Tuning.rate
    joint_rate: float = Tuning.joint_rate
    seed: int = 0
    device: str = "cpu"
    judge: str = "torch"
    stop_after: str = STAGES[-1]
    skip: frozenset[str] = field(default_factory=frozenset)

    def __post_init__(self) -> None:
        if not (math.isfinite(self.target) and 0.0 < self.target <= 1.0):
            raise ValueError(f"target is {self.target}, expected a share in (0, 1]")
        if not (math.isfinite(self.confidence) and self.confidence > 0.0):
            raise ValueError(f"confidence is {self.confidence}, expected square metres above 0")
        if self.counted == LATENCY:
            raise ValueError(
                "of is latency, but single zeros save no time on any backend: expected weights, macs or bytes; "
                "compress slim makes networks faster"
            )
        for name, known, given in (
            ("method", METHODS, (self.method,)),
            ("of", COUNTED, (self.counted,)),
            ("curves", CURVES, (self.curves,)),
            ("order", ORDERS, (self.order,)),
            ("repair", REPAIRS, (self.repair,)),
            ("stage", STAGES, (self.stop_after, *sorted(self.skip))),
        ):
            expect_known(name, known, given)
        least = dict.fromkeys(("frames", "passes", "probed", "places", "tune_batch"), 1)
        least |= dict.fromkeys(("tuning", "joint"), 0)
        expect_least({name: getattr(self, name) for name in least}, least)

    @property
    def tuned(self) -> bool:
        """Whether anything is tuned."""
        return self.tuning > 0 or self.joint > 0

    @property
    def way(self) -> str:
        """Of pruning within a layer, in file names."""
        return f"{self.order}_{self.repair}"

    @property
    def name(self) -> str:
        """Of the run within the folder: what was chosen by which method within which target, and how it was pruned."""
        measured = "_measured" if self.curves == "measured" and self.method == "dm3d" else ""
        steps = f"_{self.tuning}+{self.joint}" if self.tuned else ""
        return f"{self.method}{measured}_{self.target:g}_{self.counted}_{self.way}{steps}"
