"""Wrong shapes and broken calibration do not get in."""

from __future__ import annotations

import numpy as np
import pytest

from tggbc_ros.core.types import Boxes3D, CameraFrame, Rig, StepReport

INTRINSICS = np.array([[500.0, 0, 320], [0, 500.0, 180], [0, 0, 1]])


def make_rig(**changes: object) -> Rig:
    values: dict = {
        "names": ("a", "b"),
        "intrinsics": np.stack([INTRINSICS] * 2),
        "lidar2cam": np.stack([np.eye(4)] * 2),
    }
    return Rig(**(values | changes))


def test_a_rig_that_fits_is_taken() -> None:
    assert make_rig().names == ("a", "b")


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"names": ("a", "a")}, "must be unique"),
        ({"names": ()}, "at least one"),
        ({"intrinsics": np.eye(3)}, r"intrinsics has shape \(3, 3\), expected \(2, 3, 3\)"),
        ({"intrinsics": np.full((2, 3, 3), np.nan)}, "intrinsics holds NaN"),
        ({"intrinsics": np.zeros((2, 3, 3))}, "focal lengths must be positive"),
        ({"lidar2cam": np.stack([np.eye(4) * 2] * 2)}, "lidar2cam is not a rigid transform"),
        ({"lidar2cam": np.stack([np.diag([1.0, 1, -1, 1])] * 2)}, "lidar2cam is not a rigid transform"),
    ],
)
def test_a_rig_that_does_not_is_refused(changes: dict, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        make_rig(**changes)


@pytest.mark.parametrize(
    ("images", "pose", "complaint"),
    [
        ((np.zeros((4, 6, 3), np.uint8),), np.eye(4), "1 images for the 2 cameras"),
        ((np.zeros((4, 6, 3), np.uint8), np.zeros((4, 6), np.uint8)), np.eye(4), "image of b has shape"),
        ((np.zeros((4, 6, 3), np.uint8), np.zeros((4, 6, 3), np.float32)), np.eye(4), "image of b is float32"),
        ((np.zeros((0, 6, 3), np.uint8), np.zeros((4, 6, 3), np.uint8)), np.eye(4), "image of a is empty"),
        ((np.zeros((4, 6, 3), np.uint8),) * 2, np.full((4, 4), np.nan), "lidar2global holds NaN"),
        ((np.zeros((4, 6, 3), np.uint8),) * 2, np.zeros((4, 4)), "lidar2global is not a rigid transform"),
    ],
)
def test_a_frame_that_does_not_fit_is_refused(images: tuple, pose: np.ndarray, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        CameraFrame(images, make_rig(), 0, pose)


def test_boxes_are_chosen_by_mask() -> None:
    boxes = Boxes3D(
        np.arange(9.0).reshape(3, 3), np.ones((3, 3)), np.zeros(3), np.zeros((3, 2)), np.array([0.9, 0.5, 0.1]),
        np.array([0, 1, 2]), np.array([5, 6, 7]),
    )  # fmt: skip
    sure = boxes[boxes.score > 0.4]
    assert len(sure) == 2
    assert sure.query.tolist() == [5, 6]
    with pytest.raises(ValueError, match=r"yaw has shape \(2,\), expected \(3,\)"):
        Boxes3D(
            boxes.center, boxes.size, np.zeros(2), boxes.velocity, boxes.score, boxes.label, boxes.query
        )  # fmt: skip


def test_the_ratio_used_is_what_the_last_layer_saw() -> None:
    assert StepReport(0.3, (100, 31, 31), {}, 0.0, "", np.arange(31)).keep_ratio_used == 0.31
