"""ros_side: the node is measured as a process of its own, and the figures are sums that hold."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import rclpy
from tggbc_ros.msg import Count, FrameReport, StageTime

from bench import ros_side
from bench.ros_rig import Input, jpeg_image, picture
from bench.ros_side import Case, measure
from tggbc_ros.ros.convert import header

pytestmark = pytest.mark.timeout(180)


@pytest.fixture
def ros(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A DDS domain of its own, which the node's process inherits."""
    repository = Path(__file__).resolve().parents[2]
    monkeypatch.chdir(repository)
    monkeypatch.setenv("ROS_DOMAIN_ID", str(os.getpid() % 100 + 1))
    rclpy.init()
    yield
    rclpy.try_shutdown()


def test_images_are_as_large_as_those_of_nuscenes() -> None:
    assert picture(0).shape == (900, 1600, 3)
    assert 100_000 < len(jpeg_image("CAM_FRONT", 0).data) < 250_000


def report(stamp_ns: int, **stages: float) -> FrameReport:
    times = [StageTime(stage=stage, ms=ms) for stage, ms in stages.items()]
    return FrameReport(header=header(stamp_ns, ""), stages=times, drops=[Count(cause="set_superseded", count=1)])


def test_shares_are_of_one_core_and_stages_of_the_set_are_summed() -> None:
    reports = [report(n, wait=1.0, images=2.0 + n, poses=3.0, preprocess=50.0, publish=4.0) for n in range(3)]
    spent = {
        "decode": {"calls": 24, "cpu_s": 0.12},
        "preprocess": {"calls": 24, "cpu_s": 0.24},
        "straighten": {"calls": 0, "cpu_s": 0.0},
    }
    case = Case("made up", Input(rate_hz=10.0))
    row = ros_side._row(
        case, sent=[1, 2, 3, 4], reports=reports, ages_ms=[40.0, 60.0], cpu_s=0.4, wall_s=0.4, spent=spent
    )
    assert (row["sets_sent"], row["sets_published"], row["sets_lost"]) == (4, 3, 1)
    assert row["drops"] == {"set_superseded": 1}
    assert row["sets_per_s"] == pytest.approx(7.5)
    assert row["cpu_ms_per_set"] == pytest.approx(100.0)
    assert (row["decode_ms_per_set"], row["preprocess_ms_per_set"]) == (pytest.approx(30.0), pytest.approx(60.0))
    assert row["cpu_share"] == pytest.approx(1.0)
    assert row["cpu_share_beyond_decoding"] == pytest.approx(0.7)
    assert row["cpu_share_beyond_decoding_and_preprocessing"] == pytest.approx(0.1)
    assert row["straighten_ms_per_set"] == 0.0
    assert row["arrival_to_set_ms"]["p50"] == pytest.approx(7.0)
    assert row["stamp_to_boxes_ms"]["p50"] == pytest.approx(50.0)
    assert row["stages_ms"]["preprocess"] == 50.0


def test_a_case_is_measured_on_a_real_node(ros: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ros_side, "WARM_UP_SETS", 2)
    case = Case("slow", Input(distorted=True, rate_hz=1.0), {"resize": "fast", "jpeg_decode": "reduced"})
    row = measure(case, "demo", 3, tmp_path)
    assert 1 <= row["sets_published"] <= 3
    assert all(row[f"{name}_ms_per_set"] > 0 for name in ("decode", "preprocess", "straighten"))
    assert row["cpu_ms_per_set"] > row["decode_ms_per_set"]
    assert list(row["stages_ms"])[:3] == ["wait", "images", "poses"]
    assert 0 < row["arrival_to_set_ms"]["p50"] < row["stamp_to_boxes_ms"]["p50"]
