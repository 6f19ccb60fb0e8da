"""Queries that stand where objects were: their place, what they look like, and that they learn velocity."""

from __future__ import annotations

import torch
from squares_world import TINY

from tggbc_ros.core.head import Head
from tggbc_ros.core.types import AlignedMemory
from tggbc_ros.training import denoise, tracked
from tggbc_ros.training.denoise import DenoiseConfig, Denoising
from tggbc_ros.training.frames import Targets


def memory(age_s: float, batch: int = 1) -> AlignedMemory:
    rows = TINY.memory_length
    generator = torch.Generator().manual_seed(5)
    pose = torch.eye(4).repeat(batch, rows, 1, 1)
    pose[..., 1, 3] = -2.0
    return AlignedMemory(
        embedding=torch.randn(batch, rows, TINY.embed_dims, generator=generator),
        reference_point=10 * torch.rand(batch, rows, 3, generator=generator) - 5,
        age_s=torch.full((batch, rows), age_s),
        pose=pose,
        velocity=torch.zeros(batch, rows, 2),
    )


def moving(*velocities: tuple[float, float]) -> Targets:
    codes = torch.zeros(len(velocities), 10)
    codes[:, 0], codes[:, 1] = 3.0 * torch.arange(len(velocities)), 6.0
    codes[:, 8:] = torch.tensor(velocities).reshape(-1, 2)
    return Targets(codes, torch.arange(len(velocities)) % 3)


def added(head: Head, targets: tuple[Targets, ...], rows: AlignedMemory, groups: int = 2) -> Denoising:
    generator = torch.Generator().manual_seed(0)
    noisy = denoise.draw(targets, head.queries, DenoiseConfig(groups=groups), generator)
    return tracked.add(noisy, targets, rows, head.queries, generator)


def test_they_stand_where_their_object_was_and_look_like_the_newest_rows_of_memory() -> None:
    head, rows = Head(TINY).eval(), memory(0.5)
    noisy = added(head, (moving((4.0, -2.0), (0.0, 0.0)),), rows)
    assert noisy.tracked is not None and noisy.group.tolist() == [0, 0, 1, 1, 2, 2]
    place = noisy.tracked.reference_point[0, :, :2]
    assert (place - torch.tensor([[0.0 - 2.0, 6.0 + 1.0], [3.0, 6.0]])).abs().max() <= tracked.NOISE_M
    assert noisy.label[0, 4:].tolist() == [0, 1] and noisy.object[0, 4:].tolist() == [0, 1]
    assert (noisy.tracked.age_s == 0.5).all() and (noisy.tracked.pose[..., 1, 3] == -2.0).all()
    nearest = torch.cdist(noisy.tracked.reference_point[0], rows.reference_point[0, : TINY.num_propagated]).argmin(1)
    assert torch.equal(noisy.tracked.embedding[0], rows.embedding[0, nearest])


def test_no_past_or_no_known_velocity_is_padding() -> None:
    head, unknown = Head(TINY).eval(), (float("nan"), float("nan"))
    assert (added(head, (moving((1.0, 1.0)),), memory(0.0)).label[0, -1:] == -1).all()
    noisy = added(head, (moving((1.0, 1.0), unknown), moving()), memory(0.5, batch=2))
    assert noisy.label[:, -2:].tolist() == [[0, -1], [-1, -1]]
    assert noisy.tracked is not None and torch.isfinite(noisy.tracked.reference_point).all()


def test_they_are_propagated_queries_to_the_decoder_and_come_last() -> None:
    head, rows = Head(TINY).eval(), memory(0.5)
    noisy = added(head, (moving((4.0, -2.0)),), rows, groups=1)
    with torch.no_grad():
        queries = denoise.append(head.queries(rows), head.queries, noisy)
        assert noisy.tracked is not None
        expected = head.queries.propagated(noisy.tracked)
    for mine, other in zip((queries.content, queries.position, queries.reference), expected, strict=True):
        assert torch.equal(mine[:, -1:], other)
    assert torch.allclose(noisy.reference[:, -1:], queries.reference[:, -1:])


def test_without_other_denoising_they_are_the_first_group() -> None:
    noisy = added(Head(TINY).eval(), (moving((1.0, 0.0)),), memory(0.5), groups=0)
    assert noisy.group.tolist() == [0] and noisy.reference.shape == (1, 1, 3)
