"""report: what ran is told of any installation, one without pip's names for its libraries included."""

from __future__ import annotations

from dataclasses import replace
from importlib.metadata import Distribution, PackageNotFoundError, version
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from tggbc_ros.evaluation.results import Row
from tggbc_ros.showcase.plan import Network, Plan
from tggbc_ros.showcase.report import demo_report, gain

DENSE, SLIM = Network("dense", "demo"), Network("slim", "demo_slim", backend="openvino_int8")
PLAN = Plan(Path("out"), (DENSE,), seed=5, seconds=2.0, keep_ratios=(1.0, 0.3), show_score=0.3)
BOTH = replace(PLAN, networks=(DENSE, SLIM))
OF_MODULES = f"torch {torch.__version__}, numpy {np.__version__}, opencv {cv2.__version__}"


def row(keep_ratio: float, keys_total: int = 1056, frame_ms: float = 40.0, network: str = "dense") -> Row:
    model = {"model": "demo", "prune_layers": "1", "prune_queries": 32, "weights": "demo", "device": "cpu"}
    return {
        "network": network,
        "keep_ratio": keep_ratio,
        "keys_total": keys_total,
        "frame_ms": frame_ms,
        "mAP": 0.5,
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


@pytest.mark.parametrize(
    ("frame_ms", "said"),
    [
        (16.0, "2.5 times as fast: 40.0 -> 16.0 ms a frame, mAP 0.500 -> 0.500."),
        (39.0, "On this machine nothing is gained: 40.0 -> 39.0 ms a frame, mAP 0.500 -> 0.500."),
        (50.0, "On this machine nothing is gained: 40.0 -> 50.0 ms a frame, mAP 0.500 -> 0.500."),
    ],
)
def test_the_page_leads_with_what_is_saved_or_that_nothing_is(frame_ms: float, said: str) -> None:
    rows = [row(1.0), row(0.3), row(1.0, network="slim"), row(0.3, frame_ms=frame_ms, network="slim")]
    assert gain(rows[0], rows[BOTH.shown]) == said
    report = demo_report(BOTH, rows)
    assert report.lead.startswith(f"{said} StreamPETR with tgGBC, dense against slim: the six cameras")
    assert "the whole frame's time" in report.figures[-1].caption


def test_the_command_repeats_what_was_asked() -> None:
    rows = [row(ratio) for ratio in (1.0, 0.3)]
    assert demo_report(PLAN, rows).commands["this page"] == (
        "make demo ARGS='--model demo --faster none --seed 5 --seconds 2 --keep-ratio 1 0.3'"
    )
    assert (
        "--faster demo_slim --faster-backend openvino_int8 --seed" in demo_report(BOTH, rows * 2).commands["this page"]
    )
