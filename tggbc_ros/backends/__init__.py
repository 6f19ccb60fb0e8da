"""Engines that run the network: a table from backend name to loader. The interface is core.detector.Network."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

from tggbc_ros.backends import onnxruntime_backend, openvino_backend, tensorrt_backend
from tggbc_ros.backends.torch_backend import TorchNetwork
from tggbc_ros.core.checkpoint import fitting
from tggbc_ros.core.config import ModelConfig
from tggbc_ros.core.detector import Network
from tggbc_ros.core.key_gate import KeyGate, load_gate
from tggbc_ros.export.manifest import GATE_FILE

BACKENDS: dict[str, Callable[[ModelConfig, Path | None, str], Network]] = {
    "torch": TorchNetwork.load,
    "torch_bf16": partial(TorchNetwork.load, precision="bf16"),
    "torch_fp16": partial(TorchNetwork.load, precision="fp16"),
    "onnxruntime": onnxruntime_backend.load,
    "onnxruntime_tensorrt": partial(onnxruntime_backend.load, tensorrt=True),
    "openvino": openvino_backend.load,
    "openvino_bf16": partial(openvino_backend.load, precision="bf16"),
    "openvino_int8": partial(openvino_backend.load, precision="int8"),
    "tensorrt": tensorrt_backend.load,
}
WEIGHTS = Path(__file__).resolve().parents[1] / "weights"
SHIPPED_WEIGHTS = {"demo": WEIGHTS / "demo_model.safetensors", "demo_slim": WEIGHTS / "demo_slim.safetensors"}
"""Weights that come with the package, by model; trained on synthetic drives only (weights/README.md). Their key gate is
in the file, their encoder in int8 beside it (`export.cache.quantised_encoder`)."""


def as_shipped(model: ModelConfig) -> ModelConfig:
    """The model with the shape of the weights that it ships with, if it ships any."""
    shipped = SHIPPED_WEIGHTS.get(model.name)
    return fitting(model, shipped) if shipped else model


def weights_file(model: ModelConfig, checkpoint: Path | None) -> Path:
    """The file of a network's weights: the one that is named, or the shipped one.

    Raises ValueError where there is neither, or an export is named in its place.
    """
    found = choose_weights(model, checkpoint, allow_random_weights=False)
    assert found is not None  # choose_weights raises else
    if found.is_dir():
        raise ValueError(f"checkpoint {found} is an export: give the file with the weights")
    return found


def load_network(
    backend: str, model: ModelConfig, checkpoint: Path | None, device: str, allow_random_weights: bool = False
) -> Network:
    """A network ready to run. device: cpu, cuda, cuda:1, … or auto. No checkpoint: the shipped one, if there is one.

    A checkpoint may be the folder of an export (`tools.export`) where the backend runs exports. Raises ValueError for
    an unknown backend, a checkpoint (or the key gate in it) that does not fit the model, and weights that are random
    without leave to be.
    """
    if backend not in BACKENDS:
        raise ValueError(f"backend is {backend!r}, expected one of {', '.join(BACKENDS)}")
    weights = choose_weights(model, checkpoint, allow_random_weights)
    network = BACKENDS[backend](model, weights, device)
    if network.weights == "RANDOM" and not allow_random_weights:
        raise ValueError(f"{weights} was exported without a checkpoint: its boxes mean nothing")
    network.gate = _load_gate(network.model, weights)
    if checkpoint is None and weights:
        network.weights = f"{model.name} model, trained on synthetic drives only: {network.weights}"
    return network


def _load_gate(model: ModelConfig, weights: Path | None) -> KeyGate | None:
    """The key gate that came with these weights, or with an export of them; None where none did."""
    file = weights / GATE_FILE if weights is not None and weights.is_dir() else weights
    return load_gate(model, file) if file is not None and file.is_file() else None


def choose_weights(model: ModelConfig, checkpoint: Path | None, allow_random_weights: bool) -> Path | None:
    """The checkpoint, else the model's shipped one; None, for random weights, only where they are allowed."""
    weights = checkpoint or SHIPPED_WEIGHTS.get(model.name)
    if weights is None and not allow_random_weights:
        raise ValueError(
            f"no checkpoint for model {model.name}: set the parameter checkpoint to a StreamPETR checkpoint, "
            "or allow_random_weights to true to try the node without one (its boxes then mean nothing)"
        )
    return weights
