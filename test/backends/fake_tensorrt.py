"""A stand-in for the module tensorrt, and for a GPU: engines that are ONNX files, run by ONNX Runtime on the CPU.

It has what the backend calls and nothing else; test_tensorrt_backend.py holds it to the real bindings' names. It is
strict where TensorRT is: shapes outside of the profile, missing addresses, another version's engine.
"""

from __future__ import annotations

import contextlib
import ctypes
import enum
import json
import math
import types
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import onnx
import onnxruntime
import torch

STREAM = 4711
ALIGNMENT_BYTES = 64
"""What torch gives on a CPU."""

Shape = Sequence[int]


class Gpu:
    """`tensorrt_backend.Gpu` without one; ``queue`` is what was done on it, in order."""

    def __init__(self, name: str = "Fake GPU") -> None:
        self.device = torch.device("cpu")
        self.name = name
        self.compute_capability = "9.0"
        self.queue: list[str] = []

    @contextlib.contextmanager
    def current(self) -> Iterator[None]:
        yield

    @contextlib.contextmanager
    def stream(self) -> Iterator[int]:
        self.queue.append("begin")
        yield STREAM
        self.queue.append("end")


class Logger:
    WARNING = 2

    def __init__(self, min_severity: int = WARNING) -> None:
        self._users: list[str] = []


class IHostMemory(bytearray):
    pass


class IOptimizationProfile:
    def __init__(self) -> None:
        self._ranges: dict[str, list[list[int]]] = {}

    def set_shape(self, input: str, min: Shape, opt: Shape, max: Shape) -> None:
        assert all(low <= middle <= high for low, middle, high in zip(min, opt, max, strict=True))
        self._ranges[input] = [list(min), list(opt), list(max)]


class IBuilderConfig:
    def __init__(self) -> None:
        self._flags = {"TF32"}
        self._profiles: list[IOptimizationProfile] = []

    def set_flag(self, flag: enum.Enum) -> None:
        self._flags.add(flag.name)

    def clear_flag(self, flag: enum.Enum) -> None:
        self._flags.discard(flag.name)

    def add_optimization_profile(self, profile: IOptimizationProfile) -> int:
        self._profiles.append(profile)
        return len(self._profiles) - 1


class INetworkDefinition:
    def __init__(self) -> None:
        self._content = b""


class ParserError:
    def __init__(self, text: str) -> None:
        self._text = text

    def desc(self) -> str:
        return self._text


class OnnxParser:
    def __init__(self, network: INetworkDefinition, logger: Logger) -> None:
        logger._users.append("parser")
        self._network = network
        self._errors: list[ParserError] = []

    @property
    def num_errors(self) -> int:
        return len(self._errors)

    def get_error(self, index: int) -> ParserError:
        return self._errors[index]

    def parse(self, model: bytes, path: str | None = None) -> bool:
        try:
            onnx.checker.check_model(onnx.load_from_string(model))
        except Exception as error:  # protobuf's own class differs from one version to the next
            self._errors.append(ParserError(str(error)))
            return False
        self._network._content = model
        return True


class IExecutionContext:
    def __init__(self, module: types.ModuleType, head: dict[str, Any], content: bytes) -> None:
        self._module = module
        self._ranges = head["ranges"]
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        self._session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
        self._fixed = {value.name: value.shape for value in self._session.get_inputs()}
        self._shapes: dict[str, tuple[int, ...]] = {}
        self._addresses: dict[str, int] = {}

    def set_input_shape(self, name: str, shape: tuple[int, ...]) -> bool:
        least, _, largest = self._ranges.get(name) or [self._fixed[name]] * 3
        if not all(low <= size <= high for low, size, high in zip(least, shape, largest, strict=True)):
            return False
        self._shapes[name] = shape
        return True

    def set_tensor_address(self, name: str, memory: int) -> bool:
        assert memory % ALIGNMENT_BYTES == 0, f"{name} begins at {memory}"
        self._addresses[name] = memory
        return True

    def execute_async_v3(self, stream_handle: int) -> bool:
        assert stream_handle == STREAM
        inputs = {name: _array(self._addresses[name], self._shapes[name]) for name in self._fixed}
        names = [value.name for value in self._session.get_outputs()]
        for name, output in zip(names, self._session.run(names, inputs), strict=True):
            _array(self._addresses[name], output.shape)[...] = output
        self._module._executions += 1
        return True


class ICudaEngine:
    def __init__(self, module: types.ModuleType, head: dict[str, Any], content: bytes) -> None:
        self._parts = module, head, content

    def create_execution_context(self) -> IExecutionContext:
        return IExecutionContext(*self._parts)

    def get_tensor_profile_shape(self, name: str, profile_index: int) -> list[list[int]]:
        return self._parts[1]["ranges"][name]


def make_module(version: str) -> types.ModuleType:
    """The module tensorrt of that version; ``_plans`` and ``_taken`` are what was built and what was loaded."""
    module = types.ModuleType("tensorrt")
    major = int(version.partition(".")[0])
    # Bit 0 was EXPLICIT_BATCH before it was STRONGLY_TYPED.
    strongly_typed = 0 if major > 10 else 1
    flags = ["TF32"] + ["STRICT_NANS"] * (version != "10.3.0")

    class Builder:
        def __init__(self, logger: Logger) -> None:
            logger._users.append("builder")

        def create_network(self, flags: int = 0) -> INetworkDefinition:
            assert flags == 1 << strongly_typed
            return INetworkDefinition()

        def create_builder_config(self) -> IBuilderConfig:
            return IBuilderConfig()

        def create_optimization_profile(self) -> IOptimizationProfile:
            return IOptimizationProfile()

        def build_serialized_network(self, network: INetworkDefinition, config: IBuilderConfig) -> IHostMemory:
            ranges = config._profiles[0]._ranges if config._profiles else {}
            free = {
                value.name
                for value in onnx.load_from_string(network._content).graph.input
                if any(size.dim_param for size in value.type.tensor_type.shape.dim)
            }
            assert free == set(ranges)
            head = {"version": version, "ranges": ranges, "flags": sorted(config._flags)}
            module._plans.append(head)
            return IHostMemory(json.dumps(head).encode() + b"\n" + network._content)

    class Runtime:
        def __init__(self, logger: Logger) -> None:
            logger._users.append("runtime")

        def deserialize_cuda_engine(self, serialized_engine: bytes) -> ICudaEngine | None:
            module._taken.append(serialized_engine)
            head, _, content = serialized_engine.partition(b"\n")
            said = json.loads(head)
            return ICudaEngine(module, said, content) if said["version"] == version else None

    for own in (Builder, Runtime, Logger, OnnxParser):
        setattr(module, own.__name__, own)
    module.BuilderFlag = enum.Enum("BuilderFlag", flags)
    module.NetworkDefinitionCreationFlag = enum.IntEnum(
        "NetworkDefinitionCreationFlag", {"STRONGLY_TYPED": strongly_typed}
    )
    module.__version__ = version
    module._plans, module._taken, module._executions = [], [], 0
    return module


BEHIND = (IBuilderConfig, ICudaEngine, IExecutionContext, INetworkDefinition, IOptimizationProfile, ParserError)
"""What the module's own classes hand out."""


def _array(address: int, shape: Shape) -> np.ndarray:
    """The float32 array that lies there."""
    memory = (ctypes.c_float * math.prod(shape)).from_address(address)
    return np.frombuffer(memory, dtype=np.float32).reshape(shape)
