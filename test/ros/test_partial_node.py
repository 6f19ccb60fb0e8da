"""Rigs that are not six healthy pinhole cameras, in a running node: its boxes are the core's, number by number."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from diagnostic_msgs.msg import DiagnosticStatus
from rclpy.context import Context
from sensor_msgs.msg import CameraInfo
from std_srvs.srv import Trigger
from synthetic_rig import (
    CAM2EGO,
    HEIGHT,
    INTRINSICS,
    LIDAR2EGO,
    OPTICAL2BODY,
    WIDTH,
    SyntheticRig,
    boxes_of,
    camera_info,
    detector_process,
    ego2global,
    end,
    jpeg,
    nanoseconds,
    transform,
)
from tf2_msgs.msg import TFMessage
from tiny_detector import TINY

from tggbc_ros.backends import load_network
from tggbc_ros.core.detector import Detector
from tggbc_ros.core.geometry import invert_rigid, rigid, transform_boxes, yaw_rotation
from tggbc_ros.core.types import Boxes3D, CameraFrame, Rig
from tggbc_ros.ros.convert import bgr_image
from tggbc_ros.ros.images.ego_mask import load_ego_masks
from tggbc_ros.ros.images.lenses import make_lens
from tggbc_ros.ros.params import CAMERAS

pytestmark = pytest.mark.timeout(180)

MISSING = "CAM_BACK"
STATUS = f"detector: camera {MISSING}"
CELLS = 8
SCORE_TOLERANCE = 3e-6  # random weights answer a change of one camera by little
PLACES = CAM2EGO | {"CAM_SEVENTH": rigid(yaw_rotation(0.4) @ OPTICAL2BODY, [0.5, 0.2, 2.1])}


def expected_frame(
    rig: SyntheticRig,
    index: int,
    cells: np.ndarray | None = None,
    intrinsics: dict[str, np.ndarray] | None = None,
    images: dict[str, np.ndarray] | None = None,
) -> CameraFrame:
    """What the core should be given, from the closed form of the motion, but for what is given by camera."""
    names, stamps_ns = tuple(rig.cameras), rig.stamps_ns(index)
    reference_ns = max(stamps_ns[name] for n, name in enumerate(names) if cells is None or cells[n].any())
    lidar2global = ego2global(reference_ns) @ LIDAR2EGO
    lidar2cam = [invert_rigid(ego2global(stamps_ns[name]) @ PLACES[name]) @ lidar2global for name in names]
    shown = {name: bgr_image(jpeg(name, 1, index)) for name in names} | (images or {})
    matrices = dict.fromkeys(names, INTRINSICS) | (intrinsics or {})
    matched = Rig(names, np.stack([matrices[name] for name in names]), np.stack(lidar2cam))
    return CameraFrame(tuple(shown[name] for name in names), matched, reference_ns, lidar2global, cells)


def assert_same_boxes(found: Boxes3D, lidar_boxes: Boxes3D) -> None:
    """Near-equal scores may swap, so boxes are matched by label and place."""
    expected = transform_boxes(LIDAR2EGO, lidar_boxes)
    assert len(found) == len(expected) > 0
    found, expected = (b[np.lexsort((*b.center.round(2).T, b.label))] for b in (found, expected))
    np.testing.assert_array_equal(found.label, expected.label)
    np.testing.assert_allclose(found.center, expected.center, atol=1e-3)
    np.testing.assert_allclose(found.velocity, expected.velocity, atol=1e-3)
    np.testing.assert_allclose(found.score, expected.score, atol=SCORE_TOLERANCE)


def difference(detector: Detector, a: CameraFrame, b: CameraFrame) -> float:
    """Largest difference of a score between two frames, without memory."""
    one, other = (Detector(detector.network).step(frame)[0].score for frame in (a, b))
    return float(np.abs(np.sort(one) - np.sort(other)).max())


def core() -> Detector:
    torch.set_num_threads(1)
    return Detector(load_network("torch", TINY, None, "cpu", allow_random_weights=True))


def listed(names: Sequence[str]) -> str:
    return f"[{','.join(names)}]"


def error_of_the_missing_camera(rig: SyntheticRig) -> str:
    """What the next diagnostics say of it."""
    rig.received["diagnostics"].clear()
    assert rig.spin_until(lambda: rig.diagnostic(STATUS))
    status = rig.diagnostic(STATUS)
    assert status.level == DiagnosticStatus.ERROR
    return str(status.message)


@pytest.mark.parametrize("cameras", [CAMERAS[:4], (*CAMERAS, "CAM_SEVENTH")], ids=len)
def test_four_and_seven_cameras(context: Context, domain_id: int, cameras: Sequence[str]) -> None:
    rig, detector = SyntheticRig(context, cameras=cameras), core()
    with detector_process(domain_id, camera_names=listed(cameras), max_spread_s=0.06):
        rig.wait_for_detector()
        seventh = transform(PLACES["CAM_SEVENTH"], "base_link", "CAM_SEVENTH")
        rig.tf_static.publish(TFMessage(transforms=[seventh]))
        for index in range(2):
            report = rig.publish_until_report(index)
            lidar_boxes, step = detector.step(expected_frame(rig, index))
            assert_same_boxes(boxes_of(rig, nanoseconds(report)), lidar_boxes)
            assert list(report.keys) == list(step.keys) == [len(cameras) * CELLS] * 2
            assert (report.total_keys, report.missing_cameras) == (len(cameras) * CELLS, [])
        assert report.memory_age_s == pytest.approx(0.5)
    rig.destroy_node()


@pytest.fixture
def rig(context: Context) -> Iterator[SyntheticRig]:
    rig = SyntheticRig(context)
    yield rig
    rig.destroy_node()


def test_a_camera_goes_missing_and_comes_back(rig: SyntheticRig, domain_id: int) -> None:
    with detector_process(domain_id, min_cameras=5, camera_timeout_s=0.4):
        rig.wait_for_detector()
        assert rig.publish_until_report(0).missing_cameras == []
        index = 0
        while not any(report.missing_cameras for report in rig.received["report"]):
            index += 1
            rig.publish_set(index, **{MISSING: None})
            rig.spin_for(0.1)
            assert index < 100
        partial = rig.publish_until_report(index + 1, **{MISSING: None})
        assert partial.missing_cameras == [MISSING]
        assert (list(partial.keys), partial.total_keys) == ([5 * CELLS] * 2, 6 * CELLS)
        assert rig.call(Trigger, "/detector/reset_memory", Trigger.Request()).success
        report = rig.publish_until_report(index + 2, **{MISSING: None})
        cells = np.stack([np.full(TINY.feature_size, name != MISSING) for name in CAMERAS])
        lidar_boxes, _ = core().step(expected_frame(rig, index + 2, cells))
        assert_same_boxes(boxes_of(rig, nanoseconds(report)), lidar_boxes)
        rig.received["diagnostics"].clear()
        assert rig.spin_until(lambda: rig.diagnostic("detector: rig"))
        status = rig.diagnostic("detector: rig")
        assert (status.level, status.message) == (DiagnosticStatus.WARN, f"without {MISSING}")
        values = {pair.key: pair.value for pair in rig.diagnostic(f"detector: camera {MISSING}").values}
        assert int(values["sets_without"]) == sum(bool(r.missing_cameras) for r in rig.received["report"])
        rig.publish_set(index + 3)  # it may go before the camera's first image in a long time is there
        rig.spin_for(0.2)
        report = rig.publish_until_report(index + 4)
        assert (report.missing_cameras, list(report.keys)) == ([], [6 * CELLS] * 2)
        drops = sum(count.count for count in report.drops if count.cause.startswith("set_"))
        assert report.sets_received == report.sets_published + drops


def test_a_bad_image_is_a_missing_camera_where_fewer_are_enough(rig: SyntheticRig, domain_id: int) -> None:
    half = jpeg(MISSING, rig.stamps_ns(0)[MISSING])
    half.data = half.data[: len(half.data) // 2]
    cells = np.stack([np.full(TINY.feature_size, name != MISSING) for name in CAMERAS])
    with detector_process(domain_id, min_cameras=5, camera_timeout_s=60.0, diagnostics_stale_s=60.0):
        rig.wait_for_detector()
        report = rig.publish_until_report(0, **{MISSING: half})
        assert (report.missing_cameras, list(report.keys)) == ([MISSING], [5 * CELLS] * 2)
        detector = core()
        expected, _ = detector.step(expected_frame(rig, 0, cells))
        assert_same_boxes(boxes_of(rig, nanoseconds(report)), expected)
        assert {count.cause: count.count for count in report.drops} == {"image_bad_image": 1}
        said = error_of_the_missing_camera(rig)
        assert said.startswith("bad: bad_image: JPEG of 160x90 is cut off after ")

        late = rig.stamps_ns(1)
        other = jpeg("CAM_FRONT", late["CAM_FRONT"])
        other.data = other.data[:100]
        half.header.stamp = jpeg(MISSING, late[MISSING]).header.stamp
        rig.publish_set(1, **{MISSING: half, "CAM_FRONT": other})
        assert rig.spin_until(lambda: rig.drops().get("set_bad_image") == "1")
        report = rig.publish_until_report(2)
        assert (report.missing_cameras, list(report.keys)) == ([], [6 * CELLS] * 2)
        assert {count.cause: count.count for count in report.drops} == {"image_bad_image": 1, "set_bad_image": 1}
        assert (report.sets_received, report.sets_published) == (3, 2)


def changed_info(name: str, **changes: object) -> CameraInfo:
    info = camera_info(name, 1)
    for field, value in changes.items():
        setattr(info, field, value)
    return info


def test_lenses_ego_masks_and_calibration_that_changes(rig: SyntheticRig, domain_id: int, tmp_path: Path) -> None:
    """A mask on one camera, a distorted second, a third whose focal length changes between two sets."""
    mask = np.zeros((HEIGHT, WIDTH), np.uint8)
    mask[HEIGHT // 2 :, : WIDTH // 2] = 255
    cv2.imwrite(str(tmp_path / "CAM_FRONT.png"), mask)
    cells = np.ones((6, *TINY.feature_size), np.bool_)
    cells[0] = load_ego_masks(str(tmp_path), CAMERAS, TINY).cells("CAM_FRONT", (HEIGHT, WIDTH), None)
    bent = changed_info("CAM_BACK", distortion_model="plumb_bob", d=[-0.3, 0.1, 0.0, 0.0, 0.0])
    bent.p = [180.0, 0.0, 81.0, 0.0, 0.0, 175.0, 44.0, 0.0, 0.0, 0.0, 1.0, 0.0]
    detector = core()
    with detector_process(domain_id, ego_mask_dir=str(tmp_path)) as process:
        rig.wait_for_detector()
        report = rig.publish_until_report(0)
        lidar_boxes, step = detector.step(expected_frame(rig, 0, cells))
        assert_same_boxes(boxes_of(rig, nanoseconds(report)), lidar_boxes)
        assert list(report.keys) == list(step.keys)
        assert report.keys[0] == cells.sum() < 6 * CELLS

        rig.infos["CAM_BACK"].publish(bent)
        rig.spin_for(0.3)
        report = rig.publish_until_report(1, infos=False)
        shown = bgr_image(jpeg("CAM_BACK", 1, 1))
        lens = make_lens(bent, shown)
        straight = {"CAM_BACK": lens.straighten(shown)}
        frame = expected_frame(rig, 1, cells, intrinsics={"CAM_BACK": lens.intrinsics}, images=straight)
        assert_same_boxes(boxes_of(rig, nanoseconds(report)), detector.step(frame)[0])
        assert difference(detector, frame, expected_frame(rig, 1, cells)) > 3 * SCORE_TOLERANCE
        rig.infos["CAM_BACK"].publish(camera_info("CAM_BACK", 1))

        longer = INTRINSICS @ np.diag([1.5, 1.5, 1.0])
        rig.infos["CAM_FRONT_LEFT"].publish(changed_info("CAM_FRONT_LEFT", k=longer.ravel().tolist()))
        rig.spin_for(0.3)
        report = rig.publish_until_report(2, infos=False)
        frame = expected_frame(rig, 2, cells, intrinsics={"CAM_FRONT_LEFT": longer})
        assert difference(detector, frame, expected_frame(rig, 2, cells)) > 3 * SCORE_TOLERANCE
        assert_same_boxes(boxes_of(rig, nanoseconds(report)), detector.step(frame)[0])

        rig.infos["CAM_BACK"].publish(changed_info("CAM_BACK", distortion_model="ftheta", d=[0.1]))
        rig.spin_for(0.3)
        rig.publish_set(3, infos=False)
        assert rig.spin_until(lambda: rig.drops().get("set_unknown_distortion") == "1")
        camera = {pair.key: pair.value for pair in rig.diagnostic("detector: camera CAM_BACK").values}
        assert "expected one of plumb_bob" in camera["last_error"]
        assert rig.publish_until_report(4).sets_published == 4
        _, output, _ = end(process)
    assert output.count("distortion_model of 'CAM_BACK' is 'ftheta'") == 1


@pytest.mark.parametrize(
    ("parameters", "text"),
    [({"ego_mask_dir": "/nowhere"}, "ego_mask_dir is '/nowhere'"), ({"min_cameras": 7}, "min_cameras is 7, expected")],
    ids=["masks", "cameras"],
)
def test_it_refuses_what_cannot_be(domain_id: int, parameters: dict[str, object], text: str) -> None:
    with detector_process(domain_id, **parameters) as process:
        output, _ = process.communicate(timeout=90)
    assert process.returncode == 1
    assert text in output


def test_a_camera_of_an_unknown_frame_is_a_missing_camera_where_fewer_are_enough(
    rig: SyntheticRig, domain_id: int
) -> None:
    lost = jpeg(MISSING, rig.stamps_ns(0)[MISSING])
    lost.header.frame_id = "nobody_knows"
    cells = np.stack([np.full(TINY.feature_size, name != MISSING) for name in CAMERAS])
    with detector_process(domain_id, min_cameras=5, camera_timeout_s=60.0, diagnostics_stale_s=60.0):
        rig.wait_for_detector()
        report = rig.publish_until_report(0, **{MISSING: lost})
        assert (report.missing_cameras, list(report.keys)) == ([MISSING], [5 * CELLS] * 2)
        expected, _ = core().step(expected_frame(rig, 0, cells))
        assert_same_boxes(boxes_of(rig, nanoseconds(report)), expected)
        assert {count.cause: count.count for count in report.drops} == {"image_pose_missing": 1}
        said = error_of_the_missing_camera(rig)
        assert said.startswith("bad: pose_missing: ")
        assert "nobody_knows" in said

        other = jpeg("CAM_FRONT", rig.stamps_ns(1)["CAM_FRONT"])
        other.header.frame_id = "nor_this"
        lost.header.stamp = jpeg(MISSING, rig.stamps_ns(1)[MISSING]).header.stamp
        rig.publish_set(1, **{MISSING: lost, "CAM_FRONT": other})
        assert rig.spin_until(lambda: rig.drops().get("set_pose_missing") == "1")
        report = rig.publish_until_report(2)
        assert (report.missing_cameras, list(report.keys)) == ([], [6 * CELLS] * 2)
        assert {count.cause: count.count for count in report.drops} == {"image_pose_missing": 1, "set_pose_missing": 1}
        rig.received["diagnostics"].clear()
        assert rig.spin_until(lambda: (now := rig.diagnostic(STATUS)) is not None and now.message == "fresh")
