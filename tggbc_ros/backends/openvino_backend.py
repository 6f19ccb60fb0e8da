"""OpenVINO: exported graphs on a CPU, in float32, or with an encoder that computes in bfloat16."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import torch

from tggbc_ros.backends.exported import ExportedNetwork, GraphIO, find_export
from tggbc_ros.core.config import ModelConfig
from tggbc_ros.export.manifest import ExportError, GraphFile

CPU = torch.device("cpu")


class Session:
    """One graph in OpenVINO; reads inputs where they lie, and writes outputs where torch reads them."""

    def __init__(self, core: Any, path: Path, name: str, file: GraphFile, precision: str) -> None:
        import openvino

        self._tensor = openvino.Tensor
        self._io = GraphIO(name, file, CPU)
        try:
            compiled = core.compile_model(path, "CPU", _options(precision))
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
            if not tensor.sum().isfinite():  # a sum is several times faster than to look at each
                raise FloatingPointError(f"input {name} of graph {self._io.name} holds NaN or infinity")


def load(model: ModelConfig, checkpoint: Path | None, device: str, bfloat16: bool = False) -> ExportedNetwork:
    """From the folder of an export, or from a checkpoint, which is exported first and kept for the next time.

    bfloat16: let the encoder compute in it. Raises ImportError or ValueError, in one line, where the library is not
    there, the device is not the CPU or has no bfloat16, and ExportError for a damaged export.
    """
    core = _core(device, bfloat16)
    folder, manifest = find_export(model, checkpoint)
    graphs = {}
    for name, file in manifest.graphs.items():
        precision = "bf16" if bfloat16 and name == "encoder" else "f32"
        graphs[name] = Session(core, folder / file.file, name, file, precision)
    if bfloat16:
        manifest = dataclasses.replace(manifest, precision="bf16")
    return ExportedNetwork(manifest, graphs, CPU)


def _core(device: str, bfloat16: bool) -> Any:
    """The library, on a device that it can run on."""
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
    if bfloat16 and "BF16" not in able:
        raise ValueError(
            f"backend openvino_bf16 needs a CPU that computes in bfloat16, and this one has {', '.join(able)}: "
            "set backend to openvino"
        )
    return core


def _options(precision: str) -> dict[str, object]:
    """One frame at a time, on as many threads as torch has; which core runs which is for the system to say."""
    return {
        "INFERENCE_PRECISION_HINT": precision,
        "INFERENCE_NUM_THREADS": torch.get_num_threads(),
        "NUM_STREAMS": 1,
        "ENABLE_CPU_PINNING": False,
    }
