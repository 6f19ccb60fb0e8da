"""What stays of a network that is cut, and one convolution at a time: kept channels copied, constants added up.

`Map` is what is known of a feature map on its way: which of its channels are kept, and what the others are.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import torch
import torch.nn.functional as F
from torch import nn

from tggbc_ros.compress import layout
from tggbc_ros.core.backbones.leftovers import BorderedConv2d
from tggbc_ros.core.shape import Block, ResNetShape, Shape, Stage


@dataclass(frozen=True)
class Cut:
    """What goes and what stays.

    kept: group (compress/layout.py) -> its channels that stay, ascending; groups that are not named stay whole.
    gone: blocks that go. constants: whether what is dropped leaves behind what its norms make of zero, for which
    3x3 convolutions then need a border; else it is zero, which costs nothing.
    """

    kept: Mapping[str, Sequence[int]] = field(default_factory=dict)
    gone: frozenset[str] = frozenset()
    constants: bool = False

    def check(self, shape: Shape) -> None:
        """Raise ValueError naming what a backbone of that shape does not have, or cannot be without."""
        widths, blocks = layout.widths(shape), layout.droppable(shape)
        for name, known in (("group", self.kept.keys() - widths.keys()), ("block", self.gone - set(blocks))):
            if known:
                raise ValueError(f"{name} {sorted(known)[0]!r} is not one that can be cut from this backbone")
        for group, channels in self.kept.items():
            rising = all(one < other for one, other in zip(channels, channels[1:], strict=False))
            if not channels or not rising or channels[0] < 0 or channels[-1] >= widths[group]:
                raise ValueError(
                    f"kept channels of {group} are {_short(channels)}, expected one or more of 0 to "
                    f"{widths[group] - 1}, ascending"
                )
        if getattr(shape, "constants", False) and not self.constants:
            raise ValueError("constants is False, but the network holds constants of an earlier cut: expected True")

    def of(self, group: str, width: int) -> torch.Tensor:
        """The group's kept channels."""
        return torch.tensor(self.kept.get(group, range(width)), dtype=torch.int64)


def cut_shape(shape: Shape, cut: Cut) -> Shape:
    """What a backbone of that shape looks like after the cut; raises as `Cut.check`."""
    cut.check(shape)
    left = {group: len(cut.of(group, width)) for group, width in layout.widths(shape).items()}

    def block(name: str, inner: Block) -> Block:
        if inner is None or name in cut.gone:
            return None
        return tuple(left[group] for group in layout.inner_groups(shape, name))

    stages = tuple(
        Stage(left[name], tuple(map(block, layout.block_names(shape, name), stage.blocks)))
        for name, stage in layout.stages(shape).items()
    )
    constants = shape.constants or cut.constants
    if isinstance(shape, ResNetShape):
        return replace(shape, stem=left.get(layout.STEM, left["layer1"]), stages=stages, constants=constants)
    stem = tuple(left[f"{layout.STEM}.unit{index}"] for index in (1, 2, 3))
    return replace(shape, stem=stem, stages=stages, constants=constants)


@dataclass(frozen=True, eq=False)
class Map:
    """A feature map in the network before the cut. kept: its channels that stay; constant: [C], what the others are."""

    kept: torch.Tensor
    constant: torch.Tensor

    @classmethod
    def whole(cls, channels: int) -> Map:
        """One that nothing was cut from."""
        return cls(torch.arange(channels), torch.zeros(channels))

    def dropped(self) -> torch.Tensor:
        """[C], the constants, and zero where a channel stays."""
        constant = self.constant.clone()
        constant[self.kept] = 0.0
        return constant

    def relu(self) -> Map:
        """Behind a ReLU."""
        return replace(self, constant=self.constant.clamp(min=0.0))

    def plus(self, constant: torch.Tensor) -> Map:
        """With something constant [C] added."""
        return replace(self, constant=self.constant + constant)


def concatenate(maps: Sequence[Map]) -> Map:
    """Maps one after another."""
    starts = [0]
    for each in maps:
        starts.append(starts[-1] + len(each.constant))
    kept = torch.cat([each.kept + start for each, start in zip(maps, starts, strict=False)])
    return Map(kept, torch.cat([each.constant for each in maps]))


def take_norm(old: nn.BatchNorm2d, new: nn.BatchNorm2d, kept: torch.Tensor) -> None:
    """Copy what a norm knows of the channels that stay."""
    state = {name: value[kept] if value.dim() else value for name, value in old.state_dict().items()}
    new.load_state_dict(state)


def of_nothing(norm: nn.BatchNorm2d) -> torch.Tensor:
    """[C], what a norm makes of an emptied convolution's zeros."""
    assert norm.running_mean is not None and norm.running_var is not None
    return norm.bias.detach() - norm.weight.detach() * norm.running_mean * torch.rsqrt(norm.running_var + norm.eps)


def take_convolution(
    old: nn.Conv2d, old_norm: nn.Module, new: nn.Conv2d, new_norm: nn.Module, seen: Map, kept: torch.Tensor, leave: bool
) -> Map:
    """Copy what stays of a convolution and its norm; what was dropped from its input goes into border or norm.

    leave: whether its own dropped channels leave a constant. Returns the map behind the norm.
    """
    assert isinstance(old_norm, nn.BatchNorm2d) and isinstance(new_norm, nn.BatchNorm2d)
    take_norm(old_norm, new_norm, kept)
    rows = old.weight.detach()[kept]
    new.weight.data.copy_(rows[:, seen.kept])
    left = torch.einsum("oihw,i->ohw", rows, seen.dropped().to(rows))
    if isinstance(old, BorderedConv2d):
        left = left + old.border.detach()[kept, 0]
    if isinstance(new, BorderedConv2d):
        new.border.data.copy_(left[:, None])
    else:
        assert new.kernel_size == (1, 1) or not left.any(), "a border where there is none"
        assert new_norm.running_mean is not None
        new_norm.running_mean -= left.sum(dim=(1, 2))
    constant = of_nothing(old_norm) if leave else torch.zeros(len(old.weight)).to(rows)
    return Map(kept, constant)


def take_gate(old: nn.Conv2d, new: nn.Conv2d, seen: Map) -> Map:
    """Copy what stays of a squeeze-excitation's layer; returns the map behind its gate."""
    assert old.bias is not None and new.bias is not None
    weight, bias = old.weight.detach()[:, :, 0, 0], old.bias.detach()
    new.weight.data.copy_(weight[seen.kept][:, seen.kept, None, None])
    new.bias.data.copy_(bias[seen.kept] + weight[seen.kept] @ seen.dropped().to(weight))
    return replace(seen, constant=seen.constant * gate_of_nothing(old))


def gate_of_nothing(layer: nn.Conv2d) -> torch.Tensor:
    """[C], what an emptied squeeze-excitation multiplies by."""
    assert layer.bias is not None
    return F.relu6(layer.bias.detach() + 3.0) / 6.0


def take_lateral(old: nn.Conv2d, new: nn.Conv2d, seen: Map) -> None:
    """Copy what stays of a convolution that is 1x1 and has a bias."""
    assert old.bias is not None and new.bias is not None
    weight = old.weight.detach()
    new.weight.data.copy_(weight[:, seen.kept])
    new.bias.data.copy_(old.bias.detach() + weight[:, :, 0, 0] @ seen.dropped().to(weight))


def _short(channels: Sequence[int]) -> str:
    listed = ", ".join(map(str, channels[:8]))
    return f"{listed}, ..." if len(channels) > 8 else listed or "none"
