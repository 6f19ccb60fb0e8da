"""Which weights of a network may go, layer by layer, and what each layer multiplies them with.

It asks for modules, not for an architecture: convolutions, linear layers, and the three projections into an attention.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.hooks import RemovableHandle

from tggbc_ros.core.attention import Attention
from tggbc_ros.core.backbones.vit import WindowAttention
from tggbc_ros.core.gates import Gate

PROJECTIONS = ("query", "key", "value")
READ_BY_ATTENTION = ("q_proj", "v_proj")


@dataclass(frozen=True)
class Layer:
    """A matrix of weights [out, in]: a parameter, or some rows of one, its other axes flattened into the second.

    name: of the parameter, with the projection's name behind it where an attention keeps three in one. module: whose it
    is. rows: first and last but one, of the parameter's first axis. shape: of these weights as the parameter has them.
    bias: the parameter whose same rows are added; empty for none.
    """

    name: str
    module: str
    parameter: str
    rows: tuple[int, int]
    shape: tuple[int, ...]
    bias: str

    @property
    def size(self) -> int:
        """Weights."""
        return math.prod(self.shape)

    def of(self, tensors: Mapping[str, torch.Tensor]) -> torch.Tensor:
        """Its [out, in], a view, of tensors by parameter."""
        return tensors[self.parameter][self.rows[0] : self.rows[1]].flatten(1)

    def bias_of(self, tensors: Mapping[str, torch.Tensor]) -> torch.Tensor:
        """Its [out], a view."""
        return tensors[self.bias][self.rows[0] : self.rows[1]]


@dataclass(frozen=True)
class Layers:
    """What may be pruned, in order of definition, and why everything else is left alone, by parameter."""

    pruned: tuple[Layer, ...]
    left_alone: Mapping[str, str]


def find_layers(network: nn.Module) -> Layers:
    """Every convolution, linear layer and attention's projection of a network."""
    found: list[Layer] = []
    reasons: dict[str, str] = {}
    for name, module in network.named_modules():
        if isinstance(module, Gate):
            reasons |= {
                f"{name}.{key}": "decides yes or no, which has no slope" for key, _ in module.named_parameters()
            }
        if isinstance(module, WindowAttention):
            inside = (f"{name}.{each}.weight" for each in READ_BY_ATTENTION)
            reasons |= dict.fromkeys(inside, "is read by its attention, not called, so that nobody hears its inputs")
    for name, module in network.named_modules():
        candidates = [each for each in _layers_of(name, module) if each.parameter not in reasons]
        grouped = isinstance(module, nn.Conv2d) and module.groups > 1
        if grouped:
            reasons |= {each.parameter: "a convolution in groups has no one matrix" for each in candidates}
        else:
            found += candidates
    taken = {each.parameter for each in found} | reasons.keys()
    for name, parameter in network.named_parameters():
        if name not in taken:
            reasons[name] = _why_not(name, parameter)
    return Layers(tuple(found), reasons)


def _why_not(name: str, parameter: torch.Tensor) -> str:
    if parameter.ndim == 1:
        return "shifts or scales a channel: few numbers, no multiplication by a matrix"
    return "is added, not multiplied with: places, or constants along a border"


def _layers_of(name: str, module: nn.Module) -> list[Layer]:
    if isinstance(module, Attention):
        dims, parameter = module.in_proj_weight.shape[1], f"{name}.in_proj_weight"
        return [
            Layer(
                f"{parameter}.{each}",
                name,
                parameter,
                (at * dims, (at + 1) * dims),
                (dims, dims),
                f"{name}.in_proj_bias",
            )
            for at, each in enumerate(PROJECTIONS)
        ]
    if isinstance(module, nn.Conv2d | nn.Linear):
        parameter, shape = f"{name}.weight", tuple(module.weight.shape)
        bias = f"{name}.bias" if module.bias is not None else ""
        return [Layer(parameter, name, parameter, (0, shape[0]), shape, bias)]
    return []


