"""Replay that waits for the listener: the next set of images goes out when the last one was answered.

A machine slower than the bag then still infers every set, where in real time it would have to drop some.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping

from rclpy.executors import SingleThreadedExecutor
from rclpy.impl.implementation_singleton import rclpy_implementation
from rclpy.node import Node
from rclpy.publisher import Publisher
from rclpy.qos import QoSProfile
from rosbags.interfaces import Connection

IMAGE_TYPES = ("sensor_msgs/msg/Image", "sensor_msgs/msg/CompressedImage")
SPIN_S = 0.02
DEPTH = 1000


class PlayError(Exception):
    """Why a bag cannot be played, in one line for the user."""


class Lockstep:
    """Counts complete sets (one image on every topic chosen) and the answers on another topic.

    message_class: finds the Python class of a type name, else raises ImportError or AttributeError. A set not answered
    within ``timeout_s`` is counted in ``unanswered`` and waited for no longer.
    """

    def __init__(
        self,
        node: Node,
        topic: str,
        message_class: Callable[[str], type],
        timeout_s: float,
        stopped: Callable[[], bool],
    ) -> None:
        try:
            self.topic = node.resolve_topic_name(topic)
        except rclpy_implementation.RCLError as error:
            raise PlayError(f"--lockstep is {topic!r}, expected a topic's name: {error}") from error
        self.timeout_s = timeout_s
        self.unanswered = 0
        self._node = node
        self._message_class = message_class
        self._stopped = stopped
        self._images: Counter[str] = Counter()
        self._answers = 0
        self._missed = 0
        self._complete_ns: int | None = None
        self._executor = SingleThreadedExecutor(context=node.context)
        self._executor.add_node(node)

    def subscribe(self) -> None:
        """Wait until somebody publishes the answers, and listen; raises PlayError if nobody does in time."""
        offers = self._node.get_publishers_info_by_topic
        if self._spin_until(lambda: bool(offers(self.topic))):
            kind = self._answer_class(offers(self.topic)[0].topic_type)
            self._node.create_subscription(kind, self.topic, self._on_answer, QoSProfile(depth=DEPTH), raw=True)
        elif not self._stopped():
            raise PlayError(f"nobody publishes {self.topic} after {self.timeout_s:g} s")

    def choose(self, publishers: Mapping[str, Publisher]) -> None:
        """Of these topics with images, sets have those that somebody subscribes to; raises PlayError without any."""
        taken = [topic for topic, publisher in publishers.items() if publisher.get_subscription_count()]
        if not taken:
            there = ", ".join(sorted(publishers)) or "none"
            raise PlayError(f"nobody subscribes to images, so {self.topic} answers none; topics of them: {there}")
        self._images = Counter(dict.fromkeys(taken, 0))

    def restart(self) -> None:
        """Begin at the start of the bag."""
        self._images = Counter(dict.fromkeys(self._images, 0))
        self._answers, self._missed, self._complete_ns = 0, 0, None

    def published(self, topic: str, timestamp_ns: int) -> None:
        """Note that a message went out."""
        if topic in self._images:
            before = min(self._images.values())
            self._images[topic] += 1
            if min(self._images.values()) > before:
                self._complete_ns = timestamp_ns

    def wait_before(self, timestamp_ns: int) -> float:
        """If a set was complete before that bag time, wait for its answer; the seconds that it took."""
        if self._complete_ns is None or timestamp_ns <= self._complete_ns:
            return 0.0
        start_s, self._complete_ns = time.monotonic(), None
        wanted = min(self._images.values()) - self._missed
        if not self._spin_until(lambda: self._answers >= wanted) and not self._stopped():
            self._missed += 1
            self.unanswered += 1
        return time.monotonic() - start_s

    def _answer_class(self, msgtype: str) -> type:
        try:
            return self._message_class(msgtype)
        except (ImportError, AttributeError) as error:
            raise PlayError(f"{self.topic} is published as {msgtype}, which is not installed here") from error

    def _spin_until(self, holds: Callable[[], bool]) -> bool:
        deadline_s = time.monotonic() + self.timeout_s
        while not holds():
            if self._stopped() or time.monotonic() > deadline_s:
                return False
            self._executor.spin_once(timeout_sec=SPIN_S)
        return True

    def _on_answer(self, message: bytes) -> None:
        self._answers += 1


def image_topics(connections: Iterable[Connection]) -> set[str]:
    """The topics on which there are images: a topic may be declared and stay empty."""
    return {entry.topic for entry in connections if entry.msgtype in IMAGE_TYPES and entry.msgcount}
