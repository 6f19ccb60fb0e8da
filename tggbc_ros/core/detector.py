"""The whole algorithm, one frame at a time. Read this first, then what it calls, downwards."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Protocol

import torch

from tggbc_ros.core import memory as temporal
from tggbc_ros.core.config import DecodeConfig, MemoryConfig, ModelConfig, PruningConfig
from tggbc_ros.core.decode import decode_boxes
from tggbc_ros.core.preprocess import preprocess
from tggbc_ros.core.types import (
    AlignedMemory,
    Array,
    Boxes3D,
    CameraFrame,
    Memory,
    NetworkInput,
    NetworkOutput,
    StepReport,
    Tokens,
)


class Network(Protocol):
    """An engine that runs StreamPETR: PyTorch, ONNX Runtime, TensorRT. Stateless between frames."""

    model: ModelConfig
    device: torch.device
    weights: str

    def encode(self, images: torch.Tensor) -> torch.Tensor:
        """Normalised images [B, N, 3, H, W] -> features [B, N, C, rows, columns]."""

    def embed(self, features: torch.Tensor, inputs: NetworkInput) -> Tokens:
        """Features and calibration -> the decoder's keys and values."""

    def decode(self, tokens: Tokens, memory: AlignedMemory, pruning: PruningConfig) -> NetworkOutput:
        """Keys, values and memory -> logits and box codes of the last decoder layer."""

    def start_points(self) -> torch.Tensor:
        """[propagated, 3] metres, lidar frame: where the queries of an empty memory look."""

    def synchronize(self) -> None:
        """Wait until the device has done what it was asked, so that a clock tells the truth."""


class Detector:
    """Six images in, 3D boxes out. Its only state is temporal memory and where it was written.

    ``pruning`` and ``decode`` may be replaced between two frames. Not thread-safe: one caller.
    """

    def __init__(
        self,
        network: Network,
        pruning: PruningConfig | None = None,
        memory: MemoryConfig | None = None,
        decode: DecodeConfig | None = None,
    ) -> None:
        self.network = network
        self.pruning = pruning or PruningConfig()
        self.memory_config = memory or MemoryConfig()
        self.decode = decode or DecodeConfig()
        self.memory: Memory | None = None
        self._previous: tuple[int, Array] | None = None
        self._pending_reset = ""

    def step(self, frame: CameraFrame) -> tuple[Boxes3D, StepReport]:
        """Boxes in the lidar frame at the frame's reference time, best first, and what was done.

        Whatever it raises (FloatingPointError where the network answers NaN), memory stays as it was.
        """
        self._distrust_memory(frame)
        watch = Stopwatch(self.network.synchronize)
        model, device = self.network.model, self.network.device

        inputs = preprocess(frame, model, device)
        watch.lap("preprocess")
        pose = torch.from_numpy(frame.lidar2global).to(device)[None]
        time_s = torch.tensor([frame.timestamp_ns / 1e9], dtype=torch.float64, device=device)
        memory = self.memory or temporal.start(model, self.network.start_points(), pose, time_s)
        aligned = temporal.align(memory, pose, time_s, model.memory_length)
        watch.lap("align")
        features = self.network.encode(inputs.images)
        watch.lap("encode")
        tokens = self.network.embed(features, inputs)
        watch.lap("embed")
        output = self.network.decode(tokens, aligned, self.pruning)
        _expect_finite(output)
        watch.lap("decode")
        boxes = decode_boxes(output, self.decode)
        self.memory = temporal.push(memory, output, model, pose, time_s)
        watch.lap("boxes")

        cause, self._pending_reset = self._pending_reset, ""
        age_s = (frame.timestamp_ns - self._previous[0]) / 1e9 if self._previous else 0.0
        self._previous = frame.timestamp_ns, frame.lidar2global
        return boxes, StepReport(self.pruning.keep_ratio, output.num_keys, watch.stages_ms, age_s, cause)

    def reset_memory(self, cause: str) -> None:
        """Forget the past; the next step's report says why. Without a memory there is nothing to forget."""
        if self.memory is not None:
            self.memory, self._previous, self._pending_reset = None, None, cause

    def _distrust_memory(self, frame: CameraFrame) -> None:
        """Drop memory that this frame must not use; the first step that succeeds will report why."""
        if self._previous is not None:
            cause = temporal.distrust(self._previous, (frame.timestamp_ns, frame.lidar2global), self.memory_config)
            if cause:
                self.reset_memory(cause)


def _expect_finite(output: NetworkOutput) -> None:
    """A poisoned frame must neither look like an empty street nor enter memory."""
    for name, values in (("class logits", output.logits), ("box codes", output.codes)):
        if not torch.isfinite(values).all():
            raise FloatingPointError(f"the network's {name} hold NaN or infinity")


class Stopwatch:
    """Wall time by stage, in milliseconds."""

    def __init__(self, synchronize: Callable[[], None]) -> None:
        self.stages_ms: dict[str, float] = {}
        self._synchronize = synchronize
        self._last = time.perf_counter()

    def lap(self, stage: str) -> None:
        """The time since the last lap belongs to ``stage``."""
        self._synchronize()
        now = time.perf_counter()
        self.stages_ms[stage] = (now - self._last) * 1e3
        self._last = now
