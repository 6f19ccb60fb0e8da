"""The ONNX files themselves, and that an export is whole or not there."""

from __future__ import annotations

import itertools
import sys
from pathlib import Path

import onnx
import pytest
import torch
from torch import nn

from tggbc_ros.core.checkpoint import build_network
from tggbc_ros.export.exporter import _write_graph, export
from tggbc_ros.export.graphs import make_graphs

sys.path.insert(0, str(Path(__file__).parent))

from tiny_network import TINY  # noqa: E402


def test_graphs_are_opset_18_in_float32_with_a_free_number_of_keys_and_cameras(tiny_export: Path) -> None:
    free = set()
    for path in tiny_export.glob("*.onnx"):
        model = onnx.load(path)
        assert [(entry.domain, entry.version) for entry in model.opset_import if entry.domain in ("", "ai.onnx")] == [
            ("", 18)
        ]
        for value in (*model.graph.input, *model.graph.output):
            assert value.type.tensor_type.elem_type == onnx.TensorProto.FLOAT
            free |= {size.dim_param for size in value.type.tensor_type.shape.dim} - {""}
    assert free == {"cameras", "keys"}


def test_half_precision_is_in_the_graph_and_only_in_the_encoder(tmp_path: Path) -> None:
    graphs = {graph.name: graph for graph in make_graphs(build_network(TINY, None)[0], "fp16")}
    _write_graph(graphs["encoder"], tmp_path)
    encoder = onnx.load(tmp_path / "encoder.onnx").graph
    kernels = [item for item in encoder.initializer if len(item.dims) == 4]
    assert {kernel.data_type for kernel in kernels} == {onnx.TensorProto.FLOAT16}
    assert [value.type.tensor_type.elem_type for value in (*encoder.input, *encoder.output)] == [
        onnx.TensorProto.FLOAT
    ] * 2
    heads = [graph.module for name, graph in graphs.items() if name != "encoder"]
    assert {weight.dtype for module in heads for weight in module.parameters()} == {torch.float32}


def test_norms_are_folded_in_float32_and_rounded_once() -> None:
    network, _ = build_network(TINY, None)
    pairs = list(itertools.pairwise(network.backbone.modules()))
    convolution, norm = next(pair for pair in pairs if isinstance(pair[1], nn.BatchNorm2d))
    nn.init.normal_(norm.weight, 1.0, 0.3)
    nn.init.uniform_(norm.running_var, 0.5, 2.0)
    scale = norm.weight / (norm.running_var + norm.eps).sqrt()
    expected = convolution.weight * scale[:, None, None, None]
    encoder = next(graph.module for graph in make_graphs(network, "fp16") if graph.name == "encoder")
    assert not any(isinstance(each, nn.BatchNorm2d) for each in encoder.modules())
    first = next(each for each in encoder.modules() if isinstance(each, nn.Conv2d))
    torch.testing.assert_close(first.weight.float(), expected, rtol=2.0**-11 * 1.01, atol=1e-7)


def test_nothing_is_written_over_and_nothing_half_done_is_left(tiny_export: Path, tmp_path: Path) -> None:
    with pytest.raises(FileExistsError, match="is there already"):
        export(TINY, None, tiny_export)
    with pytest.raises(ValueError, match="does not exist"):
        export(TINY, tmp_path / "none.pth", tmp_path / "onnx")
    with pytest.raises(RuntimeError, match="stopped"):
        export(TINY, None, tmp_path / "onnx", progress=stop)
    assert list(tmp_path.iterdir()) == []


def stop(message: str) -> None:
    raise RuntimeError(f"stopped while {message}")
