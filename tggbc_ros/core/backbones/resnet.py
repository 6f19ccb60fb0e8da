"""ResNet (He et al., arXiv 1512.03385), stages 3 and 4; parameter names are the ones torchvision made common."""

from __future__ import annotations

import torch
from torch import nn

from tggbc_ros.core.backbones.leftovers import convolution, gone
from tggbc_ros.core.shape import ResNetShape, Stage


def _shortcut(in_channels: int, out_channels: int, stride: int) -> nn.Module:
    """What a stage's first block passes its input through, for it to fit its output."""
    return nn.Sequential(
        nn.Conv2d(in_channels, out_channels, 1, stride, bias=False),
        nn.BatchNorm2d(out_channels),
    )


class BasicBlock(nn.Module):
    """Two 3x3 convolutions and a shortcut (ResNet-18 and -34). inner: channels between them.

    projects: whether the shortcut is a convolution; it is the identity otherwise.
    """

    def __init__(
        self,
        in_channels: int,
        inner: tuple[int, ...],
        out_channels: int,
        stride: int = 1,
        projects: bool = False,
        constants: bool = False,
    ) -> None:
        super().__init__()
        (width,) = inner
        self.conv1 = convolution(in_channels, width, 3, stride, constants)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = convolution(width, out_channels, 3, constants=constants)
        self.bn2 = nn.BatchNorm2d(out_channels)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = _shortcut(in_channels, out_channels, stride) if projects else nn.Identity()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[B, in, H, W] -> [B, out, H/stride, W/stride]."""
        y = self.relu(self.bn1(self.conv1(x)))
        y = self.bn2(self.conv2(y))
        y += self.downsample(x)
        return self.relu(y)  # type: ignore[no-any-return]


class Bottleneck(nn.Module):
    """1x1, 3x3, 1x1 convolutions and a shortcut; the 3x3 carries the stride ("pytorch style").

    inner: channels that the first and the second put out. projects: as in `BasicBlock`.
    """

    def __init__(
        self,
        in_channels: int,
        inner: tuple[int, ...],
        out_channels: int,
        stride: int = 1,
        projects: bool = False,
        constants: bool = False,
    ) -> None:
        super().__init__()
        first, second = inner
        self.conv1 = convolution(in_channels, first, 1)
        self.bn1 = nn.BatchNorm2d(first)
        self.conv2 = convolution(first, second, 3, stride, constants)
        self.bn2 = nn.BatchNorm2d(second)
        self.conv3 = convolution(second, out_channels, 1)
        self.bn3 = nn.BatchNorm2d(out_channels)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = _shortcut(in_channels, out_channels, stride) if projects else nn.Identity()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[B, in, H, W] -> [B, out, H/stride, W/stride]."""
        y = self.relu(self.bn1(self.conv1(x)))
        y = self.relu(self.bn2(self.conv2(y)))
        y = self.bn3(self.conv3(y))
        y += self.downsample(x)
        return self.relu(y)  # type: ignore[no-any-return]


class ShortcutAlone(nn.Module):
    """What is left of a stage's first block that is gone."""

    def __init__(self, in_channels: int, out_channels: int, stride: int) -> None:
        super().__init__()
        self.thin: nn.Module = nn.Identity()
        self.downsample = _shortcut(in_channels, out_channels, stride)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[B, in, H, W] -> [B, out, H/stride, W/stride]."""
        return self.relu(self.downsample(self.thin(x)))  # type: ignore[no-any-return]

    def pool_first(self) -> None:
        """Take the stride by pooling single cells before the convolution, which gives the same numbers.

        Where nothing else reads the input of a 1x1 convolution, OpenVINO moves its stride up past the quantisers, and
        then computes in float32, in steps that take several times as long.
        """
        convolution = self.downsample.get_submodule("0")
        assert isinstance(convolution, nn.Conv2d)
        if convolution.stride != (1, 1):
            self.thin = nn.MaxPool2d(1, convolution.stride)
            convolution.stride = (1, 1)


BLOCKS: dict[str, type[BasicBlock] | type[Bottleneck]] = {"basic": BasicBlock, "bottleneck": Bottleneck}


class ResNet(nn.Module):
    """A ResNet without its classifier. Blocks that are gone keep their place, so that the others keep their names."""

    def __init__(self, shape: ResNetShape) -> None:
        super().__init__()
        self.shape = shape
        self.conv1 = nn.Conv2d(3, shape.stem, 7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(shape.stem)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=1)
        first, second, third, fourth = shape.stages
        self.layer1 = _stage(shape, shape.stem, first, stride=1, projects=shape.block != "basic")
        self.layer2 = _stage(shape, first.trunk, second)
        self.layer3 = _stage(shape, second.trunk, third)
        self.layer4 = _stage(shape, third.trunk, fourth)
        self.out_channels = shape.out_channels

    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """[B, 3, H, W] -> maps at strides 16 and 32, channels as in ``out_channels``."""
        x = self.maxpool(self.relu(self.bn1(self.conv1(images))))
        c4 = self.layer3(self.layer2(self.layer1(x)))
        return c4, self.layer4(c4)


def _stage(shape: ResNetShape, in_channels: int, stage: Stage, stride: int = 2, projects: bool = True) -> nn.Sequential:
    """The blocks of a stage, the first of which takes the stride."""
    block, trunk = BLOCKS[shape.block], stage.trunk
    blocks: list[nn.Module] = []
    for index, inner in enumerate(stage.blocks):
        first = index == 0
        if inner is not None and first:
            blocks.append(block(in_channels, inner, trunk, stride, projects, shape.constants))
        elif inner is not None:
            blocks.append(block(trunk, inner, trunk, constants=shape.constants))
        elif first and projects:
            blocks.append(ShortcutAlone(in_channels, trunk, stride))
        else:
            blocks.append(gone(trunk, shape.constants))
    return nn.Sequential(*blocks)
