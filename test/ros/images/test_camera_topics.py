"""camera_topics: which of the published topics is taken, how, and what is passed on."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence

import pytest
from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor
from rclpy.lifecycle import LifecycleNode
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import CameraInfo, CompressedImage, Image
from synthetic_rig import START_NS, camera_info, jpeg, raw

from tggbc_ros.ros.drops import Account
from tggbc_ros.ros.images import camera_topics
from tggbc_ros.ros.images.camera_sync import Stored
from tggbc_ros.ros.images.camera_topics import CameraTopics, Source
from tggbc_ros.ros.images.source_choice import LACKS_COLOURS, SILENT_S
from tggbc_ros.ros.params import Settings

RELIABLE = QoSProfile(depth=10)
BEST_EFFORT = QoSProfile(depth=10, reliability=ReliabilityPolicy.BEST_EFFORT)
TOPIC = "cam/front/image"


class Bench:
    """One camera and the node that listens, in one executor."""

    def __init__(self, context: Context, rules: Sequence[str] = (), **parameters: object) -> None:
        arguments = ["--ros-args", *(part for rule in rules for part in ("-r", rule))]
        self.node = LifecycleNode("listener", context=context, cli_args=arguments)
        self.cameras = LifecycleNode("camera", context=context)
        self.executor = SingleThreadedExecutor(context=context)
        self.executor.add_node(self.node)
        self.stored: list[Stored[Image | CompressedImage]] = []
        self.sent = 0
        self.account = Account()
        topics = {"image_topic": "cam/{camera}/image", "camera_info_topic": "cam/{camera}/info"}
        settings = Settings(camera_names=("front",), **topics, **parameters)
        self.topics = CameraTopics(self.node, settings, self.account, lambda camera, image: self.stored.append(image))

    @property
    def source(self) -> Source | None:
        return self.topics.feeds["front"].source

    def publish_on(self, kind: type, topic: str, qos: QoSProfile = RELIABLE) -> object:
        return self.cameras.create_publisher(kind, topic, qos)

    def spin_until(self, done: object) -> bool:
        for _ in range(400):
            if done():
                return True
            self.executor.spin_once(timeout_sec=0.05)
        return False

    def spin_for(self, duration_s: float) -> None:
        end_s = time.monotonic() + duration_s
        while time.monotonic() < end_s:
            self.executor.spin_once(timeout_sec=max(0.0, end_s - time.monotonic()))

    def close(self) -> None:
        self.topics.close()
        self.executor.shutdown()
        self.node.destroy_node()
        self.cameras.destroy_node()


@pytest.fixture
def bench(context: Context) -> Iterator[object]:
    made: list[Bench] = []

    def make(**parameters: object) -> Bench:
        made.append(Bench(context, **parameters))
        return made[-1]

    yield make
    for item in made:
        item.close()


@pytest.mark.parametrize("topic", [TOPIC, f"{TOPIC}/compressed"])
@pytest.mark.parametrize("transport", ["auto", "compressed"])
def test_compressed_images_with_and_without_the_suffix(bench, topic: str, transport: str) -> None:
    found = bench(image_transport=transport)
    assert found.source is None
    publisher = found.publish_on(CompressedImage, topic)
    assert found.spin_until(lambda: publisher.get_subscription_count())
    assert found.source == Source(CompressedImage, topic, reliable=True, latched=False)
    message = jpeg("front", START_NS)
    publisher.publish(message)
    assert found.spin_until(lambda: found.stored)
    assert (found.stored[0].stamp_ns, found.stored[0].message) == (START_NS, message)


def test_auto_prefers_compressed_where_both_are_published(bench) -> None:
    found = bench()
    image = found.publish_on(Image, TOPIC)
    assert found.spin_until(lambda: found.source == Source(Image, TOPIC, True, False))
    found.publish_on(CompressedImage, f"{TOPIC}/compressed")
    assert found.spin_until(lambda: found.source == Source(CompressedImage, f"{TOPIC}/compressed", True, False))
    assert found.spin_until(lambda: not image.get_subscription_count())


def feed_both(found: Bench, image: object, compressed: object, topics: tuple[str, ...], seconds: float) -> None:
    """Images at 10 Hz on one of the topics or on both."""
    for index in range(round(10 * seconds)):
        stamp_ns = START_NS + (found.sent + index) * 100_000_000
        for topic in topics:
            image.publish(raw("front", stamp_ns)) if topic == "raw" else compressed.publish(jpeg("front", stamp_ns))
        found.spin_for(0.1)
    found.sent += round(10 * seconds)


def test_a_compressed_topic_that_is_published_and_silent_is_left_and_taken_again(
    bench, capfd: pytest.CaptureFixture[str]
) -> None:
    found = bench()
    image = found.publish_on(Image, TOPIC)
    compressed = found.publish_on(CompressedImage, f"{TOPIC}/compressed")
    assert found.spin_until(lambda: compressed.get_subscription_count())
    feed_both(found, image, compressed, ("raw",), SILENT_S + 2.0)
    assert found.source == Source(Image, TOPIC, True, False)
    assert len(found.stored) >= 5
    feed_both(found, image, compressed, ("raw", "compressed"), 1.5)
    assert found.source == Source(CompressedImage, f"{TOPIC}/compressed", True, False)
    assert found.spin_until(lambda: not image.get_subscription_count())
    told = capfd.readouterr().err
    assert f"front: images come on {TOPIC} (Image), no more from {TOPIC}/compressed, on which nothing came for" in told
    assert f"front: images come on {TOPIC}/compressed (CompressedImage), no more from {TOPIC}, which is second" in told


def test_a_raw_topic_is_kept_until_something_comes_on_the_compressed_one(bench) -> None:
    found = bench()
    image = found.publish_on(Image, TOPIC)
    assert found.spin_until(lambda: image.get_subscription_count())
    feed_both(found, image, None, ("raw",), 0.5)
    compressed = found.publish_on(CompressedImage, f"{TOPIC}/compressed")
    assert found.spin_until(lambda: compressed.get_subscription_count())
    before = len(found.stored)
    feed_both(found, image, compressed, ("raw",), 1.0)
    assert found.source.kind is Image
    assert len(found.stored) - before == 10


def test_a_topic_without_colours_is_left_for_a_raw_one(bench) -> None:
    found = bench()
    image, compressed = found.publish_on(Image, TOPIC), found.publish_on(CompressedImage, TOPIC + "/compressed")
    assert found.spin_until(lambda: compressed.get_subscription_count())
    feed_both(found, image, compressed, ("raw", "compressed"), 0.5)
    assert found.source.kind is CompressedImage
    found.topics.rate("front", CompressedImage, LACKS_COLOURS)
    feed_both(found, image, compressed, ("raw", "compressed"), 2.5)
    assert found.source.kind is Image
    assert found.spin_until(lambda: not compressed.get_subscription_count())


def test_where_nothing_is_published_the_log_says_what_was_looked_for(
    bench, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(camera_topics, "NOT_FOUND_S", 0.3)
    found = bench()
    found.spin_for(1.0)
    looked = "/cam/front/image/compressed, /cam/front/image"
    assert capfd.readouterr().err.count(f"images are not published: looked for front on {looked}") == 1


def test_images_and_camera_info_are_found_behind_a_remapping(bench) -> None:
    found = bench(rules=("cam/front/image:=/rig/front/image_raw",))
    compressed = found.publish_on(CompressedImage, "/rig/front/image_raw/compressed")
    info = found.publish_on(CameraInfo, "/rig/front/camera_info")
    assert found.spin_until(lambda: compressed.get_subscription_count() and info.get_subscription_count())
    compressed.publish(jpeg("front", START_NS))
    info.publish(camera_info("front", START_NS))
    assert found.spin_until(lambda: found.stored and found.topics.feeds["front"].info)


def test_the_first_camera_info_is_awaited_twice_so_that_no_lost_one_holds_it_up(bench) -> None:
    """A reliable subscription gets nothing behind a sample that was lost, until that is sent again."""
    found = bench()
    info = found.publish_on(CameraInfo, "cam/front/info")
    assert found.spin_until(lambda: info.get_subscription_count() == 2)
    reliabilities = {
        each.qos_profile.reliability for each in found.cameras.get_subscriptions_info_by_topic("cam/front/info")
    }
    assert reliabilities == {ReliabilityPolicy.RELIABLE, ReliabilityPolicy.BEST_EFFORT}
    info.publish(camera_info("front", START_NS))
    assert found.spin_until(lambda: found.topics.feeds["front"].info is not None)
    assert found.spin_until(lambda: info.get_subscription_count() == 1)
    assert found.topics.feeds["front"].info_source.reliable


def test_raw_is_raw(bench) -> None:
    found = bench(image_transport="raw")
    found.publish_on(CompressedImage, f"{TOPIC}/compressed")
    publisher = found.publish_on(Image, TOPIC)
    assert found.spin_until(lambda: publisher.get_subscription_count())
    assert found.source == Source(Image, TOPIC, True, False)


@pytest.mark.parametrize(
    ("wish", "offers", "reliable"),
    [
        ("auto", [RELIABLE], True),
        ("auto", [BEST_EFFORT], False),
        ("auto", [RELIABLE, BEST_EFFORT], False),
        ("sensor_data", [RELIABLE], False),
        ("reliable", [RELIABLE], True),
    ],
)
def test_reliability_fits_the_offer(bench, wish: str, offers: list[QoSProfile], reliable: bool) -> None:
    found = bench(camera_qos=wish, image_transport="raw")
    publishers = [found.publish_on(Image, TOPIC, offer) for offer in offers]
    assert found.spin_until(lambda: all(p.get_subscription_count() for p in publishers))
    assert found.source.reliable is reliable
    for number, publisher in enumerate(publishers):
        publisher.publish(raw("front", START_NS + number))
    assert found.spin_until(lambda: len(found.stored) == len(offers))


def test_a_changed_offer_is_followed_and_a_lost_publisher_kept(bench) -> None:
    found = bench()
    publisher = found.publish_on(Image, TOPIC)
    assert found.spin_until(lambda: found.source is not None and found.source.reliable)
    found.cameras.destroy_publisher(publisher)
    assert found.spin_until(lambda: not found.node.get_publishers_info_by_topic(TOPIC))
    found.executor.spin_once(timeout_sec=0.5)
    assert found.source.reliable
    publisher = found.publish_on(Image, TOPIC, BEST_EFFORT)
    assert found.spin_until(lambda: not found.source.reliable)
    assert found.spin_until(lambda: publisher.get_subscription_count() == 1)
    publisher.publish(raw("front", START_NS))
    assert found.spin_until(lambda: found.stored)


def test_latched_camera_info_from_before_is_received(bench) -> None:
    found = bench()
    latched = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
    found.publish_on(CameraInfo, "cam/front/info", latched).publish(camera_info("front", START_NS))
    assert found.spin_until(lambda: found.topics.feeds["front"].info is not None)
    assert found.topics.feeds["front"].info.k[0] == 120.0


def test_stamp_zero_is_a_counted_drop(bench) -> None:
    found = bench()
    publisher = found.publish_on(Image, TOPIC)
    assert found.spin_until(lambda: publisher.get_subscription_count())
    publisher.publish(raw("front", 0))
    publisher.publish(raw("front", START_NS))
    assert found.spin_until(lambda: found.stored)
    assert [image.stamp_ns for image in found.stored] == [START_NS]
    assert found.account.totals().drops == {"image_zero_stamp": 1}
    feed = found.topics.feeds["front"]
    assert (feed.images, feed.last_error) == (2, "its time is 0 ns by stamp_policy message")
