"""The training ground: a running node, the rig that feeds it, and a record of what went in and what came out."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import rclpy
from nav_msgs.msg import Odometry
from rclpy.context import Context
from std_msgs.msg import Header
from synthetic_rig import SyntheticRig, ego2global, nanoseconds, stamp
from tggbc_ros.msg import FrameReport

from drill.books import Books, closed, reported
from drill.node import DrillError, NodeOptions, detector
from tggbc_ros.core.geometry import quaternion_from_rotation
from tggbc_ros.ros.params import CAMERAS

PACE_S = 0.12
UNANSWERED = 6
"""Sets that may go out before one is waited for: a queue of DDS holds ten and loses more without a word."""
TURN_S = 0.02
ANSWER_TURNS = 1500
"""Patience is counted in turns of the drill's own loop: a machine that is busy, or stood still, holds up both sides."""
START_TIMEOUT_S = 90.0
PATIENCE_SETS = 5


class DriveRig(SyntheticRig):
    """Also tells the odometry, and can be moved aside at once."""

    shift_m = 0.0

    def publish_poses(self, stamps_ns: Iterable[int]) -> None:
        """By TF and by odometry."""
        stamps_ns = list(stamps_ns)
        super().publish_poses(stamps_ns)
        for stamp_ns in stamps_ns:
            message = Odometry(header=Header(stamp=stamp(stamp_ns), frame_id="odom"), child_frame_id="base_link")
            matrix, place, turn = ego2global(stamp_ns), message.pose.pose.position, message.pose.pose.orientation
            place.x, place.y, place.z = (matrix[:3, 3] + [self.shift_m, 0.0, 0.0]).tolist()
            turn.x, turn.y, turn.z, turn.w = quaternion_from_rotation(matrix[:3, :3])
            self.odom.publish(message)


class Sent(NamedTuple):
    """A set that went out. good: nothing is wrong with it. place_m: of the vehicle, [3], global frame."""

    good: bool
    place_m: np.ndarray


class Awaited(NamedTuple):
    """Reference times of sets of which at least one must be inferred, and what is wrong if none is."""

    references_ns: tuple[int, ...]
    problem: str


class Mark(NamedTuple):
    """Where everything stood at one moment; sets: the least and the most that may have become complete."""

    books: Books
    reports: int
    sets: tuple[int, int]
    images: int


