"""overlay_topics: pictures of the newest set, for those who look at them, and drawn beside inference."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import cv2
import numpy as np
import pytest
from pictures import CAR, PALETTE, box, pixels_of
from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor
from rclpy.lifecycle import LifecycleNode
from rclpy.node import Node
from rclpy.publisher import Publisher
from rclpy.qos import QoSProfile
from sensor_msgs.msg import CompressedImage
from synthetic_rig import CAM2EGO, HEIGHT, INTRINSICS, LIDAR2EGO, WIDTH, SyntheticRig, detector_process, nanoseconds

from tggbc_ros.core.config import MODELS
from tggbc_ros.core.geometry import invert_rigid
from tggbc_ros.core.types import CameraFrame, Rig
from tggbc_ros.drawing.draw import DARK
from tggbc_ros.ros.convert import header
from tggbc_ros.ros.output.overlay_topics import OverlayOptions, OverlayTopics, Scene, camera_topic, draw_scene
from tggbc_ros.ros.params import CAMERAS

DEMO = MODELS["demo"]
OPTIONS = OverlayOptions(width=320, kept_keys=False)
CELL = (180, 320)
GREY = 90


def scene(stamp_ns: int = 1, options: OverlayOptions = OPTIONS, missing: str = "") -> Scene:
    """Six grey images; one car, 12 m ahead."""
    lidar2cam = np.stack([invert_rigid(CAM2EGO[name]) @ LIDAR2EGO for name in CAMERAS])
    images = tuple(np.full((HEIGHT, WIDTH, 3), GREY, np.uint8) for _ in CAMERAS)
    rows, columns = DEMO.feature_size
    cells = np.ones((len(CAMERAS), rows, columns), bool)
    cells[[name == missing for name in CAMERAS]] = False
    frame = CameraFrame(images, Rig(CAMERAS, np.tile(INTRINSICS, (6, 1, 1)), lidar2cam), stamp_ns, np.eye(4), cells)
    return Scene(frame, box(0.0, 12.0), np.flatnonzero(cells)[::2], header(stamp_ns, "base_link"), options)


class Stage:
    """An active node with the topics, and somebody to look at them."""

    def __init__(self, context: Context) -> None:
        self.node, self.viewer = LifecycleNode("speaker", context=context), Node("viewer", context=context)
        self.executor = SingleThreadedExecutor(context=context)
        self.executor.add_node(self.node)
        self.executor.add_node(self.viewer)
        self.node.trigger_configure()
        self.topics = OverlayTopics(self._advertise, DEMO, PALETTE, CAMERAS)
        self.node.trigger_activate()
        self.topics.start()

    def _advertise(self, kind: type, topic: str) -> Publisher:
        return self.node.create_lifecycle_publisher(kind, topic, QoSProfile(depth=10))

    def look_at(self, name: str) -> list[CompressedImage]:
        seen: list[CompressedImage] = []
        topic = f"/speaker/{name}/compressed"
        self.viewer.create_subscription(CompressedImage, topic, seen.append, QoSProfile(depth=50))
        self.spin_until(lambda: self.node.count_subscribers(topic), 10.0)
        self.spin_until(lambda: False, 0.3)  # the publisher's own count follows
        return seen

    def spin_until(self, done, timeout_s: float) -> bool:
        for _ in range(round(timeout_s / 0.05)):
            if done():
                return True
            self.executor.spin_once(timeout_sec=0.05)
        return bool(done())

    def close(self) -> None:
        self.topics.stop(5.0)
        self.node.destroy_node()
        self.viewer.destroy_node()


@pytest.fixture
def stage(context: Context) -> Iterator[Stage]:
    stage = Stage(context)
    yield stage
    stage.close()


def pixels(message: CompressedImage) -> np.ndarray:
    return cv2.imdecode(np.frombuffer(message.data, np.uint8), cv2.IMREAD_COLOR)


def cell(picture: np.ndarray, row: int, column: int) -> np.ndarray:
    height, width = CELL
    return picture[row * height : (row + 1) * height, column * width : (column + 1) * width]


def test_the_mosaic_shows_every_camera_and_the_car_ahead(stage: Stage) -> None:
    seen = stage.look_at("overlay")
    stage.topics.offer(scene(stamp_ns=7))
    assert stage.spin_until(lambda: seen, 20.0)
    assert (nanoseconds(seen[0]), seen[0].header.frame_id, seen[0].format) == (7, "base_link", "jpeg")
    picture = pixels(seen[0])
    assert picture.shape == (2 * CELL[0], 3 * CELL[1], 3)
    blue = {(row, column): len(pixels_of(cell(picture, row, column), CAR)) for row in range(2) for column in range(3)}
    assert blue.pop((0, 1)) > 50
    assert set(blue.values()) == {0}


def test_only_what_is_looked_at_is_published(stage: Stage) -> None:
    front, back = stage.look_at("overlay/CAM_FRONT"), stage.look_at("overlay/CAM_BACK")
    stage.topics.offer(scene())
    assert stage.spin_until(lambda: front and back, 20.0)
    assert pixels(front[0]).shape == pixels(back[0]).shape == (*CELL, 3)
    assert len(pixels_of(pixels(front[0]), CAR)) > 50
    assert len(pixels_of(pixels(back[0]), CAR)) == 0
    counts = {p.topic_name: p.get_subscription_count() for p in stage.topics.publishers}
    assert sorted(counts.values()) == [0] * 5 + [1, 1]


def test_nothing_is_drawn_for_nobody(stage: Stage) -> None:
    """Kept keys that do not exist would be found out."""
    impossible = replace(scene(stamp_ns=1), kept=np.array([10_000]))
    stage.topics.offer(impossible)
    seen = stage.look_at("overlay")
    stage.topics.offer(scene(stamp_ns=2))
    assert stage.spin_until(lambda: seen, 20.0), "and the thread lives"
    assert [nanoseconds(message) for message in seen] == [2]
    with pytest.raises(ValueError, match="expected 0 to 1055"):
        stage.topics.publish(impossible)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_an_error_ends_the_thread_and_shows(stage: Stage) -> None:
    stage.look_at("overlay")
    assert stage.topics.is_alive()
    stage.topics.offer(replace(scene(), options=OverlayOptions(width=0, kept_keys=False)))
    assert stage.spin_until(lambda: not stage.topics.is_alive(), 20.0)
    assert stage.topics.stop(20.0)
    assert stage.topics.is_alive(), "nothing has to be drawn"


def test_a_burst_is_thinned_out_and_its_newest_shown(stage: Stage) -> None:
    seen = stage.look_at("overlay")
    wide = OverlayOptions(width=1280, kept_keys=True)
    for stamp_ns in range(1, 31):
        stage.topics.offer(scene(stamp_ns, wide))
    assert stage.spin_until(lambda: seen and nanoseconds(seen[-1]) == 30, 30.0)
    stamps = [nanoseconds(message) for message in seen]
    assert stamps == sorted(stamps)
    assert len(stamps) < 30


def test_after_stop_nothing_is_drawn_and_it_can_start_again(stage: Stage) -> None:
    seen = stage.look_at("overlay")
    assert stage.topics.stop(10.0)
    stage.topics.offer(scene(stamp_ns=1))
    stage.topics.start()
    stage.topics.offer(scene(stamp_ns=2))
    assert stage.spin_until(lambda: seen, 20.0)
    assert [nanoseconds(message) for message in seen] == [2]


def test_a_missing_camera_is_dark_and_says_so(stage: Stage) -> None:
    whole, five = stage.look_at("overlay"), stage.look_at("overlay/CAM_BACK")
    stage.topics.offer(scene(missing="CAM_BACK"))
    assert stage.spin_until(lambda: whole, 20.0)
    back = cell(pixels(whole[0]), 1, 1)
    assert np.abs(back[60:170, 10:310].astype(int) - DARK).max() < 12
    assert five == []


def test_kept_keys_stay_bright_where_asked_for() -> None:
    kept = np.arange(DEMO.feature_size[0] * DEMO.feature_size[1])  # all of the first camera
    asked = replace(scene(), kept=kept, boxes=box(0.0, 12.0)[:0], options=OverlayOptions(320, kept_keys=True))
    drawn = draw_scene(asked, DEMO, PALETTE, CAMERAS)
    assert drawn["CAM_FRONT"][120, 160].tolist() == [GREY] * 3
    assert drawn["CAM_BACK"][120, 160].tolist() == [round(0.3 * GREY)] * 3
    plain = draw_scene(replace(asked, options=OPTIONS), DEMO, PALETTE, ["CAM_BACK"])
    assert list(plain) == ["CAM_BACK"]
    assert plain["CAM_BACK"].min() == GREY


def test_topics_of_cameras_that_are_numbers_are_topics() -> None:
    assert camera_topic("CAM_FRONT") == "~/overlay/CAM_FRONT/compressed"
    assert camera_topic("0") == "~/overlay/camera_0/compressed"


@pytest.mark.timeout(120)
def test_the_node_shows_the_set_that_it_inferred(context: Context, domain_id: int) -> None:
    """At the stamp of its boxes, as wide as asked; the images come from the set, not from an older one."""
    rig, seen = SyntheticRig(context), []
    rig.create_subscription(CompressedImage, "/detector/overlay/compressed", seen.append, 10)
    with detector_process(domain_id, overlay_width=160, score_threshold=1.0):
        rig.wait_for_detector()
        for index in range(2):
            rig.publish_until_report(index)
            reference_ns = max(rig.stamps_ns(index).values())
            assert rig.spin_until(lambda stamp=reference_ns: seen and nanoseconds(seen[-1]) == stamp)
            picture = pixels(seen[-1])
            assert picture.shape == (180, 480, 3)
            sent = pixels(rig.make_image("CAM_BACK", 1, index))
            shown = picture[90:180, 160:320]
            assert np.abs(shown[30:].astype(int) - sent[30:]).mean() < 6
    rig.destroy_node()
