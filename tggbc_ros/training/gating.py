"""What gates of a vision transformer are asked for while they learn: how many tokens each may keep."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from tggbc_ros.core.backbones.vit import ViT
from tggbc_ros.core.gates import even_targets, rate_loss
from tggbc_ros.training.objectives import Losses

OPEN = 1.0
"""A new gate's bias for keeping and against skipping: it keeps nine tokens of ten until it has learned which."""


@dataclass(frozen=True)
class GatingConfig:
    """targets: the share of tokens that each gate is to keep, first to last; none are SViT's (`gates.even_targets`).

    weight: of the loss for missing them, beside all others. tau: temperature of the decisions. per_image: whether
    every image is to keep as many, and not the batch on average.
    """

    targets: tuple[float, ...] = ()
    weight: float = 4.0
    tau: float = 1.0
    per_image: bool = False

    def __post_init__(self) -> None:
        for target in self.targets:
            if not 0.0 < target <= 1.0:
                raise ValueError(f"gate_targets has {target!r}, expected shares in (0, 1]")
        if not self.tau > 0.0:
            raise ValueError(f"gate_tau is {self.tau!r}, expected a positive temperature")


def gate_losses(decisions: list[torch.Tensor], backbone: torch.nn.Module, config: GatingConfig) -> Losses:
    """The loss for missing the targets, and, to be watched, the share that was kept; nothing where nothing is gated."""
    if not decisions:
        return {}
    targets = targets_of(backbone, config)
    kept = torch.stack([decision.detach().mean() for decision in decisions]).mean()
    return {"rate": config.weight * rate_loss(decisions, targets, config.per_image), "tokens": kept}


def targets_of(backbone: torch.nn.Module, config: GatingConfig) -> tuple[float, ...]:
    """The target of each of a backbone's gates; raises ValueError where there are not as many as gates."""
    if not isinstance(backbone, ViT) or not backbone.gates:
        raise ValueError("the backbone has no gates, and so no rate to be asked for")
    blocks = [int(block) for block in backbone.gates]
    if config.targets:
        if len(config.targets) != len(blocks):
            raise ValueError(
                f"gate_targets has {len(config.targets)} shares, expected {len(blocks)}, one for each gate"
            )
        return config.targets
    usual = even_targets(backbone.shape.depth)
    return tuple(usual.get(block, 1.0) for block in blocks)


def add_gates(backbone: torch.nn.Module) -> None:
    """Gates before the blocks of the last three quarters, as in SViT, all but open; those that there are stay.

    Raises ValueError for a backbone that cannot have any.
    """
    if not isinstance(backbone, ViT):
        raise ValueError(f"stage gates needs a vision transformer, and the backbone is a {type(backbone).__name__}")
    if backbone.gates:
        return
    device = backbone.pos_embed.device
    backbone.add_gates(even_targets(backbone.shape.depth))
    with torch.no_grad():
        for gate in backbone.gates.values():
            gate.mlp.fc2.bias.copy_(torch.tensor([OPEN, -OPEN]))
    backbone.to(device)
