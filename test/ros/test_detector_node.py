"""The node as a real process over real DDS: boxes in numbers, parameters, services, lifecycle, signals."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator

import cv2
import numpy as np
import pytest
import torch
from diagnostic_msgs.msg import DiagnosticStatus
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState, GetState
from rclpy.context import Context
from rclpy.qos import QoSProfile, ReliabilityPolicy
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import Image
from std_srvs.srv import Trigger
from synthetic_rig import (
    CAM2EGO,
    INTRINSICS,
    LIDAR2EGO,
    PERIOD_NS,
    START_NS,
    SyntheticRig,
    boxes_of,
    camera_info,
    detector_process,
    ego2global,
    end,
    jpeg,
    nanoseconds,
    set_parameters,
    stamp,
)
from tiny_detector import TINY

from tggbc_ros.backends import load_network
from tggbc_ros.core.config import PruningConfig
from tggbc_ros.core.detector import Detector
from tggbc_ros.core.geometry import invert_rigid, transform_boxes
from tggbc_ros.core.types import Boxes3D, CameraFrame, Rig
from tggbc_ros.drawing.kept_keys import KEPT, kept_by_camera
from tggbc_ros.ros.params import CAMERAS

pytestmark = pytest.mark.timeout(120)


@pytest.fixture
def rig(context: Context) -> Iterator[SyntheticRig]:
    rig = SyntheticRig(context)
    yield rig
    rig.destroy_node()


def expected_frame(rig: SyntheticRig, index: int) -> CameraFrame:
    """What the core should be given, from the closed form of the motion."""
    stamps_ns = rig.stamps_ns(index)
    lidar2global = ego2global(max(stamps_ns.values())) @ LIDAR2EGO
    lidar2cam = [invert_rigid(ego2global(stamps_ns[name]) @ CAM2EGO[name]) @ lidar2global for name in CAMERAS]
    files = [np.frombuffer(jpeg(name, 1, index).data, np.uint8) for name in CAMERAS]
    images = tuple(cv2.imdecode(file, cv2.IMREAD_COLOR) for file in files)
    matrices = Rig(CAMERAS, np.tile(INTRINSICS, (6, 1, 1)), np.stack(lidar2cam))
    return CameraFrame(images, matrices, max(stamps_ns.values()), lidar2global)


def assert_same_boxes(found: Boxes3D, expected: Boxes3D) -> None:
    """Near-equal scores may swap, so boxes are matched by label and place."""
    assert len(found) == len(expected) > 0
    key = lambda boxes: np.lexsort((*boxes.center.round(2).T, boxes.label))  # noqa: E731
    found, expected = found[key(found)], expected[key(expected)]
    np.testing.assert_array_equal(found.label, expected.label)
    np.testing.assert_allclose(found.center, expected.center, atol=1e-3)
    np.testing.assert_allclose(found.size, expected.size, rtol=1e-3)
    np.testing.assert_allclose(found.velocity, expected.velocity, atol=1e-3)
    np.testing.assert_allclose(found.score, expected.score, atol=1e-4)
    np.testing.assert_allclose(np.exp(1j * found.yaw), np.exp(1j * expected.yaw), atol=1e-3)


def test_published_boxes_are_the_cores_in_base_link(rig: SyntheticRig, domain_id: int) -> None:
    """Four sets, dense and then pruned by a live parameter, equal the core fed with the closed-form matrices."""
    torch.set_num_threads(1)
    detector = Detector(load_network("torch", TINY, None, "cpu", allow_random_weights=True))
    with detector_process(domain_id):
        rig.wait_for_detector()
        for index in range(4):
            if index == 2:
                detector.pruning = PruningConfig(keep_ratio=0.25, layers=1, queries=10)
                assert set_parameters(rig, keep_ratio=0.25, prune_queries=10) == ["", ""]
            report = rig.publish_until_report(index)
            lidar_boxes, step = detector.step(expected_frame(rig, index))
            found = boxes_of(rig, nanoseconds(report))
            assert_same_boxes(found, transform_boxes(LIDAR2EGO, lidar_boxes))
            assert list(report.keys) == list(step.keys)
            assert report.memory_age_s == pytest.approx(0.5 if index else 0.0)
        assert list(report.keys) == [48, 12]
        assert (report.keep_ratio, report.keep_ratio_used) == (pytest.approx(0.25), pytest.approx(0.25))
        assert (report.sets_received, report.sets_published, report.drops, report.resets) == (4, 4, [], [])
        assert (report.weights, report.model, report.backend, report.device) == ("RANDOM", "tiny", "torch", "cpu")
        assert report.spread_ms == pytest.approx(35.0)
        assert [s.stage for s in report.stages][:3] == ["wait", "images", "poses"]
        assert 0 < sum(s.ms for s in report.stages) <= report.latency_ms + 50
        assert rig.spin_until(lambda: len(rig.received["markers"]) == 4)
        assert rig.spin_until(lambda: len(rig.received["detections"]) == 4)
        reference_ns = nanoseconds(rig.received["boxes"][-1])
        assert nanoseconds(rig.received["detections"][-1]) == reference_ns
        assert len(rig.received["detections"][-1].detections) == len(found)
        cubes = [marker for marker in rig.received["markers"][-1].markers if marker.ns == "boxes"]
        assert len(cubes) == len(found)
        assert {nanoseconds(marker) for marker in cubes} == {reference_ns}
        assert [nanoseconds(m) for m in rig.received["boxes"]] == [
            START_NS + i * PERIOD_NS + 35_000_000 for i in range(4)
        ]


def test_kept_keys_are_a_picture_for_those_who_listen(rig: SyntheticRig, domain_id: int) -> None:
    """Cell by cell what the core reports, with the stamp of the boxes; a set before the listener makes none."""
    torch.set_num_threads(1)
    detector = Detector(
        load_network("torch", TINY, None, "cpu", allow_random_weights=True), PruningConfig(0.25, layers=1, queries=10)
    )
    pictures: list[Image] = []
    with detector_process(domain_id, keep_ratio=0.25, prune_queries=10):
        rig.wait_for_detector()
        rig.publish_until_report(0)
        detector.step(expected_frame(rig, 0))
        rig.create_subscription(Image, "/detector/kept_keys", pictures.append, 10)
        rig.spin_for(1.0)
        report = rig.publish_until_report(1)
        _, step = detector.step(expected_frame(rig, 1))
        assert rig.spin_until(lambda: pictures)
    (picture,) = pictures
    assert (nanoseconds(picture), picture.header.frame_id) == (nanoseconds(report), "base_link")
    assert (picture.encoding, picture.height, picture.width, picture.step) == ("mono8", 2 * 2, 3 * 4, 12)
    pixels = np.array(picture.data, np.uint8).reshape(4, 12)
    assert (pixels == KEPT).sum() == report.keys[-1] == 12
    by_camera = kept_by_camera(pixels, CAMERAS)
    cells = np.flatnonzero(np.stack([by_camera[name] for name in CAMERAS]))
    np.testing.assert_array_equal(cells, step.kept)


def test_raw_best_effort_cameras_and_a_change_of_offer(context: Context, domain_id: int) -> None:
    best_effort = QoSProfile(depth=10, reliability=ReliabilityPolicy.BEST_EFFORT)
    rig = SyntheticRig(context, kind=Image, qos=best_effort)
    with detector_process(domain_id):
        rig.wait_for_detector()
        assert reliabilities(rig, "CAM_BACK") == [ReliabilityPolicy.BEST_EFFORT]
        rig.publish_until_report(0)
        for name in CAMERAS:
            rig.destroy_publisher(rig.images[name])
            rig.images[name] = rig.create_publisher(Image, f"/camera/{name}/image", 10)
        for name in CAMERAS:
            changed = rig.spin_until(lambda name=name: reliabilities(rig, name) == [ReliabilityPolicy.RELIABLE])
            assert changed, f"{name} stayed best effort"
        assert rig.spin_until(lambda: all(publisher.get_subscription_count() for publisher in rig.images.values()))
        assert rig.publish_until_report(1).sets_published == 2
    rig.destroy_node()


def reliabilities(rig: SyntheticRig, camera: str) -> list[ReliabilityPolicy]:
    """Of each subscription to a camera's raw images."""
    infos = rig.get_subscriptions_info_by_topic(f"/camera/{camera}/image")
    return [info.qos_profile.reliability for info in infos]


