"""Encoders and lone layers as ONNX graphs of noise for weights, in the form in which `export` writes trained ones.

torch's exporter takes ten seconds for each and NNCF some more; a clock needs neither's weights, only the same steps.
With ``quantised`` there is a quantiser wherever NNCF puts one, at steps that are made up.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from tggbc_ros.compress import layout
from tggbc_ros.compress.latency.noise import noise
from tggbc_ros.compress.latency.places import Kind, Size, places
from tggbc_ros.core.shape import ResNetShape, Shape
from tggbc_ros.export.exporter import OPSET
from tggbc_ros.export.graphs import CAMERAS

IMAGE_CHANNELS = 3
IR_VERSION = 10
READER = 16
"""Channels of what reads a lone layer."""
STEP = np.float32(1 / 32)
"""Of every quantiser of activations: any would do."""


class Graph:
    """Steps are added one after another; a map is called by a name, which every step returns."""

    def __init__(self, quantised: bool) -> None:
        self.quantised = quantised
        self._nodes: list[Any] = []
        self._constants: dict[str, Any] = {}
        self._inputs: list[Any] = []
        self._outputs: list[Any] = []

    def input(self, name: str, channels: int, size: Size) -> str:
        """Maps of any number of cameras."""
        from onnx import TensorProto, helper

        self._inputs.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, [CAMERAS, channels, *size]))
        return name

    def output(self, name: str, channels: int, size: Size) -> None:
        """Let a map be one of the answers."""
        from onnx import TensorProto, helper

        self._outputs.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, [CAMERAS, channels, *size]))

    def model(self) -> Any:
        """All that was added, a ModelProto."""
        from onnx import helper

        graph = helper.make_graph(self._nodes, "latency", self._inputs, self._outputs, list(self._constants.values()))
        opset = [helper.make_opsetid("", OPSET)]
        return helper.make_model(graph, opset_imports=opset, ir_version=IR_VERSION)

    def convolution(self, x: str, name: str, widths: tuple[int, int], kernel: int, stride: int = 1) -> str:
        """With a bias, as a folded norm leaves it. widths: (out, in)."""
        out, into = widths
        weight = self._weight(f"{name}.weight", (out, into, kernel, kernel))
        bias = self._constant(f"{name}.bias", noise((out,), 0.1))
        return self._add(
            "Conv",
            name,
            [x, weight, bias],
            kernel_shape=[kernel] * 2,
            strides=[stride] * 2,
            pads=[kernel // 2] * 4,
        )

    def relu(self, x: str, signed: bool = False) -> str:
        """Quantised behind, if anything is."""
        return self.quantise(self._add("Relu", f"{x}.relu", [x]), signed)

    def add(self, x: str, y: str) -> str:
        """Element by element."""
        return self._add("Add", f"{x}.add", [x, y])

    def pool(self, x: str, ceil: bool) -> str:
        """Largest of 3x3, stride 2; padded as ResNet does, or with an odd rest as VoVNet does."""
        pads = [0] * 4 if ceil else [1] * 4
        options = {"kernel_shape": [3, 3], "strides": [2, 2], "pads": pads, "ceil_mode": int(ceil)}
        return self._add("MaxPool", f"{x}.pool", [x], **options)

    def thin(self, x: str, stride: int) -> str:
        """Every second cell, as `ShortcutAlone.pool_first` takes it."""
        return self._add("MaxPool", f"{x}.thin", [x], kernel_shape=[1, 1], strides=[stride] * 2) if stride > 1 else x

    def concatenate(self, maps: list[str], name: str) -> str:
        """Channels one after another."""
        return self._add("Concat", name, maps, axis=1)

    def gate(self, x: str, name: str, channels: int) -> str:
        """VoVNet's effective squeeze-excitation."""
        axes = self._constant("spatial", np.array([2, 3], np.int64))
        mean = self.quantise(self._add("ReduceMean", f"{name}.mean", [x, axes], keepdims=1), signed=False)
        three, zero, six = (self._constant(key, np.float32(key[1:])) for key in ("c3", "c0", "c6"))
        raised = self._add(
            "Add", f"{name}.raised", [self.convolution(mean, f"{name}.fc", (channels, channels), 1), three]
        )
        clipped = self._add("Clip", f"{name}.clipped", [raised, zero, six])
        share = self.quantise(self._add("Div", f"{name}.share", [clipped, six]), signed=False)
        return self.quantise(self._add("Mul", f"{name}.gated", [x, share]), signed=False)

    def enlarge(self, x: str, size: Size) -> str:
        """To that size, each cell the nearest's."""
        shape = self._add("Shape", f"{x}.shape", [x], start=0, end=2)
        wanted = self._constant("size", np.array(size, np.int64))
        sizes = self._add("Concat", f"{x}.sizes", [shape, wanted], axis=0)
        options = {"mode": "nearest", "nearest_mode": "floor", "coordinate_transformation_mode": "asymmetric"}
        return self._add("Resize", f"{x}.enlarged", [x, "", "", sizes], **options)

    def quantise(self, x: str, signed: bool = True) -> str:
        """Round to eight bits and back, if anything is quantised."""
        if not self.quantised:
            return x
        step = self._constant("step", STEP)
        zero = self._constant("zero_s" if signed else "zero_u", np.zeros((), np.int8 if signed else np.uint8))
        rounded = self._add("QuantizeLinear", f"{x}.q", [x, step, zero])
        return self._add("DequantizeLinear", f"{x}.dq", [rounded, step, zero])

    def _weight(self, name: str, shape: tuple[int, ...]) -> str:
        spread = math.sqrt(2.0 / math.prod(shape[1:]))  # keeps activations about as large as they come
        if not self.quantised:
            return self._constant(name, noise(shape, spread))
        whole = self._constant(f"{name}.q", np.clip(noise(shape, 64), -127, 127).astype(np.int8))
        steps = self._constant(f"{name}.step", np.full(shape[0], spread / 64, np.float32))
        zeros = self._constant(f"{name}.zero", np.zeros(shape[0], np.int8))
        return self._add("DequantizeLinear", name, [whole, steps, zeros], axis=0)

    def _constant(self, name: str, value: npt.NDArray[Any] | np.generic) -> str:
        from onnx import numpy_helper

        if name not in self._constants:
            self._constants[name] = numpy_helper.from_array(np.asarray(value), name)
        return name

    def _add(self, kind: str, name: str, inputs: list[str], **options: Any) -> str:
        from onnx import helper

        self._nodes.append(helper.make_node(kind, inputs, [name], name=name, **options))
        return name


