"""plot: a picture with two panels where there are ratios to draw."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from tggbc_ros.drawing.palette import load_palette
from tggbc_ros.evaluation.plot import accuracy_plot, variants_plot
from tggbc_ros.evaluation.results import Row


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


def test_variants_are_points_that_lie_where_their_keys_are(tmp_path: Path) -> None:
    """Three ways to prune: two points apart in keys have the same time, and so lie upon each other on the right."""
    path = tmp_path / "new" / "plot.png"
    keys = {"keep_ratio=0.3": 100.0, "keep_ratio=0.3 prune_layers=2": 200.0, "keep_ratio=0.5": 300.0}
    rows = [
        {"variant": name, "mAP": 0.4, "keys_mean": mean, "decoder_ms": 30.0 if mean == 300.0 else 10.0}
        for name, mean in keys.items()
    ]
    variants_plot(rows, path, "tiny")
    picture = cv2.imread(str(path)).astype(int)
    drawn = np.abs(picture - load_palette(()).curves["mAP"]).max(axis=-1) < 20
    _, _, found, centres = cv2.connectedComponentsWithStats(drawn.astype(np.uint8))
    places = sorted(centres[1:][found[1:, cv2.CC_STAT_AREA] > 10, 0])  # smaller ones are the edges of other things
    assert len(places) == 5
    assert places[1] - places[0] == pytest.approx(places[2] - places[1], abs=1.5)
