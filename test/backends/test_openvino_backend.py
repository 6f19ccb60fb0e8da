"""OpenVINO: what is its own; test_exported.py has what holds for every engine."""

from __future__ import annotations

import copy
import sys
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch

from tggbc_ros.backends import load_network, openvino_backend
from tggbc_ros.backends.exported import ExportedNetwork, Run, _run_layer
from tggbc_ros.backends.gauge import EVERY
from tggbc_ros.backends.torch_backend import TorchNetwork
from tggbc_ros.core.config import MODELS
from tggbc_ros.core.detector import Calibrated
from tggbc_ros.evaluation.parity import compare, keep_ratios
from tggbc_ros.export.manifest import ExportError, read

sys.path.insert(0, str(Path(__file__).parents[1] / "export"))

from tiny_network import TINY, frame_at  # noqa: E402

pytestmark = pytest.mark.usefixtures("one_thread")


class Core:
    """A CPU without bfloat16."""

    def get_property(self, device: str, name: str) -> list[str]:
        assert (device, name) == ("CPU", "OPTIMIZATION_CAPABILITIES")
        return ["FP32", "INT8"]


def needs_bfloat16() -> None:
    import openvino

    if "BF16" not in openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        pytest.skip("this CPU does not compute in bfloat16")


def test_an_encoder_in_bfloat16_is_near_and_the_head_is_not_touched(tiny_export: Path) -> None:
    needs_bfloat16()
    network = load_network("openvino_bf16", TINY, tiny_export, "cpu")
    reference = TorchNetwork.load(TINY, tiny_export.with_name("tiny.pth"), "cpu")
    assert isinstance(network, ExportedNetwork) and network.precision == "bf16"
    images = torch.rand(1, 6, 3, 32, 64)
    exact, found = reference.encode(images), network.encode(images)
    error = float((found - exact).norm() / exact.norm())
    assert 1e-4 < error < 2e-2  # eight bits of each feature, not twenty-four
    asked = torch.randn(1, TINY.total_queries, TINY.embed_dims), torch.rand(1, TINY.total_queries, 3)
    in_float32 = load_network("openvino", TINY, tiny_export, "cpu")
    assert isinstance(in_float32, ExportedNetwork)
    for mine, others in zip(network.graphs["branches"](*asked), in_float32.graphs["branches"](*asked), strict=True):
        assert torch.equal(mine, others)


def worst(network: ExportedNetwork, reference: TorchNetwork) -> tuple[dict[str, float], set[str]]:
    """The largest error of each output over eight frames with memory and two keep ratios, and what fails."""
    rows = list(compare(reference, network, map(frame_at, range(8)), keep_ratios((1.0, 0.3), 8), network.precision))
    errors = {row.output: max(each.max_abs_error for each in rows if each.output == row.output) for row in rows}
    return errors, {row.output for row in rows if not row.passed}


def test_boxes_of_an_encoder_in_bfloat16(tiny_export: Path) -> None:
    """The encoder is off by what its bits allow, the rest by float32's rounding; neither may be anyone else's."""
    needs_bfloat16()
    network = load_network("openvino_bf16", TINY, tiny_export, "cpu")
    assert isinstance(network, ExportedNetwork)
    reference = TorchNetwork.load(TINY, tiny_export.with_name("tiny.pth"), "cpu")
    errors, failing = worst(network, reference)
    assert failing == set()
    assert 2.0**-8 / 4 < errors["features"] < 2.0**-8 * 4
    assert 0 < errors["logits"] < 1e-4 and errors["kept_keys"] == 0
    assert errors["boxes_center_m"] < 1e-3 and errors["boxes_score"] < 1e-4
    encode = network.graphs["encoder"]
    mixed = {"encoder": lambda images: (encode(images)[0].roll(1, dims=1),)}
    assert {"features", "channels"} <= worst(with_graphs(network, mixed), reference)[1]
    exchanged = {"layer0": network.graphs["layer1"], "layer1": network.graphs["layer0"]}
    failing = worst(with_graphs(network, exchanged), reference)[1]
    assert {"logits", "codes", "embedding", "boxes_score"} <= failing and "features" not in failing


def with_graphs(network: ExportedNetwork, others: dict[str, Run]) -> ExportedNetwork:
    """The network with some of its graphs replaced."""
    made = copy.copy(network)
    made.graphs = {**network.graphs, **others}
    made._layers = [partial(_run_layer, made.graphs[f"layer{index}"]) for index in range(network.model.num_layers)]
    return made


def test_nan_is_refused_because_the_library_would_swallow_it(tiny_export: Path) -> None:
    network = load_network("openvino", TINY, tiny_export, "cpu")
    for poison in (torch.nan, torch.inf):
        images = torch.zeros(1, 6, 3, 32, 64)
        images[0, 2, 1, 5, 7] = poison
        with pytest.raises(FloatingPointError, match="^input images of graph encoder holds NaN or infinity$"):
            network.encode(images)


