"""Plays any rosbag2 (mcap, sqlite3) over rclpy, so that replay works without ``ros2 bag``.

Messages go out as the bytes they were stored as. Durability comes from the bag, so that latched topics such as
/tf_static reach latecomers; reliability does not: every publisher is reliable, which serves best-effort
subscribers too and loses no image of a burst.
"""

from __future__ import annotations

import importlib
import signal
import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from types import FrameType
from typing import Any

import rclpy
from rclpy.duration import Duration
from rclpy.exceptions import NoTypeSupportImportedException
from rclpy.impl.implementation_singleton import rclpy_implementation
from rclpy.node import Node
from rclpy.publisher import Publisher
from rclpy.signals import SignalHandlerOptions
from rosbags.interfaces import Connection
from tqdm import tqdm

from tggbc_ros.data.bags.bag_file import Bag, BagError, open_bag
from tggbc_ros.ros.bags.gaps import Gaps, describe, start_time_ns
from tggbc_ros.ros.bags.lockstep import Lockstep, PlayError, image_topics
from tggbc_ros.ros.bags.play_options import PlayOptions, parse_options
from tggbc_ros.ros.bags.recorded_qos import is_latched, topic_qos
from tggbc_ros.ros.bags.sim_clock import CLOCK_TOPIC, END_OF_TIME_NS, Pace, SimClock
from tggbc_ros.ros.param_start import StartError, in_one_line, own_arguments

POLL_S = 0.02
ANNOUNCED_WAIT_S = 30.0
ACKNOWLEDGE_S = 5.0
INTERRUPTED_S = 1.0


@dataclass
class PlayCount:
    """What became of the bag's messages, by topic; lateness is the worst of any message, in seconds.

    losses: what the bag has lost, or holds and could not be played; skipped: topics that are not to be played here.
    """

    published: Counter[str] = field(default_factory=Counter)
    skipped: dict[str, str] = field(default_factory=dict)
    losses: list[str] = field(default_factory=list)
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
        self._played: set[tuple[str, str]] = set()
        with open_bag(options.bag, with_losses=True) as bag:
            self._start_ns, self._end_ns = bag.start_ns, bag.end_ns
            self._publishers = self._create_publishers(bag.connections)
            self.count.losses += bag.losses
            _say(*bag.notes, *self.count.losses, *self._odd_times())
            self._from_ns = start_time_ns(bag, options.start_offset_s, options.skip_gaps_s)
            images = image_topics(bag.connections)
        self._image_publishers = {topic: entry for topic, entry in self._publishers.items() if topic in images}

    def stop(self) -> None:
        """End playing before the next message."""
        self._stopped = True

    def play(self) -> PlayCount:
        """Wait for subscribers, play, wait for acknowledgement; returns what was published."""
        if self.options.wait_for_images:
            self._wait_for_images()
        if self._lockstep:
            self._lockstep.subscribe()
        self._wait_for_subscribers()
        if self._lockstep and not self._stopped:
            self._lockstep.choose(self._image_publishers)
        while not self._stopped:
            try:
                self._play_once()
            except BagError as error:  # damage within: what came before it has been played
                self.count.losses.append(str(error))
                break
            if not self.options.loop:
                break
        self._wait_until_acknowledged()
        return self.count

    def _make_lockstep(self, options: PlayOptions) -> Lockstep:
        timeout_s = options.lockstep_timeout_s
        return Lockstep(self._node, options.lockstep, find_message_class, timeout_s, lambda: self._stopped)

    def _odd_times(self) -> list[str]:
        """What /clock cannot say."""
        if not self._clock or (self._start_ns >= 0 and self._end_ns <= END_OF_TIME_NS):
            return []
        times = f"{self._start_ns} to {self._end_ns - 1} ns"
        return [f"its times are {times}; {CLOCK_TOPIC} stands still where they are not within 0 and {END_OF_TIME_NS}"]

    def _create_publishers(self, connections: Sequence[Connection]) -> dict[str, Publisher]:
        """One publisher per topic to be played; the others are noted with the reason."""
        wanted = set(self.options.topics)
        unknown = wanted - {connection.topic for connection in connections}
        if unknown:
            raise PlayError(f"{self.options.bag} has no topic {', '.join(sorted(unknown))}")
        by_topic: dict[str, list[Connection]] = {}
        for connection in sorted(connections, key=lambda entry: -entry.msgcount):
            if not wanted or connection.topic in wanted:
                by_topic.setdefault(connection.topic, []).append(connection)
        publishers = {}
        for topic, group in by_topic.items():
            if reason := self._why_not(topic):
                self.count.skipped[topic] = reason
                continue
            chosen, others = group[0], [entry for entry in group[1:] if entry.msgcount]
            self.count.losses += [f"{each.msgcount} messages on {topic} are {_beside(each, chosen)}" for each in others]
            try:
                message_class = find_message_class(chosen.msgtype)
                publishers[topic] = self._node.create_publisher(message_class, topic, topic_qos([chosen]))
                self._played.add((topic, chosen.msgtype))
            except (ImportError, AttributeError, NoTypeSupportImportedException):
                self.count.skipped[topic] = f"type {chosen.msgtype} is not installed here"
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

    def _wait_for_images(self) -> None:
        """Until somebody subscribes to images, however long a network takes to load; PlayError where there are none."""
        if not self._image_publishers:
            raise PlayError(f"{self.options.bag} has no images that anybody could wait for")
        print(f"waiting until somebody subscribes to one of {', '.join(sorted(self._image_publishers))}", flush=True)
        publishers = self._image_publishers.values()
        while not self._stopped and not any(publisher.get_subscription_count() for publisher in publishers):
            time.sleep(POLL_S)

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
        start_ns = self._from_ns
        if self._clock:
            self._clock.restart()
        with open_bag(self.options.bag, with_losses=True) as bag, self._progress_bar(start_ns) as bar:
            connections = [entry for entry in bag.connections if (entry.topic, entry.msgtype) in self._played]
            self._publish_latched(bag, connections, start_ns)
            pace, gaps = Pace(start_ns, self.options.rate), Gaps(start_ns, self.options.skip_gaps_s)
            if self._lockstep:
                self._lockstep.restart()
            for connection, timestamp_ns, data in bag.messages(connections, start_ns):
                if self._lockstep:
                    pace.delay(self._lockstep.wait_before(timestamp_ns))
                self._leave_out(gaps.before(timestamp_ns), timestamp_ns, pace, bar)
                self._sleep_until(pace, timestamp_ns)
                if self._stopped:
                    return
                self._publish(connection.topic, data, timestamp_ns)
                self.count.lateness_s = max(self.count.lateness_s, -pace.remaining_s(timestamp_ns))
                bar.update(pace.played_s(timestamp_ns) - bar.n)
        if self._lockstep:
            self._lockstep.wait_before(self._end_ns + 1)
            self.count.unanswered = self._lockstep.unanswered

    def _leave_out(self, gap_ns: int, until_ns: int, pace: Pace, bar: tqdm[Any]) -> None:
        """A gap, if there is one; a long wait is announced."""
        if gap_ns:
            _say(f"left out {describe(gap_ns, until_ns)} (--skip-gaps {self.options.skip_gaps_s:g})")
            pace.leave_out(gap_ns)
            bar.total -= gap_ns / 1e9
        wait_s = pace.remaining_s(until_ns)
        if wait_s > ANNOUNCED_WAIT_S:
            _say(f"waiting {wait_s:.0f} s for the next message; --skip-gaps S leaves out what is longer than S seconds")

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


