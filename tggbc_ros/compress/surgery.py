"""Cutting channels and blocks out of a network: the same answers as with them masked, from a smaller one.

A dropped channel's filters are emptied wherever it is made, and so is everything inside of a dropped block. Where it
leaves nothing, its norms' scales and shifts go too, and the channel is zero, which is what MDP's importance measures.
Where it leaves constants, the norms stay, and the channel is what they make of zero; that is followed through ReLU,
additions, poolings and gates to whatever reads it, and added up there.
"""

from __future__ import annotations

import copy
import dataclasses

import torch
from torch import nn

from tggbc_ros.compress import layout
from tggbc_ros.compress.cutting import (
    Cut,
    Map,
    concatenate,
    cut_shape,
    gate_of_nothing,
    of_nothing,
    take_convolution,
    take_gate,
    take_lateral,
)
from tggbc_ros.core.backbones import Backbone
from tggbc_ros.core.backbones.leftovers import BorderedConv2d, Gone
from tggbc_ros.core.backbones.resnet import BasicBlock, Bottleneck, ResNet, ShortcutAlone
from tggbc_ros.core.backbones.vovnet import ConvNorm, OSABlock
from tggbc_ros.core.model import StreamPETR
from tggbc_ros.core.shape import PRESETS, Shape


def cut_network(network: StreamPETR, cut: Cut) -> StreamPETR:
    """A smaller network that answers as `masked_network` does; the one given stays as it is.

    Raises ValueError for a cut that the backbone cannot be given, or norms that are folded away already.
    """
    backbone = network.backbone
    _expect_norms(network)
    shape = cut_shape(backbone.shape, cut)
    usual = shape == PRESETS.get(network.model.backbone)
    small = StreamPETR(dataclasses.replace(network.model, shape=None if usual else shape))
    small.to(next(network.parameters()).dtype)
    small.head.load_state_dict(network.head.state_dict())
    small.neck.output.load_state_dict(network.neck.output.state_dict())
    cutter = _ResNetCutter if isinstance(backbone, ResNet) else _VoVNetCutter
    with torch.no_grad():
        seen = cutter(backbone, small.backbone, cut).run()
        for old, new, each in zip(network.neck.lateral, small.neck.lateral, seen, strict=True):
            assert isinstance(old, nn.Conv2d) and isinstance(new, nn.Conv2d)
            take_lateral(old, new, each)
    return small.train(network.training)


def masked_network(network: StreamPETR, cut: Cut) -> StreamPETR:
    """A copy of the same size in which what the cut drops is emptied."""
    cut.check(network.backbone.shape)
    masked = copy.deepcopy(network)
    widths = layout.widths(network.backbone.shape)
    with torch.no_grad():
        for layer in layout.layers(network.backbone.shape):
            dropped = torch.ones(widths[layer.group], dtype=torch.bool)
            if layer.block not in cut.gone:
                dropped[cut.of(layer.group, widths[layer.group])] = False
            _empty(masked.backbone, layer, dropped, cut.constants)
    return masked


def _empty(backbone: nn.Module, layer: layout.Layer, dropped: torch.Tensor, leave: bool) -> None:
    convolution, norm = backbone.get_submodule(layer.name), backbone.get_submodule(layer.norm)
    assert isinstance(convolution, nn.Conv2d)
    filters = [convolution.weight]
    filters += [convolution.border] if isinstance(convolution, BorderedConv2d) else []
    if leave:
        block = backbone.get_submodule(layer.name.rpartition(".concat.")[0])
        filters += [block.ese.fc.weight] if isinstance(block, OSABlock) else []
    else:
        filters += [each for each in (convolution.bias, *norm.parameters()) if each is not None]
    for each in filters:
        each[dropped] = 0.0


def _expect_norms(network: StreamPETR) -> None:
    for layer in layout.layers(network.backbone.shape):
        norm = network.backbone.get_submodule(layer.norm)
        if not isinstance(norm, nn.BatchNorm2d):
            raise ValueError(
                f"{layer.norm} is a {type(norm).__name__}, expected a batch norm: cut before norms are folded"
            )


