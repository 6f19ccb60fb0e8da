"""OpenVINO: exported graphs on a CPU, in float32, or with an encoder that computes in bfloat16 or in int8."""

from __future__ import annotations

import dataclasses
import logging
from pathlib import Path
from typing import Any

import numpy as np
import torch

from tggbc_ros.backends.cpu import DOT_PRODUCTS, dot_products
from tggbc_ros.backends.exported import ExportedNetwork, GraphIO, find_export
from tggbc_ros.core.backbones.vit import SHAPES as VISION_TRANSFORMERS
from tggbc_ros.core.config import ModelConfig
from tggbc_ros.export.manifest import ExportError, GraphFile

CPU = torch.device("cpu")

LONG_NAMES = {"bf16": "bfloat16", "int8": "int8"}

_logger = logging.getLogger(__name__)


class Session:
    """One graph in OpenVINO; reads inputs where they lie, and writes outputs where torch reads them."""

    def __init__(self, core: Any, path: Path, name: str, file: GraphFile, precision: str) -> None:
        import openvino

        self._tensor = openvino.Tensor
        self._io = GraphIO(name, file, CPU)
        try:
            compiled = core.compile_model(path, "CPU", compile_options(precision))
        except RuntimeError as error:
            reason = " ".join(str(error).split())
            raise ExportError(f"openvino {openvino.__version__} cannot load {path}: {reason}") from error
        self._request = compiled.create_infer_request()

    def __call__(self, *inputs: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """The graph's outputs, in order; ValueError for inputs that do not fit.

        FloatingPointError for NaN or infinity: OpenVINO's ReLU makes 0 of NaN, and then nobody would ever know.
        """
        outputs = self._io.make_outputs(self._io.check(inputs))
        inputs = tuple(tensor.contiguous() for tensor in inputs)
        self._expect_finite(inputs)
        for index, tensor in enumerate(inputs):
            self._request.set_input_tensor(index, self._tensor(tensor.numpy(), shared_memory=True))
        for index, tensor in enumerate(outputs):
            self._request.set_output_tensor(index, self._tensor(tensor.numpy(), shared_memory=True))
        self._request.infer()
        return outputs

    def _expect_finite(self, inputs: tuple[torch.Tensor, ...]) -> None:
        for name, tensor in zip(self._io.inputs, inputs, strict=True):
            # A sum is several times faster than to look at each, and numpy's leaves no threads behind: torch's would
            # spin for milliseconds on a core that OpenVINO needs.
            if not np.isfinite(tensor.numpy().sum()):
                raise FloatingPointError(f"input {name} of graph {self._io.name} holds NaN or infinity")


def load(model: ModelConfig, checkpoint: Path | None, device: str, precision: str = "") -> ExportedNetwork:
    """From the folder of an export, or from a checkpoint, which is exported first and kept for the next time.

    precision: of the encoder: bf16 lets one in float32 compute in bfloat16; int8 needs an export in int8; without, it
    is the export's. Raises ImportError or ValueError, in one line, where the library is not there, the device is not
    the CPU or cannot compute so, and ExportError for a damaged or another export.
    """
    if precision == "bf16" and model.backbone in VISION_TRANSFORMERS:
        raise ValueError(
            f"backend openvino_bf16 does not run {model.name}: it was seen to put a transformer's features off by "
            "three quarters; openvino, or torch_bf16, does"
        )
    core = open_core(device, precision)
    folder, manifest = find_export(model, checkpoint, {"bf16": "fp32"}.get(precision, precision))
    if manifest.precision == "int8":
        _warn_without_int8()
    graphs = {}
    for name, file in manifest.engine_graphs().items():
        hint = encoder_hint(precision) if name == "encoder" else "f32"
        graphs[name] = Session(core, folder / file.file, name, file, hint)
    return ExportedNetwork(dataclasses.replace(manifest, precision=precision or manifest.precision), graphs, CPU)


def open_core(device: str, precision: str) -> Any:
    """The library, on a device that it can run on; raises as `load`."""
    if device not in ("auto", "cpu"):
        raise ValueError(f"backend openvino runs on the CPU alone, and device is {device!r}: set it to cpu or auto")
    try:
        import openvino
    except ImportError as error:
        raise ImportError(
            "backend openvino needs the Python package openvino: ./run env/add.sh onnx, or pip install openvino"
        ) from error
    core = openvino.Core()
    able = core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    if precision and precision.upper() not in able:
        raise ValueError(
            f"backend openvino_{precision} needs a CPU that computes in {LONG_NAMES[precision]}, and this one has "
            f"{', '.join(able)}: set backend to openvino"
        )
    return core


def _warn_without_int8() -> None:
    """Say what a CPU loses that has integers of eight bits but no instruction that multiplies and adds them."""
    fast = dot_products()
    if fast is not None and not fast:
        _logger.warning(
            "this CPU has no instruction for dot products of eight bits (%s): int8 gains less; with AVX2 alone the "
            "demo model's encoder took 0.46 of its time in float32, with VNNI 0.29 (docs/deploy.md, int8); compare "
            "on this CPU by python -m bench.backends",
            ", ".join(sorted(DOT_PRODUCTS)),
        )


def encoder_hint(precision: str) -> str:
    """What an encoder's graph is to compute in, where its own quantisers do not say otherwise."""
    return "bf16" if precision == "bf16" else "f32"


def compile_options(precision: str) -> dict[str, object]:
    """One frame at a time, on as many threads as torch has; which core runs which is for the system to say."""
    return {
        "INFERENCE_PRECISION_HINT": precision,
        "INFERENCE_NUM_THREADS": torch.get_num_threads(),
        "NUM_STREAMS": 1,
        "ENABLE_CPU_PINNING": False,
    }
