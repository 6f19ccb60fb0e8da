"""Targets of the dense task: which cell says what."""

from __future__ import annotations

import math

import torch
from squares_world import INTRINSICS, TINY, lidar2img

from tggbc_ros.training.dense import (
    LIDAR_SCALE_M,
    TYPICAL_LOG_DEPTH,
    DenseHead,
    DenseTargets,
    dense_targets,
    value_losses,
)
from tggbc_ros.training.frames import Targets
from tggbc_ros.training.losses import LossConfig

MATRICES = torch.from_numpy(lidar2img()), torch.from_numpy(INTRINSICS).expand(2, 3, 3)


def cube(x: float, y: float, label: int, yaw: float = 0.0) -> tuple[list[float], int]:
    log = math.log(2.0)
    return [x, y, 0.0, log, log, log, math.sin(yaw), math.cos(yaw), 0.0, 0.0], label


def targets(*objects: tuple[list[float], int]) -> Targets:
    return Targets(torch.tensor([code for code, _ in objects]), torch.tensor([label for _, label in objects]))


def test_cells_of_an_object_tell_its_class_offset_depth_and_size() -> None:
    wanted = dense_targets(targets(cube(1.0, 5.0, 3)), *MATRICES, TINY)
    assert wanted.label.shape == (2, 4, 6) and (wanted.label[1] == 10).all()
    rows, columns = (wanted.label[0] == 3).nonzero(as_tuple=True)
    assert len(rows) > 0
    codes = wanted.camera[0, rows, columns]
    u, v = (columns + 0.5 + codes[:, 0]) * 16, (rows + 0.5 + codes[:, 1]) * 16
    assert torch.allclose(u, torch.tensor(58.0)) and torch.allclose(v, torch.tensor(32.0))
    assert torch.allclose(codes[:, 2] + TYPICAL_LOG_DEPTH, torch.tensor(5.0).log())
    assert torch.allclose(codes[:, 3:6], torch.tensor(2.0).log())


def test_cells_of_an_object_tell_where_it_is_in_the_lidar_frame() -> None:
    wanted = dense_targets(targets(cube(1.0, 5.0, 3, yaw=0.4)), *MATRICES, TINY)
    codes = wanted.lidar[wanted.label == 3]
    log = math.log(2.0)
    expected = torch.tensor(
        [1.0 / LIDAR_SCALE_M, 5.0 / LIDAR_SCALE_M, 0.0, log, log, log, math.sin(0.4), math.cos(0.4)]
    )
    assert len(codes) and torch.allclose(codes, expected.expand_as(codes))


def test_value_loss_counts_cells_that_show_an_object_and_says_how_far_off_they_are() -> None:
    label = torch.full((1, 1, 1, 3), 10)
    label[..., 1] = 2
    lidar = torch.zeros(1, 1, 1, 3, 8)
    lidar[..., 1, :2] = torch.tensor([0.6, 0.8])
    wanted = DenseTargets(label, lidar, lidar)
    logits = torch.full((1, 3, 10), -20.0)
    logits[0, 1, 2] = 20.0
    losses = value_losses(logits, torch.zeros(1, 3, 8), wanted, LossConfig())
    assert float(losses["value_class"]) < 1e-6
    assert math.isclose(float(losses["value_m"]), LIDAR_SCALE_M, rel_tol=1e-6)
    assert math.isclose(float(losses["value_box"]), 4 * (0.6 - 0.05) + 4 * (0.8 - 0.05), rel_tol=1e-6)


def test_the_nearer_object_speaks_where_two_overlap() -> None:
    wanted = dense_targets(targets(cube(0.0, 12.0, 1), cube(0.0, 4.0, 2)), *MATRICES, TINY)
    assert set(wanted.label[0].unique().tolist()) == {2, 10}


def test_heading_is_told_against_the_ray() -> None:
    """Turning object and its place together about the camera leaves what is seen, so what is said, as it was."""
    ahead = dense_targets(targets(cube(0.0, 8.0, 0, yaw=0.7)), *MATRICES, TINY)
    turned = 0.3
    x, y = 8.0 * math.sin(turned), 8.0 * math.cos(turned)
    aside = dense_targets(targets(cube(x, y, 0, yaw=0.7 - turned)), *MATRICES, TINY)
    first, second = (each.camera[0][each.label[0] == 0][0, 6:] for each in (ahead, aside))
    assert torch.allclose(first, second, atol=1e-5) and math.isclose(float(first.norm()), 1.0, rel_tol=1e-5)


def test_no_object_is_background_everywhere() -> None:
    wanted = dense_targets(Targets(torch.zeros(0, 10), torch.zeros(0, dtype=torch.int64)), *MATRICES, TINY)
    assert (wanted.label == 10).all()


def test_head_starts_at_one_percent_and_gives_one_answer_a_cell() -> None:
    head = DenseHead(TINY)
    logits, codes = head(torch.randn(2, 3, TINY.embed_dims, 4, 6))
    assert logits.shape == (2, 3, 4, 6, 10) and codes.shape == (2, 3, 4, 6, 8)
    value_logits, value_codes = head.read_values(torch.zeros(2, 72, TINY.embed_dims))
    assert value_logits.shape == (2, 72, 10) and value_codes.shape == (2, 72, 8)
    for each in (logits, value_logits):
        assert each.sigmoid().min() > 0.001 and each.sigmoid().max() < 0.1
