"""VoVNet v2 (Lee and Park, arXiv 1911.06667): one-shot aggregation blocks with effective squeeze-excitation."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import nn

from tggbc_ros.core.backbones.leftovers import convolution, gone
from tggbc_ros.core.shape import Stage, VoVNetShape


class ConvNorm(nn.Module):
    """Convolution without bias, batch norm, ReLU; the padding keeps the size at stride 1."""

    def __init__(
        self, in_channels: int, out_channels: int, kernel: int, stride: int = 1, constants: bool = False
    ) -> None:
        super().__init__()
        self.conv = convolution(in_channels, out_channels, kernel, stride, constants)
        self.norm = nn.BatchNorm2d(out_channels)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[B, in, H, W] -> [B, out, H/stride, W/stride]."""
        return F.relu(self.norm(self.conv(x)), inplace=True)


class EffectiveSqueezeExcitation(nn.Module):
    """Scales each channel by hard-sigmoid(fc(mean over the map))."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.fc = nn.Conv2d(channels, channels, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[B, C, H, W] -> the same shape."""
        gate = self.fc(x.mean(dim=(2, 3), keepdim=True))
        return x * (F.relu6(gate + 3.0) / 6.0)


class OSABlock(nn.Module):
    """One-shot aggregation: a chain of 3x3 convolutions whose every output is concatenated once, at the end.

    inner: channels that each of the chain puts out.
    """

    def __init__(
        self, in_channels: int, inner: tuple[int, ...], out_channels: int, residual: bool, constants: bool = False
    ) -> None:
        super().__init__()
        self.residual = residual
        widths = (in_channels, *inner)
        self.layers = nn.ModuleList(
            ConvNorm(widths[i], widths[i + 1], kernel=3, constants=constants) for i in range(len(inner))
        )
        self.concat = ConvNorm(sum(widths), out_channels, kernel=1)
        self.ese = EffectiveSqueezeExcitation(out_channels)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[B, in, H, W] -> [B, out, H, W]."""
        maps = [x]
        for layer in self.layers:
            maps.append(layer(maps[-1]))
        y: torch.Tensor = self.ese(self.concat(torch.cat(maps, dim=1)))
        return y + x if self.residual else y


class VoVNet(nn.Module):
    """VoVNet with eSE, its classifier left out. Blocks that are gone keep their place, so that others keep their names.

    Stages are called 2 to 5, as in the paper.
    """

    def __init__(self, shape: VoVNetShape) -> None:
        super().__init__()
        self.shape = shape
        widths, constants = (3, *shape.stem), (False, shape.constants, shape.constants)  # images have no dropped ones
        units = [
            ConvNorm(widths[i], widths[i + 1], kernel=3, stride=stride, constants=constants[i])
            for i, stride in enumerate((2, 1, 2))
        ]
        self.stem = _numbered("unit", units)
        in_channels = (shape.stem[-1], *(stage.trunk for stage in shape.stages[:-1]))
        stages = [_stage(width, stage, shape.constants) for width, stage in zip(in_channels, shape.stages, strict=True)]
        self.stage2, self.stage3, self.stage4, self.stage5 = stages
        self.out_channels = shape.out_channels

    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """[B, 3, H, W] -> maps at strides 16 and 32, channels as in ``out_channels``."""
        x = self.stage2(self.stem(images))
        x = self.stage3(_halve(x))
        c4 = self.stage4(_halve(x))
        return c4, self.stage5(_halve(c4))


def _halve(x: torch.Tensor) -> torch.Tensor:
    """3x3 max pooling, stride 2; an odd size is rounded up."""
    return F.max_pool2d(x, kernel_size=3, stride=2, ceil_mode=True)


def _stage(in_channels: int, stage: Stage, constants: bool) -> nn.Sequential:
    """OSA blocks; all but the first, whose channels change, add their input."""
    blocks: list[nn.Module] = []
    for index, inner in enumerate(stage.blocks):
        width = in_channels if index == 0 else stage.trunk
        if inner is None:
            blocks.append(gone(stage.trunk, constants))
        else:
            blocks.append(OSABlock(width, inner, stage.trunk, residual=index > 0, constants=constants))
    return _numbered("block", blocks)


def _numbered(name: str, modules: Sequence[nn.Module]) -> nn.Sequential:
    """A chain whose members are called name1, name2, …: VoVNet's published weights count from one."""
    return nn.Sequential(OrderedDict((f"{name}{i}", module) for i, module in enumerate(modules, start=1)))
