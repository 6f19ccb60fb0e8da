"""Subscriptions to many small messages, which do not queue up behind those to few large ones."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from rclpy.node import Node
from rclpy.qos import QoSProfile
from rclpy.subscription import Subscription


def subscribe_to_many(
    node: Node, kind: type, topic: str, callback: Callable[[Any], None], qos: QoSProfile
) -> Subscription:
    """As ``node.create_subscription``, but whenever a message is taken, all that wait behind it are taken too.

    rclpy's executors take one message of each topic in a turn. With six images in it a turn lasts milliseconds: /tf at
    a few hundred hertz would come ever later, and images, whose queues are short, would overtake their poses. At most
    ``qos.depth`` messages are taken at once, so that a flood of them stops nobody else's.
    """

    def take_all(message: object) -> None:
        callback(message)
        with subscription.handle:
            for _ in range(qos.depth - 1):
                taken = subscription.handle.take_message(kind, False)
                if taken is None:
                    break
                callback(taken[0])

    subscription = node.create_subscription(kind, topic, take_all, qos)
    return subscription
