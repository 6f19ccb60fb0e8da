"""One-to-one matching: the cheapest pairs, by class and by place."""

from __future__ import annotations

import torch

from tggbc_ros.training.assign import match, match_cost
from tggbc_ros.training.frames import Targets
from tggbc_ros.training.losses import LossConfig


def codes_at(*centers: tuple[float, float, float]) -> torch.Tensor:
    rest = torch.tensor([0.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0])
    return torch.stack([torch.cat([torch.tensor(center), rest]) for center in centers])


def test_each_object_gets_the_nearest_query_of_equal_confidence() -> None:
    targets = Targets(codes_at((10, 0, 0), (-5, 3, 0)), torch.tensor([0, 1]))
    codes = codes_at((-5.5, 3, 0), (0, 0, 0), (9, 0, 0))[None, None]
    pairs = match(torch.zeros(1, 1, 3, 4), codes, (targets,), LossConfig())
    assert dict(zip(pairs.query.tolist(), pairs.object.tolist(), strict=True)) == {0: 1, 2: 0}


def test_class_decides_between_queries_at_one_place() -> None:
    targets = Targets(codes_at((1, 1, 0)), torch.tensor([2]))
    logits = torch.full((1, 1, 3, 4), -4.0)
    logits[0, 0, 1, 2], logits[0, 0, 2, 3] = 4.0, 4.0
    pairs = match(logits, codes_at((1, 1, 0), (1, 1, 0), (1, 1, 0))[None, None], (targets,), LossConfig())
    assert pairs.query.tolist() == [1]


def test_layers_and_frames_are_matched_apart_and_a_frame_without_objects_has_no_pair() -> None:
    empty = Targets(torch.zeros(0, 10), torch.zeros(0, dtype=torch.int64))
    full = Targets(codes_at((4, 0, 0)), torch.tensor([0]))
    codes = torch.stack([codes_at((4, 0, 0), (0, 0, 0)), codes_at((0, 0, 0), (4, 0, 0))])[:, None].repeat(1, 2, 1, 1)
    pairs = match(torch.zeros(2, 2, 2, 4), codes, (empty, full), LossConfig())
    assert pairs.layer.tolist() == [0, 1] and pairs.frame.tolist() == [1, 1] and pairs.query.tolist() == [0, 1]


def test_cost_is_focal_class_cost_plus_weighted_distance() -> None:
    config = LossConfig(class_weight=2.0, box_weight=0.5)
    targets = Targets(codes_at((3, 0, 0)), torch.tensor([1]))
    cost = match_cost(torch.zeros(1, 2), codes_at((1, 0, 0)), targets, config)
    log_half = torch.log(torch.tensor(0.5))
    class_cost = -log_half * 0.25 * 0.25 + log_half * 0.75 * 0.25  # both at probability 0.5, gamma 2
    assert torch.allclose(cost[0, 0], 2.0 * class_cost + 0.5 * 2.0 * 2.0)  # 2 m along x, which weighs 2


def test_velocity_does_not_decide() -> None:
    targets = Targets(codes_at((3, 0, 0)), torch.tensor([1]))
    fast = codes_at((3, 0, 0))
    fast[:, 8:] = 30.0
    still, moving = (
        match_cost(torch.zeros(1, 2), codes, targets, LossConfig()) for codes in (codes_at((3, 0, 0)), fast)
    )
    assert torch.equal(still, moving)
