"""Queries that stand where an object was a frame ago, as if memory had propagated it: they learn its velocity.

A propagated query sees velocity as the way from its reference to where it finds its object. But it comes upon the
right object by chance while boxes are poor; these always do.
"""

from __future__ import annotations

import dataclasses

import torch

from tggbc_ros.core.queries import QueryBuilder
from tggbc_ros.core.types import AlignedMemory
from tggbc_ros.training.denoise import Denoising
from tggbc_ros.training.frames import Targets

NOISE_M = 0.5
NOISE_MPS = 2.0
"""How wrong place (largest, along an axis) and velocity (standard deviation) in memory are taken to be."""


def add(
    noisy: Denoising,
    targets: tuple[Targets, ...],
    memory: AlignedMemory,
    builder: QueryBuilder,
    generator: torch.Generator,
) -> Denoising:
    """``noisy`` followed by a group of one query for each object whose velocity is known, where it came from.

    They look like the newest rows of ``memory``: its age and pose, and the embedding of the row nearest to them.
    Frames without a past have none. ``generator`` is a CPU one.
    """
    slots = max((len(each) for each in targets), default=0)
    place, speed, label, objects = (noisy.reference.new_zeros(len(targets), slots, size) for size in (3, 2, 1, 1))
    label, objects = label[..., 0].long() - 1, objects[..., 0].long() - 1
    for frame, each in enumerate(targets):
        age_s = memory.age_s[frame, 0]
        known = ~each.codes[:, 8:].isnan().any(dim=1) & (age_s > 0)
        speed[frame, : len(each)] = each.codes[:, 8:].nan_to_num()
        place[frame, : len(each)] = each.codes[:, :3]
        place[frame, : len(each), :2] -= speed[frame, : len(each)] * age_s
        label[frame, : len(each)] = torch.where(known, each.labels, -1)
        objects[frame, : len(each)] = torch.where(known, torch.arange(len(each), device=known.device), -1)
    shift = torch.rand(place.shape, generator=generator).to(place) * 2 - 1
    place = place + NOISE_M * shift * place.new_tensor([1.0, 1.0, 0.5])
    speed = speed + NOISE_MPS * torch.randn(speed.shape, generator=generator).to(speed)
    groups = int(noisy.group.max()) + 1 if len(noisy.group) else 0
    rows = _rows(memory, place, speed, builder.model.num_propagated)
    return dataclasses.replace(
        noisy,
        reference=torch.cat([noisy.reference, (place - builder.low) / (builder.high - builder.low)], dim=1),
        label=torch.cat([noisy.label, label], dim=1),
        object=torch.cat([noisy.object, objects], dim=1),
        group=torch.cat([noisy.group, noisy.group.new_full((slots,), groups)]),
        tracked=rows,
    )


def _rows(memory: AlignedMemory, place: torch.Tensor, speed: torch.Tensor, newest: int) -> AlignedMemory:
    """Rows of memory at ``place`` [B, M, 3] with velocity ``speed`` [B, M, 2]."""
    count = place.shape[1]
    nearest = torch.cdist(place, memory.reference_point[:, :newest]).argmin(dim=2)
    dims = memory.embedding.shape[-1]
    return AlignedMemory(
        embedding=memory.embedding.gather(1, nearest[..., None].expand(-1, -1, dims)),
        reference_point=place,
        age_s=memory.age_s[:, :1].expand(-1, count),
        pose=memory.pose[:, :1].expand(-1, count, -1, -1),
        velocity=speed,
    )
