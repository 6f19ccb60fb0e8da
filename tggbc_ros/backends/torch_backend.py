"""PyTorch: the reference backend."""

from __future__ import annotations

from pathlib import Path

import torch

from tggbc_ros.core import checkpoint as checkpoints
from tggbc_ros.core.config import ModelConfig, PruningConfig
from tggbc_ros.core.model import StreamPETR
from tggbc_ros.core.position import KeptRays, renewed
from tggbc_ros.core.types import AlignedMemory, NetworkInput, NetworkOutput, Tokens


class TorchNetwork:
    """`core.detector.Network` in eager PyTorch, float32."""

    def __init__(self, module: StreamPETR, device: torch.device, weights: str) -> None:
        self.model = module.model
        self.device = device
        self.weights = weights
        self.module = module.to(device).eval().requires_grad_(False)
        self._rays: KeptRays | None = None

    @classmethod
    def load(cls, model: ModelConfig, checkpoint: Path | None, device: str) -> TorchNetwork:
        """From a checkpoint, or with random weights where none is given."""
        module, weights = checkpoints.build_network(model, checkpoint)
        return cls(module, find_device(device), weights)

    @torch.inference_mode()
    def encode(self, images: torch.Tensor) -> torch.Tensor:
        """Normalised images [B, N, 3, H, W] -> features [B, N, C, rows, columns]."""
        return self.module.encode(images)

    @torch.inference_mode()
    def embed(self, features: torch.Tensor, inputs: NetworkInput) -> Tokens:
        """Features and calibration -> keys and values; a camera's rays are kept as long as its matrix is."""
        self._rays = renewed(self._rays, inputs, self.module.rays)
        return self.module.embed(features, self._rays.rays)

    @torch.inference_mode()
    def decode(self, tokens: Tokens, memory: AlignedMemory, pruning: PruningConfig) -> NetworkOutput:
        """Keys, values and memory -> logits and box codes of the last decoder layer."""
        return self.module.decode(tokens, memory, pruning)

    @torch.inference_mode()
    def start_points(self) -> torch.Tensor:
        """[propagated, 3] metres, lidar frame."""
        return self.module.head.queries.start_points()

    def synchronize(self) -> None:
        """Wait for the CUDA queue; on a CPU there is none."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)


def find_device(name: str) -> torch.device:
    """``auto`` is the first CUDA device, else the CPU; a CUDA device that is not there raises."""
    cuda = torch.cuda.is_available()
    if name == "auto":
        return torch.device("cuda" if cuda else "cpu")
    device = torch.device(name)
    if device.type == "cuda" and not cuda:
        raise ValueError(f"device is {name!r}, but torch {torch.__version__} finds no CUDA device; use cpu or auto")
    return device
