"""stage_times: what the last hundred sets took."""

from __future__ import annotations

import pytest

from tggbc_ros.ros.health.stage_times import KEPT_SETS, StageTimes


def test_median_95_percent_and_maximum_by_stage() -> None:
    times = StageTimes()
    for number in range(21):
        times.add({"images": 10.0, "decode": float(number)})
    spreads = times.spreads()
    assert list(spreads) == ["images", "decode"]
    assert (spreads["decode"].p50_ms, spreads["decode"].p95_ms, spreads["decode"].max_ms) == (10.0, 19.0, 20.0)
    assert spreads["images"].p95_ms == pytest.approx(10.0)


def test_only_the_last_sets_count_and_none_is_empty() -> None:
    times = StageTimes()
    assert times.spreads() == {}
    times.add({"decode": 1e6})
    for _ in range(KEPT_SETS):
        times.add({"decode": 5.0})
    assert times.spreads()["decode"].max_ms == 5.0
