"""VoVNet v2 (Lee and Park, arXiv 1911.06667): one-shot aggregation blocks with effective squeeze-excitation."""

from __future__ import annotations

from collections import OrderedDict

import torch
import torch.nn.functional as F
from torch import nn

STEM_CHANNELS = (64, 64, 128)
LAYER_CHANNELS = (128, 160, 192, 224)  # of the 3x3 convolutions, stages 2 to 5
STAGE_CHANNELS = (256, 512, 768, 1024)
LAYERS_PER_BLOCK = 5


class ConvNorm(nn.Module):
    """Convolution without bias, batch norm, ReLU; the padding keeps the size at stride 1."""

    def __init__(self, in_channels: int, out_channels: int, kernel: int, stride: int = 1) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, out_channels, kernel, stride, padding=kernel // 2, bias=False)
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
    """One-shot aggregation: a chain of 3x3 convolutions whose every output is concatenated once, at the end."""

    def __init__(self, in_channels: int, layer_channels: int, out_channels: int, residual: bool) -> None:
        super().__init__()
        self.residual = residual
        widths = [in_channels] + [layer_channels] * LAYERS_PER_BLOCK
        self.layers = nn.ModuleList(ConvNorm(widths[i], widths[i + 1], kernel=3) for i in range(LAYERS_PER_BLOCK))
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
    """VoVNet with eSE, its classifier left out; ``blocks`` counts the OSA blocks of stages 2 to 5.

    (1, 3, 9, 3) is VoVNet-99.
    """

    def __init__(self, blocks: tuple[int, int, int, int]) -> None:
        super().__init__()
        widths = (3, *STEM_CHANNELS)
        units = [ConvNorm(widths[i], widths[i + 1], kernel=3, stride=stride) for i, stride in enumerate((2, 1, 2))]
        self.stem = _numbered("unit", units)
        in_channels = (STEM_CHANNELS[-1], *STAGE_CHANNELS[:-1])
        stages = [_stage(*shape) for shape in zip(in_channels, LAYER_CHANNELS, STAGE_CHANNELS, blocks, strict=True)]
        self.stage2, self.stage3, self.stage4, self.stage5 = stages
        self.out_channels = (STAGE_CHANNELS[2], STAGE_CHANNELS[3])

    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """[B, 3, H, W] -> maps at strides 16 and 32, channels as in ``out_channels``."""
        x = self.stage2(self.stem(images))
        x = self.stage3(_halve(x))
        c4 = self.stage4(_halve(x))
        return c4, self.stage5(_halve(c4))


def _halve(x: torch.Tensor) -> torch.Tensor:
    """3x3 max pooling, stride 2; an odd size is rounded up."""
    return F.max_pool2d(x, kernel_size=3, stride=2, ceil_mode=True)


def _stage(in_channels: int, layer_channels: int, out_channels: int, blocks: int) -> nn.Sequential:
    """OSA blocks; all but the first, whose channels change, add their input."""
    inputs = [in_channels] + [out_channels] * (blocks - 1)
    return _numbered(
        "block",
        [OSABlock(width, layer_channels, out_channels, residual=i > 0) for i, width in enumerate(inputs)],
    )


def _numbered(name: str, modules: list[nn.Module] | list[ConvNorm] | list[OSABlock]) -> nn.Sequential:
    """A chain whose members are called name1, name2, …: VoVNet's published weights count from one."""
    return nn.Sequential(OrderedDict((f"{name}{i}", module) for i, module in enumerate(modules, start=1)))
