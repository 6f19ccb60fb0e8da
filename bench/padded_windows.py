"""A block of EVA-02 as it is published: padded slots of a window are computed as if they were tokens."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from tggbc_ros.core.backbones.vit import Block, ViTShape
from tggbc_ros.core.backbones.windows import rotary_map, turn


def padded_block(block: Block, x: torch.Tensor, side: int, shape: ViTShape) -> torch.Tensor:
    """Map [B, H, W, C] -> the same, through a block whose windows have so many cells a side."""
    attention, (_, rows, columns, _) = block.attn, x.shape
    right, down = -columns % side, -rows % side
    padded = F.pad(block.norm1(x), (0, 0, 0, right, 0, down))
    windows = padded.unflatten(2, (-1, side)).unflatten(1, (-1, side)).transpose(2, 3)
    tokens = windows.flatten(3, 4).flatten(0, 2)
    query = F.linear(tokens, attention.q_proj.weight, attention.q_bias)
    value = F.linear(tokens, attention.v_proj.weight, attention.v_bias)
    heads = (each.unflatten(-1, (shape.heads, -1)).transpose(1, 2) for each in (query, attention.k_proj(tokens), value))
    query, key, value = heads
    cosine, sine = (table.flatten(0, 1) for table in rotary_map(side, side, side, shape.head_dims))
    seen = F.scaled_dot_product_attention(turn(query, cosine, sine), turn(key, cosine, sine), value)
    output = attention.proj(seen.transpose(1, 2).flatten(2)).view_as(windows.flatten(3, 4))
    joined = output.unflatten(3, (side, side)).transpose(2, 3).flatten(3, 4).flatten(1, 2)
    x = x + joined[:, :rows, :columns]
    return x + block.mlp(block.norm2(x))
