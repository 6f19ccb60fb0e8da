"""diagnostics: the level follows what went wrong lately, not what arrives."""

from __future__ import annotations

import pytest
from diagnostic_msgs.msg import DiagnosticStatus

from tggbc_ros.ros.diagnostics import sync_status
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