class Ground:
    """A node and its rig, in a ``with`` block.

    sent: sets by reference time in ns. awaited: sets that must be inferred, for the verdict to look up. forced: number
    of a report -> causes, for resets that stamps and poses do not tell of. problems: what the fault itself found wrong.
    """

    def __init__(self, options: NodeOptions, domain_id: int, log: Path) -> None:
        self.domain_id = domain_id
        self.folder = log.parent
        self.options = options
        self.process = detector(options, domain_id, log)
        self.index = 0
        self.images = 0
        self.sets = 0, 0
        self.sent: dict[int, Sent] = {}
        self.awaited: list[Awaited] = []
        self.forced: dict[int, set[str]] = {}
        self.problems: list[str] = []
        self._unanswered = 0
        self._answered = 0, 0

    def __enter__(self) -> Ground:
        """Start the node, and wait until it has subscribed, if it does so by itself; else until it speaks."""
        with ExitStack() as opened:
            context = Context()
            rclpy.init(context=context, domain_id=self.domain_id)
            opened.callback(context.try_shutdown)
            self.rig = DriveRig(context)
            opened.callback(self.rig.destroy_node)
            opened.enter_context(self.process)
            if self.options.parameters.get("autostart", True):
                self.wait_for_node()
            elif not self.rig.spin_until(lambda: self.rig.received["diagnostics"], START_TIMEOUT_S):
                raise DrillError(f"no diagnostics within {START_TIMEOUT_S:g} s:\n{self.process.output()}")
            self._opened = opened.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        """Kill the node."""
        self._opened.close()

    @property
    def reports(self) -> list[FrameReport]:
        """All that were heard, in the order in which they came."""
        return self.rig.received["report"]

    def wait_for_node(self) -> None:
        """Until the node has subscribed to everything; raises DrillError with its log if it does not."""
        inputs = [self.rig.tf, *self.rig.images.values(), *([self.rig.odom] if self._uses_odometry else [])]
        subscribed = lambda: all(publisher.get_subscription_count() for publisher in inputs)  # noqa: E731
        self.rig.spin_until(lambda: subscribed() or not self.process.is_running(), START_TIMEOUT_S)
        if not subscribed():
            raise DrillError(f"the node has not subscribed to everything:\n{self.process.output()}")
        self.rig.wait_for_detector()

    @property
    def _uses_odometry(self) -> bool:
        return self.options.parameters.get("ego_pose_source") == "odom"

    def expect(self, holds: object, problem: str) -> None:
        """Note a problem unless ``holds``."""
        if not holds:
            self.problems.append(problem)

    def note(self, *, good: bool, complete: bool | None = True, images: int = len(CAMERAS)) -> int:
        """Write down the set with the current number, and go on to the next. Its reference time.

        complete: whether it must become a set; None: it may.
        """
        reference_ns = max(self.rig.stamps_ns(self.index).values())
        place_m = ego2global(reference_ns)[:3, 3] + np.array([self.rig.shift_m, 0.0, 0.0])
        self.sent[reference_ns] = Sent(good, place_m)
        low, high = self.sets
        self.sets = low + (complete is True), high + (complete is not False)
        self.images += images
        self.index += 1
        return reference_ns

    def send(self, *, good: bool = True, lost: Iterable[str] = (), **options: Any) -> int:
        """One set, without the images of ``lost`` cameras; options as `SyntheticRig.publish_set`. Its time."""
        lost = set(lost)
        self.rig.publish_set(self.index, **dict.fromkeys(lost), **options)
        return self.note(good=good and not lost, complete=not lost, images=len(CAMERAS) - len(lost))

    def pace(self) -> None:
        """A moment between two sets; every few sets an answer is waited for."""
        self.rig.spin_for(PACE_S)
        self._unanswered += 1
        if self._unanswered >= UNANSWERED:
            self._unanswered = 0
            self.expect_inferred(self.send(), "a good set between the faults was not inferred")

    def expect_inferred(self, reference_ns: int, problem: str) -> None:
        """Wait for that set's report. Whether it came is judged in the end: on a busy machine it may come later."""
        self.is_answered(reference_ns)
        self.awaited.append(Awaited((reference_ns,), problem))

    def is_answered(self, reference_ns: int) -> bool:
        """Whether that set's report comes, within the time that one is waited for."""
        heard = lambda: any(nanoseconds(report) == reference_ns for report in self.reports[-50:])  # noqa: E731
        answered = self._wait_for(heard)
        if answered:
            self._answered = self.reports[-1].sets_received, self.sets[0]
        return answered

    def recover(self) -> int | None:
        """Good sets until one is inferred; how many that took, 1 if it was the first. None: it did not."""
        sent_ns: list[int] = []
        while len(sent_ns) < PATIENCE_SETS:
            sent_ns.append(self.send())
            if self.is_answered(sent_ns[-1]):
                break
        heard = {nanoseconds(report) for report in self.reports}  # one that was waited for in vain may have come since
        return next((number for number, sent in enumerate(sent_ns, 1) if sent in heard), None)

    def settle(self) -> None:
        """Until the diagnostics say that every set since the last answer has met its fate."""
        received, sent = self._answered
        wanted = received + self.sets[0] - sent
        self.rig.received["diagnostics"].clear()
        settled = lambda: int(self.rig.drops().get("sets_received", -1)) >= wanted  # noqa: E731
        self.expect(self._wait_for(settled), f"{wanted} sets went in, the diagnostics say {self.rig.drops()}")

    def mark(self) -> Mark:
        """Where everything stands, the newest report being that of the last set."""
        same = lambda: len(self.rig.received["boxes"]) == len(self.reports)  # noqa: E731
        self.expect(self._wait_for(same), f"{len(self.rig.received['boxes'])} boxes, {len(self.reports)} reports")
        return Mark(self.books(), len(self.reports), self.sets, self.images)

    def books(self) -> Books:
        """Of all activations so far, up to the newest report."""
        last = reported(self.reports[-1]) if self.reports else Books()
        return closed(self.process.output()) + last

    def _wait_for(self, holds: Callable[[], object]) -> bool:
        """Receive until ``holds``; False when it does not come about, or the node ends."""
        for _ in range(ANSWER_TURNS):
            if holds():
                return True
            if not self.process.is_running():
                return False
            self.rig.spin_for(TURN_S)
        return bool(holds())
