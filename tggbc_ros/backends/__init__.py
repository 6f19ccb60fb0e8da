"""Engines that run the network: a table from backend name to loader. The interface is core.detector.Network."""

from __future__ import annotations

from pathlib import Path

from tggbc_ros.backends.torch_backend import TorchNetwork
from tggbc_ros.core.config import ModelConfig
from tggbc_ros.core.detector import Network

BACKENDS = {"torch": TorchNetwork.load}
SHIPPED_WEIGHTS = {"demo": Path(__file__).resolve().parents[1] / "weights" / "demo_model.safetensors"}
"""Weights that come with the package, by model; trained on synthetic drives only (weights/README.md)."""


def load_network(
    backend: str, model: ModelConfig, checkpoint: Path | None, device: str, allow_random_weights: bool = False
) -> Network:
    """A network ready to run. device: cpu, cuda, cuda:1, … or auto. No checkpoint: the shipped one, if there is one.

    Raises ValueError for an unknown backend, for a checkpoint that does not fit the model, and where there is
    no checkpoint unless random weights are allowed: their boxes mean nothing.
    """
    if backend not in BACKENDS:
        raise ValueError(f"backend is {backend!r}, expected one of {', '.join(BACKENDS)}")
    shipped = None if checkpoint else SHIPPED_WEIGHTS.get(model.name)
    if checkpoint is None and shipped is None and not allow_random_weights:
        raise ValueError(
            f"no checkpoint for model {model.name}: set the parameter checkpoint to a StreamPETR checkpoint, "
            "or allow_random_weights to true to try the node without one (its boxes then mean nothing)"
        )
    network = BACKENDS[backend](model, checkpoint or shipped, device)
    if shipped:
        network.weights = f"demo model, trained on synthetic drives only: {network.weights}"
    return network
