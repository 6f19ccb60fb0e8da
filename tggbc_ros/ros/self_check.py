"""All of /diagnostics at one moment, and what it has to remember for that from one moment to the next."""

from __future__ import annotations

import time
from collections.abc import Mapping

from builtin_interfaces.msg import Time
from diagnostic_msgs.msg import DiagnosticArray

from tggbc_ros.ros import diagnostics
from tggbc_ros.ros.drops import Totals
from tggbc_ros.ros.frame_line import FrameLine
from tggbc_ros.ros.memory_use import memory_use_mb
from tggbc_ros.ros.params import Settings
from tggbc_ros.ros.report import Identity


class SelfCheck:
    """Asks the node's parts how they are. What it remembers is of one FrameLine, from one activation to the next."""

    def __init__(self) -> None:
        self._line: FrameLine | None = None
        self._told: Totals | None = None
        self._newest_pose: tuple[int | None, float] = None, 0.0

    def message(
        self,
        stamp: Time,
        state: str,
        settings: Settings,
        identity: Identity | None,
        line: FrameLine | None,
        hidden: Mapping[str, float],
    ) -> DiagnosticArray:
        """Every status. hidden: share of its cells that a camera's ego mask hides."""
        if line is not self._line:
            self._line, self._told, self._newest_pose = line, None, (None, time.monotonic())
        alive = line is not None and line.worker.is_alive()
        paused = line is not None and line.paused
        draws = line is None or line.draws
        array = DiagnosticArray()
        array.header.stamp = stamp
        array.status = [
            diagnostics.node_status(state, alive, paused, draws),
            diagnostics.network_status(identity, memory_use_mb(identity.device if identity else "cpu")),
        ]
        if line is not None:
            self._add_line(array, settings, line, hidden)
        return array

    def _add_line(
        self, array: DiagnosticArray, settings: Settings, line: FrameLine, hidden: Mapping[str, float]
    ) -> None:
        """What there is only while the node is active."""
        totals, before, now_s = line.account.totals(), self._told, time.monotonic()
        feeds, calibrated = line.cameras.feeds, line.calibrated
        cameras = [diagnostics.camera_status(name, feeds[name], name in calibrated, settings, now_s) for name in feeds]
        array.status += [
            *cameras,
            diagnostics.rig_status(list(feeds), line.last_missing, hidden),
            diagnostics.sync_status(totals, before, line.sync.buffered),
            diagnostics.pose_status(self._pose(line, now_s), settings, totals.drops),
            diagnostics.memory_status(totals, before, line.last_step),
            diagnostics.stage_status(line.times.spreads(), settings),
            diagnostics.pruning_status(settings.pruning(), line.last_step),
        ]
        self._told = totals

    def _pose(self, line: FrameLine, now_s: float) -> diagnostics.Pose:
        """Age by how long the newest stamp has stood still, whatever clock it is of."""
        newest_ns = line.poses.newest_ns()
        if newest_ns != self._newest_pose[0]:
            self._newest_pose = newest_ns, now_s
        return diagnostics.Pose(newest_ns, now_s - self._newest_pose[1], dict(line.poses.fixed))
