"""Importance on disk: the scores of a backbone's channels, and what they were measured on."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tggbc_ros.compress import layout
from tggbc_ros.compress.importance import Array
from tggbc_ros.compress.score import Scores
from tggbc_ros.compress.slim.ledger import read_json, write_json
from tggbc_ros.core.shape import Shape

FORMAT = "tggbc_ros importance 1"
COUNTS = ("batches", "without_objects", "not_finite")


@dataclass(frozen=True)
class MeasuredOn:
    """What scores are of. weights: SHA-256 of the checkpoint; data, split, frames, batch, seed: what it was shown."""

    model: str
    weights: str
    data: str
    split: str
    frames: int
    batch: int
    seed: int


def write_scores(path: Path, scores: Scores, on: MeasuredOn) -> None:
    """As JSON: what it is of, the counts, and a list for each layer."""
    content: dict[str, Any] = {"format": FORMAT, "measured_on": vars(on)}
    content |= {name: getattr(scores, name) for name in COUNTS}
    content["importance"] = {name: each.tolist() for name, each in scores.importance.items()}
    write_json(path, content)


def read_scores(path: Path, shape: Shape, weights: str) -> Scores:
    """The scores of a backbone of that shape with those weights (SHA-256 of their file).

    Raises OSError, or ValueError in one line for what is damaged, of other weights, or no importance (NaN, say).
    """
    content = read_json(path, FORMAT)
    measured, given = content.get("measured_on"), content.get("importance")
    found = measured.get("weights") if isinstance(measured, dict) else None
    if found != weights:
        raise ValueError(f"{path} is of weights sha256:{str(found)[:16]}, expected sha256:{weights[:16]}")
    counts = [each for each in map(content.get, COUNTS) if type(each) is int]
    if not isinstance(given, dict) or len(counts) != len(COUNTS):
        raise ValueError(f"{path} lacks importance, or one of {', '.join(COUNTS)}")
    importance = {name: np.array(each, np.float64) for name, each in given.items() if _numbers(each)}
    expect_scores(importance, shape, str(path))
    return Scores(importance, *counts)


def expect_scores(importance: dict[str, Array], shape: Shape, source: str) -> None:
    """Raise ValueError naming the layer whose importance is missing, of another width, negative, NaN or infinite."""
    widths = layout.widths(shape)
    for layer in layout.layers(shape):
        found, expected = importance.get(layer.name), widths[layer.group]
        if found is None or found.shape != (expected,):
            raise ValueError(
                f"{source}: layer {layer.name} has {0 if found is None else len(found)} scores, expected {expected}"
            )
        wrong = np.flatnonzero(~(np.isfinite(found) & (found >= 0)))
        if len(wrong):
            raise ValueError(
                f"{source}: the score of channel {wrong[0]} of layer {layer.name} is {found[wrong[0]]}, expected a "
                "finite number of at least 0"
            )


def _numbers(values: object) -> bool:
    return isinstance(values, list) and all(isinstance(each, float | int) for each in values)
