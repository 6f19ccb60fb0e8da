"""What TensorRT's ONNX parser is documented to take, of the operators that a network of ours may come to.

Facts of docs/operators.md in github.com/onnx/onnx-tensorrt at its tag release/10.1-GA, which tells of TensorRT 10.0,
the oldest that the backend runs on: opsets 9 to 20. For TensorRT 11 NVIDIA's "ONNX Opset Guide" says 9 to 25, and
points to the same list. A graph must be within them; that TensorRT builds it is known only once it did.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import onnx
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

OPSETS = range(9, 21)
TOPK_LIMIT = 3840

FLOATS = frozenset({TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.BFLOAT16})
NUMBERS = FLOATS | {TensorProto.INT32, TensorProto.INT64}
ALL = NUMBERS | {TensorProto.BOOL}
IN_AND_OUT = ALL | {TensorProto.UINT8}

TYPES = {
    **dict.fromkeys(("Add", "Div", "Max", "Min", "Mul", "Neg", "ReduceMax", "ReduceMean", "Relu", "Sub"), NUMBERS),
    **dict.fromkeys(("ScatterND", "TopK"), NUMBERS),
    **dict.fromkeys(("AveragePool", "BatchNormalization", "Clip", "Conv", "Cos", "Erf", "Exp", "Gemm"), FLOATS),
    **dict.fromkeys(("GlobalAveragePool", "HardSigmoid", "LayerNormalization", "Log", "MatMul", "MaxPool"), FLOATS),
    **dict.fromkeys(("Pow", "Resize", "Sigmoid", "Sin", "Softmax", "Sqrt"), FLOATS),
    **dict.fromkeys(("Concat", "Constant", "ConstantOfShape", "Expand", "Gather", "GatherND", "Identity"), ALL),
    **dict.fromkeys(("Reshape", "Shape", "Slice", "Split", "Squeeze", "Tile", "Transpose", "Unsqueeze", "Where"), ALL),
    "Cast": IN_AND_OUT,
    "DequantizeLinear": frozenset({TensorProto.INT8, TensorProto.FLOAT, TensorProto.FLOAT16}),
    "QuantizeLinear": frozenset({TensorProto.INT8, TensorProto.FLOAT, TensorProto.FLOAT16}),
    "GridSample": frozenset({TensorProto.FLOAT, TensorProto.FLOAT16}),
}
"""Operator -> element types of its data."""


@dataclass(frozen=True)
class Facts:
    """What is known of a graph before it runs: constants by name, element types and ranks of all tensors."""

    constants: dict[str, onnx.TensorProto]
    types: dict[str, int]
    ranks: dict[str, int]
    attributes: dict[str, object] = field(default_factory=dict)


Rule = Callable[[NodeProto, Facts], bool]


def constant_input(position: int) -> Rule:
    """The input of that position, where there is one, must be a constant."""

    def holds(node: NodeProto, facts: Facts) -> bool:
        given = node.input[position] if len(node.input) > position else ""
        return not given or given in facts.constants

    return holds


def one_output(node: NodeProto, facts: Facts) -> bool:
    return not any(node.output[1:])


def pools_maps(node: NodeProto, facts: Facts) -> bool:
    return facts.ranks.get(node.input[0]) in (4, 5) and set(attribute(node, "dilations", [1])) == {1}


def resizes_as_known(node: NodeProto, facts: Facts) -> bool:
    transformations = {"half_pixel", "pytorch_half_pixel", "tf_half_pixel_for_nn", "asymmetric", "align_corners"}
    rounding = {"floor", "ceil", "round_prefer_floor", "round_prefer_ceil"}
    return (
        attribute(node, "coordinate_transformation_mode", b"half_pixel").decode() in transformations
        and attribute(node, "mode", b"nearest") in (b"nearest", b"linear")
        and attribute(node, "nearest_mode", b"round_prefer_floor").decode() in rounding
        and attribute(node, "keep_aspect_ratio_policy", b"stretch") == b"stretch"
        and attribute(node, "antialias", 0) == 0
        and attribute(node, "axes", None) is None
    )


def few_and_sorted(node: NodeProto, facts: Facts) -> bool:
    """A K that is known only at run time may be any: not to be relied on."""
    if node.input[1] not in facts.constants or attribute(node, "sorted", 1) != 1:
        return False
    return int(numpy_helper.to_array(facts.constants[node.input[1]]).item()) < TOPK_LIMIT


def is_symmetric(node: NodeProto, facts: Facts) -> bool:
    """Steps and zero point known before it runs, all steps above 0, every zero point a signed 0."""
    step, zero = (facts.constants.get(name) for name in node.input[1:3])
    if step is None or zero is None or zero.data_type != TensorProto.INT8:
        return False
    return not numpy_helper.to_array(zero).any() and bool((numpy_helper.to_array(step) > 0).all())


RULES: dict[str, tuple[str, Rule]] = {
    "AveragePool": ("2-D or 3-D, not dilated", pools_maps),
    "DequantizeLinear": ("constant steps, a signed zero point of 0", is_symmetric),
    "QuantizeLinear": ("constant steps, a signed zero point of 0", is_symmetric),
    "GridSample": ("a 4-D input", lambda node, facts: facts.ranks.get(node.input[0]) == 4),
    "LayerNormalization": ("one output", one_output),
    "MaxPool": ("2-D or 3-D, not dilated, no indices", lambda *given: one_output(*given) and pools_maps(*given)),
    "ReduceMax": ("constant axes", constant_input(1)),
    "ReduceMean": ("constant axes", constant_input(1)),
    "Resize": ("modes of the list, no antialias, no axes", resizes_as_known),
    "ScatterND": ("no reduction", lambda node, facts: attribute(node, "reduction", b"none") == b"none"),
    "Slice": ("constant axes", constant_input(3)),
    "Squeeze": ("constant axes", constant_input(1)),
    "TopK": (f"sorted, K constant and below {TOPK_LIMIT}", few_and_sorted),
    "Unsqueeze": ("constant axes", constant_input(1)),
}
"""Operator -> what it is restricted to."""


def problems(model: ModelProto) -> Iterator[str]:
    """All that is outside of TensorRT's documented limits; nothing where the graph is within."""
    for entry in model.opset_import:
        if entry.domain not in ("", "ai.onnx") or entry.version not in OPSETS:
            yield f"opset {entry.domain or 'ai.onnx'} {entry.version}"
    if model.functions:
        yield f"{len(model.functions)} functions of its own"
    facts = learn(model)
    for node in model.graph.node:
        yield from node_problems(node, facts)