@dataclass(frozen=True, eq=False)
class Passed:
    """One call of a layer. given: what its module was given. output: what came out; None before it has run."""

    layer: Layer
    module: nn.Module
    given: torch.Tensor
    output: torch.Tensor | None = None

    @property
    def result(self) -> torch.Tensor:
        """The output, where it has run."""
        assert self.output is not None
        return self.output

    @property
    def positions(self) -> int:
        """How often the matrix was applied."""
        return self.result.numel() // self.layer.shape[0]

    def inputs(self, places: torch.Tensor, frame: int = 0, frames: int = 1) -> torch.Tensor:
        """[n, in]: what the matrix is applied to at some of its positions of one frame, of so many in the batch."""
        if isinstance(self.module, nn.Conv2d):
            cameras = len(self.given) // frames
            return _patches(self.module, self.given[frame * cameras : (frame + 1) * cameras])[places]
        return self.given.reshape(frames, -1, self.given.shape[-1])[frame, places]

    def by_output(self, values: torch.Tensor) -> torch.Tensor:
        """[n, out]: numbers laid out as the output is, such as its gradient, in the order of `inputs`."""
        if isinstance(self.module, nn.Conv2d):
            return values.flatten(2).transpose(1, 2).reshape(-1, values.shape[1])
        if isinstance(self.module, Attention):
            return values.transpose(1, 2).flatten(-2).reshape(-1, self.layer.shape[0])
        return values.reshape(-1, values.shape[-1])


def _patches(module: nn.Conv2d, x: torch.Tensor) -> torch.Tensor:
    """[n, in * k * k] of a map [N, C, H, W]."""
    if module.kernel_size == (1, 1) and module.padding in ((0, 0), "valid"):
        x = x[..., :: module.stride[0], :: module.stride[1]]
        return x.flatten(2).transpose(1, 2).reshape(-1, x.shape[1])
    assert not isinstance(module.padding, str)
    columns = F.unfold(x, module.kernel_size, module.dilation, module.padding, module.stride)
    return columns.transpose(1, 2).reshape(-1, columns.shape[1])


See = Callable[[Passed], object]


def _ignore(_: Passed) -> None:
    """Nothing."""


@contextmanager
def tapped(network: nn.Module, layers: Sequence[Layer], after: See = _ignore, before: See = _ignore) -> Iterator[None]:
    """While it lasts, ``before`` and ``after`` hear of every call of these layers, in the order in which they run.

    ``before`` may still change the layer's weights.
    """
    by_module: dict[str, list[Layer]] = {}
    for each in layers:
        by_module.setdefault(each.module, []).append(each)
    with ExitStack() as stack:
        for name, mine in by_module.items():
            module = network.get_submodule(name)
            if isinstance(module, Attention):
                stack.enter_context(_tapped_projections(module, mine, after, before))
            else:
                for handle in _hooked(module, mine[0], after, before):
                    stack.callback(handle.remove)
        yield


def _hooked(module: nn.Module, layer: Layer, after: See, before: See) -> tuple[RemovableHandle, RemovableHandle]:
    def first(_: nn.Module, given: tuple[torch.Tensor, ...]) -> None:
        before(Passed(layer, module, given[0]))

    def then(_: nn.Module, given: tuple[torch.Tensor, ...], output: torch.Tensor) -> torch.Tensor:
        after(Passed(layer, module, given[0], output))
        return output.clone()  # what follows may write over it

    return module.register_forward_pre_hook(first), module.register_forward_hook(then)


@contextmanager
def _tapped_projections(module: Attention, layers: Sequence[Layer], after: See, before: See) -> Iterator[None]:
    original = module.project
    wanted = {each.name.rpartition(".")[2]: each for each in layers}

    def project(
        query: torch.Tensor, key: torch.Tensor, value: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        given = {name: x for name, x in zip(PROJECTIONS, (query, key, value), strict=True) if name in wanted}
        for name, x in given.items():
            before(Passed(wanted[name], module, x))
        found = original(query, key, value)
        outputs = dict(zip(PROJECTIONS, found, strict=True))
        for name, x in given.items():
            after(Passed(wanted[name], module, x, outputs[name]))
        return found

    module.project = project  # type: ignore[method-assign]
    try:
        yield
    finally:
        del module.project
