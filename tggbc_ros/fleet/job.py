"""What a fleet is to do: the network that every worker loads, and the tasks."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tggbc_ros import backends
from tggbc_ros.core.checkpoint import sha256
from tggbc_ros.core.config import PruningConfig, model_config
from tggbc_ros.core.detector import Network


@dataclass(frozen=True)
class Engine:
    """The network of all workers. checkpoint: a file that each finds at that path, or None for the model's own.

    weights: SHA-256 of the file that was meant. threads: of each worker.
    """

    model: str
    checkpoint: Path | None
    weights: str
    backend: str
    device: str
    threads: int
    keep_ratios: tuple[float, ...]

    def __post_init__(self) -> None:
        for ratio in self.keep_ratios:
            PruningConfig(keep_ratio=ratio)
        if not self.keep_ratios or len(set(self.keep_ratios)) != len(self.keep_ratios):
            raise ValueError(f"keep ratios are {self.keep_ratios}, expected different ones, at least one")
        if self.threads < 1:
            raise ValueError(f"threads is {self.threads}, expected at least 1")

    def load(self) -> Network:
        """The network; raises ValueError where the file here is not the one that was meant."""
        import torch

        torch.set_num_threads(self.threads)
        model = model_config(self.model)
        file = backends.weights_file(model, self.checkpoint)
        if sha256(file) != self.weights:
            raise ValueError(f"{file} of this worker is sha256:{sha256(file)[:16]}, expected {self.weights[:16]}")
        return backends.load_network(self.backend, model, self.checkpoint, self.device)

    def said(self) -> dict[str, Any]:
        """What results depend on, as plain values."""
        given = asdict(self)
        return {name: given[name] for name in ("model", "weights", "backend")} | {"keep_ratios": list(self.keep_ratios)}


def names_of(bags: Sequence[Path]) -> list[str]:
    """A name for each bag's results: its own, with a part of its path's hash where several have it."""
    own = [bag.resolve().name for bag in bags]
    paths = [str(bag.resolve()) for bag in bags]
    if len(set(paths)) != len(paths):
        raise ValueError(f"bag {next(each for each in paths if paths.count(each) > 1)} is given twice")
    hashes = [hashlib.sha256(path.encode()).hexdigest()[:8] for path in paths]
    return [f"{name}-{mark}" if own.count(name) > 1 else name for name, mark in zip(own, hashes, strict=True)]


def print_of(bag: Path) -> dict[str, Any]:
    """By what a bag is known again: its files' sizes and times. Raises OSError for one that is not there."""
    files = [each for each in sorted(bag.rglob("*")) if each.is_file()] if bag.is_dir() else [bag]
    found = [(each.name, each.stat().st_size, each.stat().st_mtime_ns) for each in files]
    return {"path": str(bag.resolve()), "files": [list(each) for each in found]}
