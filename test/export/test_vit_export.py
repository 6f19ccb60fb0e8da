"""A vision transformer as ONNX: engines give the features that PyTorch gives, padded windows included."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from tggbc_ros.core import backbones
from tggbc_ros.core.backbones.vit import ViT, ViTShape
from tggbc_ros.core.checkpoint import build_network
from tggbc_ros.core.model import StreamPETR
from tggbc_ros.export.exporter import _write_graph
from tggbc_ros.export.graphs import make_graphs

sys.path.insert(0, str(Path(__file__).parent))

from tiny_network import TINY  # noqa: E402

SHAPE = ViTShape(48, 2, 4, window=3, global_window=5, global_blocks=(1,))
MODEL = replace(TINY, name="tiny_vit", backbone="tiny_vit", image_size=(64, 112))
CLOSE = 1e-5


@pytest.fixture(scope="module")
def network() -> Iterator[StreamPETR]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(backbones.BACKBONES, "tiny_vit", lambda: ViT(SHAPE))
        yield build_network(MODEL, None)[0].eval().requires_grad_(False)


@pytest.fixture(scope="module")
def encoder(network: StreamPETR, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("vit")
    graph = next(graph for graph in make_graphs(network, "fp32") if graph.name == "encoder")
    _write_graph(graph, folder)
    return folder / "encoder.onnx"


def images(cameras: int) -> torch.Tensor:
    return torch.randn(1, cameras, 3, 64, 112, generator=torch.Generator().manual_seed(cameras))


@pytest.mark.parametrize("cameras", [1, 6])
def test_onnx_runtime_gives_the_same_features(cameras: int, encoder: Path, network: StreamPETR) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    session = onnxruntime.InferenceSession(str(encoder), providers=["CPUExecutionProvider"])
    (features,) = session.run(None, {"images": images(cameras)[0].numpy()})
    assert np.abs(features - network.encode(images(cameras))[0].numpy()).max() < CLOSE


@pytest.mark.parametrize("cameras", [1, 6])
def test_openvino_gives_the_same_features(cameras: int, encoder: Path, network: StreamPETR) -> None:
    openvino = pytest.importorskip("openvino")
    compiled = openvino.Core().compile_model(str(encoder), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    features = compiled(images(cameras)[0].numpy())[0]
    assert np.abs(features - network.encode(images(cameras))[0].numpy()).max() < CLOSE


def test_in_half_precision_it_differs_by_its_bits(network: StreamPETR, tmp_path: Path) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    expected = network.encode(images(2))[0].numpy()
    half, _ = build_network(MODEL, None)
    graph = next(graph for graph in make_graphs(half, "fp16") if graph.name == "encoder")
    _write_graph(graph, tmp_path)
    session = onnxruntime.InferenceSession(str(tmp_path / "encoder.onnx"), providers=["CPUExecutionProvider"])
    (features,) = session.run(None, {"images": images(2)[0].numpy()})
    error = np.abs(features - expected).max() / np.abs(expected).max()
    assert 2.0**-11 / 10 < error < 2.0**-11 * 20


def test_gates_are_no_silent_dense_export(caplog: pytest.LogCaptureFixture) -> None:
    """They are left out in words, and what runs is the network with all of them open."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(backbones.BACKBONES, "tiny_vit", lambda: ViT(SHAPE))
        gated, _ = build_network(MODEL, None)
    pixels = images(2)
    dense = gated.encode(pixels)
    gated.backbone.add_gates([1])
    encoder = next(graph for graph in make_graphs(gated, "fp32") if graph.name == "encoder").module
    assert "gates are not exported: all tokens pass, and token_rate stays 1.0" in caplog.text
    torch.testing.assert_close(encoder(pixels[0]), dense[0], rtol=0, atol=1e-4)
