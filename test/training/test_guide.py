"""Where objects appear, and the loss that tells queries to look there."""

from __future__ import annotations

import math

import numpy as np
import torch
from squares_world import LOOKS, TINY, lidar2img

from tggbc_ros.core.attention import key_importance
from tggbc_ros.core.geometry import box_corners
from tggbc_ros.core.types import Boxes3D, NetworkInput
from tggbc_ros.training import guide
from tggbc_ros.training.frames import Targets


def one_object(x: float, y: float, z: float, size: float = 2.0, yaw: float = 0.0) -> Targets:
    log = math.log(size)
    code = [x, y, z, log, log, log, math.sin(yaw), math.cos(yaw), 0.0, 0.0]
    return Targets(torch.tensor([code]), torch.tensor([0]))


def test_corners_are_those_of_the_geometry_module() -> None:
    rng = np.random.default_rng(0)
    center, size, yaw = rng.uniform(-9, 9, (4, 3)), rng.uniform(1, 5, (4, 3)), rng.uniform(-3, 3, 4)
    boxes = Boxes3D(center, size, yaw, np.zeros((4, 2)), np.ones(4), np.zeros(4, np.int64), np.zeros(4, np.int64))
    codes = np.concatenate([center, np.log(size), np.sin(yaw)[:, None], np.cos(yaw)[:, None], np.zeros((4, 2))], axis=1)
    ours = guide.corners(torch.from_numpy(codes).float()).numpy()
    for mine, theirs in zip(ours, box_corners(boxes), strict=True):
        assert np.allclose(mine[np.lexsort(mine.round(3).T)], theirs[np.lexsort(theirs.round(3).T)], atol=1e-4)


def test_an_object_ahead_is_seen_by_the_front_camera_alone() -> None:
    seen = guide.see(one_object(0, 10, 0), torch.from_numpy(lidar2img()), TINY.image_size, TINY.stride)
    assert seen.visible.tolist() == [[True], [False]]
    assert torch.allclose(seen.center[0, 0], torch.tensor([48.0, 32.0, 10.0]))
    near_face = 50.0 / 9.0  # half of 2 m at 9 m, widened to half a cell
    assert torch.allclose(seen.box[0, 0], torch.tensor([40.0, 24.0, 56.0, 40.0])) and near_face < 8


def test_cells_are_those_whose_middle_lies_in_the_box() -> None:
    seen = guide.see(one_object(0, 3, 0), torch.from_numpy(lidar2img()), TINY.image_size, TINY.stride)
    shown = guide.cells(seen, TINY.feature_size, TINY.stride)[0, 0]
    half = 50.0 / 2.0  # the near face at 2 m
    u, v = torch.arange(6) * 16 + 8, torch.arange(4) * 16 + 8
    expected = ((v - 32).abs() <= half)[:, None] & ((u - 48).abs() <= half)
    assert torch.equal(shown, expected) and shown.sum() == 16


def test_an_object_beside_the_view_shows_nowhere() -> None:
    seen = guide.see(one_object(30, 5, 0), torch.from_numpy(lidar2img()), TINY.image_size, TINY.stride)
    assert not guide.cells(seen, TINY.feature_size, TINY.stride).any()


def test_cells_of_all_cameras_are_numbered_camera_by_camera_row_by_row() -> None:
    behind, ahead = one_object(0, -6, 0), one_object(2, 6, 1)
    both = Targets(torch.cat([behind.codes, ahead.codes]), torch.tensor([0, 0]))
    matrices = torch.from_numpy(lidar2img()).expand(2, 2, 4, 4)
    inputs = NetworkInput(torch.zeros(2, 2, 3, 64, 96), torch.eye(3).expand(2, 2, 3, 3), matrices)
    mask = guide.object_cells((both, ahead), inputs, TINY.feature_size, TINY.image_size, TINY.stride)
    assert mask.shape == (2, 2, 2 * 4 * 6) and not mask[1, 1].any()
    assert not mask[0, 0, :24].any() and mask[0, 0, 24:].any()
    u, v = 50 * 2 / 6 + 48, 50 * -1 / 6 + 32
    cell = int(v // 16) * 6 + int(u // 16)
    assert mask[0, 1, cell] and torch.equal(mask[0, 1], mask[1, 0]) and not mask[0, 1, 24:].any()


def test_projection_agrees_with_the_camera_axes() -> None:
    point = torch.tensor([[1.0, -8.0, 0.5]])
    x, y, depth = LOOKS[1] @ point[0].numpy()
    pixel = guide.project(point, torch.from_numpy(lidar2img()))[1, 0]
    assert torch.allclose(pixel, torch.tensor([50 * x / depth + 48, 50 * y / depth + 32, depth]))


def test_loss_is_minus_log_of_the_attention_on_the_objects_cells() -> None:
    query, key = torch.randn(1, 2, 3, 4), torch.randn(1, 2, 5, 4)
    shown = torch.tensor([[[True, False, False, True, False]]])
    look = guide.Look(query, key, torch.arange(5)[None])
    loss = guide.guidance_loss(look, shown, torch.tensor([[-1, 0, -1]]))
    attention = key_importance(query[:, :, 1:2], key, torch.ones(1, 1))[0]
    assert torch.allclose(loss, -(attention[0] + attention[3] + 1e-6).log(), atol=1e-5)


def test_trimmed_cells_do_not_count_and_an_object_without_cells_costs_nothing() -> None:
    query, key = torch.randn(1, 2, 1, 4), torch.randn(1, 2, 2, 4)
    shown = torch.tensor([[[True, False, False, False]]])
    kept = guide.Look(query, key, torch.tensor([[0, 3]]))
    trimmed = guide.Look(query, key, torch.tensor([[1, 3]]))
    assert guide.guidance_loss(kept, shown, torch.zeros(1, 1, dtype=torch.int64)) > 0
    assert guide.guidance_loss(trimmed, shown, torch.zeros(1, 1, dtype=torch.int64)) == 0
    assert guide.guidance_loss(kept, shown, torch.full((1, 1), -1)) == 0
