"""Lockstep on its own: what it cannot wait for is one line. With a player and a bag: test_bag_player.py."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from rclpy.context import Context
from rclpy.node import Node
from std_msgs.msg import String

from tggbc_ros.ros.bags.bag_player import find_message_class
from tggbc_ros.ros.bags.lockstep import Lockstep, PlayError


@pytest.fixture
def node(context: Context) -> Iterator[Node]:
    node = Node("player", context=context)
    yield node
    node.destroy_node()


@pytest.mark.parametrize("missing", ["nowhere_msgs/msg/Thing", "std_msgs/msg/Nothing"], ids=["package", "message"])
def test_answers_of_a_type_that_is_not_installed(node: Node, missing: str) -> None:
    node.create_publisher(String, "/answer", 1)
    lockstep = Lockstep(node, "/answer", lambda msgtype: find_message_class(missing), 10.0, lambda: False)
    with pytest.raises(PlayError, match=r"^/answer is published as std_msgs/msg/String, which is not installed here$"):
        lockstep.subscribe()


def test_the_topic_is_resolved_as_a_publisher_would(node: Node) -> None:
    lockstep = Lockstep(node, "answer", find_message_class, 0.1, lambda: False)
    assert lockstep.topic == "/answer"
    with pytest.raises(PlayError, match=r"^nobody publishes /answer after 0.1 s$"):
        lockstep.subscribe()
