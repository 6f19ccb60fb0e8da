"""Transforms: pixels and matrices go together, however images are cut, mirrored or the scene is turned."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from mmdet3d.structures import LiDARInstance3DBoxes
from tiny_setup import TinySetup

from tggbc_ros.core.config import R50_704, PreprocessConfig
from tggbc_ros.core.preprocess import preprocess
from tggbc_ros.data.nuscenes.dataset import NuScenes
from tggbc_ros.data.records import CAMERA_NAMES
from tggbc_ros.mmdet3d_plugin.transforms import FitCameraImages, RotateLidarFrame

HEIGHT, WIDTH = 900, 1600


def sample(blob: tuple[int, int] = (800, 700), order: tuple[str, ...] = CAMERA_NAMES) -> dict:
    """A raw sample of black images with one white square around pixel ``blob`` (u, v)."""
    image = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    image[blob[1] - 20 : blob[1] + 20, blob[0] - 20 : blob[0] + 20] = 255
    return {
        "images": {name: {} for name in order},
        "img": [image.copy() for _ in order],
        "cam2img": [[[1000.0, 0, 800], [0, 1000, 450], [0, 0, 1 + index]] for index in range(len(order))],
        "lidar2cam": [np.eye(4) for _ in order],
        "ego2global": np.eye(4).tolist(),
        "lidar_points": {"lidar2ego": np.eye(4).tolist()},
    }


def centre_of_white(image: np.ndarray) -> np.ndarray:
    rows, columns = np.nonzero(image[..., 0] > 127)
    return np.array([columns.mean() + 0.5, rows.mean() + 0.5])


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("flip", [0.0, 1.0])
def test_what_is_seen_stays_where_the_matrices_say(seed: int, flip: float) -> None:
    np.random.seed(seed)
    found = FitCameraImages("r50_704", resize_range=(0.40, 0.55), flip_ratio=flip).transform(sample())
    assert found["img"][0].shape == (256, 704, 3)
    ray = np.array([0.0, 0.25, 1.0, 1.0])  # at pixel (800, 700) of the raw image
    u, v, depth, _ = found["lidar2img"][0] @ ray
    np.testing.assert_allclose(centre_of_white(found["img"][0]), [u / depth, v / depth], atol=1.0)
    assert (found["intrinsics"][0, 0, 0] < 0) == (flip == 1.0)


def test_images_and_matrices_for_testing_are_the_nodes(tiny: TinySetup) -> None:
    frame = next(NuScenes(tiny.root).samples("scene-0103")).camera_frame()
    given = sample()
    given["img"] = [np.asarray(image) for image in frame.images]
    given["cam2img"], given["lidar2cam"] = list(frame.rig.intrinsics), list(frame.rig.lidar2cam)
    found = FitCameraImages("r50_704").transform(given)
    node = preprocess(frame, R50_704, "cpu", PreprocessConfig("exact"))
    pixels = torch.from_numpy(np.stack(found["img"])[..., ::-1].copy()).permute(0, 3, 1, 2).float()
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (R50_704.mean, R50_704.std))
    torch.testing.assert_close((pixels - mean) / std, node.images[0], atol=1e-5, rtol=0)
    np.testing.assert_array_equal(found["lidar2img"].astype(np.float32), node.lidar2img[0])
    np.testing.assert_array_equal(found["intrinsics"].astype(np.float32), node.intrinsics[0])


def test_cameras_come_in_the_networks_order() -> None:
    shuffled = (*CAMERA_NAMES[3:], *CAMERA_NAMES[:3])
    given = sample(order=shuffled)
    found = FitCameraImages("r50_704").transform(given)
    assert [round(matrix[2, 2]) for matrix in found["intrinsics"]] == [4, 5, 6, 1, 2, 3]


def test_a_missing_camera_is_named() -> None:
    with pytest.raises(ValueError, match="no image of CAM_BACK_RIGHT, only of CAM_FRONT,"):
        FitCameraImages("r50_704").transform(sample(order=CAMERA_NAMES[:5]))


def test_a_field_that_no_network_has_is_named() -> None:
    with pytest.raises(ValueError, match="no such field of a network: image_sizes"):
        FitCameraImages("r50_704", image_sizes=(1, 2))


def test_turning_the_lidar_frame_moves_nothing_in_the_world() -> None:
    np.random.seed(1)
    given = sample()
    given["ego2global"] = [[0.0, -1, 0, 7], [1, 0, 0, 8], [0, 0, 1, 0], [0, 0, 0, 1]]
    box = torch.tensor([[4.0, 9.0, -1.0, 4.6, 1.9, 1.7, 0.3, 2.0, 1.0]])
    given["gt_bboxes_3d"] = LiDARInstance3DBoxes(box.clone(), box_dim=9, origin=(0.5, 0.5, 0.5))
    before = FitCameraImages("r50_704").transform({**given})
    turned = FitCameraImages("r50_704").transform(RotateLidarFrame((0.5, 0.6)).transform({**given}))
    moved = turned["gt_bboxes_3d"]
    assert np.hypot(*(moved.gravity_center[0, :2] - box[0, :2])) > 3.0
    old, new = np.append(box[0, :3], 1.0), np.append(moved.gravity_center[0], 1.0)
    np.testing.assert_allclose(turned["lidar2global"] @ new, before["lidar2global"] @ old, atol=1e-5)
    np.testing.assert_allclose(turned["lidar2img"][0] @ new, before["lidar2img"][0] @ old, rtol=1e-5, atol=1e-3)
    yaw, speed = float(moved.yaw[0]), moved.tensor[0, 7:9].numpy()
    for pose, angle, velocity in ((turned, yaw, speed), (before, 0.3, np.array([2.0, 1.0]))):
        rotation = pose["lidar2global"][:2, :2]
        np.testing.assert_allclose(rotation @ [np.cos(angle), np.sin(angle)], [-np.sin(0.3), np.cos(0.3)], atol=1e-5)
        np.testing.assert_allclose(rotation @ velocity, [-1.0, 2.0], atol=1e-5)
