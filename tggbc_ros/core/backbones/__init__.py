"""Image backbones by name; each turns pixels into two feature maps, at strides 16 and 32."""

from __future__ import annotations

from collections.abc import Callable

from tggbc_ros.core.backbones.resnet import BasicBlock, Bottleneck, ResNet
from tggbc_ros.core.backbones.vovnet import VoVNet

Backbone = ResNet | VoVNet

BACKBONES: dict[str, Callable[[], Backbone]] = {
    "resnet18": lambda: ResNet(BasicBlock, depths=(2, 2, 2, 2)),
    "resnet18_half": lambda: ResNet(BasicBlock, depths=(2, 2, 2, 2), width=32),
    "resnet34": lambda: ResNet(BasicBlock, depths=(3, 4, 6, 3)),
    "resnet50": lambda: ResNet(Bottleneck, depths=(3, 4, 6, 3)),
    "vovnet99": lambda: VoVNet(blocks=(1, 3, 9, 3)),
}


def build_backbone(name: str) -> Backbone:
    """The backbone of that name, randomly initialised; raises naming the known ones.

    It maps images [B*N, 3, H, W] to the maps at strides 16 and 32, whose channels ``out_channels`` tells.
    """
    if name not in BACKBONES:
        raise ValueError(f"backbone is {name!r}, expected one of {', '.join(BACKBONES)}")
    return BACKBONES[name]()
