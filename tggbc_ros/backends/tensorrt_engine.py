"""What is said to TensorRT: how an ONNX graph becomes an engine, and how that runs on torch's tensors.

Python API of TensorRT 10 and 11. Nothing here may be called without a CUDA device: TensorRT may end the process then.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from typing import Any

import torch

from tggbc_ros.backends.exported import MOST_CAMERAS, USUAL_CAMERAS, GraphIO
from tggbc_ros.core.config import ModelConfig
from tggbc_ros.export.graphs import CAMERAS, KEYS
from tggbc_ros.export.manifest import GraphFile

ALIGNMENT_BYTES = 256
"""Of a tensor's address, as NvInferRuntime.h asks at setTensorAddress."""

Range = tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]
"""Least, usual and largest shape of an input."""

Stream = Callable[[], AbstractContextManager[int]]
"""Gives a CUDA stream's handle; what is queued there comes after what torch queued before, and before what follows."""


def shape_ranges(model: ModelConfig, file: GraphFile) -> dict[str, Range]:
    """What an engine is to serve, of each input without a fixed shape: any number of keys, one to eight cameras."""
    rows, columns = model.feature_size
    cells = rows * columns
    usual, most = USUAL_CAMERAS * cells, MOST_CAMERAS * cells
    sizes = {CAMERAS: (1, USUAL_CAMERAS, MOST_CAMERAS), KEYS: (1, usual, most)}
    ranges: dict[str, Range] = {}
    for name, shape in file.inputs.items():
        if any(isinstance(size, str) for size in shape):
            least, mid, largest = (
                tuple(sizes[size][step] if isinstance(size, str) else size for size in shape) for step in range(3)
            )
            ranges[name] = least, mid, largest
    return ranges


def build(trt: Any, graph: str, onnx_model: bytes, ranges: Mapping[str, Range]) -> bytes:
    """The serialized engine of one ONNX graph, for the current CUDA device; raises ValueError where there is none.

    Strongly typed: the graph's own types are the precision, and float32 is not rounded to TF32's ten bits.
    """
    builder = trt.Builder(logger_of(trt))
    # TensorRT 11 knows no other networks, and ignores the flag.
    network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    parser = trt.OnnxParser(network, logger_of(trt))
    if not parser.parse(onnx_model):
        errors = "; ".join(parser.get_error(index).desc() for index in range(parser.num_errors))
        raise ValueError(f"TensorRT {trt.__version__} cannot read the graph {graph}: {errors}")
    config = _configure(trt, builder, graph, ranges)
    plan = builder.build_serialized_network(network, config)
    if plan is None:
        raise ValueError(f"TensorRT {trt.__version__} cannot build the graph {graph}: its log above says why")
    return bytes(plan)


def _configure(trt: Any, builder: Any, graph: str, ranges: Mapping[str, Range]) -> Any:
    config = builder.create_builder_config()
    config.clear_flag(trt.BuilderFlag.TF32)
    if hasattr(trt.BuilderFlag, "STRICT_NANS"):  # later versions of 10; what is not a number must stay to be seen
        config.set_flag(trt.BuilderFlag.STRICT_NANS)
    if ranges:
        profile = builder.create_optimization_profile()
        for name, (least, usual, most) in ranges.items():
            profile.set_shape(name, least, usual, most)
        if config.add_optimization_profile(profile) < 0:
            raise ValueError(f"TensorRT {trt.__version__} does not take the sizes of the graph {graph}: {dict(ranges)}")
    return config


@functools.cache
def logger_of(trt: Any) -> Any:
    """To standard error; one for the process, because TensorRT goes on using the first that it is given."""
    return trt.Logger(trt.Logger.WARNING)


def new_runtime(trt: Any) -> Any:
    """What all engines of a network are loaded by."""
    return trt.Runtime(logger_of(trt))


class Engine:
    """One graph in TensorRT, on the network's device; reads inputs where they lie, and writes outputs for torch.

    runtime: of `new_runtime`. plan: of `build`, by this TensorRT for this GPU. Raises ValueError for a plan that it
    does not take, and RuntimeError where the device has no room for it.
    """

    def __init__(self, runtime: Any, plan: bytes, io: GraphIO, stream: Stream) -> None:
        engine = runtime.deserialize_cuda_engine(plan)
        if engine is None:
            raise ValueError(f"TensorRT does not take the engine of the graph {io.name}: its log above says why")
        context = engine.create_execution_context()
        if context is None:
            raise RuntimeError(f"TensorRT cannot make room for the graph {io.name} on {io.device}: its log says why")
        # Python lets go of them in this order, in which TensorRT wants them to go.
        self._context, self._engine, self._runtime = context, engine, runtime
        self._io = io
        self._stream = stream

    def __call__(self, *inputs: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """The graph's outputs, in order, still on their way; raises ValueError for shapes that do not fit.

        The host waits for nothing. Every buffer is torch's, whose stream waits for the engine's, so that none is
        reused before the engine is done with it.
        """
        outputs = self._io.make_outputs(self._io.check(inputs))
        inputs = tuple(aligned(tensor) for tensor in inputs)
        for name, tensor in zip(self._io.inputs, inputs, strict=True):
            if not self._context.set_input_shape(name, tuple(tensor.shape)):
                raise ValueError(self._out_of_range(name, tensor))
        for name, tensor in zip((*self._io.inputs, *self._io.outputs), (*inputs, *outputs), strict=True):
            if not self._context.set_tensor_address(name, tensor.data_ptr()):
                raise RuntimeError(f"TensorRT does not take the buffer of {name} of the graph {self._io.name}")
        with self._stream() as handle:
            if not self._context.execute_async_v3(handle):
                raise RuntimeError(f"TensorRT failed to run the graph {self._io.name}: its log above says why")
        return outputs

    def _out_of_range(self, name: str, tensor: torch.Tensor) -> str:
        least, _, largest = (tuple(shape) for shape in self._engine.get_tensor_profile_shape(name, 0))
        return (
            f"input {name} of graph {self._io.name} has shape {tuple(tensor.shape)}, and its TensorRT engine serves "
            f"{least} to {largest}: at most {MOST_CAMERAS} cameras"
        )


def aligned(tensor: torch.Tensor) -> torch.Tensor:
    """The tensor, or a copy where its elements do not lie one after the other or begin at an odd address."""
    tensor = tensor.contiguous()
    return tensor if tensor.data_ptr() % ALIGNMENT_BYTES == 0 else tensor.clone()
