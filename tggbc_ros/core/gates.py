"""SViT's gates (Liu et al., arXiv 2306.07050): which tokens pass a block, decided before it, from the tokens alone.

A token that is skipped leaves the block as it came, is no key in it, and is judged anew at the next gate.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn

EPSILON = 1e-5
KEEP, SKIP = 0, 1


class Gate(nn.Module):
    """A two-layer perceptron on each token; names are those of the published code."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width, EPSILON)
        hidden, both = nn.Linear(width, width // 4), nn.Linear(width // 4, 2)
        self.mlp = nn.Sequential(OrderedDict(fc1=hidden, act=nn.GELU(), fc2=both))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Tokens [..., C] -> log-probabilities of being kept and of being skipped [..., 2]."""
        return F.log_softmax(self.mlp(self.norm(x)), dim=-1)


@dataclass(frozen=True, eq=False)
class Decisions:
    """What the gates of a backbone decided, first to last.

    margin: [G, B, H, W], by how much keeping is the likelier, in log-probability, before any shift. keep: [G, B, H, W],
    which tokens passed the block.
    """

    margin: torch.Tensor
    keep: torch.Tensor


def kept(log_probability: torch.Tensor) -> torch.Tensor:
    """[B, N, 2] -> [B, N]: the tokens that pass by the gate's own decision, as `kept_above` has it."""
    return kept_above(margin_of(log_probability))


def margin_of(log_probability: torch.Tensor) -> torch.Tensor:
    """[..., 2] -> [...], by how much keeping is the likelier."""
    return log_probability[..., KEEP] - log_probability[..., SKIP]


def kept_above(margin: torch.Tensor) -> torch.Tensor:
    """Margins [B, N] -> [B, N]: true where keeping is the likelier; a tie skips, and NaN, which knows nothing, keeps.

    No image is left empty: where all would be skipped, the likeliest token is kept.
    """
    return _none_empty(~(margin <= 0.0), margin)


def likeliest(margin: torch.Tensor, shift: float) -> torch.Tensor:
    """Margins [B, N] -> [B, N]: as many tokens as drawn decisions would keep on average, the likeliest of all images.

    shift: added to each margin for the count. So a gate that learned a rate without being sure of any token keeps that
    rate, where by the likelier answer it would keep all or none; of a gate that is sure both are the same. NaN keeps,
    and no image is left empty.
    """
    known = torch.where(margin.isnan(), float("inf"), margin)
    count = torch.sigmoid(known + shift).sum().round().long().clamp(min=1)
    least = known.flatten().sort(descending=True).values[count - 1]
    return _none_empty(known >= least, margin)


def _none_empty(keep: torch.Tensor, margin: torch.Tensor) -> torch.Tensor:
    empty = ~keep.any(dim=1, keepdim=True)
    return keep | empty & F.one_hot(margin.argmax(dim=1), margin.shape[1]).bool()


def sampled(log_probability: torch.Tensor, gumbel: torch.Tensor, tau: float = 1.0) -> torch.Tensor:
    """Training's decision [B, N], 1 to keep and 0 to skip, from noise of the same shape [B, N, 2].

    Gumbel-softmax (arXiv 1611.01144), straight through: one and zero forwards, the softmax's gradient backwards.
    """
    soft = torch.softmax((log_probability + gumbel) / tau, dim=-1)
    hard = F.one_hot(soft.argmax(dim=-1), 2).to(soft.dtype)
    return (hard - soft.detach() + soft)[..., KEEP]


def gumbel_like(log_probability: torch.Tensor, generator: torch.Generator | None = None) -> torch.Tensor:
    """Standard Gumbel noise, from a generator on the CPU; None is torch's own, of the tensor's device."""
    if generator is None:
        return -torch.empty_like(log_probability).exponential_().log()
    noise = torch.empty(log_probability.shape).exponential_(generator=generator)
    return -noise.log().to(log_probability)


def even_targets(depth: int, rate: float = 0.7) -> dict[int, float]:
    """SViT's targets by block: quarters of the depth keep all, without a gate, then ``rate``, its square, its cube."""
    return {block: rate ** (4 * block // depth) for block in range(-(-depth // 4), depth)}


def blend(decision: torch.Tensor, passed: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    """Training's form of a gated block: ``passed`` where the decision [B, N] is 1, ``x`` where it is 0, [B, N, C].

    The gate learns from both products.
    """
    keep = decision[..., None]
    return keep * passed + (1.0 - keep) * x


def rate_loss(decisions: Sequence[torch.Tensor], targets: Sequence[float], per_image: bool = False) -> torch.Tensor:
    """How far the shares of kept tokens lie from their targets: squared, averaged over gates.

    decisions: [B, N] of each gate. A share is that of the whole batch, so that images may differ; ``per_image``
    asks each image for the target.
    """
    losses = []
    for decision, target in zip(decisions, targets, strict=True):
        share = decision.mean(dim=1) if per_image else decision.mean()
        losses.append((share - target).square().mean())
    return torch.stack(losses).mean()
