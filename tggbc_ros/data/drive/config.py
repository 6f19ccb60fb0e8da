"""What a drive is made of, and how difficult it is to look at."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass

SAMPLE_RATE_HZ = 2
SWEEPS_PER_SAMPLE = 6


def _require(holds: bool, field: str, value: object, expected: str) -> None:
    if not holds:
        raise ValueError(f"{field} is {value!r}, expected {expected}")


@dataclass(frozen=True)
class DriveConfig:
    """One drive.

    duration_s: two samples a second, at least one. image_size: (width, height) in pixels; other shapes
    than 16:9 lose rows at the top, as the network's preprocessing does. range_m: objects farther from
    the vehicle are neither drawn nor annotated. objects: roughly how many are in a range of 60 m.
    clutter in [0, 1]: trees, poles, bins and texture, which are never annotated. sweeps: frames at 12 Hz
    instead of 2 Hz. supersample: pixels drawn per image pixel and axis, for smooth edges.
    """

    duration_s: float = 20.0
    image_size: tuple[int, int] = (800, 450)
    range_m: float = 60.0
    objects: int = 40
    clutter: float = 0.5
    sweeps: bool = False
    supersample: int = 2

    def __post_init__(self) -> None:
        _require(math.isfinite(self.duration_s) and self.samples >= 1, "duration_s", self.duration_s, ">= 0.5")
        _require(len(self.image_size) == 2 and min(self.image_size) >= 16, "image_size", self.image_size, ">= 16x16")
        width, height = self.image_size
        _require(16 * height <= 9 * width, "image_size", self.image_size, "at most 9 rows for 16 columns")
        _require(5.0 <= self.range_m <= 100.0, "range_m", self.range_m, "in [5, 100]")
        _require(0 <= self.objects <= 200, "objects", self.objects, "in 0..200")
        _require(0.0 <= self.clutter <= 1.0, "clutter", self.clutter, "in [0, 1]")
        _require(1 <= self.supersample <= 4, "supersample", self.supersample, "in 1..4")

    @property
    def samples(self) -> int:
        """Keyframes of the drive."""
        return int(self.duration_s * SAMPLE_RATE_HZ + 1e-6) if math.isfinite(self.duration_s) else 0


@dataclass(frozen=True)
class Difficulty:
    """The fields of `DriveConfig` that decide how hard a drive is."""

    range_m: float
    objects: int
    clutter: float


DIFFICULTIES = {
    "easy": Difficulty(range_m=35.0, objects=20, clutter=0.1),
    "medium": Difficulty(range_m=60.0, objects=40, clutter=0.5),
    "hard": Difficulty(range_m=60.0, objects=80, clutter=1.0),
    "demo": Difficulty(range_m=22.0, objects=50, clutter=0.1),
}
"""The last is the world of the demo model, to train and to score it in: what its small images can show."""

DEMO_IMAGE_SIZE = (352, 198)
"""Width and height whose lower part is the demo model's image, pixel by pixel."""


def with_difficulty(config: DriveConfig, name: str) -> DriveConfig:
    """``config`` at a named difficulty; raises naming the known ones."""
    if name not in DIFFICULTIES:
        raise ValueError(f"difficulty is {name!r}, expected one of {', '.join(DIFFICULTIES)}")
    return dataclasses.replace(config, **dataclasses.asdict(DIFFICULTIES[name]))
