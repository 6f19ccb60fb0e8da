"""Attention within the windows of a map, with rotary positions, and padding that is counted but never computed."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F

ROPE_BASE = 10000.0
ROPE_PLACES = 16
"""A window's rows and columns are numbered as if it had so many, whatever its side: as in EVA-02's pre-training."""


@dataclass(frozen=True)
class Rectangle:
    """Windows of one size that lie side by side, from cell (top, left) of a map.

    rows and columns: how many windows. height and width: cells of the map in each. missing: slots of each that lie
    beyond the map's edge.
    """

    top: int
    left: int
    rows: int
    columns: int
    height: int
    width: int
    missing: int

    def take(self, x: torch.Tensor) -> torch.Tensor:
        """Map [B, H, W, heads, d] -> [B, windows * heads, cells of a window, d]."""
        part = x.narrow(1, self.top, self.rows * self.height).narrow(2, self.left, self.columns * self.width)
        windows = part.unflatten(2, (self.columns, self.width)).unflatten(1, (self.rows, self.height))
        taken: torch.Tensor = windows.permute(0, 1, 3, 5, 2, 4, 6).flatten(4, 5).flatten(1, 3)
        return taken

    def put(self, x: torch.Tensor, heads: int) -> torch.Tensor:
        """[B, windows * heads, cells of a window, d] -> their part of the map, [B, h, w, heads * d]."""
        windows = x.unflatten(2, (self.height, self.width)).unflatten(1, (self.rows, self.columns, heads))
        part: torch.Tensor = windows.permute(0, 1, 4, 2, 5, 3, 6).flatten(5, 6).flatten(3, 4).flatten(1, 2)
        return part


@dataclass(frozen=True, eq=False)
class Windows:
    """How a map is cut. side: cells of a whole window's edge. bands: its rectangles, from top to bottom, left to right.

    cosine and sine: [H, W, 1, d], of the angles by which queries and keys are turned.
    """

    side: int
    bands: tuple[tuple[Rectangle, ...], ...]
    cosine: torch.Tensor
    sine: torch.Tensor

    @functools.cached_property
    def order(self) -> torch.Tensor:
        """[H * W], the cells of the map window by window."""
        height, width = self.cosine.shape[:2]
        cells = torch.arange(height * width, device=self.cosine.device).view(1, height, width, 1, 1)
        return torch.cat([rectangle.take(cells).flatten() for band in self.bands for rectangle in band])

    @property
    def missing(self) -> list[int]:
        """How many slots of each window lie beyond the map, in the order of `order`."""
        each = (rectangle for band in self.bands for rectangle in band)
        return [rectangle.missing for rectangle in each for _ in range(rectangle.rows * rectangle.columns)]

    def by_window(self, cells: torch.Tensor) -> list[torch.Tensor]:
        """[B, H * W] in the order of `order` -> [B, windows, cells of each], for windows of each size."""
        each = [rectangle for band in self.bands for rectangle in band]
        counts = [rectangle.rows * rectangle.columns for rectangle in each]
        parts = cells.split([r.height * r.width * count for r, count in zip(each, counts, strict=True)], dim=1)
        return [part.unflatten(1, (count, -1)) for part, count in zip(parts, counts, strict=True)]

    def turn(self, x: torch.Tensor) -> torch.Tensor:
        """Rotary positions on a map [B, H, W, heads, d]."""
        return turn(x, self.cosine, self.sine)

    def attend(
        self,
        query: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        void: torch.Tensor,
        keep: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Maps [B, H, W, heads, d], turned -> [B, H, W, heads * d]; void [heads, d] is the value of a missing slot.

        keep: [B, H, W], false where a cell is no key; None where all are.
        """
        heads = query.shape[3]
        cells = None if keep is None else keep[..., None, None].expand(*keep.shape, heads, 1)
        bands = []
        for band in self.bands:
            parts = []
            for rectangle in band:
                take = rectangle.take
                keys = None if cells is None else take(cells).mT
                output = attend(take(query), take(key), take(value), void, rectangle.missing, keys)
                parts.append(rectangle.put(output, heads))
            bands.append(torch.cat(parts, dim=2))
        return torch.cat(bands, dim=1)


