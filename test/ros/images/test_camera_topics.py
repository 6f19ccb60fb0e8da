"""camera_topics: which of the published topics is taken, how, and what is passed on."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor
from rclpy.lifecycle import LifecycleNode
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import CameraInfo, CompressedImage, Image
from synthetic_rig import START_NS, camera_info, jpeg, raw

from tggbc_ros.ros.drops import Account
from tggbc_ros.ros.images.camera_sync import Stored
from tggbc_ros.ros.images.camera_topics import CameraTopics, Source
from tggbc_ros.ros.params import Settings

RELIABLE = QoSProfile(depth=10)
BEST_EFFORT = QoSProfile(depth=10, reliability=ReliabilityPolicy.BEST_EFFORT)
TOPIC = "cam/front/image"


class Bench:
    """One camera and the node that listens, in one executor."""

    def __init__(self, context: Context, **parameters: object) -> None:
        self.node = LifecycleNode("listener", context=context)
        self.cameras = LifecycleNode("camera", context=context)
        self.executor = SingleThreadedExecutor(context=context)
        self.executor.add_node(self.node)
        self.stored: list[Stored[Image | CompressedImage]] = []
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
