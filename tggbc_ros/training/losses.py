"""Focal loss on classes, weighted L1 on box codes, as StreamPETR weighs them."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F  # noqa: N812 (the name everyone uses)


@dataclass(frozen=True)
class LossConfig:
    """Weights of the set loss; StreamPETR's own.

    code_weights: of centre x, y, z, log length, width, height, sin and cos of yaw, velocity x, y.
    """

    class_weight: float = 2.0
    box_weight: float = 0.25
    focal_alpha: float = 0.25
    focal_gamma: float = 2.0
    code_weights: tuple[float, ...] = (2.0, 2.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0)


def focal_loss(logits: torch.Tensor, labels: torch.Tensor, config: LossConfig) -> torch.Tensor:
    """Sum of the sigmoid focal loss (arXiv 1708.02002); logits [..., classes].

    labels [...]: a class, or the number of classes for background, or -1 to leave the row out.
    """
    classes = logits.shape[-1]
    counted = labels >= 0
    logits, labels = logits[counted].float(), labels[counted]
    wanted = F.one_hot(labels, classes + 1)[:, :classes].to(logits.dtype)
    error = F.binary_cross_entropy_with_logits(logits, wanted, reduction="none")
    probability = logits.sigmoid()
    miss = torch.where(wanted > 0, 1 - probability, probability)
    weight = torch.where(wanted > 0, config.focal_alpha, 1 - config.focal_alpha)
    return (weight * miss**config.focal_gamma * error).sum()


def code_loss(codes: torch.Tensor, wanted: torch.Tensor, weights: tuple[float, ...]) -> torch.Tensor:
    """Sum of the weighted L1 distance of codes [P, 10]; an unknown (NaN) entry of ``wanted`` costs nothing."""
    known = ~wanted.isnan()
    distance = (codes.float() - wanted.nan_to_num()).abs() * codes.new_tensor(weights, dtype=torch.float32)
    return (distance * known).sum()
