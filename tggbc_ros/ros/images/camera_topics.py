"""Subscriptions to the cameras: which topic, type and reliability, found by looking at what is published."""

from __future__ import annotations

import importlib.util
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from rclpy.clock import Clock
from rclpy.clock_type import ClockType
from rclpy.event_handler import SubscriptionEventCallbacks
from rclpy.lifecycle import LifecycleNode
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import CameraInfo, CompressedImage, Image

from tggbc_ros.ros.drops import Account, BadInputError
from tggbc_ros.ros.images.camera_sync import Stored
from tggbc_ros.ros.params import Settings
from tggbc_ros.ros.stamps import image_time

LOOK_PERIOD_S = 0.2
LOOK_AGAIN_S = 1.0
"""Once all cameras are found. To look costs what a few images cost."""

DEPTH = 10
RATE_WINDOW_S = 5.0
Candidate = tuple[type, str]


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

    last_arrival_s: None before the first image. arrivals_s: those of the last RATE_WINDOW_S. usable: whether its last
    image that was looked at could be used. sets_without: sets published that lacked it.
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
    bad_images: int = 0
    last_error: str = ""
    last_error_s: float | None = None
    sets_without: int = 0
    unsubscribe: dict[str, Callable[[], object]] = field(default_factory=dict)

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


class CameraTopics:
    """Keeps the subscriptions fitting to what is published, and passes images on as they come, undecoded.

    on_image(camera, image) is called for each image with a stamp. To be used from the executor's thread.
    """

    def __init__(
        self,
        node: LifecycleNode,
        settings: Settings,
        account: Account,
        on_image: Callable[[str, Stored[Image | CompressedImage]], None],
    ) -> None:
        self._node = node
        self._settings = settings
        self._account = account
        self._on_image = on_image
        self.feeds = {camera: self._feed(camera) for camera in settings.camera_names}
        self._timer = node.create_timer(LOOK_PERIOD_S, self._look, clock=Clock(clock_type=ClockType.STEADY_TIME))
        self._look()

    def close(self) -> None:
        """Receive no more."""
        self._node.destroy_timer(self._timer)
        for feed in self.feeds.values():
            for unsubscribe in feed.unsubscribe.values():
                unsubscribe()

    def _feed(self, camera: str) -> Feed:
        topic = self._settings.image_topic.replace("{camera}", camera)
        info_topic = self._settings.camera_info_topic.replace("{camera}", camera)
        return Feed(image_candidates(topic, self._settings.image_transport), [(CameraInfo, info_topic)])

    def _look(self) -> None:
        """Subscribe to what has appeared; subscribe anew where the offer has changed."""
        for camera, feed in self.feeds.items():
            source = self._choose(feed.candidates) or feed.source
            if source is not None and source != feed.source:
                self._subscribe(feed, "image", source, partial(self._store_image, camera))
                feed.source = source
            source = self._choose(feed.info_candidates) or feed.info_source
            if source is not None and source != feed.info_source:
                self._subscribe(feed, "info", source, partial(self._store_info, camera))
                feed.info_source = source
        found = all(feed.source and feed.info_source for feed in self.feeds.values())
        self._timer.timer_period_ns = round(1e9 * (LOOK_AGAIN_S if found else LOOK_PERIOD_S))

    def _choose(self, candidates: Sequence[Candidate]) -> Source | None:
        """The first candidate that is published, or the only one there can be; None: nothing to choose by."""
        wish = self._settings.camera_qos
        for kind, topic in candidates:
            offers = self._offers(kind, topic)
            if offers:
                offered = _all(offers, "reliability", ReliabilityPolicy.RELIABLE)
                reliable = offered if wish == "auto" else wish == "reliable"
                return Source(kind, topic, reliable, _all(offers, "durability", DurabilityPolicy.TRANSIENT_LOCAL))
        if len(candidates) == 1 and wish != "auto":
            return Source(*candidates[0], reliable=wish == "reliable", latched=False)
        return None

    def _offers(self, kind: type, topic: str) -> list[QoSProfile]:
        type_name = f"{kind.__module__.split('.')[0]}/msg/{kind.__name__}"
        publishers = self._node.get_publishers_info_by_topic(topic)
        return [publisher.qos_profile for publisher in publishers if publisher.topic_type == type_name]

    def _subscribe(self, feed: Feed, role: str, source: Source, callback: Callable[[Any], None]) -> None:
        """The new subscription comes before the old one goes, so that no image falls between them."""
        older = feed.unsubscribe.get(role)
        feed.unsubscribe[role] = subscribe(self._node, source, callback, warn=self._settings.camera_qos != "auto")
        if older is not None:
            older()
        reliability = "reliable" if source.reliable else "best effort"
        self._node.get_logger().info(f"subscribed to {source.topic} ({source.kind.__name__}, {reliability})")

    def _store_image(self, camera: str, message: Image | CompressedImage) -> None:
        feed = self.feeds[camera]
        now_s = time.monotonic()
        feed.note_arrival(now_s)
        try:
            stamp_ns = image_time(message.header.stamp, self._settings.stamp_policy, self._node.get_clock())
        except BadInputError as error:
            feed.note_error(str(error), now_s)
            self._account.drop("image_bad_stamp")
            return
        if stamp_ns <= 0:
            feed.note_error(f"its time is {stamp_ns} ns by stamp_policy {self._settings.stamp_policy}", now_s)
            self._account.drop("image_zero_stamp")
            return
        self._on_image(camera, Stored(stamp_ns, now_s, message))

    def _store_info(self, camera: str, message: CameraInfo) -> None:
        self.feeds[camera].info = message


def image_candidates(topic: str, transport: str) -> list[Candidate]:
    """Where a camera's images may be, best first. Compressed ones come first: six raw cameras lose messages."""
    compressed: list[Candidate] = [(CompressedImage, f"{topic}/compressed"), (CompressedImage, topic)]
    raw: list[Candidate] = [(Image, topic)]
    return {"compressed": compressed, "raw": raw, "auto": compressed + raw}[transport]


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


def _all(offers: Sequence[QoSProfile], policy: str, value: object) -> bool:
    return all(getattr(offer, policy) == value for offer in offers)
