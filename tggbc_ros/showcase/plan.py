"""What a demo is to do, and the names of what it leaves in its folder."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tggbc_ros.core.config import PruningConfig
from tggbc_ros.data.drive.config import DEMO_IMAGE_SIZE, DriveConfig, with_difficulty

DRIVE, BAG, DETECTIONS, LOGS, SCORES = "drive", "bag", "detections", "logs", "scores"
FILM, BANNER, KEYS, PLOT, PAGE = "drive.webp", "banner.webp", "keys.png", "accuracy.png", "index.html"
MARK = ".tggbc_demo"
"""Empty file, written before all else: what is in this folder under these names, a demo has made."""
SPLIT = "demo"
SHOWN_RATIO = 0.3
FASTER = {"demo": "demo_slim"}
"""Model -> the one of the same world that was made of it to be faster, and is shown beside it."""


@dataclass(frozen=True)
class Network:
    """What one node runs. name: on page and film, and of its folders. checkpoint: a file, or empty."""

    name: str
    model: str
    checkpoint: str = ""
    backend: str = "torch"

    def node_parameters(self) -> dict[str, object]:
        """Parameters of the detector node at its start."""
        given = {"model": self.model, "checkpoint": self.checkpoint, "backend": self.backend}
        return given | {"allow_random_weights": not self.checkpoint}


@dataclass(frozen=True)
class Plan:
    """One demo. networks: the dense one first, each in a node of its own. seed, seconds: of the drive.

    keep_ratios: each network's, largest first. show_score: least score of a box that is drawn; all are scored. A bad
    value raises ValueError naming it.
    """

    out: Path
    networks: tuple[Network, ...]
    seed: int
    seconds: float
    keep_ratios: tuple[float, ...]
    show_score: float

    def __post_init__(self) -> None:
        names = [network.name for network in self.networks]
        if len(set(names)) != len(names) or not names:
            raise ValueError(f"networks are {names}, expected different ones, at least one")
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

    def passes(self) -> Iterator[tuple[Network, float]]:
        """Every network at every ratio, in the order in which they are played and shown."""
        return ((network, ratio) for network in self.networks for ratio in self.keep_ratios)

    @property
    def shown(self) -> int:
        """Which of the passes film and key picture show: the last network's whose ratio is nearest to SHOWN_RATIO."""
        nearest = min(range(len(self.keep_ratios)), key=lambda index: abs(self.keep_ratios[index] - SHOWN_RATIO))
        return (len(self.networks) - 1) * len(self.keep_ratios) + nearest
