"""Plays any rosbag2 (mcap, sqlite3) over rclpy, so that replay works without ``ros2 bag``.

Messages go out as the bytes they were stored as. Durability comes from the bag, so that latched topics such as
/tf_static reach latecomers; reliability does not: every publisher is reliable, which serves best-effort
subscribers too and loses no image of a burst.
"""

from __future__ import annotations

import argparse
import importlib
import signal
import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

import rclpy
from rclpy.duration import Duration
from rclpy.exceptions import NoTypeSupportImportedException
from rclpy.impl.implementation_singleton import rclpy_implementation
from rclpy.node import Node
from rclpy.publisher import Publisher
from rclpy.signals import SignalHandlerOptions
from rclpy.utilities import remove_ros_args
from rosbags.interfaces import Connection
from tqdm import tqdm

from tggbc_ros.data.bags.bag_file import Bag, BagError, open_bag
from tggbc_ros.ros.bags.lockstep import Lockstep, PlayError, image_topics
from tggbc_ros.ros.bags.recorded_qos import is_latched, topic_qos
from tggbc_ros.ros.bags.sim_clock import CLOCK_TOPIC, Pace, SimClock

DEFAULT_CLOCK_HZ = 40.0
POLL_S = 0.02
ACKNOWLEDGE_S = 5.0
INTERRUPTED_S = 1.0


@dataclass(frozen=True)
class PlayOptions:
    """What to play and how; times in seconds, rate 1.0 is real time, clock_hz 0 means no /clock."""

    bag: Path
    rate: float = 1.0
    loop: bool = False
    start_offset_s: float = 0.0
    clock_hz: float = 0.0
    topics: tuple[str, ...] = ()
    progress: bool = True
    wait_for_subscribers: int = 0
    wait_timeout_s: float = 30.0
    grace_s: float = 1.0
    lockstep: str = ""
    lockstep_timeout_s: float = 60.0

    def __post_init__(self) -> None:
        for name, value, holds in (
            ("rate", self.rate, self.rate > 0),
            ("start offset", self.start_offset_s, self.start_offset_s >= 0),
            ("clock", self.clock_hz, self.clock_hz >= 0),
            ("wait timeout", self.wait_timeout_s, self.wait_timeout_s >= 0),
            ("grace", self.grace_s, self.grace_s >= 0),
            ("lockstep timeout", self.lockstep_timeout_s, self.lockstep_timeout_s >= 0),
        ):
            if not holds or value == float("inf"):
                raise PlayError(f"{name} is {value}, expected a finite {'positive' if name == 'rate' else '>= 0'} one")


@dataclass
class PlayCount:
    """What became of the bag's messages, by topic; lateness is the worst of any message, in seconds."""

    published: Counter[str] = field(default_factory=Counter)
    skipped: dict[str, str] = field(default_factory=dict)
    lateness_s: float = 0.0
    unanswered: int = 0


