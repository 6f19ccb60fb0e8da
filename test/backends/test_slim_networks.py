"""A network that was cut, under its model's usual name: what each engine makes of its file."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from torch import nn

from tggbc_ros.backends import load_network
from tggbc_ros.compress import layout
from tggbc_ros.compress.cutting import Cut
from tggbc_ros.compress.surgery import cut_network
from tggbc_ros.core.checkpoint import build_network
from tggbc_ros.core.model import StreamPETR
from tggbc_ros.core.network_file import shape_in, write_network
from tggbc_ros.evaluation.parity import compare
from tggbc_ros.export.calibration import describe
from tggbc_ros.export.manifest import ExportError, read
from tggbc_ros.export.quantisation import quantise

sys.path.insert(0, str(Path(__file__).parents[1] / "export"))

from tiny_network import TINY, frame_at  # noqa: E402

SHALLOW = replace(TINY, num_layers=1)

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def slim() -> StreamPETR:
    """Half of the channels, some blocks less, and constants of all of them."""
    whole, _ = build_network(SHALLOW, None)
    for each in whole.eval().modules():
        if isinstance(each, nn.BatchNorm2d):
            nn.init.normal_(each.bias, 0.1, 0.3)
            nn.init.uniform_(each.running_var, 0.5, 2.0)
    with torch.no_grad():
        whole.head.cls_branch[-1].weight.mul_(4.0)  # so far apart that rounding does not reorder queries
    rng = np.random.default_rng(0)
    widths = layout.widths(whole.backbone.shape)
    kept = {group: sorted(rng.choice(width, width // 2, replace=False).tolist()) for group, width in widths.items()}
    gone = frozenset({"layer1.1", "layer2.0", "layer3.1"})
    return cut_network(whole, Cut(kept, gone, constants=True))


@pytest.fixture(scope="module")
def file(slim: StreamPETR, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("slim") / "slim.safetensors"
    write_network(slim.state_dict(), path, slim.model.shape, ({"step": "cut"},))
    return path


@pytest.fixture(scope="module")
def folder(file: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The export that an engine makes of the file when it is first given it."""
    cache = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(cache))
        assert load_network("onnxruntime", SHALLOW, file, "cpu").model == replace(
            SHALLOW, shape=shape_in(file, SHALLOW)
        )
    return next((cache / "tggbc_ros").glob("*/manifest.json")).parent


@pytest.mark.parametrize("backend", ["torch", "torch_bf16"])
def test_torch_runs_the_file(backend: str, slim: StreamPETR, file: Path) -> None:
    network = load_network(backend, SHALLOW, file, "cpu")
    assert network.model == slim.model and network.weights.startswith("slim.safetensors sha256:")
    images = torch.randn(1, 6, 3, 32, 64)
    with torch.inference_mode():
        wanted, found = slim.encode(images), network.encode(images)
    assert float((found - wanted).abs().max() / wanted.abs().max()) < (1e-5 if backend == "torch" else 5e-2)


@pytest.mark.parametrize("backend", ["onnxruntime", "openvino"])
def test_engines_run_its_export_and_answer_as_torch_does(backend: str, file: Path, folder: Path) -> None:
    reference, tested = load_network("torch", SHALLOW, file, "cpu"), load_network(backend, SHALLOW, folder, "cpu")
    assert tested.model == reference.model == read(folder).model
    images = torch.randn(1, 6, 3, 32, 64)
    wanted = reference.encode(images)
    assert float((tested.encode(images) - wanted).abs().max() / wanted.abs().max()) < 1e-5
    rows = list(compare(reference, tested, [frame_at(0)], [0.5]))
    assert rows and all(row.passed for row in rows), [row for row in rows if not row.passed]


def test_its_encoder_in_int8_is_near(file: Path, folder: Path, tmp_path: Path) -> None:
    images = [np.random.default_rng(seed).uniform(-2, 2, (6, 3, 32, 64)).astype(np.float32) for seed in range(9)]
    seen = describe(images[:8], "noise", (32, 64))
    quantise(folder / "encoder.onnx", images[:8], seen, "", tmp_path / "int8.onnx")
    session = onnxruntime.InferenceSession(str(tmp_path / "int8.onnx"), providers=["CPUExecutionProvider"])
    found = torch.from_numpy(session.run(None, {"images": images[8]})[0])
    wanted = load_network("torch", SHALLOW, file, "cpu").encode(torch.from_numpy(images[8])[None])[0]
    assert 1e-3 < float((found - wanted).norm() / wanted.norm()) < 2.0**-3


def test_no_norm_and_no_mask_is_left_in_the_graph(folder: Path) -> None:
    """What constants left is added, once for each convolution that needs it."""
    import onnx

    nodes = [node.op_type for node in onnx.load(folder / "encoder.onnx").graph.node]
    assert "BatchNormalization" not in nodes and "Mul" not in nodes


def test_an_export_of_another_model_is_still_refused(file: Path, folder: Path) -> None:
    for other in (replace(SHALLOW, name="other"), replace(SHALLOW, num_queries=17)):
        with pytest.raises(ExportError, match="is an export of model tiny_exported"):
            load_network("onnxruntime", other, folder, "cpu")
