"""config/profiles: a drive in each bag family of the wild gives the boxes that it gives as a bag of our own.

The node is the real one with a tiny network, in this process, configured by the profile's file; topics and types are
discovered over real DDS and the boxes come back over it. The bag's messages are handed to its subscriptions one by
one, with its clock at their log times, so that no set is lost and arrival times are exact.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import bag_families as families
import numpy as np
import pytest
import torch
from mcap_writer import write_mcap
from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.parameter import Parameter
from rclpy.serialization import deserialize_message
from rosgraph_msgs.msg import Clock
from synthetic_rig import LIDAR2EGO, detector_process, stamp
from tggbc_ros.msg import BoundingBox3DArray
from tiny_detector import TINY

from tggbc_ros.backends import load_network
from tggbc_ros.core.config import MODELS
from tggbc_ros.core.detector import Network
from tggbc_ros.core.geometry import quaternion_from_rotation
from tggbc_ros.data.bags.bag_file import BagError, open_bag
from tggbc_ros.ros.bags.bag_player import find_message_class
from tggbc_ros.ros.detector_node import DetectorNode
from tggbc_ros.ros.drops import Totals
from tggbc_ros.ros.plausibility import Finding
from tggbc_ros.tools.bag import main as bag_tool

PROFILES = Path(__file__).parents[2] / "config" / "profiles"
SETS = range(4)
RIG_LIDAR = [*LIDAR2EGO[:3, 3].tolist(), *map(float, quaternion_from_rotation(LIDAR2EGO[:3, :3]))]

pytestmark = pytest.mark.timeout(120)


@dataclass(frozen=True)
class Result:
    """What the node published, in order, its books, and what it found odd of the calibration."""

    boxes: list[BoundingBox3DArray]
    totals: Totals
    odd: tuple[Finding, ...] = ()


@pytest.fixture(scope="module")
def network() -> Iterator[Network]:
    torch.manual_seed(0)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(MODELS, TINY.name, TINY)
        yield load_network("torch", TINY, None, "cpu", True)
    torch.set_num_threads(threads)


class Player:
    """Hands a bag to a node, message by message, each after the sets before it are done."""

    def __init__(self, context: Context, node: DetectorNode, bag: Path) -> None:
        self.node = node
        self.bag = bag
        self.boxes: list[BoundingBox3DArray] = []
        self.helper = Node("player", context=context)
        self.executor = SingleThreadedExecutor(context=context)
        self.executor.add_node(node)
        self.executor.add_node(self.helper)
        self.helper.create_subscription(BoundingBox3DArray, "/detector/boxes", self.boxes.append, 100)
        with open_bag(bag) as reader:
            self.kinds = {entry.topic: find_message_class(entry.msgtype) for entry in reader.connections}
        self.publishers = [self.helper.create_publisher(kind, topic, 10) for topic, kind in self.kinds.items()]

    def spin_until(self, done: Callable[[], bool], timeout_s: float = 30.0) -> None:
        deadline_s = time.monotonic() + timeout_s
        while not done():
            assert time.monotonic() < deadline_s, f"{self.bag.name}: {self.node.line.account.totals()}"
            self.executor.spin_once(timeout_sec=0.01)

    def play(self) -> Result:
        line = self.node.line
        self.spin_until(lambda: all(feed.source for feed in line.intake.feeds.values()))
        images = 0
        with open_bag(self.bag) as reader:
            for entry, log_ns, data in reader.messages():
                if "Image" in entry.msgtype:
                    done = images // len(line.intake.feeds)
                    self.spin_until(lambda done=done: line.account.totals().sets_received >= done)
                    images += 1
                self.hand("/clock", Clock(clock=stamp(log_ns)))
                self.hand(entry.topic, deserialize_message(data, self.kinds[entry.topic]))
        sets = images // len(line.intake.feeds)
        if not line.account.totals().drops.get("image_zero_stamp"):
            self.spin_until(lambda: line.account.totals().sets_received == sets)
        self.spin_until(lambda: len(self.boxes) == line.account.totals().sets_published)
        return Result(self.boxes, line.account.totals(), line.rig_check.found)

    def hand(self, topic: str, message: Any) -> None:
        for subscription in [found for found in self.node.subscriptions if found.topic_name == topic]:
            subscription.callback(message)

    def close(self) -> None:
        self.executor.shutdown()
        self.helper.destroy_node()


@pytest.fixture
def play(context: Context, network: Network, tmp_path: Path) -> Callable[..., Result]:
    """Play entries, or a bag that is there, into a node with that profile."""

    def run(profile: str, entries: Sequence[families.Entry] | Path, **parameters: Any) -> Result:
        new = tmp_path / f"{profile}_{len(list(tmp_path.iterdir()))}"
        bag = entries if isinstance(entries, Path) else families.write_bag(new, entries)
        given = {"model": "tiny", "use_sim_time": True} | parameters
        node = DetectorNode(
            lambda *_: network,
            context=context,
            cli_args=["--ros-args", "--params-file", str(PROFILES / f"{profile}.yaml")],
            parameter_overrides=[Parameter(name, value=value) for name, value in given.items()],
        )
        node.trigger_configure()
        node.trigger_activate()
        player = Player(context, node, bag)
        try:
            return player.play()
        finally:
            node.stop(10.0)
            player.close()
            node.destroy_node()

    return run


def numbers(message: BoundingBox3DArray) -> np.ndarray:
    """[boxes, 10]: place, size, heading, velocity, score."""
    rows = [
        [box.pose.position.x, box.pose.position.y, box.pose.position.z, box.size.x, box.size.y, box.size.z]
        + [box.pose.orientation.z * np.sign(box.pose.orientation.w), box.velocity.x, box.velocity.y, box.score]
        for box in message.boxes
    ]
    return np.array(rows)


def same(found: Result, expected: Result) -> None:
    """Equal boxes of a plausible rig, in the same order; 5e-5 is what float32 makes of poses that were interpolated."""
    assert len(found.boxes) == len(expected.boxes) > 0
    for ours, theirs in zip(expected.boxes, found.boxes, strict=True):
        assert theirs.header.frame_id == "base_link"
        assert [box.class_name for box in theirs.boxes] == [box.class_name for box in ours.boxes]
        assert len(ours.boxes) > 5
        np.testing.assert_allclose(numbers(theirs), numbers(ours), atol=5e-5)
    assert found.odd == ()


def set_drops(result: Result) -> dict[str, int]:
    return {cause: count for cause, count in result.totals.drops.items() if cause.startswith("set_")}


def test_our_own_bags(play: Callable[..., Result]) -> None:
    """What the others are compared with: every set is inferred, and they differ from one another."""
    found = play("nuscenes", families.our_own(SETS))
    assert (found.totals.sets_published, dict(found.totals.drops)) == (len(SETS), {})
    first, second = numbers(found.boxes[0]), numbers(found.boxes[1])
    assert np.abs(first - second).max() > 0.01


def test_transforms_at_keyframes_only_and_a_broken_rotation(play: Callable[..., Result]) -> None:
    found = play("nuscenes_to_ros2bag", families.nuscenes_to_ros2bag(SETS))
    assert set_drops(found) == {"set_pose_timeout": 1}  # after the last keyframe there is no pose
    same(found, play("nuscenes", families.our_own(SETS[:-1])))


def test_no_transforms_but_a_calibration_file(play: Callable[..., Result], tmp_path: Path) -> None:
    cameras = [name.lower() for name in families.CAMERAS]
    file = families.write_calibration(tmp_path / "rig.yaml", cameras, "camera2lidar")
    entries = families.chris7462(SETS)
    found = play("nuscenes_chris7462", entries, calibration_file=str(file), lidar2base=RIG_LIDAR)
    assert set_drops(found) == {}
    same(found, play("nuscenes", families.our_own(SETS)))


def test_without_the_file_what_is_missing_is_said(play: Callable[..., Result]) -> None:
    found = play("nuscenes_chris7462", families.chris7462(SETS[:2]), lidar2base=RIG_LIDAR, pose_timeout_s=0.1)
    assert found.boxes == []
    assert sum(set_drops(found).values()) == 2
    assert set(set_drops(found)) <= {"set_pose_missing", "set_no_camera_info"}


def test_empty_headers_and_no_camera_info(play: Callable[..., Result], tmp_path: Path) -> None:
    file = families.write_calibration(tmp_path / "rig.yaml", [name.lower() for name in families.CAMERAS])
    entries = families.nuscenes2bag_ros2(SETS)
    found = play("nuscenes2bag_ros2", entries, calibration_file=str(file))
    assert set_drops(found) == {}
    same(found, play("nuscenes", families.our_own(SETS)))


def test_stamped_on_arrival_a_set_may_spread_by_what_images_take_to_come(
    play: Callable[..., Result], tmp_path: Path
) -> None:
    """Of full size: 35 ms between the cameras here, and of each image 4 ms more than of the one before it."""
    file = families.write_calibration(tmp_path / "rig.yaml", [name.lower() for name in families.CAMERAS])
    topics = [f"/{name.lower()}/raw" for name in families.CAMERAS]
    entries = [
        (log_ns + (topics.index(topic) * 4_000_000 if topic in topics else 0), topic, message)
        for log_ns, topic, message in families.nuscenes2bag_ros2(SETS)
    ]
    found = play("nuscenes2bag_ros2", sorted(entries, key=lambda entry: entry[0]), calibration_file=str(file))
    assert found.totals.sets_received == len(SETS)
    assert dict(found.totals.drops) == {"set_pose_timeout": 1}  # after the last pose
    assert len(found.boxes) == len(SETS) - 1


def test_stamp_zero_without_the_policy_is_dropped(play: Callable[..., Result], tmp_path: Path) -> None:
    file = families.write_calibration(tmp_path / "rig.yaml", [name.lower() for name in families.CAMERAS])
    entries = families.nuscenes2bag_ros2(SETS[:1])
    found = play("nuscenes2bag_ros2", entries, calibration_file=str(file), stamp_policy="message")
    assert (found.boxes, dict(found.totals.drops)) == ([], {"image_zero_stamp": 6})


def test_stamped_when_published_with_the_pose_last(play: Callable[..., Result]) -> None:
    found = play("ros2_dataset_bridge", families.ros2_dataset_bridge(SETS))
    assert sum(set_drops(found).values()) == 1  # the first set has no pose before it
    same(found, play("nuscenes", families.our_own(SETS[1:])))


def test_rectified_images_beside_the_raw_calibration(play: Callable[..., Result]) -> None:
    """As image_proc publishes them: K and D are the raw image's, P alone holds."""
    entries = families.our_own(SETS)
    for _, topic, message in entries:
        if topic.endswith("camera_info"):
            fx, _, cx, _, fy, cy, *_ = message.k
            message.p = [fx, 0.0, cx, 0.0, 0.0, fy, cy, 0.0, 0.0, 0.0, 1.0, 0.0]
            message.k = [1.2 * fx, 0.0, cx + 3.0, 0.0, 1.1 * fy, cy - 2.0, 0.0, 0.0, 1.0]
            message.distortion_model, message.d = "plumb_bob", [-0.3, 0.1, 0.0, 0.0, 0.0]
    found = play("nuscenes", entries, images_rectified=True)
    same(found, play("nuscenes", families.our_own(SETS)))
    with pytest.raises(AssertionError, match="Not equal to tolerance"):  # straightened twice
        same(play("nuscenes", entries), found)


