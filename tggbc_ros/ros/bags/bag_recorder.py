"""Records topics to a rosbag2 (mcap, sqlite3) over rclpy, so that recording works without ``ros2 bag``.

Messages are stored as the bytes they came as, with their definitions; log time is the wall clock at arrival. Each
topic is subscribed to when its first publisher shows, as reliably and as durably as all its publishers offer.
"""

from __future__ import annotations

import argparse
import signal
import sqlite3
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any

import rclpy
from rclpy.clock import Clock
from rclpy.clock_type import ClockType
from rclpy.event_handler import QoSMessageLostInfo, SubscriptionEventCallbacks
from rclpy.executors import SingleThreadedExecutor
from rclpy.impl.implementation_singleton import rclpy_implementation
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from rclpy.signals import SignalHandlerOptions
from rclpy.topic_endpoint_info import TopicEndpointInfo
from rosbags.interfaces import Connection, Qos, QosDurability, QosHistory, QosLiveliness, QosReliability, QosTime
from rosbags.rosbag2 import WriterError

from tggbc_ros.data.bags.bag_writer import STORAGES, BagFileWriter
from tggbc_ros.ros.bags.bag_player import find_message_class
from tggbc_ros.ros.bags.message_definitions import DefinitionError, typestore_of
from tggbc_ros.ros.param_start import StartError, in_one_line, own_arguments

STORAGE_ERRORS = (OSError, sqlite3.Error)
LOOK_PERIOD_S = 0.1
DRAIN_S = 0.3
DEPTH = 1000
REPLAY_DEPTH = 10
FOREVER = QosTime(sec=9223372036, nsec=854775807)


class RecordError(Exception):
    """Why something cannot be recorded, in one line for the user."""


