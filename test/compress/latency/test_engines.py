"""Real engines on a tiny backbone: they answer, and the graphs that are timed are those that are exported."""

from __future__ import annotations

import dataclasses
import importlib.util
from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

from tggbc_ros.compress.latency.engines import ENGINES, Lone, open_engine
from tggbc_ros.compress.latency.onnx_graph import encoder
from tggbc_ros.compress.latency.places import Kind
from tggbc_ros.core.config import DEMO, VOV_800
from tggbc_ros.core.model import StreamPETR
from tggbc_ros.core.shape import ResNetShape, Stage, VoVNetShape
from tggbc_ros.export.exporter import OPSET
from tggbc_ros.export.graphs import Encoder

BOTTLENECK = ResNetShape(
    "bottleneck",
    8,
    (Stage(16, ((8, 8), None)), Stage(16, (None, (8, 4))), Stage(24, ((8, 8),)), Stage(32, ((8, 8), (4, 8)))),
)
VOVNET = VoVNetShape((8, 8, 16), (Stage(16, ((8, 8),)), Stage(16, ((8, 8), None, (8, 8))), *(Stage(16, ((8,),)),) * 2))
RESNET_MODEL = dataclasses.replace(DEMO, image_size=(64, 96), embed_dims=16, backbone="resnet50", shape=BOTTLENECK)
VOVNET_MODEL = dataclasses.replace(VOV_800, image_size=(64, 96), embed_dims=16, shape=VOVNET)
MODELS = {"resnet": RESNET_MODEL, "vovnet": VOVNET_MODEL}


@pytest.mark.parametrize("name", [name for name in ENGINES if name not in ("torch_fp16", "openvino_bf16")])
def test_an_engine_times_layers_and_whole_encoders(name):
    if name.startswith(("openvino", "onnx")):
        pytest.importorskip(name.partition("_")[0])
    engine = open_engine(name, RESNET_MODEL, 2, "cpu")
    sheet = [Lone(Kind(3, 1, 16, 24), 8, 8), Lone(Kind(1, 2, 16, 24), 16, 8), Lone(Kind(7, 2, 64, 96), 8, 3)]
    times = engine.times_us(sheet, 2)
    assert len(times) == 3 and all(0.0 < us < 1e6 for us in times)
    engine.encoder(BOTTLENECK)()


def test_an_engine_that_is_none_is_named():
    with pytest.raises(ValueError, match="engine is 'abacus', expected one of torch"):
        open_engine("abacus", RESNET_MODEL, 2)


@pytest.mark.parametrize("family", list(MODELS))
def test_the_graph_that_is_timed_is_the_one_that_is_exported(family, tmp_path: Path):
    model = MODELS[family]
    assert model.shape is not None
    made = encoder(model.shape, model.embed_dims, model.image_size, False)
    onnx.checker.check_model(made, full_check=True)
    assert _steps(made) == _steps(_exported(model, tmp_path))


@pytest.mark.parametrize("family", list(MODELS))
def test_its_quantisers_are_where_nncf_puts_them(family):
    if importlib.util.find_spec("nncf") is None:
        pytest.skip("NNCF is not installed")
    import nncf

    model = MODELS[family]
    assert model.shape is not None
    plain, made = (encoder(model.shape, model.embed_dims, model.image_size, flag) for flag in (False, True))
    images = [np.random.default_rng(0).standard_normal((2, 3, *model.image_size), np.float32)]
    quantised = nncf.quantize(
        plain,
        nncf.Dataset(images, lambda each: {"images": each}),
        subset_size=1,
        preset=nncf.QuantizationPreset.PERFORMANCE,
        advanced_parameters=nncf.AdvancedQuantizationParameters(disable_bias_correction=True),
    )
    assert _steps(made) == _steps(quantised)
    assert _rounded(made) == _rounded(quantised)


def _exported(model, folder: Path) -> onnx.ModelProto:
    """As `export` writes it."""
    torch.manual_seed(0)
    network = StreamPETR(model).eval()
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.normal_(module.bias)
    path = folder / "encoder.onnx"
    torch.onnx.export(
        Encoder(network, "fp32").eval().requires_grad_(False),
        (torch.zeros(2, 3, *model.image_size),),
        path,
        input_names=["images"],
        opset_version=OPSET,
        dynamo=True,
        external_data=False,
        verbose=False,
        dynamic_shapes=({0: "cameras"},),
    )
    return onnx.load(path)


def _steps(model: onnx.ModelProto) -> Counter[str]:
    """How many of each kind, those that only count sizes left out."""
    kinds = Counter(node.op_type for node in model.graph.node)
    for kind in ("Constant", "Shape", "Slice", "Gather", "Unsqueeze"):
        kinds.pop(kind, None)
    return kinds


def _rounded(model: onnx.ModelProto) -> Counter[str]:
    """What the quantisers of activations stand behind."""
    makers = {output: node.op_type for node in model.graph.node for output in node.output}
    return Counter(makers.get(node.input[0], "images") for node in model.graph.node if node.op_type == "QuantizeLinear")
