"""Query denoising (DN-DETR, arXiv 2203.01305): queries that start near an object and must find it.

They spare the decoder the lottery of matching while it learns where to look, and do not exist at inference.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import torch

from tggbc_ros.core.queries import Queries, QueryBuilder
from tggbc_ros.core.types import AlignedMemory
from tggbc_ros.training.frames import Targets


@dataclass(frozen=True)
class DenoiseConfig:
    """How noisy, how many.

    groups: copies of every object. noise_m: largest shift of a centre along an axis, on top of half the
    object's length; in group g of G it is (g + 1) / G of that. positive: share of that shift up to which a
    query must still say the object's class; beyond it is background.
    """

    groups: int = 4
    noise_m: float = 2.0
    positive: float = 0.8

    def __post_init__(self) -> None:
        if self.groups < 0:
            raise ValueError(f"groups is {self.groups}, expected at least 0")


@dataclass(frozen=True, eq=False)
class Denoising:
    """D queries a frame.

    reference: [B, D, 3] in 0..1 of pc_range, label [B, D] (classes: background, -1: padding),
    object [B, D] (-1: padding), group [D]. tracked: rows of memory [B, T] that the last T of them are.
    """

    reference: torch.Tensor
    label: torch.Tensor
    object: torch.Tensor
    group: torch.Tensor
    tracked: AlignedMemory | None = None


def draw(
    targets: tuple[Targets, ...], builder: QueryBuilder, config: DenoiseConfig, generator: torch.Generator
) -> Denoising:
    """Noisy copies of the objects of each frame; ``generator`` is a CPU one. Frames are padded to equal counts."""
    device = builder.low.device
    slots = max((len(each) for each in targets), default=0)
    count = slots * config.groups
    shift = torch.rand(len(targets), count, 3, generator=generator) * 2 - 1
    group = torch.arange(count) // max(slots, 1)
    reference, label = torch.full((len(targets), count, 3), 0.5), torch.full((len(targets), count), -1)
    objects = torch.full((len(targets), count), -1)
    for frame, each in enumerate(targets):
        here = (torch.arange(count) % max(slots, 1)) < len(each)
        index = (torch.arange(count) % max(slots, 1))[here]
        codes, labels = each.codes.cpu()[index], each.labels.cpu()[index]
        reach = (config.noise_m + codes[:, 3:4].exp() / 2) * (group[here, None] + 1) / max(config.groups, 1)
        moved = shift[frame, here] * reach * torch.tensor([1.0, 1.0, 0.5])
        reference[frame, here] = (codes[:, :3] + moved - builder.low.cpu()) / (builder.high - builder.low).cpu()
        far = shift[frame, here, :2].norm(dim=-1) > config.positive
        label[frame, here] = torch.where(far, len(builder.model.class_names), labels)
        objects[frame, here] = index
    return Denoising(*(x.to(device) for x in (reference.clamp(0, 1), label, objects, group)))


def append(queries: Queries, builder: QueryBuilder, denoising: Denoising) -> Queries:
    """``queries`` followed by the denoising ones, which nobody outside their group sees and who do not vote."""
    added = denoising.reference.shape[1]
    if not added:
        return queries
    tracked = denoising.tracked
    standing = added - (0 if tracked is None else tracked.embedding.shape[1])
    content, position, reference = builder.standing(denoising.reference[:, :standing])
    if tracked is not None:
        parts = zip((content, position, reference), builder.propagated(tracked), strict=True)
        content, position, reference = (torch.cat(pair, dim=1) for pair in parts)
    return dataclasses.replace(
        queries,
        content=torch.cat([queries.content, content], dim=1),
        position=torch.cat([queries.position, position], dim=1),
        reference=torch.cat([queries.reference, reference], dim=1),
        blocked=blocked(queries.content.shape[1], denoising.group, queries.memory.shape[1]),
        voters=queries.content.shape[1],
    )


def blocked(normal: int, group: torch.Tensor, memory: int) -> torch.Tensor:
    """[normal + D, normal + D + memory], True where one must not look.

    Normal queries see no denoising query; a denoising query sees its own group, normal queries and memory.
    """
    total = normal + len(group)
    mask = torch.zeros(total, total + memory, dtype=torch.bool, device=group.device)
    mask[:normal, normal:total] = True
    mask[normal:, normal:total] = group[:, None] != group
    return mask
