"""What a demo is to do, and the names of what it leaves in its folder."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tggbc_ros.core.config import PruningConfig
from tggbc_ros.data.drive.config import DEMO_IMAGE_SIZE, DriveConfig, with_difficulty

DRIVE, BAG, DETECTIONS, SCORES = "drive", "bag", "detections", "scores"
FILM, BANNER, KEYS, PLOT, PAGE = "drive.webp", "banner.webp", "keys.png", "accuracy.png", "index.html"
MARK = ".tggbc_demo"
"""Empty file, written before all else: what is in this folder under these names, a demo has made."""
SPLIT = "demo"
SHOWN_RATIO = 0.3


@dataclass(frozen=True)
class Plan:
    """One demo. checkpoint: a file, or empty. seed, seconds: of the drive. keep_ratios: largest first.

    show_score: least score of a box that is drawn; all are scored. A bad value raises ValueError naming it.
    """

    out: Path
    model: str
    checkpoint: str
    seed: int
    seconds: float
    keep_ratios: tuple[float, ...]
    show_score: float

    def __post_init__(self) -> None:
        for ratio in self.keep_ratios:
            PruningConfig(keep_ratio=ratio)
        if list(self.keep_ratios) != sorted(set(self.keep_ratios), reverse=True) or not self.keep_ratios:
            raise ValueError(f"keep_ratios are {self.keep_ratios}, expected different ones, the largest first")
        if self.seed < 0:
            raise ValueError(f"seed is {self.seed}, expected 0 or more")
        if self.drive.samples < 2:
            raise ValueError(f"seconds is {self.seconds}, expected at least 1")

    @property
    def drive(self) -> DriveConfig:
        """The demo model's world, keyframes only."""
        return with_difficulty(DriveConfig(duration_s=self.seconds, image_size=DEMO_IMAGE_SIZE), "demo")

    @property
    def shown(self) -> int:
        """Which of the ratios film and key picture show: the one nearest to SHOWN_RATIO."""
        return min(range(len(self.keep_ratios)), key=lambda index: abs(self.keep_ratios[index] - SHOWN_RATIO))

    def node_parameters(self) -> dict[str, object]:
        """Parameters of the detector node at its start."""
        return {"model": self.model, "checkpoint": self.checkpoint, "allow_random_weights": not self.checkpoint}
