"""The node over DDS, recorded and scored, against the library: the same boxes, the same scores."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node

from tggbc_ros.backends import load_network
from tggbc_ros.core.config import CLASS_NAMES, DecodeConfig, PruningConfig
from tggbc_ros.data.nuscenes.dataset import NuScenes
from tggbc_ros.evaluation.detect import Sweep
from tggbc_ros.evaluation.passes import at_newest_images, load_split
from tggbc_ros.evaluation.recorded import BOXES_TOPIC, REPORT_TOPIC, recorded_passes
from tggbc_ros.evaluation.score import Evaluator
from tggbc_ros.evaluation.submission import write_submission
from tggbc_ros.ros.client import INPUT_TOPICS
from tggbc_ros.tools import bag

sys.path.append(str(Path(__file__).parents[1] / "ros"))

from synthetic_rig import detector_process  # noqa: E402
from tggbc_ros.msg import FrameReport  # noqa: E402
from tiny_detector import TINY  # noqa: E402
from tiny_nuscenes import VERSION  # noqa: E402

SCENE, SPLIT, KEEP_RATIO = "scene-0001", "head", 0.4
TIMEOUT_S = 60.0


@contextmanager
def program(domain_id: int, module: str, *arguments: object) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-m", module, *map(str, arguments)]
    process = subprocess.Popen(command, env={**os.environ, "ROS_DOMAIN_ID": str(domain_id)}, text=True)
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()


@pytest.fixture
def listener() -> Iterator[Node]:
    """A node in a DDS domain of its own."""
    context = Context()
    rclpy.init(context=context, domain_id=os.getpid() % 100 + 1)
    node = Node("listener", context=context)
    yield node
    node.destroy_node()
    context.try_shutdown()


def play_and_record(listener: Node, played: Path, recorded: Path, sets: int) -> None:
    """The bag through the detector, whose topics another bag takes up."""
    domain_id = listener.context.get_domain_id()
    reports: list[FrameReport] = []
    signs_of_life: list[DiagnosticArray] = []
    listener.create_subscription(FrameReport, REPORT_TOPIC, reports.append, 100)
    listener.create_subscription(DiagnosticArray, "/diagnostics", signs_of_life.append, 10)
    executor = SingleThreadedExecutor(context=listener.context)
    executor.add_node(listener)
    recorder = program(domain_id, "tggbc_ros.ros.bags.bag_recorder", recorded, BOXES_TOPIC, REPORT_TOPIC)
    wait = ("--no-progress", "--lockstep", REPORT_TOPIC, "--wait-for-subscribers", INPUT_TOPICS)
    wait = (*wait, "--wait-timeout", TIMEOUT_S)
    with recorder as recording, detector_process(domain_id, keep_ratio=KEEP_RATIO):
        deadline_s = time.monotonic() + TIMEOUT_S
        while not signs_of_life and time.monotonic() < deadline_s:  # whom the detector reaches here, it reaches there
            executor.spin_once(timeout_sec=0.1)
        with program(domain_id, "tggbc_ros.ros.bags.bag_player", played, *wait):
            deadline_s = time.monotonic() + 2 * TIMEOUT_S
            while len(reports) < sets and time.monotonic() < deadline_s:
                executor.spin_once(timeout_sec=0.1)
        recording.send_signal(signal.SIGINT)
        assert recording.wait(timeout=20) == 0
    assert len(reports) == sets


def test_recorded_node_and_library(root: Path, tmp_path: Path, listener: Node) -> None:
    """Played at its own pace; the library is given the node's reference times, and so must find the same."""
    split = load_split(NuScenes(root), SPLIT)
    assert bag.main(["make", "--data", str(root), "--scene", SCENE, "--out", str(tmp_path / "played")]) == 0
    play_and_record(listener, tmp_path / "played", tmp_path / "recorded", sets=3)
    (node,) = recorded_passes(split, [tmp_path / "recorded"])
    network = load_network("torch", TINY, None, "cpu", True)
    (library,) = Sweep(network, [PruningConfig(KEEP_RATIO)], DecodeConfig()).run(at_newest_images(split), lambda: None)
    assert (node.keep_ratio, node.keys) == (library.keep_ratio, library.keys)
    scores = []
    for name, found in (("node", node), ("library", library)):
        submission = tmp_path / name / "submission.json"
        write_submission(submission, [sample.token for sample in split.samples()], found.detections, CLASS_NAMES)
        scores.append(Evaluator(root, VERSION, SPLIT).score(submission, tmp_path / name))
    for token, theirs in node.detections.items():
        ours = library.detections[token]
        np.testing.assert_allclose(theirs.boxes.center, ours.boxes.center, atol=1e-6)
        np.testing.assert_array_equal(theirs.boxes.label, ours.boxes.label)
    assert scores[0].class_ap == pytest.approx(scores[1].class_ap, abs=1e-9)
    assert scores[0].tp_errors == pytest.approx(scores[1].tp_errors, abs=1e-6)
    assert scores[0].nds == pytest.approx(scores[1].nds, abs=1e-6)
