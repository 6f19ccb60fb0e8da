"""Engines that time lone layers and build whole encoders, each with the settings of the backend of its name.

A lone layer is a convolution with its bias and ReLU, as an engine fuses them. Many are timed in turn (a sheet), so that
each finds the caches as another layer left them, and its input as the step before it left it.
"""

from __future__ import annotations

import dataclasses
import json
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import nn
from torch.nn.utils import skip_init

from tggbc_ros.backends import onnxruntime_backend, openvino_backend
from tggbc_ros.backends.torch_backend import PRECISIONS, find_device
from tggbc_ros.backends.torch_encoder import Encoder, as_it_runs
from tggbc_ros.compress.latency.noise import noise
from tggbc_ros.compress.latency.places import Kind
from tggbc_ros.core.config import ModelConfig
from tggbc_ros.core.model import StreamPETR
from tggbc_ros.core.shape import Shape
from tggbc_ros.export.exporter import require_libraries
from tggbc_ros.export.graphs import CAMERAS
from tggbc_ros.export.manifest import GraphFile


@dataclass(frozen=True, order=True)
class Lone:
    """A convolution by its kind and widths."""

    kind: Kind
    out: int
    into: int

    def size_bytes(self, cameras: int) -> int:
        """Of its weights and maps in float32."""
        rows, columns = self.kind.out_size
        maps = self.into * self.kind.height * self.kind.width + 2 * self.out * rows * columns
        return 4 * (self.kind.kernel**2 * self.out * self.into + cameras * maps)


class Engine(Protocol):
    """What a table is measured with."""

    def times_us(self, sheet: Sequence[Lone], repeats: int) -> list[float]:
        """Of each layer the median of so many times, after one that does not count."""

    def encoder(self, shape: Shape) -> Callable[[], object]:
        """A call of a whole encoder, done when it returns; what its weights are does not matter to a clock."""


def open_engine(name: str, model: ModelConfig, cameras: int, device: str = "auto") -> Engine:
    """The engine of a backend's name; raises ValueError or ImportError, in one line, where it cannot run here."""
    if name not in ENGINES:
        raise ValueError(f"engine is {name!r}, expected one of {', '.join(ENGINES)}")
    return ENGINES[name](model, cameras, device)


class TorchEngine:
    """PyTorch: a wall clock around each layer, on a GPU around a graph of some."""

    def __init__(self, model: ModelConfig, cameras: int, device: str, precision: str) -> None:
        self.model = model
        self.cameras = cameras
        self.device = find_device(device)
        self.dtype = PRECISIONS[precision]

    @torch.inference_mode()
    def times_us(self, sheet: Sequence[Lone], repeats: int) -> list[float]:
        """As `Engine`."""
        calls = [self._lone(each) for each in sheet]
        taken = [[call() for call in calls] for _ in range(repeats + 1)]
        return [float(np.median(times)) for times in zip(*taken[1:], strict=True)]

    @torch.inference_mode()
    def encoder(self, shape: Shape) -> Callable[[], object]:
        """As `Engine`."""
        module = StreamPETR(dataclasses.replace(self.model, shape=shape)).eval()
        encoder = Encoder(module, self.device, self.dtype)
        images = torch.from_numpy(noise((1, self.cameras, 3, *self.model.image_size))).to(self.device)

        @torch.inference_mode()
        def call() -> None:
            encoder(images)
            self._wait()

        return call

    def _lone(self, layer: Lone) -> Callable[[], float]:
        kind = layer.kind
        convolution = skip_init(
            nn.Conv2d, layer.into, layer.out, kind.kernel, stride=kind.stride, padding=kind.kernel // 2
        )
        for weight in convolution.parameters():
            weight.data.copy_(torch.from_numpy(noise(tuple(weight.shape), 0.01)))
        module = as_it_runs(nn.Sequential(convolution, nn.ReLU(inplace=True)), self.device, self.dtype)
        x = torch.from_numpy(noise((self.cameras, layer.into, kind.height, kind.width)))
        x = x.to(self.device, self.dtype, memory_format=torch.channels_last)
        return self._recorded(module, x) if x.is_cuda else lambda: _timed_us(module, x)

    def _recorded(self, module: nn.Module, x: torch.Tensor) -> Callable[[], float]:
        graph = torch.cuda.CUDAGraph()
        module(x)
        self._wait()
        with torch.cuda.graph(graph):
            for _ in range(GRAPHED):
                module(x)

        def call() -> float:
            self._wait()
            start = time.perf_counter()
            graph.replay()
            self._wait()
            return (time.perf_counter() - start) * 1e6 / GRAPHED

        return call

    def _wait(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)


GRAPHED = 10
"""Calls in one CUDA graph, so that asking for it does not count."""


def _timed_us(module: nn.Module, x: torch.Tensor) -> float:
    x.relu_()  # as the layer before would leave it: without negative numbers, and in the cache
    start = time.perf_counter()
    module(x)
    return (time.perf_counter() - start) * 1e6


