"""Subscriptions to the cameras: which topic, type and reliability, by what is published and by what comes."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from rclpy.clock import Clock
from rclpy.clock_type import ClockType
from rclpy.lifecycle import LifecycleNode
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import CameraInfo, CompressedImage, Image

from tggbc_ros.ros.drops import Account, BadInputError
from tggbc_ros.ros.images.camera_feed import Feed, Source, subscribe
from tggbc_ros.ros.images.camera_sync import Stored
from tggbc_ros.ros.images.source_choice import FINE, LACKS_COLOURS, SILENT_S, SourceChoice
from tggbc_ros.ros.images.topic_names import Candidate, image_candidates, info_candidates
from tggbc_ros.ros.params import Settings
from tggbc_ros.ros.stamps import image_time

LOOK_PERIOD_S = 0.2
LOOK_AGAIN_S = 1.0
"""Once all cameras are found. To look costs what a few images cost."""

NOT_FOUND_S = 5.0
"""So long after the start the log says which topics were looked for in vain."""


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
        self.feeds = self._make_feeds()
        self._choices = {camera: SourceChoice(feed.candidates) for camera, feed in self.feeds.items()}
        self._open: dict[tuple[str, Candidate], tuple[Source, Callable[[], object]]] = {}
        """Subscriptions by camera and topic, and what ends each."""
        self._early: dict[str, Callable[[], object]] = {}
        """What ends the second subscription to a camera's CameraInfo, until the first has come."""
        self._began_s: float | None = time.monotonic()
        self._timer = node.create_timer(LOOK_PERIOD_S, self._look, clock=Clock(clock_type=ClockType.STEADY_TIME))
        self._look()

    def close(self) -> None:
        """Receive no more."""
        self._node.destroy_timer(self._timer)
        for end in (*(end for _, end in self._open.values()), *self._early.values()):
            end()

    def rate(self, camera: str, kind: type, worth: int) -> None:
        """What the camera's images of that type are worth, as `SourceChoice.rate`; any thread may say so."""
        for candidate in self.feeds[camera].candidates:
            if candidate[0] is kind:
                self._choices[camera].rate(candidate, worth)

    def _make_feeds(self) -> dict[str, Feed]:
        settings = self._settings
        names = settings.image_topic, settings.camera_info_topic
        topics = {
            camera: (names[0].replace("{camera}", camera), names[1].replace("{camera}", camera))
            for camera in settings.camera_names
        }
        infos = info_candidates(self._node, topics)
        return {
            camera: Feed(image_candidates(self._node, topic, settings.image_transport), infos[camera])
            for camera, (topic, _) in topics.items()
        }

    def _look(self) -> None:
        """Subscribe to what has appeared, anew where the offer has changed, and no more to what is not needed."""
        now_s = time.monotonic()
        for camera, feed in self.feeds.items():
            self._look_for_images(camera, feed, now_s)
            self._look_for_info(camera, feed)
        found = all(feed.source and feed.info_source for feed in self.feeds.values())
        self._timer.timer_period_ns = round(1e9 * (LOOK_AGAIN_S if found else LOOK_PERIOD_S))
        self._tell_of_unfound(now_s)

    def _look_for_images(self, camera: str, feed: Feed, now_s: float) -> None:
        choice, offered = self._choices[camera], self._offered(feed.candidates)
        listened = choice.look(offered, now_s)
        for candidate in listened:
            why = f" beside {_why(choice, now_s)}" if candidate != choice.current else ""
            self._listen(camera, candidate, offered.get(candidate), partial(self._store_image, camera, candidate), why)
        self._end_others(camera, feed.candidates, listened)
        if choice.current is not None:
            feed.source = self._open[camera, choice.current][0]

    def _look_for_info(self, camera: str, feed: Feed) -> None:
        """CameraInfo; until the first has come also by a second subscription that waits for nothing that was lost.

        Raw images can fill the memory that publishers put all they send into. What does not get through is sent again
        to those who are reliable, which may take seconds, and they get nothing that came after it until then.
        """
        offered = self._offered(feed.info_candidates)
        candidate = next(iter(offered), None)
        if candidate is not None and offered[candidate] != feed.info_source:
            feed.info_source = source = offered[candidate]
            store = partial(self._store_info, camera)
            self._listen(camera, candidate, source, store)
            self._end_others(camera, feed.info_candidates, [candidate])
            self._end_early(camera)
            if source.reliable and not source.latched and feed.info is None:
                self._early[camera] = subscribe(self._node, replace(source, reliable=False), store, warn=False)
        if feed.info is not None:
            self._end_early(camera)

    def _end_early(self, camera: str) -> None:
        end = self._early.pop(camera, None)
        if end is not None:
            end()

    def _offered(self, candidates: Sequence[Candidate]) -> dict[Candidate, Source]:
        """How to subscribe to those that are published, in their order, or to the only one that there can be."""
        wish, offered = self._settings.camera_qos, {}
        for kind, topic in candidates:
            offers = self._offers(kind, topic)
            if offers:
                all_reliable = _all(offers, "reliability", ReliabilityPolicy.RELIABLE)
                reliable = all_reliable if wish == "auto" else wish == "reliable"
                latched = _all(offers, "durability", DurabilityPolicy.TRANSIENT_LOCAL)
                offered[kind, topic] = Source(kind, topic, reliable, latched)
        if not offered and len(candidates) == 1 and wish != "auto":
            offered[candidates[0]] = Source(*candidates[0], reliable=wish == "reliable", latched=False)
        return offered

    def _offers(self, kind: type, topic: str) -> list[QoSProfile]:
        type_name = f"{kind.__module__.split('.')[0]}/msg/{kind.__name__}"
        publishers = self._node.get_publishers_info_by_topic(topic)
        return [publisher.qos_profile for publisher in publishers if publisher.topic_type == type_name]

    def _listen(
        self, camera: str, candidate: Candidate, source: Source | None, callback: Callable[[Any], None], why: str = ""
    ) -> None:
        """Subscribe, unless that is done; a new subscription comes before the old one goes, so that nothing is lost."""
        older = self._open.get((camera, candidate))
        if source is None or (older and older[0] == source):
            return
        end = subscribe(self._node, source, callback, warn=self._settings.camera_qos != "auto")
        self._open[camera, candidate] = source, end
        if older:
            older[1]()
        reliability = "reliable" if source.reliable else "best effort"
        self._node.get_logger().info(f"subscribed to {source.topic} ({source.kind.__name__}, {reliability}){why}")

    def _end_others(self, camera: str, candidates: Sequence[Candidate], kept: Sequence[Candidate]) -> None:
        for candidate in candidates:
            if candidate not in kept and (camera, candidate) in self._open:
                self._open.pop((camera, candidate))[1]()

    def _store_image(self, camera: str, candidate: Candidate, message: Image | CompressedImage) -> None:
        feed, choice = self.feeds[camera], self._choices[camera]
        now_s = time.monotonic()
        before, why = choice.current, _why(choice, now_s)
        if not choice.arrived(candidate, now_s):
            return
        if choice.current != before:
            feed.source = self._open[camera, candidate][0]
            kind, topic = candidate
            self._node.get_logger().info(f"{camera}: images come on {topic} ({kind.__name__}), no more from {why}")
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

    def _tell_of_unfound(self, now_s: float) -> None:
        """Once, where nothing is published."""
        if self._began_s is None or now_s - self._began_s < NOT_FOUND_S:
            return
        self._began_s = None
        names = {
            camera: ", ".join(dict.fromkeys(self._node.resolve_topic_name(topic) for _, topic in feed.candidates))
            for camera, feed in self.feeds.items()
            if feed.source is None
        }
        if names:
            looked = "; ".join(f"{camera} on {topics}" for camera, topics in names.items())
            self._node.get_logger().warning(f"images are not published: looked for {looked}")


def _why(choice: SourceChoice[Candidate], now_s: float) -> str:
    """The topic in use, and what is to be said against it."""
    if choice.current is None:
        return "nothing"
    reasons = {FINE: "which is second choice", LACKS_COLOURS: "whose images lack colours"}
    reason = reasons.get(choice.worth(choice.current), "whose images cannot be used")
    silent = f"on which nothing came for {SILENT_S:g} s"
    return f"{choice.current[1]}, {silent if choice.is_silent(now_s) else reason}"


def _all(offers: Sequence[QoSProfile], policy: str, value: object) -> bool:
    return all(getattr(offer, policy) == value for offer in offers)