class _Cutter:
    """Walks through a backbone and its smaller one as an image would."""

    def __init__(self, old: Backbone, new: Backbone, cut: Cut) -> None:
        self.old, self.new, self.cut = old, new, cut
        self.shape: Shape = old.shape
        self.widths = layout.widths(self.shape)

    def kept(self, group: str) -> torch.Tensor:
        return self.cut.of(group, self.widths[group])

    def take(self, name: str, norm: str, group: str, seen: Map) -> Map:
        """One convolution and its norm, by their names; the map behind them."""
        old, new = self.old.get_submodule(name), self.new.get_submodule(name)
        assert isinstance(old, nn.Conv2d) and isinstance(new, nn.Conv2d)
        norms = self.old.get_submodule(norm), self.new.get_submodule(norm)
        return take_convolution(old, norms[0], new, norms[1], seen, self.kept(group), self.cut.constants)

    def take_gone(self, name: str, left: torch.Tensor, seen: Map) -> Map:
        """A block that is gone and only added something constant [C] to its input, if anything."""
        place = self.new.get_submodule(name)
        if isinstance(place, Gone):
            place.bias.copy_(left[seen.kept])
        return seen.plus(left).relu()


class _ResNetCutter(_Cutter):
    def run(self) -> tuple[Map, Map]:
        """Cut everything; what is known of the two maps that the neck reads."""
        stem = layout.layers(self.shape)[0]
        seen, after = self.take(stem.name, stem.norm, stem.group, Map.whole(3)).relu(), []
        for stage in layout.stages(self.shape):
            for block in layout.block_names(self.shape, stage):
                seen = self.block(block, stage, seen)
            after.append(seen)
        return after[2], after[3]

    def block(self, name: str, stage: str, seen: Map) -> Map:
        old = self.old.get_submodule(name)
        projects = isinstance(old, ShortcutAlone) or isinstance(getattr(old, "downsample", None), nn.Sequential)
        x = self.take(f"{name}.downsample.0", f"{name}.downsample.1", stage, seen) if projects else seen
        left = self.left_by(old, self.widths[stage]).to(x.constant)
        if isinstance(old, BasicBlock | Bottleneck) and name not in self.cut.gone:
            return x.plus(self.branch(name, stage, old, seen)).relu()
        if projects:
            norm = self.new.get_submodule(f"{name}.downsample.1")
            assert isinstance(norm, nn.BatchNorm2d)
            norm.bias.add_(left[x.kept])
            return x.plus(left).relu()
        return self.take_gone(name, left, x)

    def branch(self, name: str, stage: str, old: BasicBlock | Bottleneck, seen: Map) -> torch.Tensor:
        """A block's convolutions; the constants that they end in."""
        groups = (*layout.inner_groups(self.shape, name), stage)
        for index, group in enumerate(groups, start=1):
            seen = self.take(f"{name}.conv{index}", f"{name}.bn{index}", group, seen if index == 1 else seen.relu())
        return seen.constant

    def left_by(self, old: nn.Module, width: int) -> torch.Tensor:
        """[C], what a block's branch is once it is emptied."""
        if isinstance(old, Gone):
            return old.bias.detach()
        if not self.cut.constants or not isinstance(old, BasicBlock | Bottleneck):
            return torch.zeros(width)
        return of_nothing(old.bn2 if isinstance(old, BasicBlock) else old.bn3)


class _VoVNetCutter(_Cutter):
    def run(self) -> tuple[Map, Map]:
        """Cut everything; what is known of the two maps that the neck reads."""
        seen, after = Map.whole(3), []
        for unit in self.widths:
            if unit.startswith(f"{layout.STEM}."):
                seen = self.unit(unit, unit, seen)
        for stage in layout.stages(self.shape):
            for block in layout.block_names(self.shape, stage):
                seen = self.block(block, stage, seen)
            after.append(seen)
        return after[2], after[3]

    def unit(self, name: str, group: str, seen: Map) -> Map:
        assert isinstance(self.old.get_submodule(name), ConvNorm)
        return self.take(f"{name}.conv", f"{name}.norm", group, seen).relu()

    def block(self, name: str, stage: str, seen: Map) -> Map:
        old, new = self.old.get_submodule(name), self.new.get_submodule(name)
        if not isinstance(old, OSABlock) or name in self.cut.gone:
            return self.take_gone(name, self.left_by(old, self.widths[stage]).to(seen.constant), seen)
        assert isinstance(new, OSABlock)
        maps = [seen]
        for group in layout.inner_groups(self.shape, name):
            maps.append(self.unit(group, group, maps[-1]))
        y = take_gate(old.ese.fc, new.ese.fc, self.unit(f"{name}.concat", stage, concatenate(maps)))
        return y.plus(seen.constant) if old.residual else y

    def left_by(self, old: nn.Module, width: int) -> torch.Tensor:
        """[C], what a block adds once it is emptied."""
        if isinstance(old, Gone):
            return old.bias.detach()
        if not self.cut.constants or not isinstance(old, OSABlock):
            return torch.zeros(width)
        return of_nothing(old.concat.norm).clamp(min=0.0) * gate_of_nothing(old.ese.fc)
