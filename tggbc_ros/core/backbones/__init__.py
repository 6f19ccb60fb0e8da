"""Image backbones by name or by shape; each turns pixels into maps at strides 16 and 32, a transformer at 16 alone."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from tggbc_ros.core.backbones.resnet import ResNet
from tggbc_ros.core.backbones.vit import SHAPES, ViT
from tggbc_ros.core.backbones.vovnet import VoVNet
from tggbc_ros.core.shape import PRESETS, ResNetShape, Shape

Backbone = ResNet | VoVNet | ViT


def from_shape(shape: Shape) -> Backbone:
    """A backbone that looks so, randomly initialised."""
    return ResNet(shape) if isinstance(shape, ResNetShape) else VoVNet(shape)


BACKBONES: dict[str, Callable[[], Backbone]] = {name: partial(from_shape, shape) for name, shape in PRESETS.items()}
BACKBONES |= {name: partial(ViT, shape) for name, shape in SHAPES.items()}


def build_backbone(name: str, shape: Shape | None = None) -> Backbone:
    """The backbone of that name, or one of its family of another shape, randomly initialised.

    It maps images [B*N, 3, H, W] to its maps, from stride 16 on, whose channels ``out_channels`` tells. Raises
    ValueError naming the known names.
    """
    if name not in BACKBONES:
        raise ValueError(f"backbone is {name!r}, expected one of {', '.join(BACKBONES)}")
    return BACKBONES[name]() if shape is None else from_shape(shape)
