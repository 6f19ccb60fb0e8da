"""ONNX Runtime: exported graphs on a CPU, or on a GPU through its CUDA or TensorRT provider."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from tggbc_ros.backends.exported import MOST_CAMERAS, USUAL_CAMERAS, ExportedNetwork, GraphIO, find_export
from tggbc_ros.backends.torch_backend import find_device
from tggbc_ros.core.config import ModelConfig
from tggbc_ros.export.graphs import CAMERAS, KEYS
from tggbc_ros.export.manifest import ExportError, GraphFile

PROVIDERS = {
    ("cpu", False): "CPUExecutionProvider",
    ("cuda", False): "CUDAExecutionProvider",
    ("cuda", True): "TensorrtExecutionProvider",
}
"""By kind of device, and whether TensorRT is to run what it can."""

Provider = tuple[str, Mapping[str, str]]
"""Name and options."""


class Session:
    """One graph in ONNX Runtime; reads inputs where they lie, and writes outputs where torch reads them."""

    def __init__(self, path: Path, name: str, file: GraphFile, device: torch.device, providers: list[Provider]) -> None:
        import onnxruntime

        try:
            self._session = onnxruntime.InferenceSession(path, session_options(), providers=providers)
        except _errors() as error:
            reason = " ".join(str(error).split())
            raise ExportError(f"onnxruntime {onnxruntime.__version__} cannot load {path}: {reason}") from error
        _expect_provider(self._session.get_providers(), providers[0][0])
        self._io = GraphIO(name, file, device)
        self._device = device

    def __call__(self, *inputs: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """The graph's outputs, in order; ValueError for inputs that do not fit."""
        outputs = self._io.make_outputs(self._io.check(inputs))
        inputs = tuple(tensor.contiguous() for tensor in inputs)
        binding, where = self._session.io_binding(), (self._device.type, self._device.index or 0)
        for name, tensor in zip(self._io.inputs, inputs, strict=True):
            binding.bind_input(name, *where, np.float32, tuple(tensor.shape), tensor.data_ptr())
        for name, tensor in zip(self._io.outputs, outputs, strict=True):
            binding.bind_output(name, *where, np.float32, tuple(tensor.shape), tensor.data_ptr())
        if self._device.type == "cuda":
            # ONNX Runtime has a stream of its own: it must not begin before torch is done. It ends before it returns.
            torch.cuda.current_stream(self._device).synchronize()
        try:
            self._session.run_with_iobinding(binding)
        except _errors() as error:
            raise RuntimeError(f"onnxruntime failed in graph {self._io.name}: {error}") from error
        return outputs


def load(model: ModelConfig, checkpoint: Path | None, device: str, tensorrt: bool = False) -> ExportedNetwork:
    """From the folder of an export, or from a checkpoint, which is exported first and kept for the next time.

    tensorrt: let ONNX Runtime's TensorRT provider run what it can. Raises ImportError or ValueError, in one line, where
    the library, its provider or the device is not there, and ExportError for a damaged export.
    """
    where = find_device(device)
    names = find_providers(where, tensorrt)
    share_memory()
    folder, manifest = find_export(model, checkpoint)
    graphs = {}
    for name, file in manifest.engine_graphs(signed=tensorrt).items():
        providers = [(provider, _options(provider, where, model, file, folder)) for provider in names]
        graphs[name] = Session(folder / file.file, name, file, where, providers)
    return ExportedNetwork(manifest, graphs, where)


def session_options() -> Any:
    """Of a graph's session, which `share_memory` has to come before."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    # Between two graphs torch computes; threads that wait for the next one must not take its cores.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.add_session_config_entry("session.use_env_allocators", "1")
    return options


def find_providers(device: torch.device, tensorrt: bool) -> list[str]:
    """What runs the graphs, best first; raises as `load`."""
    try:
        import onnxruntime
    except ImportError as error:
        raise ImportError(
            "backend onnxruntime needs the Python package onnxruntime: ./run env/add.sh onnx, or pip install "
            "onnxruntime (onnxruntime-gpu for CUDA)"
        ) from error
    if (device.type, tensorrt) not in PROVIDERS:
        raise ValueError(f"backend onnxruntime_tensorrt needs a CUDA device, and device is {device}")
    wanted = PROVIDERS[device.type, tensorrt]
    available = onnxruntime.get_available_providers()
    if wanted not in available:
        raise ValueError(
            f"onnxruntime {onnxruntime.__version__} has no {wanted}, only {', '.join(available)}: "
            "pip install onnxruntime-gpu in its place, or set device to cpu and backend to onnxruntime"
        )
    return [wanted, PROVIDERS["cuda", False]] if tensorrt else [wanted]


def share_memory() -> None:
    """Let all graphs of the process compute in one pool of CPU memory: only one of them runs at a time.

    Each would keep a pool of its own otherwise, as large as its attention to all keys. Asking twice changes nothing.
    """
    import onnxruntime

    memory = onnxruntime.OrtMemoryInfo(
        "Cpu", onnxruntime.OrtAllocatorType.ORT_ARENA_ALLOCATOR, 0, onnxruntime.OrtMemType.DEFAULT
    )
    only_what_is_asked_for = onnxruntime.OrtArenaCfg({"arena_extend_strategy": 1})
    onnxruntime.create_and_register_allocator(memory, only_what_is_asked_for)


def _options(
    provider: str, device: torch.device, model: ModelConfig, file: GraphFile, folder: Path
) -> Mapping[str, str]:
    if device.type == "cpu":
        return {}
    options = {"device_id": str(device.index or 0)}
    if provider == PROVIDERS["cuda", True]:
        options |= {"trt_engine_cache_enable": "True", "trt_engine_cache_path": str(folder / "tensorrt")}
        options |= shape_profile(model, file)
    return options


def shape_profile(model: ModelConfig, file: GraphFile) -> dict[str, str]:
    """The sizes between which one TensorRT engine serves, in ONNX Runtime's words; none for a graph of fixed sizes."""
    rows, columns = model.feature_size
    profile = {}
    for word, cameras, keys in (
        ("min", 1, 1),
        ("opt", USUAL_CAMERAS, USUAL_CAMERAS * rows * columns),
        ("max", MOST_CAMERAS, MOST_CAMERAS * rows * columns),
    ):
        sizes = {CAMERAS: cameras, KEYS: keys}
        shapes = {
            name: "x".join(str(sizes.get(str(size), size)) for size in shape)
            for name, shape in file.inputs.items()
            if any(isinstance(size, str) for size in shape)
        }
        if shapes:
            profile[f"trt_profile_{word}_shapes"] = ",".join(f"{name}:{shape}" for name, shape in shapes.items())
    return profile


def _errors() -> tuple[type[Exception], ...]:
    """What ONNX Runtime raises; the types have no common ancestor of their own."""
    from onnxruntime.capi import onnxruntime_pybind11_state as state

    return (
        state.Fail,
        state.EPFail,
        state.InvalidArgument,
        state.InvalidGraph,
        state.InvalidProtobuf,
        state.NotImplemented,
        state.RuntimeException,
    )


def _expect_provider(loaded: list[str], asked: str) -> None:
    """ONNX Runtime runs on the CPU, and only logs it, where a provider cannot be loaded."""
    if loaded[0] != asked:
        raise ValueError(f"onnxruntime cannot load its {asked}, only {', '.join(loaded)}; its log above says why")