def turn(x: torch.Tensor, cosine: torch.Tensor, sine: torch.Tensor) -> torch.Tensor:
    """Rotary positions (arXiv 2104.09864): [..., d], whose neighbouring channels are pairs, by angles [..., d]."""
    quarter = torch.stack((-x[..., 1::2], x[..., ::2]), dim=-1).flatten(-2)
    return torch.addcmul(x * cosine, quarter, sine)


def attend(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    void: torch.Tensor,
    missing: int,
    keys: torch.Tensor | None = None,
) -> torch.Tensor:
    """Attention of [B, windows * heads, n, d], where each window has so many missing slots besides.

    The published network attends to them: their input is zero, so the key is zero and the value is ``void``, the
    bias of the values. All of them together weigh as much as one such key whose logit is ln(missing).
    keys: [B, windows * heads, 1, n], false for what is none; a window without any that has no missing slot either
    sees all, since no answer at all is NaN.
    """
    if not missing and keys is None:
        return F.scaled_dot_product_attention(query, key, value)
    bias = query.new_zeros(1, 1, 1, key.shape[2])
    if keys is not None:
        seen = keys if missing else keys | ~keys.any(dim=-1, keepdim=True)
        bias = torch.where(seen, bias, float("-inf"))
    if missing:
        windows = key.shape[1] // void.shape[0]
        voids = void.repeat(windows, 1)[None, :, None].expand(key.shape[0], -1, -1, -1)
        key, value = F.pad(key, (0, 0, 0, 1)), torch.cat([value, voids], dim=2)
        bias = F.pad(bias, (0, 1), value=math.log(missing))
    return F.scaled_dot_product_attention(query, key, value, attn_mask=bias)


def cut(like: torch.Tensor, side: int, head_dims: int) -> Windows:
    """A map [B, H, W, C] in windows of so many cells a side; tables in its precision, on its device."""
    height, width = like.shape[1:3]
    tables = rotary_map(height, width, side, head_dims, like.device)
    cosine, sine = (table.to(like.dtype)[:, :, None] for table in tables)
    return Windows(side, rectangles(height, width, side), cosine, sine)


@functools.cache
def rectangles(height: int, width: int, side: int) -> tuple[tuple[Rectangle, ...], ...]:
    """The windows of a map: whole ones, and those cut off by the right and the lower edge."""
    return tuple(
        tuple(
            Rectangle(top, left, rows, columns, high, wide, side * side - high * wide)
            for left, columns, wide in _lengths(width, side)
        )
        for top, rows, high in _lengths(height, side)
    )


def _lengths(extent: int, side: int) -> Sequence[tuple[int, int, int]]:
    """(start, count, length) of the whole windows along one axis, then of the one cut off; either may be none."""
    count, rest = divmod(extent, side)
    whole, last = (0, count, side), (count * side, 1, rest)
    return [piece for piece in (whole, last) if piece[1] * piece[2]]


def rotary_map(
    height: int, width: int, side: int, head_dims: int, device: torch.device | None = None
) -> tuple[torch.Tensor, torch.Tensor]:
    """Cosine and sine [height, width, head_dims] of a map's angles, each cell by its place in its window.

    The first half of the channels turns with the row, the second with the column.
    """
    frequency = ROPE_BASE ** (-torch.arange(0, head_dims // 2, 2, device=device) / (head_dims // 2))
    row, column = (
        (torch.arange(extent, device=device) % side)[:, None] * (ROPE_PLACES / side) * frequency.repeat_interleave(2)
        for extent in (height, width)
    )
    angle = torch.cat([row[:, None].expand(-1, width, -1), column[None].expand(height, -1, -1)], dim=-1)
    return angle.cos(), angle.sin()
