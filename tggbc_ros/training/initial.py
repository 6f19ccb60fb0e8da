"""How a network starts before it has learned anything."""

from __future__ import annotations

import math

import torch
from torch import nn

from tggbc_ros.core.head import Head
from tggbc_ros.core.model import StreamPETR
from tggbc_ros.training.frames import FrameTable

PRIOR = 0.01
KMEANS_ROUNDS = 20


def start(module: StreamPETR, table: FrameTable, seed: int) -> None:
    """Class scores start at ``PRIOR``, boxes at their references, references where training objects are."""
    head = module.head
    start_layers(head)
    low, high = head.queries.low, head.queries.high
    centers = torch.from_numpy(table.codes[:, :3])
    inside = ((centers > low) & (centers < high)).all(dim=1)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for points in (head.queries.reference_points, head.queries.pseudo_reference_points):
            points.copy_((spread(centers[inside], len(points), generator) - low) / (high - low))


def start_layers(head: Head) -> None:
    """Class scores start at ``PRIOR``, boxes at their references, decoder layers as DETR's (Xavier)."""
    last_class, last_box = head.cls_branch[-1], head.reg_branch[-1]
    assert isinstance(last_class, nn.Linear) and isinstance(last_box, nn.Linear)
    nn.init.constant_(last_class.bias, -math.log((1 - PRIOR) / PRIOR))
    nn.init.zeros_(last_box.weight)
    nn.init.zeros_(last_box.bias)
    for parameter in head.decoder.parameters():
        if parameter.dim() > 1:
            nn.init.xavier_uniform_(parameter)


def spread(points: torch.Tensor, count: int, generator: torch.Generator) -> torch.Tensor:
    """``count`` k-means centres of points [P, 3].

    With fewer points than centres, points are repeated with a metre of noise.
    """
    if not len(points):
        raise ValueError("no object lies inside the network's pc_range: nothing to learn from")
    pick = torch.randint(len(points), (count,), generator=generator)
    middle = points[pick] + torch.randn(count, 3, generator=generator) * torch.tensor([1.0, 1.0, 0.1])
    sample = points[torch.randint(len(points), (min(20000, 50 * count),), generator=generator)]
    for _ in range(KMEANS_ROUNDS):
        nearest = torch.cdist(sample, middle).argmin(dim=1)
        total = torch.zeros_like(middle).index_add_(0, nearest, sample)
        members = torch.bincount(nearest, minlength=count)[:, None]
        middle = torch.where(members > 0, total / members.clamp(min=1), middle)
    return middle
