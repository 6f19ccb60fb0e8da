"""The images that an encoder's ranges are learned from: which of many, whether they will do, what is told of them."""

from __future__ import annotations

import hashlib
import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Images = npt.NDArray[np.float32]
"""One set of images [cameras, 3, H, W] as the encoder takes them."""

FRAMES = 64
FEWEST_FRAMES = 8
USUAL = 0.999
"""Share of the features that are called usual."""


class CalibrationError(ValueError):
    """Images that no ranges can be learned from."""


@dataclass(frozen=True)
class Calibration:
    """What an encoder's ranges were learned from. sha256: of the images as the encoder saw them, in their order.

    made_by: library and version that quantised. image_range: least and greatest value of the encoder's input that its
    quantiser can tell. feature_limits: [channels], below which `USUAL` of the features' sizes lay, of these images.
    """

    source: str
    frames: int
    cameras: int
    sha256: str
    made_by: str = ""
    image_range: tuple[float, float] = (-math.inf, math.inf)
    feature_limits: tuple[float, ...] = ()


def parse(record: Mapping[str, Any]) -> Calibration:
    """Of what `dataclasses.asdict` made; raises TypeError or KeyError for another form."""
    ranges = {name: tuple(record[name]) for name in ("image_range", "feature_limits")}
    return Calibration(**{**record, **ranges})


def spread(lengths: Sequence[int], frames: int, seed: int) -> list[list[int]]:
    """Which frames of each sequence to take: all sequences alike, each over its whole length, ``frames`` in all.

    One frame of each equal stretch of a sequence, which one is drawn. All of them where there are no more.
    """
    rng = np.random.default_rng(seed)
    shares = _shares(lengths, frames)
    taken = []
    for length, share in zip(lengths, shares, strict=True):
        edges = np.linspace(0, length, share + 1).astype(int)
        taken.append([int(rng.integers(start, stop)) for start, stop in itertools.pairwise(edges)])
    return taken


def _shares(lengths: Sequence[int], frames: int) -> list[int]:
    """How many frames of each sequence: as equal as their lengths allow."""
    shares, left = [0] * len(lengths), min(frames, sum(lengths))
    while left:
        for index in np.argsort(shares, kind="stable"):
            if left and shares[index] < lengths[index]:
                shares[index] += 1
                left -= 1
    return shares


def describe(images: Sequence[Images], source: str, shape: tuple[int, int]) -> Calibration:
    """What will be learned from; raises CalibrationError for images that do not fit, are too few, or show nothing.

    shape: height and width of the encoder's images.
    """
    if len(images) < FEWEST_FRAMES:
        raise CalibrationError(f"{source} gives {len(images)} sets of images, expected at least {FEWEST_FRAMES}")
    digest = hashlib.sha256()
    for number, each in enumerate(images):
        expected = images[0].shape[0], 3, *shape
        if each.shape != expected:
            raise CalibrationError(f"set {number} of {source} has shape {each.shape}, expected {expected}")
        if not np.isfinite(each).all():
            raise CalibrationError(f"set {number} of {source} holds NaN or infinity")
        digest.update(np.ascontiguousarray(each).tobytes())
    blank = sum(float(np.ptp(each, axis=(2, 3)).max()) == 0 for each in images)
    if len(images) - blank < FEWEST_FRAMES:
        found = f"{blank} of the {len(images)} sets of images of {source} are of one colour"
        raise CalibrationError(f"{found}, expected at least {FEWEST_FRAMES} others")
    return Calibration(source, len(images), images[0].shape[0], digest.hexdigest())
