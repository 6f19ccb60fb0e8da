"""Engines that run the network: a table from backend name to loader. The interface is core.detector.Network."""

from __future__ import annotations

from pathlib import Path

from tggbc_ros.backends.torch_backend import TorchNetwork
from tggbc_ros.core.config import ModelConfig
from tggbc_ros.core.detector import Network

BACKENDS = {"torch": TorchNetwork.load}


def load_network(
    backend: str, model: ModelConfig, checkpoint: Path | None, device: str, allow_random_weights: bool = False
) -> Network:
    """A network ready to run. device: cpu, cuda, cuda:1, … or auto.

    Raises ValueError for an unknown backend, for a checkpoint that does not fit the model, and where no
    checkpoint is named unless random weights are allowed: their boxes mean nothing.
    """
    if backend not in BACKENDS:
        raise ValueError(f"backend is {backend!r}, expected one of {', '.join(BACKENDS)}")
    if checkpoint is None and not allow_random_weights:
        raise ValueError(
            f"no checkpoint for model {model.name}: set the parameter checkpoint to a StreamPETR checkpoint, "
            "or allow_random_weights to true to try the node without one (its boxes then mean nothing)"
        )
    return BACKENDS[backend](model, checkpoint, device)
