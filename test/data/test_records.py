"""records: images are decoded when asked for, what is broken is named, and the vehicle's motion is in the rig."""

from __future__ import annotations

import struct
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from tiny_nuscenes import HEIGHT, WIDTH

from tggbc_ros.core.config import R50_704
from tggbc_ros.core.geometry import rigid, yaw_rotation
from tggbc_ros.core.preprocess import raw_to_network
from tggbc_ros.core.types import Boxes3D
from tggbc_ros.data.nuscenes.dataset import NuScenes
from tggbc_ros.data.records import CAMERA_NAMES, Annotations, Sample


@pytest.fixture
def sample(tiny_root: Path) -> Sample:
    return next(NuScenes(tiny_root).samples("scene-0001"))


def test_camera_frame_holds_bgr_images_in_network_order(sample: Sample) -> None:
    frame = sample.camera_frame()
    assert frame.rig.names == CAMERA_NAMES
    assert frame.timestamp_ns == sample.timestamp_ns
    for shot, image in zip(sample.cameras, frame.images, strict=True):
        shade = shot.timestamp_ns // 1_000_000 % 200
        assert image.shape == (HEIGHT, WIDTH, 3)
        np.testing.assert_allclose(image.reshape(-1, 3).mean(axis=0), (shade, 255 - shade, 40), atol=4)


def test_lidar2cam_takes_a_point_through_the_poses_of_both_times(sample: Sample) -> None:
    point_lidar = np.array([2.0, 14.0, -0.5, 1.0])
    in_global = sample.ego2global @ sample.lidar2ego @ point_lidar
    for shot, lidar2cam in zip(sample.cameras, sample.rig().lidar2cam, strict=True):
        expected = np.linalg.solve(shot.ego2global @ shot.cam2ego, in_global)
        np.testing.assert_allclose(lidar2cam @ point_lidar, expected, atol=1e-9)


def test_a_moving_vehicle_changes_lidar2cam(sample: Sample) -> None:
    shot = sample.cameras[0]
    still = replace(sample, cameras=(replace(shot, ego2global=sample.ego2global),))
    moving = replace(sample, cameras=(replace(shot, ego2global=sample.ego2global @ rigid(np.eye(3), (0.5, 0, 0))),))
    shift = still.rig().lidar2cam[0, :3, 3] - moving.rig().lidar2cam[0, :3, 3]
    np.testing.assert_allclose(shift, (0.0, 0.0, 0.5), atol=1e-9)


def test_missing_image_is_named(sample: Sample, tmp_path: Path) -> None:
    shot = replace(sample.cameras[2], jpeg=tmp_path / "gone.jpg")
    with pytest.raises(FileNotFoundError, match=r"CAM_FRONT_LEFT at \d+ ns: no file .*gone.jpg"):
        shot.image()


@pytest.mark.parametrize("content", [b"", b"\xff\xd8 not a picture"])
def test_broken_image_is_named(sample: Sample, content: bytes) -> None:
    with pytest.raises(ValueError, match=f"CAM_FRONT at .*{len(content)} bytes.*cannot be decoded"):
        replace(sample.cameras[0], jpeg=content).image()


def test_image_of_another_size_is_refused(sample: Sample) -> None:
    encoded = cv2.imencode(".jpg", np.zeros((10, 20, 3), np.uint8))[1].tobytes()
    with pytest.raises(ValueError, match=f"is 20x10, expected {WIDTH}x{HEIGHT}"):
        replace(sample.cameras[0], jpeg=encoded).image()


def test_a_bomb_is_refused_before_it_is_decoded(sample: Sample, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cv2, "imdecode", lambda *_: pytest.fail("it was decoded"))
    encoded = bytearray(cv2.imencode(".jpg", np.zeros((10, 20, 3), np.uint8))[1].tobytes())
    place = encoded.index(b"\xff\xc0") + 5
    encoded[place : place + 4] = struct.pack(">HH", 9000, 9000)
    shot = replace(sample.cameras[0], jpeg=bytes(encoded))
    with pytest.raises(ValueError, match=f"is 9000x9000, expected {WIDTH}x{HEIGHT}"):
        shot.image()
    with pytest.raises(ValueError, match="is 9000x9000, expected at most 64000000 pixels"):
        replace(shot, width=9000, height=9000).image()


def test_images_decoded_for_a_network_bring_their_intrinsics(sample: Sample) -> None:
    smooth = cv2.resize(np.random.default_rng(0).integers(0, 255, (9, 16, 3), np.uint8), (1600, 900))
    encoded = cv2.imencode(".jpg", smooth)[1].tobytes()
    shots = tuple(replace(shot, jpeg=encoded, width=1600, height=900) for shot in sample.cameras)
    large = replace(sample, cameras=shots)
    full, reduced = large.camera_frame(), large.camera_frame(R50_704)
    assert full.images[0].shape == (900, 1600, 3)
    assert reduced.images[0].shape == (450, 800, 3)
    np.testing.assert_array_equal(full.rig.intrinsics, large.rig().intrinsics)
    np.testing.assert_allclose(reduced.rig.intrinsics, np.diag([0.5, 0.5, 1.0]) @ full.rig.intrinsics)
    np.testing.assert_allclose(
        raw_to_network(reduced, R50_704) @ reduced.rig.intrinsics,
        raw_to_network(full, R50_704) @ full.rig.intrinsics,
        rtol=1e-6,
    )


def test_lidar2global_composes_mounting_and_pose() -> None:
    pose, mount = rigid(yaw_rotation(0.4), (5.0, 6.0, 0.0)), rigid(yaw_rotation(-1.5), (0.9, 0.0, 1.8))
    sample = Sample("t", 1, pose, mount, cameras=())
    np.testing.assert_allclose(sample.lidar2global, pose @ mount)


def test_annotations_refuse_unequal_lengths() -> None:
    one = np.zeros(1)
    boxes = Boxes3D(
        np.zeros((1, 3)), np.ones((1, 3)), one, np.zeros((1, 2)), one, one.astype(np.int64), one.astype(np.int64)
    )
    with pytest.raises(ValueError, match=r"lengths \(1, 0, 1\)"):
        Annotations(boxes, (), np.zeros(1, np.int64))
