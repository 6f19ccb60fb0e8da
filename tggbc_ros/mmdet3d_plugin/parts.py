"""Backbone, neck and head of the core under mmdet3d's registry, built from plain config values.

A ResNet needs no part of ours: ``mmdet.ResNet`` with ``out_indices=(2, 3)`` has the same layers by the same names. One
that was cut does: `StreamPETRBackbone` and `StreamPETRNeck` are of any shape.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

from mmdet3d.registry import MODELS
from torch import nn

from tggbc_ros.core import backbones, neck
from tggbc_ros.core.checkpoint import CheckpointError, fitting
from tggbc_ros.core.config import ModelConfig, model_config
from tggbc_ros.core.head import Head
from tggbc_ros.core.shape import PRESETS, ResNetShape, Shape, from_data, vovnet


def network_config(base: str, changes: dict[str, Any]) -> ModelConfig:
    """The shipped network ``base`` with some fields changed; raises ValueError naming fields that there are not.

    ``shape`` may be data as JSON has it, or the name of a .safetensors file that tells it (docs/slim.md).
    """
    known = {item.name for item in dataclasses.fields(ModelConfig)}
    unknown = sorted(set(changes) - known)
    if unknown:
        raise ValueError(
            f"no such field of a network: {', '.join(unknown)}; expected some of {', '.join(sorted(known))}"
        )
    values = {name: tuple(value) if isinstance(value, list) else value for name, value in changes.items()}
    shape = values.get("shape")
    if isinstance(shape, str):
        values["shape"] = None
    elif isinstance(shape, dict):
        values["shape"] = from_data(shape)
    model = dataclasses.replace(model_config(base), **values)
    return shaped_as(model, Path(shape)) if isinstance(shape, str) else model


def shaped_as(model: ModelConfig, path: Path) -> ModelConfig:
    """The model with the shape that a file's network has; raises CheckpointError for a file that is none."""
    if not path.is_file():
        raise CheckpointError(f"shape is {str(path)!r}, expected a shape, or a checkpoint that tells one")
    return fitting(model, path)


class RestingNorms(nn.Module):
    """A backbone whose batch norms keep their statistics while it trains, as StreamPETR trains it, if ``norm_eval``."""

    norm_eval = True

    def train(self, mode: bool = True) -> Self:
        """Training mode, but for batch norms that rest."""
        super().train(mode)
        for module in self.modules():
            if self.norm_eval and isinstance(module, nn.BatchNorm2d):
                module.eval()
        return self


@MODELS.register_module()
class VoVNet(RestingNorms, backbones.VoVNet):
    """`core.backbones.VoVNet` as it was published, of so many blocks a stage."""

    def __init__(self, blocks: Sequence[int] = (1, 3, 9, 3), norm_eval: bool = True) -> None:
        super().__init__(vovnet(tuple(blocks)))
        self.norm_eval = norm_eval


class ShapedVoVNet(RestingNorms, backbones.VoVNet):
    """`core.backbones.VoVNet` of any shape."""


class ShapedResNet(RestingNorms, backbones.ResNet):
    """`core.backbones.ResNet` of any shape."""


@MODELS.register_module()
def StreamPETRBackbone(base: str, norm_eval: bool = True, **changes: Any) -> nn.Module:  # noqa: N802, a part's name
    """The backbone of a network as in `StreamPETRHead`, of the shape that a config or a checkpoint tells."""
    shape = shape_of(network_config(base, changes))
    backbone = ShapedResNet(shape) if isinstance(shape, ResNetShape) else ShapedVoVNet(shape)
    backbone.norm_eval = norm_eval
    return backbone


@MODELS.register_module()
def StreamPETRNeck(base: str, **changes: Any) -> nn.Module:  # noqa: N802, a part's name
    """The neck of a network as in `StreamPETRHead`, behind a `StreamPETRBackbone` of the same."""
    model = network_config(base, changes)
    return CPFPN(shape_of(model).out_channels, model.embed_dims)


def shape_of(model: ModelConfig) -> Shape:
    """What the model's backbone looks like, told or by its name; raises ValueError for one without channels to tell."""
    if model.shape is None and model.backbone not in PRESETS:
        raise ValueError(f"backbone is {model.backbone!r}, expected one of {', '.join(PRESETS)}")
    return model.shape or PRESETS[model.backbone]


@MODELS.register_module()
class CPFPN(neck.CPFPN):
    """`core.neck.CPFPN`. in_channels: of the maps at strides 16 and 32."""

    def __init__(self, in_channels: Sequence[int], out_channels: int = 256) -> None:
        lower, upper = in_channels
        super().__init__((lower, upper), out_channels)


@MODELS.register_module()
class StreamPETRHead(Head):
    """`core.head.Head` of the shipped network ``base`` (r50_704, vov_800, demo).

    changes: fields of `core.config.ModelConfig` that are to differ, such as image_size, num_queries or class_names.
    """

    def __init__(self, base: str, **changes: Any) -> None:
        super().__init__(network_config(base, changes))
