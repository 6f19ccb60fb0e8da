"""The library over a split: every frame once, with one detector, and so one memory, per setting of the pruning."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Sequence

import torch

from tggbc_ros.core.config import DecodeConfig, MemoryConfig, PreprocessConfig, PruningConfig
from tggbc_ros.core.detector import Detector, Network
from tggbc_ros.core.gates import Decisions
from tggbc_ros.core.geometry import transform_boxes
from tggbc_ros.core.key_gate import KeyGate
from tggbc_ros.core.token_rate import Gated, expect_gates
from tggbc_ros.core.types import AlignedMemory, CameraFrame, NetworkInput, NetworkOutput, Tokens
from tggbc_ros.data.records import Sample
from tggbc_ros.evaluation.passes import Detections, Pass, Split

SHARED_STAGES = ("encode", "embed")
"""What the first detector of a frame finds to do in the network, and the others find done."""


class SharedEncoder:
    """A network whose image encoder runs once a frame, however many detectors look at that frame.

    Pruning happens behind the encoder, which takes most of the time. ``next_frame`` says that another one comes.
    """

    def __init__(self, network: Network) -> None:
        self.model = network.model
        self.device = network.device
        self.weights = network.weights
        self.gate = network.gate
        self._network = network
        self._features: dict[float, tuple[torch.Tensor, Decisions | None]] = {}

    def with_gate(self, gate: KeyGate | None) -> SharedEncoder:
        """The same encoder, run once for both, with another key gate, or with none."""
        other = copy.copy(self)
        other.gate = gate
        return other

    @property
    def own_threads(self) -> bool:
        """The network's own."""
        return self._network.own_threads

    def next_frame(self) -> None:
        """Forget the features of the last frame."""
        self._features.clear()

    def encode(self, images: torch.Tensor) -> torch.Tensor:
        """As the network does, for the first who asks."""
        if math.inf not in self._features:
            self._features[math.inf] = self._network.encode(images), None
        return self._features[math.inf][0]

    @property
    def gated_blocks(self) -> int:
        """The network's own."""
        return self._network.gated_blocks if isinstance(self._network, Gated) else 0

    def encode_gated(self, images: torch.Tensor, shift: float) -> tuple[torch.Tensor, Decisions]:
        """As the network does, for the first who asks with that shift."""
        assert isinstance(self._network, Gated)  # expect_gates raises else
        if shift not in self._features:
            self._features[shift] = self._network.encode_gated(images, shift)
        features, decisions = self._features[shift]
        assert decisions is not None
        return features, decisions

    def embed(self, features: torch.Tensor, inputs: NetworkInput, cells: torch.Tensor | None = None) -> Tokens:
        """As the network does."""
        return self._network.embed(features, inputs, cells)

    def decode(self, tokens: Tokens, memory: AlignedMemory, pruning: PruningConfig) -> NetworkOutput:
        """As the network does."""
        return self._network.decode(tokens, memory, pruning)

    def start_points(self) -> torch.Tensor:
        """As the network does."""
        return self._network.start_points()

    def synchronize(self) -> None:
        """As the network does."""
        self._network.synchronize()


class Sweep:
    """Detectors side by side, each with its own pruning and memory, over scenes in order.

    reset_every_frame: drop memory before each frame, to see what it is worth; it is always dropped between scenes.
    memory, images: as `Detector`'s. reduced: JPEGs are decoded no larger than the network needs, as the node's
    parameter jpeg_decode has it. gates: of each way to prune its own, in place of the network's. Raises ValueError for
    several prunings of which one goes by the time of whole frames: but for the first, they would be told that encoding
    takes none.
    """

    def __init__(
        self,
        network: Network,
        prunings: Sequence[PruningConfig],
        decode: DecodeConfig,
        reset_every_frame: bool = False,
        memory: MemoryConfig | None = None,
        images: PreprocessConfig | None = None,
        reduced: bool = False,
        gates: Sequence[KeyGate | None] = (),
    ) -> None:
        by_frame = sum(each.keep.mode == "budget" and each.keep.budget_of == "frame" for each in prunings)
        if by_frame and len(prunings) > 1:
            found = f"latency_budget_of is frame in {by_frame} of {len(prunings)} ways to prune, which share an encoder"
            raise ValueError(f"{found}: run it alone")
        for pruning in prunings:
            expect_gates(network, pruning)
        self._network = SharedEncoder(network)
        self._images = images or PreprocessConfig()
        self._needed = network.model if reduced else None
        self._reset_every_frame = reset_every_frame
        self._memory = memory or MemoryConfig()
        gates = gates or [network.gate] * len(prunings)
        self._detectors = [
            Detector(self._network.with_gate(gate), pruning, self._memory, decode, images=self._images)
            for pruning, gate in zip(prunings, gates, strict=True)
        ]
        self.passes = [Pass(pruning.keep_ratio, settings=self._settings(pruning)) for pruning in prunings]

    def run(self, split: Split, on_frame: Callable[[], object]) -> list[Pass]:
        """Detect in every set of images, keep what was found in keyframes; ``on_frame`` is called after each set.

        The passes, in the order of the prunings.
        """
        for scene, samples in split.scenes.items():
            self._reset(f"start of scene {scene}")
            for sample in samples:
                if self._reset_every_frame:
                    self._reset("every frame")
                self._step(sample, sample.camera_frame(self._needed))
                on_frame()
        return self.passes

    def _step(self, sample: Sample, frame: CameraFrame) -> None:
        """One frame through all detectors; each is charged what the first one of its token_rate did for all of them.

        Boxes are kept in the vehicle's frame, as the node publishes them.
        """
        self._network.next_frame()
        shared_ms: dict[float, dict[str, float]] = {}
        for detector, record in zip(self._detectors, self.passes, strict=True):
            boxes, report = detector.step(frame)
            done = {stage: report.stage_ms[stage] for stage in SHARED_STAGES}
            stage_ms = {**report.stage_ms, **shared_ms.setdefault(report.token_rate, done)}
            if sample.is_keyframe:
                in_ego = transform_boxes(sample.lidar2ego, boxes)
                record.detections[sample.token] = Detections(in_ego, sample.ego2global)
            record.keys.append(report.keys)
            record.token_rates.append(report.token_rate_used)
            record.encode_ms.append(stage_ms["encode"])
            record.decoder_ms.append(stage_ms["decode"])
            record.frame_ms.append(sum(stage_ms.values()))

    def _reset(self, cause: str) -> None:
        for detector in self._detectors:
            detector.reset_memory(cause)

    def _settings(self, pruning: PruningConfig) -> dict[str, str | int | float]:
        return {
            "model": self._network.model.name,
            "weights": self._network.weights,
            "device": str(self._network.device),
            "prune_layers": pruning.layers,
            "prune_queries": pruning.queries,
            "memory": "reset every frame" if self._reset_every_frame else "kept",
            "memory_interval_s": self._memory.interval_s,
            "resize": self._images.resize,
            "jpeg_decode": "full" if self._needed is None else "reduced",
        }
