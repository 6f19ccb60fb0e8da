"""bag_recorder: as a process over DDS, it stores every message as it came and closes the bag when interrupted."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import rclpy
from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from rclpy.serialization import deserialize_message, serialize_message
from rosbags.highlevel import AnyReader
from rosbags.interfaces import QosDurability
from rosbags.rosbag2 import Reader
from std_msgs.msg import Header, String
from synthetic_rig import BOXES
from tggbc_ros.msg import BoundingBox3DArray

from tggbc_ros.core.config import CLASS_NAMES
from tggbc_ros.ros import convert
from tggbc_ros.ros.bags.bag_recorder import main

MESSAGES = 200


@contextmanager
def recorder(domain_id: int, out: Path, topics: Sequence[str], *options: str) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-m", "tggbc_ros.ros.bags.bag_recorder", str(out), *topics, *options]
    environment = {**os.environ, "ROS_DOMAIN_ID": str(domain_id)}
    process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate()


@pytest.fixture
def node(context: Context) -> Iterator[Node]:
    node = Node("talker", context=context)
    yield node
    node.destroy_node()


def wait(node: Node, holds: Callable[[], object], timeout_s: float = 30.0) -> None:
    executor = SingleThreadedExecutor(context=node.context)
    executor.add_node(node)
    deadline_s = time.monotonic() + timeout_s
    while not holds():
        assert time.monotonic() < deadline_s, "not in time"
        executor.spin_once(timeout_sec=0.05)
    executor.remove_node(node)


def boxes_at(stamp_ns: int) -> BoundingBox3DArray:
    return convert.boxes_array(BOXES, CLASS_NAMES, convert.header(stamp_ns, "base_link"))


def read(data: bytes) -> BoundingBox3DArray:
    """Bytes are not comparable: what pads them is whatever was in memory."""
    message: BoundingBox3DArray = deserialize_message(data, BoundingBox3DArray)
    return message


def interrupt(process: subprocess.Popen[str], number: int = signal.SIGINT) -> tuple[int, str]:
    process.send_signal(number)
    output, _ = process.communicate(timeout=20)
    return process.returncode, output


@pytest.mark.parametrize("storage", ["mcap", "sqlite3"])
def test_every_message_as_it_came(domain_id: int, node: Node, tmp_path: Path, storage: str) -> None:
    topics = [f"/{storage}/boxes", f"/{storage}/chatter"]
    boxes = node.create_publisher(BoundingBox3DArray, topics[0], MESSAGES)
    chatter = node.create_publisher(String, topics[1], MESSAGES)
    with recorder(domain_id, tmp_path / "bag", [*topics, "/silent"], "--storage", storage) as process:
        wait(node, lambda: boxes.get_subscription_count() and chatter.get_subscription_count())
        sent = [boxes_at(1_600_000_000_000_000_000 + index * 83_333_333) for index in range(MESSAGES)]
        before_ns = time.time_ns()
        for index, message in enumerate(sent):
            boxes.publish(message)
            chatter.publish(String(data=f"message {index}"))
        assert boxes.wait_for_all_acked() and chatter.wait_for_all_acked()
        status, output = interrupt(process)
    assert status == 0, output
    assert output.splitlines()[-4:] == [
        f"recorded {MESSAGES:6d} of {topics[0]}",
        f"recorded {MESSAGES:6d} of {topics[1]}",
        "no publisher of /silent",
        f"recorded {2 * MESSAGES} messages",
    ]
    with AnyReader([tmp_path / "bag"]) as reader:
        stored: dict[str, list[Any]] = {topic: [] for topic in topics}
        for connection, log_ns, data in reader.messages():
            assert before_ns <= log_ns <= time.time_ns()
            stored[connection.topic].append((data, reader.deserialize(data, connection.msgtype)))
    assert [read(data) for data, _ in stored[topics[0]]] == [read(serialize_message(message)) for message in sent]
    assert [message.data for _, message in stored[topics[1]]] == [f"message {index}" for index in range(MESSAGES)]
    first = stored[topics[0]][0][1].boxes[0]
    assert (first.class_name, first.velocity.x, first.size.y) == ("car", 3.0, 1.9)


def test_latched_and_best_effort_topics(domain_id: int, node: Node, tmp_path: Path) -> None:
    """A message latched before the recorder came is in the bag, and marked so that a player latches it again."""
    latched = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
    static = node.create_publisher(Header, "/latched/static", latched)
    static.publish(Header(frame_id="from before"))
    lossy = node.create_publisher(String, "/lossy", QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT))
    with recorder(domain_id, tmp_path / "bag", ["/latched/static", "lossy"]) as process:
        wait(node, lambda: static.get_subscription_count() and lossy.get_subscription_count())
        lossy.publish(String(data="hello"))
        time.sleep(0.5)
        status, output = interrupt(process, signal.SIGTERM)
    assert status == 0, output
    assert "recording /lossy (std_msgs/msg/String, best effort)" in output
    with Reader(tmp_path / "bag") as reader:
        profiles: dict[str, Any] = {entry.topic: entry.ext for entry in reader.connections}
        assert {entry.topic: entry.msgcount for entry in reader.connections} == {"/latched/static": 1, "/lossy": 1}
    durability = {topic: ext.offered_qos_profiles[0].durability for topic, ext in profiles.items()}
    assert durability == {"/latched/static": QosDurability.TRANSIENT_LOCAL, "/lossy": QosDurability.VOLATILE}


def test_nothing_published_leaves_a_readable_bag(domain_id: int, tmp_path: Path) -> None:
    with recorder(domain_id, tmp_path / "bag", ["/nobody"]) as process:
        deadline_s = time.monotonic() + 30.0
        while not (tmp_path / "bag").exists() and time.monotonic() < deadline_s:
            time.sleep(0.05)
        time.sleep(0.2)
        status, output = interrupt(process)
    assert (status, output.splitlines()) == (0, ["no publisher of /nobody", "recorded 0 messages"])
    with Reader(tmp_path / "bag") as reader:
        assert reader.message_count == 0


def test_existing_path_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(tmp_path), "/topic"]) == 1
    assert capsys.readouterr().err == f"bag_recorder: {tmp_path} exists already, not overwriting.\n"


@pytest.mark.parametrize("topic", ["/cam-front/image", "/camera/{x}", "//image", ""])
def test_a_name_that_no_topic_has_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str], topic: str) -> None:
    assert main([str(tmp_path / "bag"), "/good", topic]) == 1
    err = capsys.readouterr().err
    assert err.startswith(f"bag_recorder: a topic is {topic!r}, expected a topic's name: ")
    assert err.count("\n") == 1
    assert not (tmp_path / "bag").exists()


@pytest.mark.parametrize("storage", ["mcap", "sqlite3"])
def test_a_full_disk_is_one_line(domain_id: int, node: Node, tmp_path: Path, storage: str) -> None:
    """No file of the recorder's may grow beyond 1 MB, which its storage meets as it does a full disk."""
    texts = node.create_publisher(String, f"/{storage}/texts", 100)
    with recorder(domain_id, tmp_path / "bag", [f"/{storage}/texts"], "--storage", storage) as process:
        wait(node, texts.get_subscription_count)
        resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (1_000_000, 1_000_000))
        for _ in range(100):
            texts.publish(String(data=100_000 * "x"))
        output, _ = process.communicate(timeout=30)
    assert process.returncode == 1, output
    began, error = output.splitlines()
    assert began == f"recording /{storage}/texts (std_msgs/msg/String, reliable)"
    assert error.startswith(f"bag_recorder: cannot write bag {tmp_path / 'bag'}: ")


def test_two_types_on_one_topic_are_refused(domain_id: int, node: Node, tmp_path: Path) -> None:
    """Fast DDS refuses a second type within a process, not between two."""
    other_context = Context()
    rclpy.init(context=other_context, domain_id=domain_id)
    other = Node("other", context=other_context)
    node.create_publisher(String, "/mixed", 1)
    other.create_publisher(Header, "/mixed", 1)
    wait(node, lambda: node.count_publishers("/mixed") == 2)
    with recorder(domain_id, tmp_path / "bag", ["/mixed"]) as process:
        output, _ = process.communicate(timeout=30)
    other.destroy_node()
    other_context.try_shutdown()
    assert process.returncode == 1, output
    assert "/mixed is published as std_msgs/msg/Header and std_msgs/msg/String, expected one type" in output
