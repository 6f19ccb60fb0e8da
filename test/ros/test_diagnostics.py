"""diagnostics: the level follows what went wrong lately, not what arrives."""

from __future__ import annotations

import numpy as np
import pytest
from diagnostic_msgs.msg import DiagnosticStatus

from tggbc_ros.core.config import KeepConfig, PruningConfig
from tggbc_ros.core.types import StepReport
from tggbc_ros.ros.diagnostics import pruning_status, rig_status, sync_status
from tggbc_ros.ros.drops import Totals

OK, WARN, ERROR = DiagnosticStatus.OK, DiagnosticStatus.WARN, DiagnosticStatus.ERROR


def totals(published: int, **drops: int) -> Totals:
    received = published + sum(count for cause, count in drops.items() if cause.startswith("set_"))
    return Totals(received, published, drops, {}, "")


@pytest.mark.parametrize(
    ("before", "now", "level", "message"),
    [
        (None, totals(0), WARN, "no complete set yet"),
        (None, totals(3), OK, "3 of 3 sets published"),
        (totals(3), totals(5, set_superseded=4), OK, "5 of 9 sets published"),
        (totals(3, image_late=1), totals(5, image_late=9), OK, "5 of 5 sets published"),
        (totals(3), totals(5, set_pose_missing=1), WARN, "sets dropped: set_pose_missing"),
        (totals(5, set_pose_missing=1), totals(5, set_pose_missing=3), ERROR, "sets dropped: set_pose_missing"),
        (totals(5, set_pose_missing=3), totals(6, set_pose_missing=3), OK, "6 of 9 sets published"),
        (None, totals(0, set_inference_failed=2), ERROR, "sets dropped: set_inference_failed"),
    ],
)
def test_synchroniser(before: Totals | None, now: Totals, level: bytes, message: str) -> None:
    status = sync_status(now, before, buffered=0)
    assert (status.level, status.message) == (level, message)


def step(feasible: bool) -> StepReport:
    return StepReport(0.5, (100, 25), {}, 0.0, "", np.arange(25), num_cells=200, voters=7, feasible=feasible)


def test_pruning_says_what_was_kept() -> None:
    status = pruning_status(PruningConfig(0.5), step(feasible=True))
    values = {pair.key: pair.value for pair in status.values}
    assert (status.level, status.message) == (OK, "fixed: 25 of 200 keys kept")
    assert (values["keep_ratio"], values["keep_ratio_used"], values["keys"]) == ("0.5", "0.1250", "100 25")
    assert (values["keep_mode"], values["voters"]) == ("fixed", "7")
    assert pruning_status(PruningConfig(), None).level == OK


def test_pruning_warns_of_a_budget_out_of_reach() -> None:
    config = PruningConfig(0.5, keep=KeepConfig("budget", min_ratio=0.1, budget_ms=20.0))
    status = pruning_status(config, step(feasible=False))
    assert status.level == WARN
    assert status.message == "even a keep ratio of 0.1 misses 20.0 ms of decoder time"
    assert pruning_status(config, step(feasible=True)).level == OK


def test_rig_warns_of_missing_cameras_and_tells_of_masks() -> None:
    status = rig_status(("a", "b", "c"), (), {"b": 0.25})
    values = {pair.key: pair.value for pair in status.values}
    assert (status.level, status.message) == (OK, "3 cameras")
    assert values == {"cameras": "3", "missing": "", "hidden: b": "0.250"}
    status = rig_status(("a", "b", "c"), ("a", "c"), {})
    assert (status.level, status.message) == (WARN, "without a, c")
    assert {pair.key: pair.value for pair in status.values} == {"cameras": "3", "missing": "a c"}