def test_a_cpu_without_bfloat16_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    import openvino

    monkeypatch.setattr(openvino, "Core", Core)
    with pytest.raises(ValueError, match=r"^backend openvino_bf16 needs a CPU that computes in bfloat16.*FP32, INT8"):
        load_network("openvino_bf16", TINY, None, "cpu", allow_random_weights=True)


@pytest.mark.parametrize("name", ["demo_vit", "vit_l_800"])
def test_bfloat16_of_a_vision_transformer_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match=f"openvino_bf16 does not run {name}: .*; openvino, or torch_bf16, does"):
        openvino_backend.load(MODELS[name], None, "cpu", "bf16")


def test_an_encoder_in_int8_is_near_and_the_head_is_not_touched(tiny_export: Path, tiny_int8_export: Path) -> None:
    network = load_network("openvino_int8", TINY, tiny_int8_export, "cpu")
    reference = TorchNetwork.load(TINY, tiny_export.with_name("tiny.pth"), "cpu")
    assert isinstance(network, ExportedNetwork) and network.precision == "int8"
    errors, failing = worst(network, reference)
    assert failing == set()
    assert 2.0**-8 < errors["features"] < 2.0**-3
    assert 0 < errors["logits"] < 1e-4 and errors["kept_keys"] == 0
    encode = network.graphs["encoder"]
    mixed = {"encoder": lambda images: (encode(images)[0].roll(1, dims=1),)}
    assert {"features", "channels"} <= worst(with_graphs(network, mixed), reference)[1]
    clipped = {"encoder": lambda images: (encode(images.clamp(-1, 1))[0],)}
    assert "features" in worst(with_graphs(network, clipped), reference)[1]


def test_what_is_unlike_the_calibration_is_seen(tiny_int8_export: Path) -> None:
    network = load_network("openvino_int8", TINY, tiny_int8_export, "cpu")
    assert isinstance(network, Calibrated) and network.beyond_calibration is None
    images = torch.rand(1, 6, 3, 32, 64) * 4 - 2
    network.encode(images)
    usual = network.beyond_calibration
    for _ in range(EVERY):
        network.encode(images * 3)
    strange = network.beyond_calibration
    assert usual is not None and strange is not None and usual < 0.01 < 0.05 < strange
    as_it_is = load_network("openvino", TINY, tiny_int8_export, "cpu")
    assert as_it_is.precision == "int8"  # only what is asked for by name must be it


def test_int8_needs_an_export_that_was_calibrated(tiny_export: Path, tiny_int8_export: Path) -> None:
    with pytest.raises(ExportError, match="has an encoder in fp32, expected int8: .* --precision int8"):
        load_network("openvino_int8", TINY, tiny_export, "cpu")
    with pytest.raises(ExportError, match="has an encoder in int8, expected fp32"):
        load_network("openvino_bf16", TINY, tiny_int8_export, "cpu")
    with pytest.raises(
        ExportError, match=r"has to be calibrated on images, and \S+tiny.pth has none: .*--calibrate-bag"
    ):
        load_network("openvino_int8", TINY, tiny_export.with_name("tiny.pth"), "cpu")


def test_a_cpu_without_dot_products_is_told_so(
    tiny_int8_export: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(openvino_backend, "dot_products", lambda: set())
    load_network("openvino_int8", TINY, tiny_int8_export, "cpu")
    assert "no instruction for dot products of eight bits" in caplog.text
    caplog.clear()
    monkeypatch.setattr(openvino_backend, "dot_products", lambda: {"avx_vnni"})
    load_network("openvino_int8", TINY, tiny_int8_export, "cpu")
    assert caplog.text == ""


def test_it_runs_on_the_cpu_alone() -> None:
    with pytest.raises(ValueError, match=r"^backend openvino runs on the CPU alone, and device is 'cuda:0': set"):
        load_network("openvino", TINY, None, "cuda:0", allow_random_weights=True)


def test_without_the_library_one_line_says_how_to_get_it(tiny_export: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "openvino", None)
    with pytest.raises(ImportError, match="^backend openvino needs the Python package openvino: .*pip install"):
        load_network("openvino", TINY, tiny_export, "cpu")


def test_what_the_library_cannot_load_is_named_with_its_reason(tiny_export: Path, tmp_path: Path) -> None:
    """A graph whose hash is right, but which this openvino does not know."""
    path = tmp_path / "encoder.onnx"
    path.write_bytes(b"not a graph")
    file = read(tiny_export).graphs["encoder"]
    core: Any = openvino_backend.open_core("cpu", "")
    with pytest.raises(ExportError, match=r"^openvino 20\S+ cannot load \S+encoder.onnx: .+$"):
        openvino_backend.Session(core, path, "encoder", file, "f32")
