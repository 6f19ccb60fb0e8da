"""What came out: official scores of a network on held-out frames, and times of encoders side by side."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch

from tggbc_ros import backends
from tggbc_ros.core.config import DecodeConfig, ModelConfig, PruningConfig
from tggbc_ros.data.nuscenes.dataset import NuScenes
from tggbc_ros.evaluation.detect import Sweep
from tggbc_ros.evaluation.judge import score_pass
from tggbc_ros.evaluation.passes import Split, load_split
from tggbc_ros.evaluation.results import Row
from tggbc_ros.evaluation.score import Evaluator

WARM_UP = 3


@dataclass(frozen=True, eq=False)
class Held:
    """Frames that no stage before has seen, and who scores on them."""

    split: Split
    evaluator: Evaluator

    @classmethod
    def out(cls, root: Path, version: str | None, name: str) -> Held:
        """A split of a data set; raises what `load_split` and `Evaluator` do where it is not there."""
        dataset = NuScenes(root, version)
        return cls(load_split(dataset, name), Evaluator(dataset.root, dataset.tables.name, name))

    def __len__(self) -> int:
        return sum(map(len, self.split.scenes.values()))

    def score(
        self,
        model: ModelConfig,
        checkpoint: Path,
        device: str,
        out: Path,
        done: Callable[[], object],
        backend: str = "torch",
    ) -> Row:
        """Official scores with all keys kept, as a row of `evaluation.results`; out: for submission and details."""
        network = backends.load_network(backend, model, checkpoint, device)
        (record,) = Sweep(network, [PruningConfig()], DecodeConfig()).run(self.split, done)
        return score_pass(record, self.split, self.evaluator, out)


Encode = Callable[[], object]


@torch.inference_mode()
def interleaved_ms(encoders: Mapping[str, Encode], repeats: int, done: Callable[[], object]) -> dict[str, list[float]]:
    """Times of each, turn by turn, so that whatever else the machine does hits all alike; ``done`` after each turn."""
    for encode in encoders.values():
        for _ in range(WARM_UP):
            encode()
    times: dict[str, list[float]] = {name: [] for name in encoders}
    for _ in range(repeats):
        for name, encode in encoders.items():
            started = time.perf_counter()
            encode()
            times[name].append((time.perf_counter() - started) * 1e3)
        done()
    return times


def summary(times: Mapping[str, list[float]]) -> dict[str, dict[str, float | int]]:
    """Median, lower and upper quartile in ms, and how often each was timed."""
    found = {}
    for name, each in times.items():
        low, middle, high = statistics.quantiles(each, n=4, method="inclusive")
        found[name] = {"median_ms": middle, "low_ms": low, "high_ms": high, "repeats": len(each)}
    return found
