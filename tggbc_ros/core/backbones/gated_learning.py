"""SViT's gates while they learn (arXiv 2306.07050): all tokens are computed, and what is skipped is taken back.

A decision is drawn, 1 or 0, and multiplies what a block made of a token; its gradient goes to the gate.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from tggbc_ros.core.backbones.vit import Block, ViT
from tggbc_ros.core.backbones.windows import Windows
from tggbc_ros.core.gates import blend, gumbel_like, sampled


@dataclass(frozen=True, eq=False)
class Masked:
    """A map in windows, of which only the tokens where ``keep`` [B, H, W] is true are keys."""

    windows: Windows
    keep: torch.Tensor

    def turn(self, x: torch.Tensor) -> torch.Tensor:
        """Rotary positions on a map [B, H, W, heads, d]."""
        return self.windows.turn(x)

    def attend(self, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, void: torch.Tensor) -> torch.Tensor:
        """As `Windows.attend`."""
        return self.windows.attend(query, key, value, void, self.keep)


def learn(
    backbone: ViT, images: torch.Tensor, generator: torch.Generator, tau: float = 1.0
) -> tuple[tuple[torch.Tensor], list[torch.Tensor]]:
    """Images [B, 3, H, W] -> the map [B, width, rows, columns], and each gate's decision [B, rows * columns].

    generator: of the Gumbel noise that decisions are drawn with; tau: their temperature. The map is that of
    inference, were its gates to decide so.
    """
    x, decisions = backbone.embed(images), []
    for index, windows in enumerate(backbone.windows(x)):
        block = backbone.blocks[index]
        assert isinstance(block, Block)
        if str(index) not in backbone.gates:
            x = block(x, windows)
            continue
        probability = backbone.gates[str(index)](x).float()
        decision = sampled(probability, gumbel_like(probability, generator), tau)
        x = blend(decision.to(x), block(x, Masked(windows, decision.detach() > 0.5)), x)
        decisions.append(decision.flatten(1))
    return (x.permute(0, 3, 1, 2),), decisions
