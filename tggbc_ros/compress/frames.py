"""What a dense network does with a user's own frames: what the key gate will know of each, and what it has to guess."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch

from tggbc_ros.core.config import KeepConfig, PruningConfig
from tggbc_ros.core.detector import Detector, Network
from tggbc_ros.core.key_gate import KeyGate, hints_of
from tggbc_ros.core.position import cell_features
from tggbc_ros.core.types import AlignedMemory, CameraFrame, NetworkInput, NetworkOutput, Tokens

ALL_KEYS = KeepConfig("mass", mass=1.0)
"""Every trim keeps all that holds any importance: a dense network that says how much each key holds."""


@dataclass(frozen=True, eq=False)
class Looked:
    """One frame through the dense network; T cells.

    features: [T, C], half precision. hints: [T, HINTS], of memory alone (`key_gate.hints_of`). cells: [K], which of
    them the first layer saw. importance: [K], as that layer looked at them; shares of 1. begins: no memory was read.
    """

    features: torch.Tensor
    hints: torch.Tensor
    cells: torch.Tensor
    importance: torch.Tensor
    begins: bool


class Onlooker:
    """A network that tells what passes through it."""

    def __init__(self, network: Network) -> None:
        self.model = network.model
        self.device = network.device
        self.weights = network.weights
        self.own_threads = network.own_threads
        self.gate: KeyGate | None = None
        self._network = network
        self._seen: tuple[torch.Tensor, NetworkInput] | None = None
        self._decoded: tuple[AlignedMemory, NetworkOutput] | None = None

    def encode(self, images: torch.Tensor) -> torch.Tensor:
        """As the network does."""
        return self._network.encode(images)

    def embed(self, features: torch.Tensor, inputs: NetworkInput, cells: torch.Tensor | None = None) -> Tokens:
        """As the network does."""
        self._seen = features, inputs
        return self._network.embed(features, inputs, cells)

    def decode(self, tokens: Tokens, memory: AlignedMemory, pruning: PruningConfig) -> NetworkOutput:
        """As the network does."""
        output = self._network.decode(tokens, memory, pruning)
        self._decoded = memory, output
        return output

    def start_points(self) -> torch.Tensor:
        """As the network does."""
        return self._network.start_points()

    def synchronize(self) -> None:
        """As the network does."""
        self._network.synchronize()

    def looked(self, has_memory: bool) -> Looked:
        """The frame that just passed."""
        assert self._seen is not None and self._decoded is not None
        (features, inputs), (memory, output) = self._seen, self._decoded
        trim = output.trims[0]
        hints = hints_of(self.model, inputs, memory if has_memory else None, None)
        importance = trim.importance[0].float()
        return Looked(
            cell_features(features)[0].half().cpu(),
            hints[0].cpu(),
            trim.seen[0].cpu(),
            (importance / importance.sum()).cpu(),
            begins=not has_memory,
        )


def look(
    network: Network, drives: Iterable[Iterable[CameraFrame]], on_frame: Callable[[], object], queries: int
) -> list[Looked]:
    """Every frame of every drive, in order; memory is dropped between drives. queries: as `PruningConfig.queries`."""
    onlooker = Onlooker(network)
    detector = Detector(onlooker, PruningConfig(queries=queries, keep=ALL_KEYS))
    found: list[Looked] = []
    try:
        for drive in drives:
            detector.reset_memory("start of a drive")
            for frame in drive:
                _, report = detector.step(frame)
                found.append(onlooker.looked(report.memory_age_s > 0.0))
                on_frame()
    finally:
        detector.close()
    return found
