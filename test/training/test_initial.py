"""Where a network starts."""

from __future__ import annotations

import pytest
import torch
from squares_world import TINY

from tggbc_ros.core.model import StreamPETR
from tggbc_ros.training import initial
from tggbc_ros.training.frames import FrameTable


def test_references_start_where_objects_are_and_scores_at_the_prior(table: FrameTable) -> None:
    module = StreamPETR(TINY)
    initial.start(module, table, seed=0)
    queries = module.head.queries
    place = queries.reference_points * (queries.high - queries.low) + queries.low
    gap = torch.cdist(place[:, :2], torch.from_numpy(table.codes[:, :2])).amin(dim=1)
    assert gap.max() < 3.0
    hidden = torch.zeros(1, TINY.embed_dims)
    assert torch.allclose(module.head.cls_branch[-1](hidden).sigmoid(), torch.tensor(0.01))
    assert torch.equal(module.head.reg_branch(torch.randn(3, TINY.embed_dims)), torch.zeros(3, 10))


def test_spread_finds_clusters() -> None:
    clusters = torch.tensor([[0.0, 0, 0], [50.0, 0, 0], [0.0, 50, 0]])
    points = clusters.repeat(100, 1) + 0.1 * torch.randn(300, 3)
    middle = initial.spread(points, 12, torch.Generator().manual_seed(0))
    assert torch.cdist(clusters, middle).amin(dim=1).max() < 1.0
    assert torch.cdist(middle, clusters).amin(dim=1).max() < 5.0


def test_no_object_in_range_is_refused() -> None:
    with pytest.raises(ValueError, match="pc_range"):
        initial.spread(torch.zeros(0, 3), 4, torch.Generator())
