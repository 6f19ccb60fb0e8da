"""ONNX Runtime: what is its own; test_exported.py has what holds for every engine."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch

from tggbc_ros.backends import load_network, onnxruntime_backend
from tggbc_ros.backends.exported import ExportedNetwork
from tggbc_ros.core.config import DEMO
from tggbc_ros.export.manifest import ExportError, read

sys.path.insert(0, str(Path(__file__).parents[1] / "export"))

from tiny_network import TINY  # noqa: E402

pytestmark = pytest.mark.usefixtures("one_thread")


def test_nan_in_an_image_shows_in_that_camera_alone(tiny_export: Path) -> None:
    images = torch.zeros(1, 6, 3, 32, 64)
    images[0, 2, 1, 5, 7] = torch.nan
    poisoned = load_network("onnxruntime", TINY, tiny_export, "cpu").encode(images).isnan().flatten(2).any(dim=-1)
    assert poisoned.tolist() == [[False, False, True, False, False, False]]


def test_graphs_compute_in_one_pool_of_memory_on_threads_that_do_not_spin(tiny_export: Path) -> None:
    """Pools of their own would each hold on to as much as one layer's attention to all keys takes."""
    network = load_network("onnxruntime", TINY, tiny_export, "cpu")
    assert isinstance(network, ExportedNetwork)
    for session in network.graphs.values():
        assert isinstance(session, onnxruntime_backend.Session)
        options = session._session.get_session_options()
        assert options.get_session_config_entry("session.use_env_allocators") == "1"
        assert options.get_session_config_entry("session.intra_op.allow_spinning") == "0"
        assert options.intra_op_num_threads == 1


def test_what_the_library_cannot_load_is_named_with_its_reason(tiny_export: Path, tmp_path: Path) -> None:
    """A graph whose hash is right, but which this onnxruntime does not know."""
    path = tmp_path / "encoder.onnx"
    path.write_bytes(b"not a graph")
    file = read(tiny_export).graphs["encoder"]
    with pytest.raises(ExportError, match=r"^onnxruntime [\d.]+ cannot load .*encoder.onnx: .+$"):
        onnxruntime_backend.Session(path, "encoder", file, torch.device("cpu"), [("CPUExecutionProvider", {})])


def test_without_the_library_one_line_says_how_to_get_it(tiny_export: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(ImportError, match="^backend onnxruntime needs the Python package onnxruntime: .*pip install"):
        load_network("onnxruntime", TINY, tiny_export, "cpu")


def test_a_provider_that_is_not_there_is_named_and_not_replaced() -> None:
    with pytest.raises(ValueError, match="onnxruntime_tensorrt needs a CUDA device, and device is cpu"):
        load_network("onnxruntime_tensorrt", DEMO, None, "cpu")
    with pytest.raises(ValueError, match=r"has no CUDAExecutionProvider, only .*pip install onnxruntime-gpu"):
        onnxruntime_backend.find_providers(torch.device("cuda"), tensorrt=False)


def test_one_tensorrt_engine_serves_every_number_of_keys(tiny_export: Path) -> None:
    graphs = read(tiny_export).graphs
    layer = onnxruntime_backend.shape_profile(TINY, graphs["layer0"])
    assert layer == {
        "trt_profile_min_shapes": "key:1x1x64,value:1x1x64",
        "trt_profile_opt_shapes": "key:1x48x64,value:1x48x64",
        "trt_profile_max_shapes": "key:1x64x64,value:1x64x64",
    }
    encoder = onnxruntime_backend.shape_profile(TINY, graphs["encoder"])
    assert encoder["trt_profile_max_shapes"] == "images:8x3x32x64"
    assert onnxruntime_backend.shape_profile(TINY, graphs["branches"]) == {}