class GraphEngine:
    """What ONNX engines have in common: graphs of noise, in a folder of their own."""

    quantised = False

    def __init__(self, model: ModelConfig, cameras: int) -> None:
        require_libraries()
        self.model = model
        self.cameras = cameras
        self._folder = tempfile.TemporaryDirectory(prefix="tggbc_latency_")

    def times_us(self, sheet: Sequence[Lone], repeats: int) -> list[float]:
        """As `Engine`."""
        from tggbc_ros.compress.latency.onnx_graph import Graph, lone

        graph, inputs = Graph(self.quantised), {}
        for index, each in enumerate(sheet):
            lone(graph, f"l{index}", each.kind, (each.out, each.into))
            inputs[f"l{index}.x"] = noise((self.cameras, each.into, each.kind.height, each.kind.width))
        taken = self._profiled(graph.model().SerializeToString(), inputs, repeats + 1)[1:]
        return [float(np.median([_of_layer(f"l{index}", times) for times in taken])) for index in range(len(sheet))]

    def encoder(self, shape: Shape) -> Callable[[], object]:
        """As `Engine`."""
        from tggbc_ros.compress.latency.onnx_graph import encoder

        model = self.model
        path = Path(self._folder.name) / "encoder.onnx"
        graph = encoder(shape, model.embed_dims, model.image_size, self.quantised)
        path.write_bytes(graph.SerializeToString())
        file = GraphFile(
            path.name,
            "",
            {"images": (CAMERAS, 3, *model.image_size)},
            {"neck.output": (CAMERAS, model.embed_dims, *model.feature_size)},
        )
        run = self._session(path, file)
        path.unlink()
        images = torch.from_numpy(noise((self.cameras, 3, *model.image_size)))
        return lambda: run(images)

    def _profiled(self, graph: bytes, inputs: Mapping[str, Any], calls: int) -> list[dict[str, float]]:
        """Microseconds of every step, by its name, of each call."""
        raise NotImplementedError

    def _session(self, path: Path, file: GraphFile) -> Callable[[torch.Tensor], object]:
        """The backend's own."""
        raise NotImplementedError


class OpenVinoEngine(GraphEngine):
    """OpenVINO, whose own clock tells of every step."""

    def __init__(self, model: ModelConfig, cameras: int, device: str, precision: str = "") -> None:
        super().__init__(model, cameras)
        self.quantised = precision == "int8"
        self._core = openvino_backend.open_core(device, precision)
        self._hint = openvino_backend.encoder_hint(precision)

    def _profiled(self, graph: bytes, inputs: Mapping[str, Any], calls: int) -> list[dict[str, float]]:
        import openvino

        options = openvino_backend.compile_options(self._hint) | {"PERF_COUNT": True}
        request = self._core.compile_model(self._core.read_model(graph), "CPU", options).create_infer_request()
        for name, array in inputs.items():
            request.set_tensor(name, openvino.Tensor(array, shared_memory=True))
        found = []
        for _ in range(calls):
            request.infer()
            told = (each for each in request.profiling_info if each.node_type != "Reorder")  # called as what it serves
            found.append({each.node_name.split("/")[0]: each.real_time.total_seconds() * 1e6 for each in told})
        return found

    def _session(self, path: Path, file: GraphFile) -> Callable[[torch.Tensor], object]:
        return openvino_backend.Session(self._core, path, "encoder", file, self._hint)


class OnnxRuntimeEngine(GraphEngine):
    """ONNX Runtime on the CPU, whose own clock tells of every step."""

    def __init__(self, model: ModelConfig, cameras: int, device: str) -> None:
        super().__init__(model, cameras)
        if find_device(device).type != "cpu":
            raise ValueError(f"engine onnxruntime is measured on the CPU alone, and device is {device!r}")
        self._providers = onnxruntime_backend.find_providers(torch.device("cpu"), tensorrt=False)
        onnxruntime_backend.share_memory()

    def _profiled(self, graph: bytes, inputs: Mapping[str, Any], calls: int) -> list[dict[str, float]]:
        import onnxruntime

        options = onnxruntime_backend.session_options()
        options.enable_profiling = True
        options.profile_file_prefix = str(Path(self._folder.name) / "profile")
        session = onnxruntime.InferenceSession(graph, options, providers=self._providers)
        for _ in range(calls):
            session.run(None, dict(inputs))
        path = Path(session.end_profiling())
        events = json.loads(path.read_text(encoding="utf-8"))
        path.unlink()
        return _by_call(events, calls)

    def _session(self, path: Path, file: GraphFile) -> Callable[[torch.Tensor], object]:
        providers: list[onnxruntime_backend.Provider] = [(name, {}) for name in self._providers]
        return onnxruntime_backend.Session(path, "encoder", file, torch.device("cpu"), providers)


def _of_layer(name: str, times: Mapping[str, float]) -> float:
    """A convolution's time and its ReLU's; where they are one step, that is called as one of the two."""
    found = [times[step] for step in (name, f"{name}.relu") if step in times]
    if not found:
        raise ValueError(f"the engine tells no time of layer {name}, only of {', '.join(sorted(times))}")
    return sum(found)


def _by_call(events: Sequence[Mapping[str, Any]], calls: int) -> list[dict[str, float]]:
    """ONNX Runtime's profile -> microseconds of every step, by its name, of each call; steps tell in order."""
    taken: dict[str, list[float]] = {}
    for event in sorted(events, key=lambda event: event["ts"]):
        name = event["name"].removesuffix("_kernel_time")
        if event.get("cat") == "Node" and name != event["name"]:
            taken.setdefault(name.removesuffix("_nchwc"), []).append(float(event["dur"]))
    return [{name: times[call] for name, times in taken.items() if len(times) == calls} for call in range(calls)]


def _torch(precision: str) -> Callable[[ModelConfig, int, str], Engine]:
    return lambda model, cameras, device: TorchEngine(model, cameras, device, precision)


def _openvino(precision: str) -> Callable[[ModelConfig, int, str], Engine]:
    return lambda model, cameras, device: OpenVinoEngine(model, cameras, device, precision)


ENGINES: dict[str, Callable[[ModelConfig, int, str], Engine]] = {
    "torch": _torch("fp32"),
    "torch_bf16": _torch("bf16"),
    "torch_fp16": _torch("fp16"),
    "onnxruntime": OnnxRuntimeEngine,
    "openvino": _openvino(""),
    "openvino_bf16": _openvino("bf16"),
    "openvino_int8": _openvino("int8"),
}
"""By the names of their backends."""
