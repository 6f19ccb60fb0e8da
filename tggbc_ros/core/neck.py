"""CP-FPN: a feature pyramid of which only the stride-16 map is computed."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn


class CPFPN(nn.Module):
    """Feature pyramid (arXiv 1612.03144) on two maps, with an output convolution on the lower one only.

    in_channels: of the maps at strides 16 and 32, as a backbone's ``out_channels``; of the first alone where a
    backbone gives no other.
    """

    def __init__(self, in_channels: tuple[int, ...], out_channels: int = 256) -> None:
        super().__init__()
        self.lateral = nn.ModuleList(nn.Conv2d(channels, out_channels, 1) for channels in in_channels)
        self.output = nn.Conv2d(out_channels, out_channels, 3, padding=1)

    def forward(self, maps: tuple[torch.Tensor, ...]) -> torch.Tensor:
        """Maps [B, c4, H, W] and [B, c5, h, w], or the first alone -> [B, out_channels, H, W].

        The upper map is enlarged to the exact size of the lower one, so H / h need not be 2.
        """
        merged, *uppers = (convolve(x) for convolve, x in zip(self.lateral, maps, strict=True))
        for upper in uppers:
            merged = merged + F.interpolate(upper, size=merged.shape[-2:], mode="nearest")
        features: torch.Tensor = self.output(merged)
        return features
