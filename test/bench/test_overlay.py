"""bench.overlay: every stage is timed, and boxes are what drawing costs more for."""

from __future__ import annotations

import numpy as np
import pytest

from bench.overlay import boxes_around, main, measure
from tggbc_ros.ros.output.overlay_topics import OverlayOptions


def test_stages_are_timed() -> None:
    found = measure(5, OverlayOptions(width=160, kept_keys=True), repeats=2)
    assert list(found) == ["draw", "mosaic", "jpeg"]
    assert all(value > 0 for value in found.values())


def test_boxes_stand_around_the_vehicle() -> None:
    ranges_m = np.hypot(*boxes_around(40).center[:, :2].T)
    assert 8 <= ranges_m.min() <= ranges_m.max() <= 50


def test_the_table_has_a_line_for_each_case(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--repeats", "1", "--width", "64"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 7
    assert [line.split()[:2] for line in lines[1:3]] == [["0", "False"], ["0", "True"]]