class BagPlayer:
    """Plays one bag with a node's publishers; ``stop`` may be called from a signal handler."""

    def __init__(self, node: Node, options: PlayOptions) -> None:
        self.options = options
        self.count = PlayCount()
        self._node = node
        self._stopped = False
        self._clock = SimClock(node, options.clock_hz) if options.clock_hz else None
        self._lockstep = self._make_lockstep(options) if options.lockstep else None
        with open_bag(options.bag) as bag:
            self._start_ns, self._end_ns = bag.start_ns, bag.end_ns
            self._publishers = self._create_publishers(bag.connections)
            images = image_topics(bag.connections)
        self._image_publishers = {topic: entry for topic, entry in self._publishers.items() if topic in images}
        if options.start_offset_s * 1e9 > self._end_ns - self._start_ns:
            length_s = (self._end_ns - self._start_ns) / 1e9
            raise PlayError(f"start offset is {options.start_offset_s:g} s, but {options.bag} lasts {length_s:.3f} s")

    def stop(self) -> None:
        """End playing before the next message."""
        self._stopped = True

    def play(self) -> PlayCount:
        """Wait for subscribers, play, wait for acknowledgement; returns what was published."""
        if self._lockstep:
            self._lockstep.subscribe()
        self._wait_for_subscribers()
        if self._lockstep and not self._stopped:
            self._lockstep.choose(self._image_publishers)
        while not self._stopped:
            self._play_once()
            if not self.options.loop:
                break
        self._wait_until_acknowledged()
        return self.count

    def _make_lockstep(self, options: PlayOptions) -> Lockstep:
        timeout_s = options.lockstep_timeout_s
        return Lockstep(self._node, options.lockstep, find_message_class, timeout_s, lambda: self._stopped)

    def _create_publishers(self, connections: Sequence[Connection]) -> dict[str, Publisher]:
        """One publisher per topic to be played; the others are noted with the reason."""
        wanted = set(self.options.topics)
        unknown = wanted - {connection.topic for connection in connections}
        if unknown:
            raise PlayError(f"{self.options.bag} has no topic {', '.join(sorted(unknown))}")
        by_topic: dict[str, list[Connection]] = {}
        for connection in connections:
            if not wanted or connection.topic in wanted:
                by_topic.setdefault(connection.topic, []).append(connection)
        publishers = {}
        for topic, group in by_topic.items():
            if reason := self._why_not(topic):
                self.count.skipped[topic] = reason
                continue
            try:
                message_class = find_message_class(group[0].msgtype)
                publishers[topic] = self._node.create_publisher(message_class, topic, topic_qos(group))
            except (ImportError, AttributeError, NoTypeSupportImportedException):
                self.count.skipped[topic] = f"type {group[0].msgtype} is not installed here"
        if not publishers:
            raise PlayError(f"{self.options.bag} holds nothing that can be played: {self.count.skipped or 'no topic'}")
        return publishers

    def _why_not(self, topic: str) -> str:
        """Why a topic of the bag is not to be published; empty if it is."""
        try:
            resolved = self._node.resolve_topic_name(topic)
        except rclpy_implementation.RCLError:
            return "is no topic's name"
        if topic == CLOCK_TOPIC and self._clock:
            return "replaced by this player's own"
        if self._lockstep and resolved == self._lockstep.topic:
            return "the answers are waited for here"
        return ""

    def _wait_for_subscribers(self) -> None:
        """Until enough topics have a subscriber and their number has not changed for the grace time."""
        deadline_s = time.monotonic() + self.options.wait_timeout_s
        seen, changed_s = -1, time.monotonic()
        while not self._stopped:
            counts = [publisher.get_subscription_count() for publisher in self._publishers.values()]
            now_s = time.monotonic()
            if sum(counts) != seen:
                seen, changed_s = sum(counts), now_s
            ready = sum(count > 0 for count in counts)
            enough = ready >= self.options.wait_for_subscribers
            if enough and now_s - changed_s >= self.options.grace_s:
                return
            if not enough and now_s > deadline_s:
                waited = f"after {self.options.wait_timeout_s:g} s"
                raise PlayError(f"{waited} {ready} topics have a subscriber, not {self.options.wait_for_subscribers}")
            time.sleep(POLL_S)

    def _play_once(self) -> None:
        start_ns = self._start_ns + round(self.options.start_offset_s * 1e9)
        if self._clock:
            self._clock.restart()
        with open_bag(self.options.bag) as bag, self._progress_bar(start_ns) as bar:
            connections = [entry for entry in bag.connections if entry.topic in self._publishers]
            self._publish_latched(bag, connections, start_ns)
            pace = Pace(start_ns, self.options.rate)
            if self._lockstep:
                self._lockstep.restart()
            for connection, timestamp_ns, data in bag.messages(connections, start_ns):
                if self._lockstep:
                    pace.delay(self._lockstep.wait_before(timestamp_ns))
                self._sleep_until(pace, timestamp_ns)
                if self._stopped:
                    return
                self._publish(connection.topic, data, timestamp_ns)
                self.count.lateness_s = max(self.count.lateness_s, -pace.remaining_s(timestamp_ns))
                bar.update((timestamp_ns - start_ns) / 1e9 - bar.n)
        if self._lockstep:
            self._lockstep.wait_before(self._end_ns + 1)
            self.count.unanswered = self._lockstep.unanswered

    def _publish_latched(self, bag: Bag, connections: Sequence[Connection], until_ns: int) -> None:
        """What a late joiner would find at the start offset: the latched messages from before it."""
        latched = [entry for entry in connections if is_latched([entry])]
        if latched and until_ns > self._start_ns:
            for connection, _, data in bag.messages(latched, stop_ns=until_ns):
                self._publish(connection.topic, data, None)

    def _publish(self, topic: str, data: bytes, timestamp_ns: int | None) -> None:
        if self._clock and timestamp_ns is not None:
            self._clock.publish(timestamp_ns)
        self._publishers[topic].publish(data)
        self.count.published[topic] += 1
        if self._lockstep and timestamp_ns is not None:
            self._lockstep.published(topic, timestamp_ns)

    def _sleep_until(self, pace: Pace, timestamp_ns: int) -> None:
        """Sleep in slices, so that a signal ends it and the clock ticks."""
        slice_s = min(POLL_S, self._clock.period_s) if self._clock else POLL_S
        while not self._stopped and (remaining_s := pace.remaining_s(timestamp_ns)) > 0:
            time.sleep(min(remaining_s, slice_s))
            if self._clock:
                self._clock.tick(min(pace.now_ns(), timestamp_ns))

    def _wait_until_acknowledged(self) -> None:
        """Give reliable subscribers time for the last messages, which would vanish with the publishers."""
        patience_s = INTERRUPTED_S if self._stopped else ACKNOWLEDGE_S
        deadline_s = time.monotonic() + patience_s
        waiting = dict(self._publishers)
        while waiting and time.monotonic() < deadline_s:
            waiting = {
                topic: publisher
                for topic, publisher in waiting.items()
                if not publisher.wait_for_all_acked(Duration(seconds=POLL_S))
            }
        if waiting and not self._stopped:
            print(f"bag_player: not acknowledged in {patience_s:g} s: {', '.join(waiting)}", file=sys.stderr)

    def _progress_bar(self, start_ns: int) -> tqdm[Any]:
        return tqdm(
            total=(self._end_ns - 1 - start_ns) / 1e9,
            disable=None if self.options.progress else True,
            desc=self.options.bag.name,
            bar_format="{desc} {percentage:3.0f}%|{bar}| {n:.1f}/{total:.1f} s",
        )


