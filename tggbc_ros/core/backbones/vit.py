"""EVA-02 (Fang et al., arXiv 2303.11331): the vision transformer that StreamPETR is trained with.

Windows, rotary positions, SwiGLU. Parameter names are those of the published weights.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import nn

from tggbc_ros.core.backbones.packed import pack
from tggbc_ros.core.backbones.windows import Windows, cut
from tggbc_ros.core.gates import Decisions, Gate, kept, kept_above, likeliest, margin_of

EPSILON = 1e-6
GRID = 14
"""Cells a side of the learned position embedding, before it is brought to a map's size."""


class Places(Protocol):
    """Where tokens stand, and which of them are each other's keys: `Windows`, `Packed`, or `gated_learning.Masked`."""

    def turn(self, x: torch.Tensor) -> torch.Tensor:
        """Rotary positions on [..., heads, d]."""

    def attend(self, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, void: torch.Tensor) -> torch.Tensor:
        """[..., heads, d], turned -> [..., heads * d]; void [heads, d] is the value of a slot beyond the map."""


def _require(holds: bool, field: str, value: object, expected: str) -> None:
    if not holds:
        raise ValueError(f"{field} is {value!r}, expected {expected}")


@dataclass(frozen=True)
class ViTShape:
    """The shape of an EVA-02. window: cells a side, in all blocks but ``global_blocks``.

    global_window: theirs, usually the map's shorter edge; 0 is the whole map, which must then be square.
    mlp_norm: whether the hidden layer of the SwiGLU is normalised, as in the base and large models.
    """

    width: int
    depth: int
    heads: int
    window: int
    global_window: int
    global_blocks: tuple[int, ...]
    mlp_norm: bool = True
    patch: int = 16

    def __post_init__(self) -> None:
        for name in ("width", "depth", "heads", "window", "patch"):
            _require(getattr(self, name) >= 1, name, getattr(self, name), "at least 1")
        whole = self.width % self.heads == 0 and self.head_dims % 4 == 0
        _require(whole, "width", self.width, f"a multiple of 4 times heads, {self.heads}: two axes turn pairs")
        _require(self.global_window >= 0, "global_window", self.global_window, "at least 0, the whole map")
        rising = list(self.global_blocks) == sorted(set(self.global_blocks) & set(range(self.depth)))
        of_depth = f"blocks in 0..{self.depth - 1}, rising"
        _require(rising, "global_blocks", self.global_blocks, of_depth)

    @property
    def head_dims(self) -> int:
        """Channels of one head."""
        return self.width // self.heads

    @property
    def hidden(self) -> int:
        """Channels of the SwiGLU's hidden layer: two thirds of the usual four times the width."""
        return self.width * 8 // 3

    def side(self, block: int) -> int:
        """Cells a side of a block's windows; 0 is the whole map."""
        return self.global_window if block in self.global_blocks else self.window

    def map_size(self, image_size: tuple[int, int]) -> tuple[int, int]:
        """(rows, columns) of the map of images (height, width); raises ValueError for images that do not fit."""
        height, width = image_size
        whole = height > 0 and width > 0 and height % self.patch == 0 and width % self.patch == 0
        _require(whole, "image_size", image_size, f"multiples of the patch's {self.patch} pixels")
        square = height == width or self.global_window or not self.global_blocks
        _require(bool(square), "image_size", image_size, "a square for global_window 0, attention over the whole map")
        return height // self.patch, width // self.patch


SHAPES = {
    # For images 320 pixels high, as StreamPETR and ToC3D train it.
    "eva02_l": ViTShape(1024, 24, 16, window=16, global_window=20, global_blocks=tuple(range(2, 24, 3))),
    # For 352 x 128 pixels: windows as high as the map, and some blocks that see the whole of it.
    "eva02_demo": ViTShape(192, 8, 3, window=8, global_window=22, global_blocks=(2, 5, 7)),
}