class BagRecorder:
    """Records while its node spins; to be used in a ``with`` block, which writes the bag's metadata at its end.

    received and lost count messages by topic. Raises RecordError for a path that exists and a name that no topic has,
    and while it spins for a topic that cannot be recorded and a bag that cannot be written, of a full disk for example.
    """

    def __init__(self, node: Node, out: Path, topics: Sequence[str], storage: str = "mcap") -> None:
        if storage not in STORAGES:
            raise RecordError(f"storage is {storage!r}, expected one of {', '.join(STORAGES)}")
        self._topics = sorted({resolved(node, topic) for topic in topics})
        self._kinds: dict[str, str] = {}
        self.received: Counter[str] = Counter()
        self.lost: Counter[str] = Counter()
        self._node = node
        try:
            self._writer = BagFileWriter(out, storage)
        except WriterError as error:
            raise RecordError(str(error)) from error

    def __enter__(self) -> BagRecorder:
        """Create the bag and begin to look for publishers."""
        try:
            self._writer.open()
        except (WriterError, *STORAGE_ERRORS) as error:
            raise RecordError(f"cannot create bag {self._writer.path}: {error}") from error
        self._node.create_timer(LOOK_PERIOD_S, self.look, clock=Clock(clock_type=ClockType.STEADY_TIME))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the bag; what was recorded up to an error stays."""
        try:
            with self._writing():
                self._writer.close()
        except RecordError:
            if error is None:
                raise

    @property
    def waiting(self) -> list[str]:
        """Topics that had no publisher so far."""
        return [topic for topic in self._topics if topic not in self._kinds]

    def look(self) -> None:
        """Subscribe to the topics that have a publisher by now, and see that none changes its type."""
        for topic in self._topics:
            publishers = self._node.get_publishers_info_by_topic(topic)
            kinds = {publisher.topic_type for publisher in publishers}
            if topic in self._kinds:
                kinds.add(self._kinds[topic])
            if len(kinds) > 1:
                raise RecordError(f"{topic} is published as {' and '.join(sorted(kinds))}, expected one type")
            if publishers and topic not in self._kinds:
                self._kinds[topic] = kinds.pop()
                self._subscribe(topic, self._kinds[topic], publishers)

    def _subscribe(self, topic: str, kind: str, publishers: Sequence[TopicEndpointInfo]) -> None:
        qos = common_qos(publishers)
        try:
            with self._writing():
                connection = self._writer.add_connection(
                    topic, kind, typestore=typestore_of(kind), offered_qos_profiles=[recorded_qos(qos)]
                )
            message_class = find_message_class(kind)
        except (DefinitionError, ImportError, AttributeError) as error:
            raise RecordError(f"cannot record {topic}: {error}") from error
        events = SubscriptionEventCallbacks(message_lost=partial(self._count_lost, topic))
        store = partial(self._store, connection)
        self._node.create_subscription(message_class, topic, store, qos, event_callbacks=events, raw=True)
        reliability = "reliable" if qos.reliability is ReliabilityPolicy.RELIABLE else "best effort"
        print(f"recording {topic} ({kind}, {reliability})", flush=True)

    def _store(self, connection: Connection, data: bytes) -> None:
        with self._writing():
            self._writer.write(connection, time.time_ns(), data)
        self.received[connection.topic] += 1

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """What the storage raises becomes RecordError, naming the bag."""
        try:
            yield
        except STORAGE_ERRORS as error:
            raise RecordError(f"cannot write bag {self._writer.path}: {error}") from error

    def _count_lost(self, topic: str, info: QoSMessageLostInfo) -> None:
        self.lost[topic] += info.total_count_change


def resolved(node: Node, topic: str) -> str:
    """The topic's full name, remapped; raises RecordError for what is no topic's name."""
    try:
        return str(node.resolve_topic_name(topic))
    except rclpy_implementation.RCLError as error:
        raise RecordError(f"a topic is {topic!r}, expected a topic's name: {error}") from error


def common_qos(publishers: Sequence[TopicEndpointInfo]) -> QoSProfile:
    """As reliable and as durable as every publisher is, so that none is left out; deep, so that bursts fit."""
    reliable = all(publisher.qos_profile.reliability is ReliabilityPolicy.RELIABLE for publisher in publishers)
    latched = all(publisher.qos_profile.durability is DurabilityPolicy.TRANSIENT_LOCAL for publisher in publishers)
    return QoSProfile(
        depth=DEPTH,
        reliability=ReliabilityPolicy.RELIABLE if reliable else ReliabilityPolicy.BEST_EFFORT,
        durability=DurabilityPolicy.TRANSIENT_LOCAL if latched else DurabilityPolicy.VOLATILE,
    )


def recorded_qos(qos: QoSProfile) -> Qos:
    """What a player has to offer to stand in for the publishers; their depth is not known from outside."""
    reliable = qos.reliability is ReliabilityPolicy.RELIABLE
    latched = qos.durability is DurabilityPolicy.TRANSIENT_LOCAL
    return Qos(
        history=QosHistory.KEEP_LAST,
        depth=REPLAY_DEPTH,
        reliability=QosReliability.RELIABLE if reliable else QosReliability.BEST_EFFORT,
        durability=QosDurability.TRANSIENT_LOCAL if latched else QosDurability.VOLATILE,
        deadline=FOREVER,
        lifespan=FOREVER,
        liveliness=QosLiveliness.AUTOMATIC,
        liveliness_lease_duration=FOREVER,
        avoid_ros_namespace_conventions=False,
    )


def summary(recorder: BagRecorder) -> str:
    """How many messages of each topic were recorded and lost, and which topics never had a publisher."""
    lines = [
        f"recorded {count:6d} of {topic}" + (f", lost {recorder.lost[topic]}" if recorder.lost[topic] else "")
        for topic, count in sorted(recorder.received.items())
    ]
    lines += [f"no publisher of {topic}" for topic in recorder.waiting]
    return "\n".join([*lines, f"recorded {recorder.received.total()} messages"])


def main(arguments: Sequence[str] | None = None) -> int:
    """Record until SIGINT or SIGTERM; exit status 0, or 1 with one line for an error."""
    argv = list(sys.argv if arguments is None else ["bag_recorder", *arguments])
    parser = argparse.ArgumentParser("bag_recorder", description="Record topics to a rosbag2.")
    parser.add_argument("out", type=Path, help="the bag's folder, must not exist")
    parser.add_argument("topics", nargs="+", metavar="TOPIC")
    parser.add_argument("-s", "--storage", choices=list(STORAGES), default="mcap")
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)
    try:
        return _record(argv, parser.parse_args(own_arguments(argv)))
    except StartError as error:
        print(f"bag_recorder: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 0


def _record(argv: list[str], given: argparse.Namespace) -> int:
    with in_one_line():
        rclpy.init(args=argv, signal_handler_options=SignalHandlerOptions.NO)
        node = rclpy.create_node("bag_recorder")
    try:
        with BagRecorder(node, given.out, given.topics, given.storage) as recorder:
            _spin_until_stopped(node)
        print(summary(recorder), flush=True)
    except RecordError as error:
        print(f"bag_recorder: {' '.join(str(error).split())}", file=sys.stderr)
        return 1
    finally:
        node.destroy_node()
        rclpy.shutdown()
    return 0


def _spin_until_stopped(node: Node) -> None:
    """Spin to the first SIGINT or SIGTERM, and then a moment longer for what has arrived already."""
    stopped: list[int] = []

    def stop(signal_number: int, frame: FrameType | None) -> None:
        stopped.append(signal_number)

    signal.signal(signal.SIGINT, stop)
    signal.signal(signal.SIGTERM, stop)
    executor: Any = SingleThreadedExecutor()
    executor.add_node(node)
    while not stopped:
        executor.spin_once(timeout_sec=0.1)
    deadline_s = time.monotonic() + DRAIN_S
    while time.monotonic() < deadline_s:
        executor.spin_once(timeout_sec=0.05)


if __name__ == "__main__":
    raise SystemExit(main())
