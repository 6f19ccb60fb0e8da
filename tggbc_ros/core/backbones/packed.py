"""Some tokens of a map, packed row by row: a gather, work on what is kept alone, a scatter."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F

from tggbc_ros.core.backbones.windows import Windows, attend, turn

SMALL = 100
"""Kept tokens a window up to which a call for each takes longer than the empty slots of one call for all."""


@dataclass(frozen=True, eq=False)
class Packed:
    """The kept tokens of all images, window after window.

    index: [K], their places in a map flattened to [B * H * W]. counts: how many each window has that has any, and
    missing: how many slots of that window lie beyond the map. cosine and sine: [K, 1, d].
    """

    index: torch.Tensor
    counts: list[int]
    missing: list[int]
    cosine: torch.Tensor
    sine: torch.Tensor

    def turn(self, x: torch.Tensor) -> torch.Tensor:
        """Rotary positions of the tokens' original places on [K, heads, d]."""
        return turn(x, self.cosine, self.sine)

    def attend(self, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, void: torch.Tensor) -> torch.Tensor:
        """[K, heads, d], turned -> [K, heads * d], each window by itself; void [heads, d] as in `windows.attend`."""
        if max(self.counts) <= SMALL:
            return self._attend_at_once(query, key, value, void)
        by_head = (x.transpose(0, 1)[None].split(self.counts, dim=2) for x in (query, key, value))
        parts = [attend(q, k, v, void, missing) for q, k, v, missing in zip(*by_head, self.missing, strict=True)]
        return torch.cat(parts, dim=2)[0].transpose(0, 1).flatten(1)

    def _attend_at_once(
        self, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, void: torch.Tensor
    ) -> torch.Tensor:
        """The same for all windows in one call, each with as many slots as the fullest one, and one more for `void`."""
        windows, length = len(self.counts), max(self.counts) + 1
        counts, missing = (torch.tensor(each, device=query.device) for each in (self.counts, self.missing))
        seen = torch.arange(length, device=query.device) < counts[:, None]
        slots = seen.flatten().nonzero()[:, 0]
        bias = torch.where(seen, 0.0, float("-inf"))
        bias[:, -1] = missing.log()
        bias = bias.to(query.dtype)[:, None, None]
        spread = [x.new_zeros(windows * length, *x.shape[1:]).index_copy(0, slots, x) for x in (query, key, value)]
        q, k, v = (x.unflatten(0, (windows, length)) for x in spread)
        v[:, -1] = void
        q, k, v = (x.transpose(1, 2) for x in (q, k, v))
        found = F.scaled_dot_product_attention(q, k, v, attn_mask=bias)
        output: torch.Tensor = found.transpose(1, 2).flatten(0, 1)[slots].flatten(1)
        return output


def pack(keep: torch.Tensor, windows: Windows) -> Packed:
    """The tokens for which ``keep`` [B, H, W] is true. At least one must be."""
    images = keep.flatten(1)
    ordered = images[:, windows.order]
    offset = torch.arange(images.shape[0], device=keep.device)[:, None] * images.shape[1]
    index = (windows.order + offset)[ordered]
    counts = torch.cat([window.sum(-1) for window in windows.by_window(ordered)], dim=1)
    each = zip(counts.flatten().tolist(), windows.missing * images.shape[0], strict=True)
    found = [(count, missing) for count, missing in each if count]
    cell = index % images.shape[1]
    cosine, sine = (table.flatten(0, 1)[cell] for table in (windows.cosine, windows.sine))
    return Packed(index, [count for count, _ in found], [missing for _, missing in found], cosine, sine)
