"""The whole algorithm, one frame at a time. Read this first, then what it calls, downwards."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
from typing import Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt
import torch

from tggbc_ros.core import budget as controller
from tggbc_ros.core import carry, start, visible
from tggbc_ros.core import memory as temporal
from tggbc_ros.core.budget import Budget
from tggbc_ros.core.carry import Carried
from tggbc_ros.core.config import DecodeConfig, MemoryConfig, ModelConfig, PreprocessConfig, PruningConfig, RaysConfig
from tggbc_ros.core.decode import decode_boxes
from tggbc_ros.core.gates import Decisions
from tggbc_ros.core.key_gate import KeyGate
from tggbc_ros.core.memory import Snapshot
from tggbc_ros.core.position import hold_still
from tggbc_ros.core.preprocess import open_pool, preprocess
from tggbc_ros.core.threads import beside
from tggbc_ros.core.token_rate import Gated, Threshold, after_frame, expect_gates, threshold_for
from tggbc_ros.core.types import (
    AlignedMemory,
    Array,
    Boxes3D,
    CameraFrame,
    NetworkInput,
    NetworkOutput,
    StepReport,
    Tokens,
)


class Network(Protocol):
    """An engine that runs StreamPETR: PyTorch, ONNX Runtime, TensorRT. Stateless between frames.

    precision: of the image encoder, fp32, fp16, bf16 or int8; all else is float32. gate: chooses keys for start_ratio;
    None where its weights have none. own_threads: whether the engine brings threads for the CPU, so that torch computes
    alone beside it (see `threads`).
    """

    model: ModelConfig
    device: torch.device
    weights: str
    precision: str
    gate: KeyGate | None
    own_threads: bool

    def encode(self, images: torch.Tensor) -> torch.Tensor:
        """Normalised images [B, N, 3, H, W] -> features [B, N, C, rows, columns]."""

    def embed(self, features: torch.Tensor, inputs: NetworkInput, cells: torch.Tensor | None = None) -> Tokens:
        """Features and calibration -> the decoder's keys and values, of all image cells or of ``cells`` [K] alone.

        ``cells`` ascend and are counted camera by camera, row by row; of the others nothing is computed.
        """

    def decode(self, tokens: Tokens, memory: AlignedMemory, pruning: PruningConfig) -> NetworkOutput:
        """Keys, values and memory -> logits and box codes of the last decoder layer.

        The tokens may be some of those that `embed` gave; ``pruning.keep_ratio`` is a share of all of them.
        """

    def start_points(self) -> torch.Tensor:
        """[propagated, 3] metres, lidar frame: where the queries of an empty memory look."""

    def synchronize(self) -> None:
        """Wait until the device has done what it was asked, so that a clock tells the truth."""


@runtime_checkable
class Calibrated(Protocol):
    """A network whose encoder was fitted to given images, and which can tell how far others are from these."""

    @property
    def beyond_calibration(self) -> float | None:
        """Share of the last frame's pixels or features, whichever is more, beyond the usual; None before the first."""


