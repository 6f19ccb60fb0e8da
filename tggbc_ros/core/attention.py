"""Multi-head attention with a fused kernel, and the importance rows that key pruning reads off it."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import nn

# Attention weights held at once while scoring: 4 MiB in float32. Small enough to stay in a CPU's cache, large enough to
# keep a GPU busy.
SCORING_CHUNK = 1 << 20
HEADS_AT_ONCE = 2
"""At least: a batched product is shared out to threads by heads, while one head's is too small to be."""


class Attention(nn.Module):
    """Scaled dot-product attention, projections split so that callers can reuse projected keys.

    Parameter names and layout are those of ``torch.nn.MultiheadAttention``.
    """

    def __init__(self, dims: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.in_proj_weight = nn.Parameter(torch.empty(3 * dims, dims))
        self.in_proj_bias = nn.Parameter(torch.zeros(3 * dims))
        self.out_proj = nn.Linear(dims, dims)
        nn.init.xavier_uniform_(self.in_proj_weight)
        nn.init.zeros_(self.out_proj.bias)

    def project(
        self, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """[B, Q, C], [B, K, C], [B, K, C] -> the same by head, [B, heads, Q or K, C / heads]."""
        weights, biases = self.in_proj_weight.chunk(3), self.in_proj_bias.chunk(3)
        query, key, value = (
            F.linear(x, weight, bias).unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for x, weight, bias in zip((query, key, value), weights, biases, strict=True)
        )
        return query, key, value

    def attend(
        self, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, blocked: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Projected heads -> attention output [B, Q, C]; blocked [Q, K] is True where nothing may be seen."""
        allowed = None if blocked is None else ~blocked
        heads = F.scaled_dot_product_attention(query, key, value, attn_mask=allowed)
        output: torch.Tensor = self.out_proj(heads.transpose(1, 2).flatten(-2))
        return output

    def forward(
        self, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, blocked: torch.Tensor | None = None
    ) -> torch.Tensor:
        """[B, Q, C], [B, K, C], [B, K, C] -> [B, Q, C]."""
        return self.attend(*self.project(query, key, value), blocked)


@torch.no_grad()
def key_importance(query: torch.Tensor, key: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """How much the weighted queries look at each key: sum over queries of weight x attention.

    query [B, heads, q, d] and key [B, heads, K, d] are projected heads, weight [B, q]; attention is
    softmax(Q K^T / sqrt(d)) averaged over heads; returns [B, K], at least float32, without gradient. Some
    heads and some of the queries at a time, so that peak memory depends on SCORING_CHUNK and not on q x K.
    """
    batch, heads, count, dims = query.shape
    keys, precision = key.shape[2], torch.promote_types(key.dtype, torch.float32)
    group = min(heads, max(HEADS_AT_ONCE, SCORING_CHUNK // (batch * count * keys)))
    group = -(-heads // -(-heads // group))  # as many rounds, alike in size
    rows = -(-count // -(-batch * group * count * keys // SCORING_CHUNK))
    # Heads first, so that the heads that are left over at the end are the first rows of what there is room for.
    query, key = (query / math.sqrt(dims)).transpose(0, 1), key.transpose(0, 1)
    vote = (weight.to(precision) / heads).repeat(group, 1)[:, None]
    # Written anew for every chunk: fresh pages from the system would take longer than the softmax.
    room = key.new_empty(group * batch * rows * keys)
    # The softmax writes over its scores where it can: half the memory to go through, to the bit the same.
    after = room if key.dtype == precision else torch.empty_like(room, dtype=precision)
    importance = key.new_zeros(group * batch, 1, keys, dtype=precision)
    for first in range(0, heads, group):
        # Side by side: half the time of the product below.
        asking, seen = (each[first : first + group].flatten(0, 1).contiguous() for each in (query, key))
        for start in range(0, count, rows):
            part = slice(start, min(start + rows, count))
            shape = len(asking), part.stop - part.start, keys
            scores, attention = (each[: math.prod(shape)].view(shape) for each in (room, after))
            torch.bmm(asking[:, part], seen.transpose(1, 2), out=scores)
            torch.softmax(scores, dim=-1, dtype=precision, out=attention)
            importance[: len(asking)].baddbmm_(vote[: len(asking), :, part], attention)
    return importance.view(group, batch, keys).sum(dim=0)
