"""Exported graphs are within what TensorRT's ONNX parser is documented to take (tensorrt_limits.py has the facts)."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from tggbc_ros.core.backbones.vovnet import VoVNet
from tggbc_ros.core.checkpoint import build_network
from tggbc_ros.core.shape import vovnet
from tggbc_ros.export.exporter import _write_graph
from tggbc_ros.export.graphs import CAMERAS, Graph, make_graphs

sys.path.insert(0, str(Path(__file__).parent))

from tensorrt_limits import RULES, TYPES, problems  # noqa: E402
from tiny_network import TINY  # noqa: E402

FLOAT, INT64 = TensorProto.FLOAT, TensorProto.INT64


def graph_of(op: str, shapes: list[list[int]], opset: int = 18, constants: tuple = (), **attributes: object):
    """A model of one node; ``constants`` are its further inputs, whose types they keep."""
    inputs = [helper.make_tensor_value_info(f"x{i}", FLOAT, shape) for i, shape in enumerate(shapes)]
    weights = [numpy_helper.from_array(np.array(value), f"c{i}") for i, value in enumerate(constants)]
    outputs = ["y", "z"] if op == "TopK" else ["y"]
    node = helper.make_node(op, [item.name for item in (*inputs, *weights)], outputs, name="node", **attributes)
    declared = [helper.make_tensor_value_info(name, FLOAT, None) for name in outputs[:1]]
    graph = helper.make_graph([node], "graph", inputs, declared, weights)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)])


class TestExport:
    def test_every_graph_is_valid_and_within_the_limits(self, tiny_export: Path) -> None:
        used = set()
        for path in sorted(tiny_export.glob("*.onnx")):
            onnx.checker.check_model(path, full_check=True)
            model = onnx.load(path)
            assert list(problems(model)) == [], path.name
            used |= {node.op_type for node in model.graph.node}
        assert {"Conv", "MatMul", "LayerNormalization", "Softmax", "Resize", "Slice"} <= used
        assert "TopK" not in used  # keys are chosen by torch, so that its limit of 3840 never meets 24000 of them

    def test_none_has_an_operator_of_a_size_known_only_from_data(self, tiny_export: Path) -> None:
        """As NonZero: TensorRT would have to allocate, and the host to wait, in the middle of a frame."""
        for path in tiny_export.glob("*.onnx"):
            graph = onnx.load(path).graph
            named = {size.dim_param for value in graph.output for size in value.type.tensor_type.shape.dim}
            known = {size.dim_param for value in graph.input for size in value.type.tensor_type.shape.dim}
            assert named <= known | {""}, path.name

    def test_every_input_is_used_and_every_output_made(self, tiny_export: Path) -> None:
        """TensorRT drops an input that nothing reads, and then refuses its address."""
        for path in tiny_export.glob("*.onnx"):
            graph = onnx.load(path).graph
            read = {name for node in graph.node for name in node.input}
            made = {name for node in graph.node for name in node.output}
            assert {value.name for value in graph.input} <= read, path.name
            assert {value.name for value in graph.output} <= made, path.name

    def test_the_encoder_in_half_precision_is_too(self, tmp_path: Path) -> None:
        graphs = {graph.name: graph for graph in make_graphs(build_network(TINY, None)[0], "fp16")}
        _write_graph(graphs["encoder"], tmp_path)
        model = onnx.load(tmp_path / "encoder.onnx")
        assert list(problems(model)) == []
        assert "Cast" in {node.op_type for node in model.graph.node}

    def test_vovnet_is_too(self, tmp_path: Path) -> None:
        """One block of each stage has every operator that the ninety-nine layers have."""
        backbone = VoVNet(vovnet((1, 1, 1, 2))).eval().requires_grad_(False)
        maps = {"c4": (CAMERAS, 768, 4, 4), "c5": (CAMERAS, 1024, 2, 2)}
        _write_graph(Graph("backbone", backbone, {"images": (CAMERAS, 3, 64, 64)}, maps), tmp_path)
        model = onnx.load(tmp_path / "backbone.onnx")
        assert list(problems(model)) == []
        assert "ReduceMean" in {node.op_type for node in model.graph.node}


class TestLimits:
    """Each of them is seen: a list that lets everything pass would prove nothing."""

    @pytest.mark.parametrize(
        ("model", "said"),
        [
            (graph_of("Mish", [[1, 2]]), "operator Mish is not on the list"),
            (graph_of("Relu", [[1, 2]], opset=8), "opset ai.onnx 8"),
            (graph_of("Relu", [[1, 2]], opset=21), "opset ai.onnx 21"),
            (graph_of("TopK", [[1, 5000]], constants=([3840],)), "TopK is not as expected: sorted, K constant"),
            (graph_of("TopK", [[1, 5000]], constants=([9],), sorted=0), "TopK is not as expected"),
            (graph_of("GridSample", [[1, 1, 2, 2, 2], [1, 2, 2, 2, 3]], opset=20), "expected: a 4-D input"),
            (graph_of("MaxPool", [[1, 1, 8, 8]], kernel_shape=[2, 2], dilations=[2, 2]), "not dilated"),
            (graph_of("MaxPool", [[1, 1, 8]], kernel_shape=[2]), "2-D or 3-D"),
            (
                graph_of(
                    "Resize",
                    [[1, 1, 4, 4]],
                    constants=(np.zeros(0, np.float32), np.float32([1, 1, 2, 2])),
                    mode="cubic",
                ),
                "mo",
            ),
            (graph_of("Sin", [[1, 2]]), ""),
            (graph_of("TopK", [[1, 5000]], constants=([3839],)), ""),
        ],
        ids=lambda given: given if isinstance(given, str) else given.graph.node[0].op_type,
    )
    def test_what_is_outside_is_named(self, model: onnx.ModelProto, said: str) -> None:
        found = list(problems(model))
        assert (found == []) if not said else (len(found) == 1 and said in found[0])

    def test_axes_known_only_at_run_time(self) -> None:
        for op, position in (("Unsqueeze", 1), ("ReduceMean", 1)):
            inputs = [helper.make_tensor_value_info("x", FLOAT, [2, 3])]
            inputs += [helper.make_tensor_value_info("axes", INT64, [1])]
            node = helper.make_node(op, ["x", "axes"], ["y"], name="node")
            graph = helper.make_graph([node], "graph", inputs, [helper.make_tensor_value_info("y", FLOAT, None)])
            model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)])
            assert list(problems(model)) == [f"node: {op} is not as expected: constant axes"], position

    def test_double_precision(self) -> None:
        """TensorRT would cast it down."""
        inputs = [helper.make_tensor_value_info("x", TensorProto.DOUBLE, [2])]
        outputs = [helper.make_tensor_value_info("y", TensorProto.DOUBLE, [2])]
        graph = helper.make_graph([helper.make_node("Sin", ["x"], ["y"], name="node")], "graph", inputs, outputs)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)])
        assert list(problems(model)) == ["node: Sin of TensorProto.DOUBLE"] * 2

    def test_every_restriction_is_of_an_operator_on_the_list(self) -> None:
        assert set(RULES) <= set(TYPES)
