"""small_messages: all that waits is taken at once, in order, and no more than the queue holds."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
from geometry_msgs.msg import TransformStamped
from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.qos import QoSProfile
from tf2_msgs.msg import TFMessage

from tggbc_ros.ros.convert import header
from tggbc_ros.ros.small_messages import subscribe_to_many

DEPTH = 20


class Pair:
    """Somebody who speaks and somebody who listens, the latter in an executor."""

    def __init__(self, context: Context) -> None:
        self.speaker, self.listener = Node("speaker", context=context), Node("listener", context=context)
        self.executor = SingleThreadedExecutor(context=context)
        self.executor.add_node(self.listener)
        self.heard: list[int] = []
        self.more: list[int] = []
        self.publisher = self.speaker.create_publisher(TFMessage, "poses", QoSProfile(depth=100))
        self.subscription = subscribe_to_many(self.listener, TFMessage, "poses", self.hear, QoSProfile(depth=DEPTH))
        for _ in range(200):
            self.executor.spin_once(timeout_sec=0.05)
            if self.publisher.get_subscription_count():
                return
        raise AssertionError("the two did not find each other")

    def say(self, second: int) -> None:
        self.publisher.publish(TFMessage(transforms=[TransformStamped(header=header(second * 10**9, "map"))]))

    def hear(self, message: TFMessage) -> None:
        self.heard.append(message.transforms[0].header.stamp.sec)
        if self.more:
            self.say(self.more.pop())

    def one_turn(self) -> None:
        self.executor.spin_once(timeout_sec=1.0)


@pytest.fixture
def pair(context: Context) -> Iterator[Pair]:
    found = Pair(context)
    yield found
    found.speaker.destroy_node()
    found.listener.destroy_node()


def test_all_that_waits_is_taken_in_one_turn_in_order(pair: Pair) -> None:
    for second in range(1, 8):
        pair.say(second)
    time.sleep(0.5)  # until all have arrived
    while not pair.heard:  # where the listener's own services were ready first
        pair.one_turn()
    assert pair.heard == [1, 2, 3, 4, 5, 6, 7]


def test_a_flood_does_not_hold_the_turn_forever(pair: Pair) -> None:
    """Each message brings another one: the turn ends nevertheless, and the next goes on where it ended."""
    pair.more = list(range(3 * DEPTH, 1, -1))
    pair.say(1)
    while not pair.heard:
        pair.one_turn()
    assert pair.heard == list(range(1, len(pair.heard) + 1))
    assert len(pair.heard) <= DEPTH
    while len(pair.heard) < 3 * DEPTH:
        pair.one_turn()
    assert pair.heard == list(range(1, 3 * DEPTH + 1))