def find_message_class(msgtype: str) -> type:
    """The Python class of ``package/msg/Name``; raises ImportError or AttributeError if it is not installed."""
    package, _, name = msgtype.replace("/msg/", "/").partition("/")
    if not (package.isidentifier() and name.isidentifier()):
        raise ImportError(f"{msgtype!r} is no message type, expected package/msg/Name")
    found: type = getattr(importlib.import_module(f"{package}.msg"), name)
    return found


def parse_options(arguments: Sequence[str]) -> PlayOptions:
    """Command line -> options."""
    parser = argparse.ArgumentParser("bag_player", description="Play a rosbag2 over ROS 2.")
    add = parser.add_argument
    add("bag", type=Path, help="bag folder, or one .mcap or .db3 file")
    add("-r", "--rate", type=float, default=1.0, help="speed, 1.0 is real time")
    add("-l", "--loop", action="store_true", help="start over at the end, until interrupted")
    add("--start-offset", type=float, default=0.0, metavar="S", help="begin this many seconds into the bag")
    clock_help = f"publish /clock at this frequency, {DEFAULT_CLOCK_HZ:g} if none is given, and at every message's time"
    add("--clock", type=float, nargs="?", const=DEFAULT_CLOCK_HZ, default=0.0, metavar="HZ", help=clock_help)
    add("--topics", nargs="+", default=[], metavar="TOPIC", help="play only these")
    add("--no-progress", action="store_true", help="no progress bar; there is none without a terminal either")
    add("--wait-for-subscribers", type=int, default=0, metavar="N", help="start when N topics have a subscriber")
    add("--wait-timeout", type=float, default=30.0, metavar="S", help="give up waiting for them after this time")
    add("--grace", type=float, default=1.0, metavar="S", help="start when no subscriber has come for this long")
    lockstep_help = "wait here, as on /detector/report, after a set: an image on each image topic that is subscribed to"
    add("--lockstep", default="", metavar="TOPIC", help=lockstep_help)
    timeout_help = "wait no longer than this for an answer; a set that is dropped, or lacks an image, may cost as much"
    add("--lockstep-timeout", type=float, default=60.0, metavar="S", help=timeout_help)
    given = parser.parse_args(arguments)
    return PlayOptions(
        bag=given.bag,
        rate=given.rate,
        loop=given.loop,
        start_offset_s=given.start_offset,
        clock_hz=given.clock,
        topics=tuple(given.topics),
        progress=not given.no_progress,
        wait_for_subscribers=given.wait_for_subscribers,
        wait_timeout_s=given.wait_timeout,
        grace_s=given.grace,
        lockstep=given.lockstep,
        lockstep_timeout_s=given.lockstep_timeout,
    )


def summary(count: PlayCount) -> str:
    """How many messages went out on each topic, and what was skipped."""
    lines = [f"published {number:6d} on {topic}" for topic, number in sorted(count.published.items())]
    if count.unanswered:
        lines.append(f"{count.unanswered} sets of images were not answered")
    lines += [f"skipped {topic}: {reason}" for topic, reason in sorted(count.skipped.items())]
    total = f"published {count.published.total()} messages, the latest {count.lateness_s * 1e3:.0f} ms after its time"
    return "\n".join([*lines, total])


def main(arguments: Sequence[str] | None = None) -> int:
    """Play; exit status 0 at the end or when interrupted, 1 with one line for an error."""
    argv = list(sys.argv if arguments is None else ["bag_player", *arguments])
    try:
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.default_int_handler)  # a large bag may take long to open
        options = parse_options(remove_ros_args(argv)[1:])
        rclpy.init(args=argv, signal_handler_options=SignalHandlerOptions.NO)
        node = rclpy.create_node("bag_player")
        try:
            print(summary(_play_until_stopped(BagPlayer(node, options))), flush=True)
        finally:
            node.destroy_node()
            rclpy.shutdown()
    except (PlayError, BagError, FileNotFoundError) as error:
        print(f"bag_player: {' '.join(str(error).split())}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 0
    return 0


def _play_until_stopped(player: BagPlayer) -> PlayCount:
    """Play to the end or to the first SIGINT or SIGTERM."""

    def stop(signal_number: int, frame: FrameType | None) -> None:
        player.stop()

    signal.signal(signal.SIGINT, stop)
    signal.signal(signal.SIGTERM, stop)
    return player.play()


if __name__ == "__main__":
    raise SystemExit(main())
