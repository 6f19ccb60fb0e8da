"""report: what ran is told of any installation, one without pip's names for its libraries included."""

from __future__ import annotations

from importlib.metadata import Distribution, PackageNotFoundError, version
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from tggbc_ros.evaluation.results import Row
from tggbc_ros.showcase.plan import Plan
from tggbc_ros.showcase.report import demo_report

PLAN = Plan(Path("out"), "demo", "", seed=5, seconds=2.0, keep_ratios=(1.0, 0.3), show_score=0.3)
OF_MODULES = f"torch {torch.__version__}, numpy {np.__version__}, opencv {cv2.__version__}"


def row(keep_ratio: float, keys_total: int = 1056) -> Row:
    model = {"model": "demo", "prune_layers": "1", "prune_queries": 32, "weights": "demo", "device": "cpu"}
    return {
        "keep_ratio": keep_ratio,
        "keys_total": keys_total,
        "samples": 4,
        "objects_car": 17,
        "objects_bus": 2,
        **model,
    }


def libraries() -> str:
    return demo_report(PLAN, [row(ratio) for ratio in PLAN.keep_ratios]).facts["libraries"]


def test_libraries_have_the_versions_that_run() -> None:
    assert libraries() == f"{OF_MODULES}, nuscenes-devkit {version('nuscenes-devkit')}, rosbags {version('rosbags')}"


def test_libraries_that_pip_does_not_know_are_no_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    def not_found(name: str) -> Distribution:
        raise PackageNotFoundError(name)

    monkeypatch.setattr(Distribution, "from_name", not_found)
    assert libraries() == f"{OF_MODULES}, nuscenes-devkit of unknown version, rosbags of unknown version"


def test_the_lead_counts_frames_and_objects() -> None:
    report = demo_report(PLAN, [row(ratio) for ratio in PLAN.keep_ratios])
    assert "4 frames with 19 scored objects" in report.lead
    assert report.warning == ""


@pytest.mark.parametrize(("keys_total", "few"), [(1056, True), (4224, False)])
def test_it_says_where_there_is_no_time_to_be_saved(keys_total: int, few: bool) -> None:
    captions = [figure.caption for figure in demo_report(PLAN, [row(1.0, keys_total), row(0.3, keys_total)]).figures]
    assert (f"{keys_total} keys are so few" in captions[-1]) == few
