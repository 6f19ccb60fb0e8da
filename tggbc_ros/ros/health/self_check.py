"""All of /diagnostics at one moment, and what it has to remember for that from one moment to the next."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Mapping

from builtin_interfaces.msg import Time
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus

from tggbc_ros.ros.drops import Totals
from tggbc_ros.ros.frame_line import FrameLine
from tggbc_ros.ros.health import diagnostics
from tggbc_ros.ros.health.memory_use import memory_use_mb
from tggbc_ros.ros.images.camera_topics import Feed
from tggbc_ros.ros.output.report import Identity
from tggbc_ros.ros.params import Settings


class Stillness:
    """For how long a value has been the same."""

    def __init__(self, now_s: float) -> None:
        self._value: object = None
        self._since_s = now_s

    def age_s(self, value: object, now_s: float, excused: bool = False) -> float:
        """How long it has not changed, by the monotonic clock; time in which it is excused does not count."""
        if value != self._value or excused:
            self._value, self._since_s = value, now_s
        return now_s - self._since_s


class SelfCheck:
    """Asks the node's parts how they are. What it remembers is of one FrameLine, from one activation to the next.

    full_name: the node's, with its namespace. warn: for what a log should tell as well, once it is so.
    """

    def __init__(self, full_name: str, warn: Callable[[str], object]) -> None:
        self._of = full_name, socket.gethostname()
        self._warn = warn
        self._hinted = False
        self._line: FrameLine | None = None
        self._told: Totals | None = None
        self._newest_pose = self._published = Stillness(0.0)

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
            self._line, self._told = line, None
            self._newest_pose, self._published = Stillness(time.monotonic()), Stillness(time.monotonic())
        alive = line is not None and line.worker.is_alive()
        paused = line is not None and line.paused
        draws = line is None or line.draws
        step = line.last_step if line is not None else None
        array = DiagnosticArray()
        array.header.stamp = stamp
        array.status = [
            diagnostics.node_status(state, alive, paused, draws),
            diagnostics.network_status(
                identity,
                memory_use_mb(identity.device if identity else "cpu"),
                step.beyond_calibration if step else None,
            ),
        ]
        if line is not None:
            self._add_line(array, settings, line, hidden)
        array.status = [diagnostics.of_node(status, *self._of) for status in array.status]
        return array

    def _add_line(
        self, array: DiagnosticArray, settings: Settings, line: FrameLine, hidden: Mapping[str, float]
    ) -> None:
        """What there is only while the node is active."""
        totals, before, now_s = line.account.totals(), self._told, time.monotonic()
        feeds = line.intake.feeds
        sending = any(_sends(feed, now_s, settings) for feed in feeds.values())
        nothing_expected = line.paused or not (sending or totals.sets_published)
        spreads = line.times.spreads()
        patience_s = diagnostics.answer_patience_s(spreads, settings)
        unanswered_s = self._published.age_s(totals.sets_published, now_s, excused=nothing_expected)
        last_set = (
            diagnostics.rig_status(
                list(feeds), line.last_missing, hidden, line.rig_check.found, settings.allow_implausible_rig
            ),
            diagnostics.memory_status(totals, before, line.last_step),
            diagnostics.stage_status(spreads, settings),
            diagnostics.pruning_status(settings.pruning(), line.last_step),
        )
        array.status += [
            *(
                diagnostics.camera_status(name, feed, line.intake.has_file(name), settings, now_s, patience_s)
                for name, feed in feeds.items()
            ),
            self._sync(line, settings, totals, sending, unanswered_s, patience_s),
            diagnostics.pose_status(self._pose(line, now_s), settings, totals.drops),
            *(diagnostics.of_last_set(status, unanswered_s, patience_s) for status in last_set),
        ]
        self._told = totals

    def _sync(
        self,
        line: FrameLine,
        settings: Settings,
        totals: Totals,
        sending: bool,
        unanswered_s: float,
        patience_s: float,
    ) -> DiagnosticStatus:
        sync, before = line.intake.sync, self._told
        hint = diagnostics.stagger_hint(sync.stagger(), settings.max_spread_s)
        if hint and not self._hinted:
            self._warn(f"no set of all cameras: {hint}")
        self._hinted = bool(hint)
        return diagnostics.sync_status(totals, before, sync.buffered, sending, unanswered_s, patience_s, hint)

    def _pose(self, line: FrameLine, now_s: float) -> diagnostics.Pose:
        """Age by how long the newest stamp has stood still, whatever clock it is of."""
        newest_ns = line.poses.newest_ns()
        return diagnostics.Pose(newest_ns, self._newest_pose.age_s(newest_ns, now_s), dict(line.poses.fixed))


def _sends(feed: Feed, now_s: float, settings: Settings) -> bool:
    return feed.last_arrival_s is not None and now_s - feed.last_arrival_s <= settings.diagnostics_stale_s
