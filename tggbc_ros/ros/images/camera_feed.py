"""One camera as it is listened to: where its messages come from, and what was seen of them."""

from __future__ import annotations

import importlib.util
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from rclpy.event_handler import SubscriptionEventCallbacks
from rclpy.lifecycle import LifecycleNode
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import CameraInfo

from tggbc_ros.ros.images.topic_names import Candidate

DEPTH = 10
RATE_WINDOW_S = 5.0


@dataclass(frozen=True)
class Source:
    """One topic to subscribe to, and how."""

    kind: type
    topic: str
    reliable: bool
    latched: bool

    @property
    def qos(self) -> QoSProfile:
        """As reliable and as durable as the publishers are."""
        reliability = ReliabilityPolicy.RELIABLE if self.reliable else ReliabilityPolicy.BEST_EFFORT
        durability = DurabilityPolicy.TRANSIENT_LOCAL if self.latched else DurabilityPolicy.VOLATILE
        return QoSProfile(depth=DEPTH, reliability=reliability, durability=durability)


@dataclass
class Feed:
    """What was seen of one camera; all times are of the monotonic clock.

    source: the topic its images are taken from. last_arrival_s: None before the first image. arrivals_s: those of the
    last RATE_WINDOW_S. usable: whether its last image that was looked at could be used. lacks: what that lacked of a
    picture with colours, empty for nothing. sets_without: sets published that lacked it.
    """

    candidates: Sequence[Candidate]
    info_candidates: Sequence[Candidate]
    source: Source | None = None
    info: CameraInfo | None = None
    info_source: Source | None = None
    images: int = 0
    last_arrival_s: float | None = None
    arrivals_s: deque[float] = field(default_factory=deque)
    usable: bool = True
    lacks: str = ""
    bad_images: int = 0
    last_error: str = ""
    last_error_s: float | None = None
    sets_without: int = 0

    def note_arrival(self, now_s: float) -> None:
        """An image came."""
        self.images += 1
        self.last_arrival_s = now_s
        self.arrivals_s.append(now_s)
        while self.arrivals_s[0] < now_s - RATE_WINDOW_S:
            self.arrivals_s.popleft()

    def note_error(self, text: str, now_s: float) -> None:
        """An image could not be used."""
        self.usable = False
        self.bad_images += 1
        self.last_error, self.last_error_s = text, now_s

    def rate_hz(self, now_s: float) -> float | None:
        """Images a second over the last RATE_WINDOW_S; None where fewer than two came in it. Any thread may ask."""
        arrivals_s = [arrival_s for arrival_s in tuple(self.arrivals_s) if arrival_s >= now_s - RATE_WINDOW_S]
        span_s = arrivals_s[-1] - arrivals_s[0] if arrivals_s else 0.0
        return (len(arrivals_s) - 1) / span_s if span_s > 0 else None


def subscribe(node: LifecycleNode, source: Source, callback: Callable[[Any], None], warn: bool) -> Callable[[], object]:
    """Subscribe, through message_filters where it is installed; returns what unsubscribes.

    warn: whether rclpy is to warn of publishers that offer less than is asked for. Each such watch is one thing more to
    wait for: without those of the cameras a message costs a quarter less, and what is asked for is what is offered.
    """
    events = SubscriptionEventCallbacks(use_default_callbacks=warn)
    if importlib.util.find_spec("message_filters") is None:
        plain = node.create_subscription(source.kind, source.topic, callback, source.qos, event_callbacks=events)
        return partial(node.destroy_subscription, plain)
    import message_filters

    subscriber = message_filters.Subscriber(
        node, source.kind, source.topic, qos_profile=source.qos, event_callbacks=events
    )
    subscriber.registerCallback(callback)
    return partial(node.destroy_subscription, subscriber.sub)
