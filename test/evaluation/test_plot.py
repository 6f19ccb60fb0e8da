"""plot: a picture with two panels where there are ratios to draw."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from tggbc_ros.evaluation.plot import accuracy_plot
from tggbc_ros.evaluation.results import Row
from tggbc_ros.ros.palette import load_palette


def row(keep_ratio: float | None, score: float) -> Row:
    return {"keep_ratio": keep_ratio, "mAP": score, "NDS": score + 0.1, "decoder_ms": 10.0 + 20.0 * (keep_ratio or 0.0)}


def curve_pixels(path: Path, left: bool) -> int:
    """How many pixels of one half have the colour of the NDS curve."""
    picture = cv2.imread(str(path))
    half = picture[:, : picture.shape[1] // 2] if left else picture[:, picture.shape[1] // 2 :]
    return int((np.abs(half.astype(int) - load_palette(()).curves["NDS"]).max(axis=-1) < 20).sum())


def test_curves_in_both_panels(tmp_path: Path) -> None:
    path = tmp_path / "new" / "plot.png"
    assert accuracy_plot([row(1.0, 0.4), row(0.3, 0.39), row(0.1, 0.2)], path, "tiny")
    assert curve_pixels(path, left=True) > 300
    assert curve_pixels(path, left=False) > 300


def test_nothing_to_draw(tmp_path: Path) -> None:
    assert not accuracy_plot([row(None, 1.0)], tmp_path / "plot.png", "tiny")
    assert not (tmp_path / "plot.png").exists()