def test_protobuf_of_foxglove_once_converted(play: Callable[..., Result], tmp_path: Path) -> None:
    file = write_mcap(tmp_path / "scene.mcap", families.nuscenes2mcap(SETS))
    hint = r"scene.mcap cannot be read: .*python -m tggbc_ros.tools.bag convert"
    with pytest.raises(BagError, match=hint), open_bag(file):
        pass
    assert bag_tool(["convert", str(file), "--out", str(tmp_path / "scene")]) == 0
    found = play("nuscenes2mcap", tmp_path / "scene")
    assert sum(set_drops(found).values()) == 1  # the first set is older than the first pose
    same(found, play("nuscenes", families.our_own(SETS[1:])))


@pytest.mark.timeout(240)
def test_a_real_node_and_the_real_player(
    play: Callable[..., Result], context: Context, domain_id: int, tmp_path: Path
) -> None:
    """The family without TF, over DDS from process to process; messages may overtake one another there."""
    file = families.write_calibration(tmp_path / "rig.yaml", [name.lower() for name in families.CAMERAS])
    bag = families.write_bag(tmp_path / "bag", families.chris7462(SETS))
    boxes: list[BoundingBox3DArray] = []
    helper = Node("recorder", context=context)
    helper.create_subscription(BoundingBox3DArray, "/detector/boxes", boxes.append, 100)
    executor = SingleThreadedExecutor(context=context)
    executor.add_node(helper)
    profile = ["--params-file", str(PROFILES / "nuscenes_chris7462.yaml")]
    parameters = {"calibration_file": file, "lidar2base": RIG_LIDAR, "pose_timeout_s": 5.0}
    options = [
        "--no-progress",
        "--lockstep",
        "/detector/report",
        "--wait-for-subscribers",
        "13",
        "--wait-timeout",
        "60",
    ]
    command = [sys.executable, "-m", "tggbc_ros.ros.bags.bag_player", str(bag), *options]
    with detector_process(domain_id, arguments=profile, **parameters):
        environment = {**os.environ, "ROS_DOMAIN_ID": str(domain_id)}
        with subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL) as player:
            while player.poll() is None:
                executor.spin_once(timeout_sec=0.05)
            assert player.returncode == 0
        deadline_s = time.monotonic() + 10.0
        while len(boxes) < len(SETS) and time.monotonic() < deadline_s:
            executor.spin_once(timeout_sec=0.05)
    helper.destroy_node()
    expected = play("nuscenes", families.our_own(SETS))
    same(Result(boxes, expected.totals), expected)