def test_slow_network_takes_the_newest_set_and_counts_the_others(rig: SyntheticRig, domain_id: int) -> None:
    with detector_process(domain_id, {"TINY_SLEEP_S": "1.0"}):
        rig.wait_for_detector()
        for index in range(8):
            reference_ns = rig.publish_set(index)
            rig.spin_for(0.05)
        assert rig.spin_until(lambda: any(nanoseconds(r) == reference_ns for r in rig.received["report"]))
        report = rig.received["report"][-1]
        drops = {count.cause: count.count for count in report.drops}
        assert report.sets_received == 8
        assert report.sets_published == len(rig.received["boxes"]) == 8 - drops["set_superseded"]
        assert report.sets_published < 8
        stamps_ns = [nanoseconds(message) for message in rig.received["boxes"]]
        assert stamps_ns == sorted(set(stamps_ns))


def test_clock_that_jumps_back_resets_memory_with_its_cause(rig: SyntheticRig, domain_id: int) -> None:
    clock = rig.create_publisher(Clock, "/clock", 10)
    with detector_process(domain_id, use_sim_time=True):
        rig.wait_for_detector()
        assert rig.spin_until(clock.get_subscription_count)
        for index in (0, 1, 0, 1):
            clock.publish(Clock(clock=stamp(START_NS + index * PERIOD_NS - PERIOD_NS // 2)))
            rig.spin_for(0.3)
            published = len(rig.received["report"])
            rig.publish_set(index)
            assert rig.spin_until(lambda published=published: len(rig.received["report"]) > published)
        causes = [report.reset_cause for report in rig.received["report"]]
        assert causes[:2] == ["", ""]
        assert causes[2] in ("clock jump", "time went backward")
        assert causes[3] == ""


def test_out_of_memory_drops_the_set_and_the_node_lives_on(rig: SyntheticRig, domain_id: int) -> None:
    with detector_process(domain_id, {"TINY_FAIL_AT": "2"}):
        rig.wait_for_detector()
        rig.publish_until_report(0)
        rig.publish_set(1)
        assert rig.spin_until(lambda: rig.drops().get("set_inference_failed") == "1")
        report = rig.publish_until_report(2)
        assert (report.sets_received, report.sets_published, report.memory_age_s) == (3, 2, pytest.approx(1.0))


def change_state(rig: SyntheticRig, transition: int) -> str:
    """The state after it."""
    request = ChangeState.Request(transition=Transition(id=transition))
    assert rig.call(ChangeState, "/detector/change_state", request).success
    return str(rig.call(GetState, "/detector/get_state", GetState.Request()).current_state.label)


def test_lifecycle_by_hand(rig: SyntheticRig, domain_id: int) -> None:
    with detector_process(domain_id, autostart=False) as process:
        assert rig.spin_until(lambda: rig.diagnostic("detector: node"))
        assert rig.diagnostic("detector: node").message == "unconfigured"
        assert set_parameters(rig, max_boxes=50, sync_capacity=7) == ["", ""]
        for _ in range(2):
            assert change_state(rig, Transition.TRANSITION_CONFIGURE) == "inactive"
            assert set_parameters(rig, sync_capacity=8) != [""]
            assert change_state(rig, Transition.TRANSITION_ACTIVATE) == "active"
            rig.wait_for_detector()
            rig.received["report"].clear()
            assert rig.publish_until_report(0).memory_age_s == 0.0
            assert rig.publish_until_report(1).memory_age_s == pytest.approx(0.5)
            assert len(rig.received["boxes"][-1].boxes) == 50
            assert change_state(rig, Transition.TRANSITION_DEACTIVATE) == "inactive"
            assert not rig.call(Trigger, "/detector/reset_memory", Trigger.Request()).success
            assert rig.spin_until(lambda: not any(p.get_subscription_count() for p in rig.images.values()))
            assert change_state(rig, Transition.TRANSITION_ACTIVATE) == "active"
            rig.wait_for_detector()
            report = rig.publish_until_report(2)
            assert (report.sets_published, report.memory_age_s, report.reset_cause) == (1, 0.0, "deactivated")
            assert change_state(rig, Transition.TRANSITION_DEACTIVATE) == "inactive"
            assert change_state(rig, Transition.TRANSITION_CLEANUP) == "unconfigured"
        status, output, _ = end(process)
        assert (status, "Traceback" in output) == (0, False), output


def test_nothing_arrives_and_diagnostics_say_so(rig: SyntheticRig, domain_id: int) -> None:
    with detector_process(domain_id):
        assert rig.spin_until(lambda: rig.diagnostic("detector: camera CAM_FRONT"))
        assert rig.diagnostic("detector: camera CAM_FRONT").message == "never seen"
        assert rig.diagnostic("detector: camera CAM_FRONT").level == b"\x02"
        assert "no complete set" in rig.diagnostic("detector: synchroniser").message


def test_a_first_camera_info_may_come_after_its_image(rig: SyntheticRig, domain_id: int) -> None:
    """Where it is published it is waited for LOST_INFO_S at least: it may have been lost among raw images."""
    with detector_process(domain_id, pose_timeout_s=0.2):
        rig.wait_for_detector()
        reference_ns = rig.publish_set(0, infos=False)
        rig.spin_for(1.0)
        assert not rig.received["report"]
        for name, stamp_ns in rig.stamps_ns(0).items():
            rig.infos[name].publish(camera_info(name, stamp_ns))
        assert rig.spin_until(lambda: rig.received["report"], timeout_s=9.0)
        report = rig.received["report"][0]
        assert (nanoseconds(report), report.sets_received, report.sets_published) == (reference_ns, 1, 1)


def test_what_was_published_is_not_well_for_ever_once_all_cameras_are_silent(rig: SyntheticRig, domain_id: int) -> None:
    with detector_process(domain_id):
        rig.wait_for_detector()
        rig.publish_until_report(0)
        ceased = "no images come, and no set was published for "
        assert rig.spin_until(lambda: rig.diagnostic("detector: synchroniser"))
        assert rig.spin_until(lambda: ceased in rig.diagnostic("detector: synchroniser").message)
        for name in ("synchroniser", "rig", "memory", "stages", "pruning"):
            assert rig.diagnostic(f"detector: {name}").level != DiagnosticStatus.OK, name


@pytest.mark.parametrize(("number", "sleep_s"), [(signal.SIGINT, "60"), (signal.SIGTERM, "60"), (signal.SIGTERM, "0")])
def test_signals_end_it_cleanly_even_in_the_middle_of_a_frame(
    rig: SyntheticRig, domain_id: int, number: int, sleep_s: str
) -> None:
    with detector_process(domain_id, {"TINY_SLEEP_S": sleep_s}) as process:
        rig.wait_for_detector()
        rig.publish_set(0)
        if sleep_s == "0":
            assert rig.spin_until(lambda: rig.received["report"])
        else:
            rig.spin_for(1.0)
        status, output, took_s = end(process, number)
        assert status == 0, output
        assert "Traceback" not in output
        assert "rror" not in output
        assert took_s < 3.0


@pytest.mark.parametrize(
    ("parameters", "text"),
    [
        ({"allow_random_weights": False}, "checkpoint"),
        ({"allow_random_weights": False, "checkpoint": "/nowhere/weights.pth"}, "/nowhere/weights.pth"),
        ({"keep_ratio": 2.0}, "keep_ratio"),
        ({"camera_qos": "best"}, "camera_qos"),
        ({"calibration_file": "/nowhere/rig.yaml"}, "/nowhere/rig.yaml"),
    ],
)
def test_it_refuses_to_start_and_says_why_in_one_line(domain_id: int, parameters: dict[str, object], text: str) -> None:
    with detector_process(domain_id, **parameters) as process:
        output, _ = process.communicate(timeout=60)
    assert process.returncode == 1
    assert text in output
    assert len(output.strip().splitlines()) == 1, output


def test_installed_program_with_the_real_model(rig: SyntheticRig, domain_id: int) -> None:
    """`detector_node` itself, r50_704: one set of six images."""
    command = ["detector_node", "--ros-args", "-p", "model:=r50_704", "-p", "allow_random_weights:=true"]
    command += ["-p", "keep_ratio:=0.3"]
    process = subprocess.Popen(
        command,
        env={**os.environ, "ROS_DOMAIN_ID": str(domain_id)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        rig.wait_for_detector()
        report = rig.publish_until_report(0, timeout_s=90)
        assert (report.model, report.weights, list(report.keys)[0]) == ("r50_704", "RANDOM", 6 * 16 * 44)
        assert report.keys[-1] == 4224 - round(0.7 * 4224)
        assert len(boxes_of(rig, nanoseconds(report))) > 0
        status, output, _ = end(process)
        assert (status, "Traceback" in output) == (0, False), output
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate()
