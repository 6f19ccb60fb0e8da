"""TensorRT: exported graphs as engines, built on the GPU that runs them and kept for the next start."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from tggbc_ros.backends import tensorrt_engine
from tggbc_ros.backends.engine_file import EngineFile
from tggbc_ros.backends.exported import ExportedNetwork, GraphIO, find_export
from tggbc_ros.backends.tensorrt_engine import Engine, build, new_runtime, shape_ranges
from tggbc_ros.backends.torch_backend import find_device
from tggbc_ros.core.checkpoint import sha256
from tggbc_ros.core.config import ModelConfig
from tggbc_ros.export.cache import cache_folder
from tggbc_ros.export.manifest import FILE_NAME, Manifest

OLDEST_MAJOR = 10

_logger = logging.getLogger(__name__)


class Gpu:
    """A CUDA device, and a stream on it beside torch's."""

    def __init__(self, device: torch.device) -> None:
        self.device = torch.device("cuda", torch.cuda.current_device() if device.index is None else device.index)
        properties = torch.cuda.get_device_properties(self.device)
        self.name = str(properties.name)
        self.compute_capability = f"{properties.major}.{properties.minor}"
        self._stream = torch.cuda.Stream(self.device)

    @contextlib.contextmanager
    def current(self) -> Iterator[None]:
        """TensorRT builds for the current device, and loads onto it."""
        with torch.cuda.device(self.device):
            yield

    @contextlib.contextmanager
    def stream(self) -> Iterator[int]:
        """As `tensorrt_engine.Stream`: by events, so that the host waits for neither of the two."""
        torchs = torch.cuda.current_stream(self.device)
        self._stream.wait_stream(torchs)
        try:
            with self.current():
                yield self._stream.cuda_stream
        finally:
            torchs.wait_stream(self._stream)


class EngineStore:
    """The engines of one export, on one GPU, by one TensorRT."""

    def __init__(self, trt: Any, gpu: Gpu, export: Path, manifest: Manifest) -> None:
        self._trt, self._gpu = trt, gpu
        self._export, self._manifest = export, manifest
        self.graphs = manifest.engine_graphs(signed=True)  # TensorRT has no unsigned integers of eight bits
        self._runtime = new_runtime(trt)
        self._built_for = {
            "export": sha256(export / FILE_NAME),
            "gpu": gpu.name,
            "compute_capability": gpu.compute_capability,
            "tensorrt": str(trt.__version__),
            "code": sha256(Path(tensorrt_engine.__file__)),
        }
        digest = hashlib.sha256(json.dumps(self._built_for, sort_keys=True).encode()).hexdigest()
        self.folder = cache_folder() / "tensorrt" / f"{manifest.model.name}-{digest[:16]}"

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Another node may be building the same engines."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / ".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def open(self, graph: str) -> Engine:
        """A graph's engine: the one that is kept, or one that is built now, with a line in the log, and kept."""
        kept = EngineFile(self.folder / f"{graph}.engine", self._built_for | {"graph": graph})
        plan = kept.read()
        if plan is not None:
            try:
                return self._load(graph, plan)
            except ValueError as error:
                _logger.warning("%s is built anew: %s", kept.path, error)
        plan = self._build(graph)
        kept.write(plan)
        return self._load(graph, plan)

    def _load(self, graph: str, plan: bytes) -> Engine:
        io = GraphIO(graph, self.graphs[graph], self._gpu.device)
        return Engine(self._runtime, plan, io, self._gpu.stream)

    def _build(self, graph: str) -> bytes:
        graphs = self.graphs
        number = list(graphs).index(graph) + 1
        # A warning, because it takes long, and lower levels are not shown unless asked for.
        _logger.warning("building engine %d of %d, %s, in %s, this once", number, len(graphs), graph, self.folder)
        ranges = shape_ranges(self._manifest.model, graphs[graph])
        return build(self._trt, graph, (self._export / graphs[graph].file).read_bytes(), ranges)


def load(model: ModelConfig, checkpoint: Path | None, device: str) -> ExportedNetwork:
    """From the folder of an export, or from a checkpoint, which is exported first and kept for the next time.

    Engines that are not there yet are built, which takes minutes. Raises ValueError or ImportError, in one line, where
    the CUDA device or the library is not there, and ExportError for a damaged export.
    """
    gpu = find_gpu(device)
    trt = import_tensorrt()
    folder, manifest = find_export(model, checkpoint)
    with gpu.current():
        store = EngineStore(trt, gpu, folder, manifest)
        with store.locked():
            engines = {graph: store.open(graph) for graph in store.graphs}
    return ExportedNetwork(manifest, engines, gpu.device)


def find_gpu(device: str) -> Gpu:
    """The CUDA device of that name, or the first one for auto; raises ValueError where it is none."""
    if not torch.cuda.is_available():
        raise ValueError(
            f"backend tensorrt needs a CUDA device, and torch {torch.__version__} finds none: install NVIDIA's driver "
            "and a PyTorch built for CUDA, or set backend to onnxruntime or torch"
        )
    found = find_device(device)
    if found.type != "cuda":
        raise ValueError(f"backend tensorrt needs a CUDA device, and device is {device!r}: set it to auto or cuda")
    return Gpu(found)


def import_tensorrt() -> Any:
    """The module tensorrt, 10 or later; without a CUDA device it may end the process, so that `find_gpu` comes first.

    Raises ImportError where it is missing, cannot load its libraries, or is older.
    """
    try:
        import tensorrt
    except (ImportError, OSError) as error:
        if not isinstance(error, ModuleNotFoundError) or error.name != "tensorrt":
            raise ImportError(f"the Python package tensorrt cannot load its libraries: {error}") from error
        cuda = (torch.version.cuda or "13").partition(".")[0]
        raise ImportError(
            f"backend tensorrt needs the Python package tensorrt: pip install tensorrt-cu{cuda}, or on a Jetson "
            "apt install python3-libnvinfer and a virtual environment with --system-site-packages"
        ) from error
    if int(tensorrt.__version__.partition(".")[0]) < OLDEST_MAJOR:
        raise ImportError(f"tensorrt {tensorrt.__version__} is too old for backend tensorrt: 10 or 11 is expected")
    return tensorrt
