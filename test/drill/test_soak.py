"""soak: growth and drift are told from noise, by medians of the first and the last third after the warm-up."""

from __future__ import annotations

import subprocess
import sys

import pytest

from drill.books import Books
from drill.soak import Sample, rss_mb, summary
from drill.verdict import Row

ROW = Row("soak", Books(7200, 7200), 1)


def samples(growth_mb: float = 0.0, drift_ms: float = 0.0, warm_up_mb: float = 0.0) -> list[Sample]:
    """Ten minutes; what grows, grows evenly after the first minute."""
    found = []
    for second in range(600):
        share = max(0.0, second - 60) / 540
        rss = 500.0 + growth_mb * share + (0.0 if second > 60 else -warm_up_mb)
        found.append(Sample(float(second), rss, 40.0 + drift_ms * share + second % 3))
    return found


def test_a_steady_node_passes_whatever_it_took_to_warm_up() -> None:
    result = summary(10.0, ROW, samples(warm_up_mb=200.0))
    assert (result["pass"], result["problems"], result["sets_in"]) == (True, [], 7200)
    assert result["rss_mb"] == {"first_third": 500.0, "last_third": 500.0, "growth": 0.0}
    assert result["latency_ms_p50"] == {"first_third": 41.0, "last_third": 41.0}


@pytest.mark.parametrize(
    ("grown", "problem"),
    [({"growth_mb": 30.0}, "memory grew by 4.0%"), ({"drift_ms": 20.0}, "latency went from 44.")],
)
def test_growth_and_drift_are_told(grown: dict[str, float], problem: str) -> None:
    result = summary(10.0, ROW, samples(**grown))
    assert not result["pass"]
    assert problem in result["problems"][0]


def test_seconds_without_a_set_are_told() -> None:
    silent = [sample._replace(latency_ms=float("inf")) for sample in samples()]
    result = summary(10.0, ROW, silent)
    assert result["latency_ms_p50"] == {"first_third": None, "last_third": None}
    assert "nothing was published" in result["problems"][0]


def test_resident_memory_is_that_of_the_process() -> None:
    program = "block = b'x' * 64_000_000; print('held', flush=True); input()"
    with subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == b"held\n"
        assert 64 < rss_mb(child.pid) < 100
        child.kill()