def node_problems(node: NodeProto, facts: Facts) -> Iterator[str]:
    if node.op_type not in TYPES or node.domain not in ("", "ai.onnx"):
        yield f"{node.name}: operator {node.domain}{node.op_type} is not on the list"
        return
    for name in (*node.input[:1], *node.output[:1]):
        if name and facts.types[name] not in TYPES[node.op_type]:
            yield f"{node.name}: {node.op_type} of {helper.tensor_dtype_to_string(facts.types[name])}"
    expected, rule = RULES.get(node.op_type, ("", None))
    if rule and not rule(node, facts):
        yield f"{node.name}: {node.op_type} is not as expected: {expected}"


def learn(model: ModelProto) -> Facts:
    """By shape inference, and from what constants there are."""
    graph = onnx.shape_inference.infer_shapes(model, strict_mode=True).graph
    constants = {tensor.name: tensor for tensor in graph.initializer}
    constants |= {node.output[0]: attribute(node, "value", None) for node in graph.node if node.op_type == "Constant"}
    types = {name: tensor.data_type for name, tensor in constants.items()}
    ranks = {name: len(tensor.dims) for name, tensor in constants.items()}
    for value in (*graph.input, *graph.value_info, *graph.output):
        types[value.name] = value.type.tensor_type.elem_type
        ranks[value.name] = len(value.type.tensor_type.shape.dim)
    return Facts(constants, types, ranks)


def attribute(node: NodeProto, name: str, default: object) -> object:
    found = [helper.get_attribute_value(item) for item in node.attribute if item.name == name]
    return found[0] if found else default
