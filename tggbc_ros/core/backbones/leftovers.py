"""Room for what dropped channels and blocks leave behind in a network that was cut: constants."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn


class BorderedConv2d(nn.Conv2d):
    """A convolution with a further input channel that is 1 everywhere, whose weights are ``border`` [out, 1, k, k].

    Dropped channels that are constant, but not zero, are summed up in it. A bias would do inside of the map, but not
    along its border, where a convolution sees the zeros of its padding instead.
    """

    def __init__(self, in_channels: int, out_channels: int, kernel: int, stride: int = 1) -> None:
        super().__init__(in_channels, out_channels, kernel, stride, padding=kernel // 2, bias=False)
        self.border = nn.Parameter(torch.zeros(out_channels, 1, kernel, kernel))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[B, in, H, W] -> [B, out, H/stride, W/stride]."""
        ones = x.new_ones(1, 1, *x.shape[-2:])
        return super().forward(x) + F.conv2d(ones, self.border, stride=self.stride, padding=self.padding)


class Gone(nn.Module):
    """In the place of a block that is gone and left a constant: relu(x + bias)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[B, C, H, W] -> the same shape."""
        return F.relu(x + self.bias[:, None, None])


def convolution(
    in_channels: int, out_channels: int, kernel: int, stride: int = 1, constants: bool = False
) -> nn.Conv2d:
    """Without bias, padded so that stride 1 keeps the size. constants: with room for those of dropped inputs.

    A 1x1 convolution pads nothing: its norm has room enough.
    """
    if constants and kernel > 1:
        return BorderedConv2d(in_channels, out_channels, kernel, stride)
    return nn.Conv2d(in_channels, out_channels, kernel, stride, padding=kernel // 2, bias=False)


def gone(channels: int, constants: bool) -> nn.Module:
    """What stands where a block is gone that added to its input."""
    return Gone(channels) if constants else nn.Identity()
