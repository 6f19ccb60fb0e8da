"""Backbone, neck and head of the core under mmdet3d's registry, built from plain config values.

A ResNet needs no part of ours: ``mmdet.ResNet`` with ``out_indices=(2, 3)`` has the same layers by the same names.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

from mmdet3d.registry import MODELS
from torch import nn

from tggbc_ros.core import backbones, neck
from tggbc_ros.core.config import ModelConfig, model_config
from tggbc_ros.core.head import Head
from tggbc_ros.core.shape import vovnet


def network_config(base: str, changes: dict[str, Any]) -> ModelConfig:
    """The shipped network ``base`` with some fields changed; raises ValueError naming fields that there are not."""
    known = {item.name for item in dataclasses.fields(ModelConfig)}
    unknown = sorted(set(changes) - known)
    if unknown:
        raise ValueError(
            f"no such field of a network: {', '.join(unknown)}; expected some of {', '.join(sorted(known))}"
        )
    values = {name: tuple(value) if isinstance(value, list) else value for name, value in changes.items()}
    return dataclasses.replace(model_config(base), **values)


@MODELS.register_module()
class VoVNet(backbones.VoVNet):
    """`core.backbones.VoVNet`. norm_eval: batch norms keep their statistics while training, as StreamPETR trains it."""

    def __init__(self, blocks: Sequence[int] = (1, 3, 9, 3), norm_eval: bool = True) -> None:
        super().__init__(vovnet(tuple(blocks)))
        self.norm_eval = norm_eval

    def train(self, mode: bool = True) -> VoVNet:
        """Training mode, but for batch norms that rest."""
        super().train(mode)
        for module in self.modules():
            if self.norm_eval and isinstance(module, nn.BatchNorm2d):
                module.eval()
        return self


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
