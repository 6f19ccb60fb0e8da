"""Targets of the dense task: which cell says what."""

from __future__ import annotations

import math

import torch
from squares_world import INTRINSICS, TINY, lidar2img

from tggbc_ros.training.dense import TYPICAL_LOG_DEPTH, DenseHead, dense_targets
from tggbc_ros.training.frames import Targets

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
    codes = wanted.codes[0, rows, columns]
    u, v = (columns + 0.5 + codes[:, 0]) * 16, (rows + 0.5 + codes[:, 1]) * 16
    assert torch.allclose(u, torch.tensor(58.0)) and torch.allclose(v, torch.tensor(32.0))
    assert torch.allclose(codes[:, 2] + TYPICAL_LOG_DEPTH, torch.tensor(5.0).log())
    assert torch.allclose(codes[:, 3:6], torch.tensor(2.0).log())


def test_the_nearer_object_speaks_where_two_overlap() -> None:
    wanted = dense_targets(targets(cube(0.0, 12.0, 1), cube(0.0, 4.0, 2)), *MATRICES, TINY)
    assert set(wanted.label[0].unique().tolist()) == {2, 10}


def test_heading_is_told_against_the_ray() -> None:
    """Turning object and its place together about the camera leaves what is seen, so what is said, as it was."""
    ahead = dense_targets(targets(cube(0.0, 8.0, 0, yaw=0.7)), *MATRICES, TINY)
    turned = 0.3
    x, y = 8.0 * math.sin(turned), 8.0 * math.cos(turned)
    aside = dense_targets(targets(cube(x, y, 0, yaw=0.7 - turned)), *MATRICES, TINY)
    first, second = (each.codes[0][each.label[0] == 0][0, 6:] for each in (ahead, aside))
    assert torch.allclose(first, second, atol=1e-5) and math.isclose(float(first.norm()), 1.0, rel_tol=1e-5)


def test_no_object_is_background_everywhere() -> None:
    wanted = dense_targets(Targets(torch.zeros(0, 10), torch.zeros(0, dtype=torch.int64)), *MATRICES, TINY)
    assert (wanted.label == 10).all()


def test_head_starts_at_one_percent_and_gives_one_answer_a_cell() -> None:
    logits, codes = DenseHead(TINY)(torch.randn(2, 3, TINY.embed_dims, 4, 6))
    assert logits.shape == (2, 3, 4, 6, 10) and codes.shape == (2, 3, 4, 6, 8)
    assert logits.sigmoid().min() > 0.001 and logits.sigmoid().max() < 0.1
