"""Who speaks for which object: one-to-one matching of queries and objects (DETR, arXiv 2005.12872)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment

from tggbc_ros.training.frames import Targets
from tggbc_ros.training.losses import LossConfig

MATCHED_DIMS = 8  # centre, size, heading; velocity does not decide who an object's query is


@dataclass(frozen=True, eq=False)
class Matches:
    """P pairs over all layers and frames: decoder layer, frame of the batch, query, object of that frame; [P] each."""

    layer: torch.Tensor
    frame: torch.Tensor
    query: torch.Tensor
    object: torch.Tensor


def match_cost(logits: torch.Tensor, codes: torch.Tensor, targets: Targets, config: LossConfig) -> torch.Tensor:
    """[..., Q, classes] and [..., Q, 10] of one frame -> cost [..., Q, M]: focal class cost plus weighted L1.

    The class cost of saying yes is that of the focal loss, positive minus negative (Deformable DETR).
    """
    probability = logits.sigmoid()
    alpha, gamma = config.focal_alpha, config.focal_gamma
    no = -(1 - probability + 1e-12).log() * (1 - alpha) * probability**gamma
    yes = -(probability + 1e-12).log() * alpha * (1 - probability) ** gamma
    scale = codes.new_tensor(config.code_weights)[:MATCHED_DIMS]
    distance = torch.cdist(codes[..., :MATCHED_DIMS] * scale, targets.codes[:, :MATCHED_DIMS] * scale, p=1)
    return config.class_weight * (yes - no)[..., targets.labels] + config.box_weight * distance


@torch.no_grad()
def match(logits: torch.Tensor, codes: torch.Tensor, targets: tuple[Targets, ...], config: LossConfig) -> Matches:
    """Cheapest one-to-one pairs in every layer and frame: logits [layers, B, Q, classes], codes [layers, B, Q, 10].

    Raises FloatingPointError where the network says NaN or infinity.
    """
    pairs: list[tuple[int, int, int, int]] = []
    for frame, objects in enumerate(targets):
        if not len(objects):
            continue
        cost = match_cost(logits[:, frame].float(), codes[:, frame].float(), objects, config).cpu().numpy()
        if not np.isfinite(cost).all():
            raise FloatingPointError(f"what the network says about frame {frame} of the batch is not finite")
        for layer, layer_cost in enumerate(cost):
            queries, chosen = linear_sum_assignment(layer_cost)
            pairs += [(layer, frame, int(q), int(o)) for q, o in zip(queries, chosen, strict=True)]
    columns = torch.tensor(pairs, dtype=torch.int64, device=logits.device).reshape(-1, 4)
    return Matches(*columns.unbind(dim=1))
