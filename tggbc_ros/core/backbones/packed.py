"""Some tokens of a map, packed row by row: a gather, work on what is kept alone, a scatter."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from tggbc_ros.core.backbones.windows import Windows, attend, turn


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
        by_head = (x.transpose(0, 1)[None].split(self.counts, dim=2) for x in (query, key, value))
        parts = [attend(q, k, v, void, missing) for q, k, v, missing in zip(*by_head, self.missing, strict=True)]
        return torch.cat(parts, dim=2)[0].transpose(0, 1).flatten(1)


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