class WindowAttention(nn.Module):
    """Multi-head attention within windows; keys have no bias."""

    def __init__(self, shape: ViTShape) -> None:
        super().__init__()
        self.heads = shape.heads
        self.q_bias = nn.Parameter(torch.zeros(shape.width))
        self.v_bias = nn.Parameter(torch.zeros(shape.width))
        self.q_proj, self.k_proj, self.v_proj = (nn.Linear(shape.width, shape.width, bias=False) for _ in "qkv")
        self.proj = nn.Linear(shape.width, shape.width)

    def forward(self, x: torch.Tensor, places: Places) -> torch.Tensor:
        """Map [B, H, W, C] in windows, or kept tokens [K, C] of such -> the same shape."""
        query = F.linear(x, self.q_proj.weight, self.q_bias)
        value = F.linear(x, self.v_proj.weight, self.v_bias)
        query, key, value = (each.unflatten(-1, (self.heads, -1)) for each in (query, self.k_proj(x), value))
        void = self.v_bias.unflatten(0, (self.heads, -1))
        output: torch.Tensor = self.proj(places.attend(places.turn(query), places.turn(key), value, void))
        return output


class SwiGLU(nn.Module):
    """Gated linear units with SiLU (Shazeer, arXiv 2002.05202), normalised before the way back where asked."""

    def __init__(self, shape: ViTShape) -> None:
        super().__init__()
        self.w1, self.w2 = nn.Linear(shape.width, shape.hidden), nn.Linear(shape.width, shape.hidden)
        self.ffn_ln = nn.LayerNorm(shape.hidden, EPSILON) if shape.mlp_norm else nn.Identity()
        self.w3 = nn.Linear(shape.hidden, shape.width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[..., C] -> [..., C]."""
        output: torch.Tensor = self.w3(self.ffn_ln(F.silu(self.w1(x)) * self.w2(x)))
        return output


class Block(nn.Module):
    """Attention and SwiGLU, each normalised before and added to what came in."""

    def __init__(self, shape: ViTShape) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(shape.width, EPSILON)
        self.attn = WindowAttention(shape)
        self.norm2 = nn.LayerNorm(shape.width, EPSILON)
        self.mlp = SwiGLU(shape)

    def forward(self, x: torch.Tensor, places: Places) -> torch.Tensor:
        """Map [B, H, W, C] in windows, or kept tokens [K, C] of such -> the same shape."""
        x = x + self.attn(self.norm1(x), places)
        output: torch.Tensor = x + self.mlp(self.norm2(x))
        return output

    def run_kept(self, x: torch.Tensor, windows: Windows, keep: torch.Tensor) -> torch.Tensor:
        """Map [B, H, W, C] -> the same, where ``keep`` [B, H, W] is false as it came, and no key of the others."""
        packed = pack(keep, windows)
        tokens = x.flatten(0, 2)
        rows = self(tokens[packed.index], packed)
        return tokens.index_copy(0, packed.index, rows).view_as(x)


class PatchEmbedding(nn.Module):
    """Each square of pixels as one token."""

    def __init__(self, shape: ViTShape) -> None:
        super().__init__()
        self.proj = nn.Conv2d(3, shape.width, shape.patch, shape.patch)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """[B, 3, H, W] -> [B, H / patch, W / patch, C]."""
        tokens: torch.Tensor = self.proj(images)
        return tokens.permute(0, 2, 3, 1)


class ViT(nn.Module):
    """An EVA-02 whose last block's tokens are the one map that comes out.

    gates: `core.gates.Gate` by the number of the block before which it decides; none: all tokens pass all blocks.
    """

    def __init__(self, shape: ViTShape) -> None:
        super().__init__()
        self.shape = shape
        self.pos_embed = nn.Parameter(torch.empty(1, 1 + GRID**2, shape.width))
        self.patch_embed = PatchEmbedding(shape)
        self.blocks = nn.ModuleList(Block(shape) for _ in range(shape.depth))
        self.gates = nn.ModuleDict()
        self.out_channels = (shape.width,)
        nn.init.trunc_normal_(self.pos_embed, std=0.02)
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.trunc_normal_(module.weight, std=0.02)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor]:
        """[B, 3, H, W] -> the map at the patches' stride, [B, width, H / patch, W / patch]."""
        if self.training and self.gates:
            raise NotImplementedError("gates decide here and cannot learn: gated_learning.learn is what trains them")
        found, _ = self.decide(images)
        return found

    def decide(self, images: torch.Tensor, shift: float | None = None) -> tuple[tuple[torch.Tensor], Decisions | None]:
        """As `forward`, and what the gates decided: each token by itself, or with a shift as `gates.likeliest` does.

        None where none was asked: there are no gates, or the shift is infinite, by which all tokens pass.
        """
        x, margins, keeps = self.embed(images), [], []
        for index, windows in enumerate(self.windows(x)):
            keep = None
            if shift != math.inf and str(index) in self.gates:
                margin = margin_of(self.gates[str(index)](x))
                flat = margin.flatten(1)
                keep = (kept_above(flat) if shift is None else likeliest(flat, shift)).view_as(margin)
                margins.append(margin)
                keeps.append(keep)
            x = self.run_block(index, x, windows, keep)
        decisions = Decisions(torch.stack(margins), torch.stack(keeps)) if margins else None
        return (x.permute(0, 3, 1, 2),), decisions

    def add_gates(self, blocks: Iterable[int]) -> None:
        """Gates before these blocks, in place of those there were; raises where there is no such block."""
        gated = sorted(blocks)
        _require(set(gated) <= set(range(self.shape.depth)), "gates", gated, f"blocks in 0..{self.shape.depth - 1}")
        self.gates = nn.ModuleDict({str(block): Gate(self.shape.width) for block in gated})

    def keep(self, index: int, x: torch.Tensor) -> torch.Tensor | None:
        """Which tokens of the map [B, H, W, C] pass a block, [B, H, W]; None for all, where it has no gate."""
        if str(index) not in self.gates:
            return None
        keep: torch.Tensor = kept(self.gates[str(index)](x).flatten(1, 2)).unflatten(1, (x.shape[1], x.shape[2]))
        return keep

    def run_block(self, index: int, x: torch.Tensor, windows: Windows, keep: torch.Tensor | None) -> torch.Tensor:
        """The map [B, H, W, C] after a block that all tokens pass, or those of ``keep`` [B, H, W]."""
        block = self.blocks[index]
        assert isinstance(block, Block)
        if keep is None or bool(keep.all()):  # to pack them all would only take time
            passed: torch.Tensor = block(x, windows)
            return passed
        return block.run_kept(x, windows, keep)

    def embed(self, images: torch.Tensor) -> torch.Tensor:
        """[B, 3, H, W] -> tokens with their position, [B, rows, columns, C]; raises where patches do not fit."""
        self.shape.map_size((images.shape[-2], images.shape[-1]))
        tokens: torch.Tensor = self.patch_embed(images)
        return tokens + self.position(tokens.shape[1], tokens.shape[2]).to(tokens)

    def position(self, rows: int, columns: int) -> torch.Tensor:
        """The learned embedding [1, rows, columns, C], enlarged bicubically; its first row, of no cell, is unused."""
        grid: torch.Tensor = self.pos_embed[:, 1:].unflatten(1, (GRID, GRID)).permute(0, 3, 1, 2).float()
        if (rows, columns) != (GRID, GRID):
            grid = F.interpolate(grid, size=(rows, columns), mode="bicubic", align_corners=False)
        return grid.permute(0, 2, 3, 1)

    def windows(self, x: torch.Tensor) -> list[Windows]:
        """How each block cuts the map [B, H, W, C]."""
        sides = [self.shape.side(block) or x.shape[1] for block in range(self.shape.depth)]
        by_side = {side: cut(x, side, self.shape.head_dims) for side in sorted(set(sides))}
        return [by_side[side] for side in sides]