def encoder(shape: Shape, neck: int, image_size: Size, quantised: bool) -> Any:
    """Backbone and neck, as `export.graphs.Encoder`."""
    graph = Graph(quantised)
    images = graph.quantise(graph.input("images", 3, image_size))
    walk = _resnet if isinstance(shape, ResNetShape) else _vovnet
    c4, c5 = walk(graph, shape, images)
    found = places(shape, image_size)
    size = {layer.group: found[layer.name].kind.out_size for layer in layout.layers(shape)}[layout.out_groups(shape)[0]]
    lower, upper = shape.out_channels
    first = graph.convolution(c4, "neck.lateral.0", (neck, lower), 1)
    second = graph.convolution(c5, "neck.lateral.1", (neck, upper), 1)
    enlarged = graph.quantise(graph.enlarge(graph.quantise(second), size))
    merged = graph.quantise(graph.add(graph.quantise(first), enlarged))
    features = graph.convolution(merged, "neck.output", (neck, neck), 3)
    graph.output(features, neck, size)
    return graph.model()


def _resnet(graph: Graph, shape: Shape, images: str) -> tuple[str, str]:
    layers = {layer.name: layer for layer in layout.layers(shape)}
    widths = layout.widths(shape)

    def convolve(x: str, name: str, alone: bool = False) -> str:
        layer = layers[name]
        pair = widths[layer.group], widths[layer.reads[0]] if layer.reads else IMAGE_CHANNELS
        if alone:
            return graph.convolution(graph.thin(x, layer.stride), name, pair, layer.kernel)
        return graph.convolution(x, name, pair, layer.kernel, layer.stride)

    x, after = graph.pool(graph.relu(convolve(images, "conv1")), ceil=False), []
    for stage in layout.stages(shape):
        for block in layout.block_names(shape, stage):
            inside = [name for name in layers if name.startswith(f"{block}.conv")]
            shortcut = f"{block}.downsample.0"
            y = x
            for index, name in enumerate(inside):
                y = graph.relu(y) if index else y
                y = convolve(y, name)
            if inside:
                other = graph.quantise(convolve(x, shortcut)) if shortcut in layers else x
                x = graph.relu(graph.add(graph.quantise(y), other))
            elif shortcut in layers:
                x = graph.relu(convolve(x, shortcut, alone=True))
        after.append(x)
    return after[2], after[3]


def _vovnet(graph: Graph, shape: Shape, images: str) -> tuple[str, str]:
    layers = {layer.name: layer for layer in layout.layers(shape)}
    widths = layout.widths(shape)

    def unit(x: str, name: str) -> str:
        layer = layers[name]
        read = sum(widths[group] for group in layer.reads) if layer.reads else IMAGE_CHANNELS
        return graph.relu(graph.convolution(x, name, (widths[layer.group], read), layer.kernel, layer.stride))

    x, after = images, []
    for index in (1, 2, 3):
        x = unit(x, f"{layout.STEM}.unit{index}.conv")
    for place, stage in enumerate(layout.stages(shape)):
        x = graph.pool(x, ceil=True) if place else x
        for block in layout.block_names(shape, stage):
            chain = [name for name in layers if name.startswith(f"{block}.layers.")]
            if not chain:
                continue
            maps = [x]
            for name in chain:
                maps.append(unit(maps[-1], name))
            y = unit(graph.concatenate(maps, f"{block}.cat"), f"{block}.concat.conv")
            y = graph.gate(y, f"{block}.ese", widths[stage])
            x = graph.quantise(graph.add(y, x), signed=False) if layers[chain[0]].block else y
        after.append(x)
    return after[2], after[3]


def lone(graph: Graph, name: str, kind: Kind, widths: tuple[int, int]) -> None:
    """A convolution called ``name`` with its bias and ReLU between two maps as a network would have them.

    widths: (out, in). What reads it is a small convolution, so that an engine that computes in narrow numbers is handed
    narrow numbers. A 1x1 convolution with a stride never reads a map alone: OpenVINO would pull its stride up then.
    """
    out, into = widths
    size, out_size = (kind.height, kind.width), kind.out_size
    x = graph.quantise(graph.input(f"{name}.x", into, size), signed=into == IMAGE_CHANNELS)
    y = graph.relu(graph.convolution(x, name, widths, kind.kernel, kind.stride))
    graph.output(graph.convolution(y, f"{name}.reader", (READER, out), 1), READER, out_size)
    if kind.kernel == 1 and kind.stride > 1:
        graph.output(graph.convolution(x, f"{name}.sibling", (READER, into), 1), READER, size)