class Detector:
    """Six images in, 3D boxes out.

    State: temporal memory as the last frames left it; time and pose of the frame before; the importance that
    ``pruning.carry`` carries over; the threshold that holds ``pruning.token_rate``; the times that keep_mode budget
    goes by; calibration and cells last used.
    ``pruning``, ``decode`` and ``memory_config`` may be replaced between two frames. Not thread-safe: one caller.
    Threads of its own preprocess images, until it is closed or gone.
    """

    def __init__(
        self,
        network: Network,
        pruning: PruningConfig | None = None,
        memory: MemoryConfig | None = None,
        decode: DecodeConfig | None = None,
        rays: RaysConfig | None = None,
        images: PreprocessConfig | None = None,
    ) -> None:
        self.network = network
        self.pruning = pruning or PruningConfig()
        self.memory_config = memory or MemoryConfig()
        self.decode = decode or DecodeConfig()
        self.rays_config = rays or RaysConfig()
        self.images_config = images or PreprocessConfig()
        self._pool = open_pool()
        self.past: temporal.Past = ()
        self.carried: Carried | None = None
        self.budget: Budget | None = None
        self.threshold: Threshold | None = None
        self._lidar2img: torch.Tensor | None = None
        self._cells: visible.Mask | None = None
        self._previous: tuple[int, Array] | None = None
        self._pending_reset = ""
        self._frames = 0
        self._started_by = ""

    def step(self, frame: CameraFrame) -> tuple[Boxes3D, StepReport]:
        """Boxes in the lidar frame at the frame's reference time, best first, and what was done.

        Whatever it raises (FloatingPointError where the network answers NaN), the frame does not enter memory. Memory
        that it must not use (`memory.distrust`) is dropped all the same, and the next report says why.
        """
        self._distrust_memory(frame)
        with beside(self.network.own_threads):
            return self._step(frame)

    def _step(self, frame: CameraFrame) -> tuple[Boxes3D, StepReport]:
        watch = Stopwatch(self.network.synchronize)
        model, device = self.network.model, self.network.device

        inputs = preprocess(frame, model, device, self.images_config, self._pool)
        inputs = hold_still(inputs, self._lidar2img, model, self.rays_config.tolerance_m)
        watch.lap("preprocess")
        pose = torch.from_numpy(frame.lidar2global).to(device)[None]
        time_s = torch.tensor([frame.timestamp_ns / 1e9], dtype=torch.float64, device=device)
        read = temporal.go_on_from(self.past, frame.timestamp_ns, self.memory_config.interval_s)
        memory = read.memory if read else temporal.start(model, self.network.start_points(), pose, time_s)
        aligned = temporal.align(memory, pose, time_s, model.memory_length)
        watch.lap("align")
        asked = self._asked()
        features, decisions = self._encode(inputs.images, asked)
        watch.lap("encode")
        if visible.comes_into_sight(self._cells, frame.cells):
            self.carried = None  # what it says of those cells is not that they do not matter
        tokens = self._tokens(features, inputs, aligned if read else None, frame.cells, asked)
        watch.lap("embed")
        started = visible.visible_tokens(tokens, frame.cells)
        if not asked.start.active:  # else they were chosen, carry_ratio among the rest, before they were embedded
            started = carry.start_tokens(started, self.carried, asked)
        output = self.network.decode(started, aligned, asked)
        _expect_finite(output)
        watch.lap("decode")
        boxes = decode_boxes(output, self.decode)
        memory = temporal.push(memory, output, model, pose, time_s)
        self.past = temporal.remember(self.past, read, Snapshot(frame.timestamp_ns, memory))
        self.carried = carry.after_frame(self.carried, output, tokens.num_cells, asked.carry, asked.start.active)
        watch.lap("boxes")

        age_s = (frame.timestamp_ns - read.written_ns) / 1e9 if read else 0.0
        report = self._report(age_s, started, output, watch.stages_ms, decisions)
        self._frames += 1
        self._previous, self._pending_reset = (frame.timestamp_ns, frame.lidar2global), ""
        self._lidar2img, self._cells = inputs.lidar2img, frame.cells
        self._note_times(watch.stages_ms)
        return boxes, report

    def close(self) -> None:
        """End the threads that preprocess images; no step may follow."""
        self._pool.shutdown()

    def reset_memory(self, cause: str) -> None:
        """Forget the past; the next step's report says why. Without a memory there is nothing to forget."""
        if self.past:
            self.past, self.carried, self._previous, self._lidar2img = (), None, None, None
            self._pending_reset = cause

    def _encode(self, images: torch.Tensor, asked: PruningConfig) -> tuple[torch.Tensor, Decisions | None]:
        """Features, and what gates decided where some tokens are to be left out."""
        self.threshold = threshold_for(self.threshold, asked.token_rate)
        if self.threshold is None:
            return self.network.encode(images), None
        expect_gates(self.network, asked)
        assert isinstance(self.network, Gated)
        features, decisions = self.network.encode_gated(images, self.threshold.shift)
        self.threshold = after_frame(self.threshold, decisions)
        return features, decisions

    def _tokens(
        self,
        features: torch.Tensor,
        inputs: NetworkInput,
        memory: AlignedMemory | None,
        cells: visible.Mask | None,
        asked: PruningConfig,
    ) -> Tokens:
        """Keys and values of all cells, or of those that are chosen to start with."""
        self._started_by = ""
        if not asked.start.active:
            return self.network.embed(features, inputs)
        gate = self.network.gate
        chosen = start.chosen_cells(gate, features, inputs, memory, self.carried, asked, self._frames, cells)
        if chosen is not None:
            self._started_by = "carry" if gate is None else "gate"
        return self.network.embed(features, inputs, chosen)

    def _asked(self) -> PruningConfig:
        """How this frame is to be pruned: as configured, but keep_mode budget has its own keep ratio."""
        keep = self.pruning.keep
        if keep.mode != "budget":
            self.budget = None
            return self.pruning
        self.budget = controller.within(self.budget or controller.start(self.pruning.keep_ratio, keep), keep)
        return dataclasses.replace(self.pruning, keep_ratio=self.budget.ratio)

    def _note_times(self, stages_ms: dict[str, float]) -> None:
        """Let keep_mode budget choose the next frame's keep ratio."""
        if self.budget is not None:
            decode_ms = stages_ms["decode"]
            other_ms = sum(stages_ms.values()) - decode_ms if self.pruning.keep.budget_of == "frame" else 0.0
            self.budget = controller.after_frame(self.budget, self.pruning.keep, decode_ms, max(0.0, other_ms))

    def _report(
        self,
        memory_age_s: float,
        started: Tokens,
        output: NetworkOutput,
        stages_ms: dict[str, float],
        decisions: Decisions | None,
    ) -> StepReport:
        voters = [trim.queries.shape[1] for _, trim in sorted(output.trims.items())]
        return StepReport(
            keep_ratio=self.pruning.keep_ratio,
            keys=output.num_keys,
            stage_ms=stages_ms,
            memory_age_s=memory_age_s,
            reset_cause=self._pending_reset,
            kept=_seen_last(started, output),
            num_cells=started.num_cells,
            started=started.index[0].cpu().numpy(),
            started_by=self._started_by,
            voters=voters[-1] if voters else 0,
            feasible=self.budget is None or self.budget.feasible,
            token_rate=self.pruning.token_rate,
            tokens=None if decisions is None else decisions.keep.flatten(1).cpu().numpy(),
            beyond_calibration=self.network.beyond_calibration if isinstance(self.network, Calibrated) else None,
        )

    def _distrust_memory(self, frame: CameraFrame) -> None:
        """Drop memory that this frame must not use; the first step that succeeds will report why."""
        if self._previous is not None:
            cause = temporal.distrust(self._previous, (frame.timestamp_ns, frame.lidar2global), self.memory_config)
            if cause:
                self.reset_memory(cause)


def _seen_last(started: Tokens, output: NetworkOutput) -> npt.NDArray[np.int64]:
    """Image cells whose keys the last decoder layer saw; what it trims itself, nobody misses."""
    before = [layer for layer in output.trims if layer < len(output.num_keys) - 1]
    cells = output.trims[max(before)].kept if before else started.index
    return np.asarray(cells[0].cpu().numpy())


def _expect_finite(output: NetworkOutput) -> None:
    """A poisoned frame must neither look like an empty street nor enter memory, nor choose keys at random."""
    found = {f"key importance after layer {layer + 1}": trim.importance for layer, trim in output.trims.items()}
    for name, values in {"class logits": output.logits, "box codes": output.codes, **found}.items():
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
