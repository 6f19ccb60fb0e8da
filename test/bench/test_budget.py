"""The measuring of a latency budget; whether it is held is for bench.budget to say, on a machine of its own."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import numpy as np
import pytest

from bench import budget
from bench.shapes import SHAPES
from tggbc_ros.core.config import KeepConfig, ModelConfig
from tggbc_ros.core.types import StepReport


def report(decode_ms: float, keys: int = 50, feasible: bool = True) -> StepReport:
    return StepReport(
        keep_ratio=1.0,
        keys=(100, keys),
        stage_ms={"decode": decode_ms},
        memory_age_s=0.5,
        reset_cause="",
        kept=np.arange(keys),
        num_cells=100,
        feasible=feasible,
    )


def cpu_s(pid: int) -> float:
    """Processor time that a process has taken."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def share_of_a_second(pid: int) -> float:
    """Of one core, over the next second."""
    start_s, spent_s = time.monotonic(), cpu_s(pid)
    time.sleep(1.0)
    return (cpu_s(pid) - spent_s) / (time.monotonic() - start_s)


def test_frames_are_judged_after_settling() -> None:
    settling = [report(900.0, keys) for keys in range(1, 1 + budget.SETTLING)]
    judged = [*(report(40.0) for _ in range(17)), report(70.0, 40), report(40.0, 40), report(40.0, feasible=False)]
    row = budget.judge([*settling, *judged], KeepConfig("budget", budget_ms=60.0))
    assert row["budget_ms"] == 60.0
    assert row["p95_ms"] == pytest.approx(41.5)
    assert row["late"] == pytest.approx(1 / 20)
    assert row["changes"] == 2
    assert row["keep_ratio"] == 0.5
    assert row["feasible"] == pytest.approx(19 / 20)
    assert row["decode_ms"][:2] == [900.0, 900.0]


def test_load_is_there_and_goes_away() -> None:
    with budget.load(2, 1.0):
        busy = budget.multiprocessing.active_children()
        assert len(busy) == 2
        assert all(process.is_alive() for process in busy)
    assert not budget.multiprocessing.active_children()


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="no /proc on this system")
def test_load_leaves_the_rest_of_the_time() -> None:
    """A busy machine may grant less than the duty, never much more."""
    with budget.load(1, 0.2):
        (process,) = budget.multiprocessing.active_children()
        deadline_s = time.monotonic() + 60.0
        while not 0.02 < share_of_a_second(process.pid) < 0.5:  # while it imports, it takes all it can get
            assert time.monotonic() < deadline_s


def test_the_command_goes_through_all_phases(
    tiny: ModelConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(SHAPES, "28x144", tiny)
    assert budget.main(["--shape", "28x144", "--frames", "12", "--out", str(tmp_path)]) == 0
    rows = json.loads((tmp_path / "bench_budget.json").read_text())
    assert [(row["phase"], row["processes"]) for row in rows] == [
        ("at rest", 0),
        ("under load", 1),
        ("at rest again", 0),
    ]
    assert all(len(row["decode_ms"]) == 12 for row in rows)
    assert "under load" in capsys.readouterr().out


@pytest.mark.parametrize("wrong", [["--frames", "10"], ["--share", "1.5"], ["--duty", "0"]])
def test_what_cannot_be_measured_is_refused(wrong: list[str]) -> None:
    with pytest.raises(SystemExit):
        budget.main(wrong)
