"""The feature pyramid that RepDETR3D puts on EVA-02's one map (ViTDet, arXiv 2203.16527). Our networks need none of it.

It is here so that recorded runs with it are compared as a whole. Names are those of its published weights.
"""

from __future__ import annotations

import math

import torch
from torch import nn

EPSILON = 1e-6
STRIDE = 16


class ChannelNorm(nn.LayerNorm):
    """A layer norm over the channels of each pixel, [B, C, H, W]."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[B, C, H, W] -> [B, C, H, W]."""
        return super().forward(x.movedim(1, -1)).movedim(-1, 1)


class NormedConv(nn.Conv2d):
    """A convolution without bias that keeps the size, and its norm."""

    def __init__(self, in_channels: int, out_channels: int, kernel: int) -> None:
        super().__init__(in_channels, out_channels, kernel, padding=kernel // 2, bias=False)
        self.norm = ChannelNorm(out_channels, EPSILON)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[B, in, H, W] -> [B, out, H, W]."""
        normalised: torch.Tensor = self.norm(super().forward(x))
        return normalised


class Pyramid(nn.Module):
    """One map of so many channels as several, each enlarged by one of the scales: 4, 2, 1, 0.5, 0.25."""

    def __init__(self, channels: int, out_channels: int, scales: list[float]) -> None:
        super().__init__()
        self.names = [f"simfp_{round(math.log2(STRIDE / scale))}" for scale in scales]
        for name, scale in zip(self.names, scales, strict=True):
            resize, resized = _resize(channels, scale)
            convolutions = [NormedConv(resized, out_channels, 1), NormedConv(out_channels, out_channels, 3)]
            self.add_module(name, nn.Sequential(*resize, *convolutions))

    def forward(self, x: torch.Tensor) -> list[torch.Tensor]:
        """[B, C, H, W] -> [B, out, H * scale, W * scale] for each scale."""
        return [self.get_submodule(name)(x) for name in self.names]


def _resize(channels: int, scale: float) -> tuple[list[nn.Module], int]:
    """What brings the map to its scale, and the channels then. Raises ValueError for a scale not known."""
    halved = channels // 2
    if scale == 4:
        up = nn.ConvTranspose2d(halved, channels // 4, 2, 2)
        steps = [nn.ConvTranspose2d(channels, halved, 2, 2), ChannelNorm(halved, EPSILON), nn.GELU(), up]
        return steps, channels // 4
    if scale == 2:
        return [nn.ConvTranspose2d(channels, halved, 2, 2)], halved
    if scale in (0.5, 0.25):
        return [nn.Conv2d(channels, channels, round(1 / scale), round(1 / scale))], channels
    if scale != 1:
        raise ValueError(f"scale_factors has {scale}, expected 4, 2, 1, 0.5 or 0.25")
    return [], channels