def _beside(other: Connection, chosen: Connection) -> str:
    return f"of type {other.msgtype} and not played, as most there are {chosen.msgtype}"


def _say(*lines: str) -> None:
    """To standard output, at once; standard error is for what makes the exit status 1."""
    for line in lines:
        print(f"bag_player: {line}", flush=True)


def find_message_class(msgtype: str) -> type:
    """The Python class of ``package/msg/Name``; raises ImportError or AttributeError if it is not installed."""
    package, _, name = msgtype.replace("/msg/", "/").partition("/")
    if not (package.isidentifier() and name.isidentifier()):
        raise ImportError(f"{msgtype!r} is no message type, expected package/msg/Name")
    found: type = getattr(importlib.import_module(f"{package}.msg"), name)
    return found


def summary(count: PlayCount) -> str:
    """How many messages went out on each topic, and what was skipped."""
    lines = [f"published {number:6d} on {topic}" for topic, number in sorted(count.published.items())]
    if count.unanswered:
        lines.append(f"{count.unanswered} sets of images were not answered")
    lines += [f"skipped {topic}: {reason}" for topic, reason in sorted(count.skipped.items())]
    total = f"published {count.published.total()} messages, the latest {count.lateness_s * 1e3:.0f} ms after its time"
    return "\n".join([*lines, total])


def main(arguments: Sequence[str] | None = None) -> int:
    """Play; exit status 0 at the end or when interrupted, 1 with one line for an error, or for what was lost."""
    argv = list(sys.argv if arguments is None else ["bag_player", *arguments])
    try:
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.default_int_handler)  # a large bag may take long to open
        options = parse_options(own_arguments(argv))
        with in_one_line():
            rclpy.init(args=argv, signal_handler_options=SignalHandlerOptions.NO)
            node = rclpy.create_node("bag_player")
        try:
            count = _play_until_stopped(BagPlayer(node, options))
            print(summary(count), flush=True)
        finally:
            node.destroy_node()
            rclpy.shutdown()
    except (PlayError, BagError, StartError, FileNotFoundError) as error:
        print(f"bag_player: {' '.join(str(error).split())}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 0
    if count.losses:
        causes = " ".join("; ".join(count.losses).split())
        print(f"bag_player: not all of bag {options.bag} was played: {causes}", file=sys.stderr)
    return 1 if count.losses else 0


def _play_until_stopped(player: BagPlayer) -> PlayCount:
    """Play to the end or to the first SIGINT or SIGTERM."""

    def stop(signal_number: int, frame: FrameType | None) -> None:
        player.stop()

    signal.signal(signal.SIGINT, stop)
    signal.signal(signal.SIGTERM, stop)
    return player.play()


if __name__ == "__main__":
    raise SystemExit(main())
