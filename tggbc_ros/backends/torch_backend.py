"""PyTorch: the reference backend."""

from __future__ import annotations

from pathlib import Path

import torch

from tggbc_ros.core import checkpoint as checkpoints
from tggbc_ros.core.config import ModelConfig, PruningConfig
from tggbc_ros.core.model import StreamPETR
from tggbc_ros.core.position import Rays
from tggbc_ros.core.types import AlignedMemory, NetworkInput, NetworkOutput, Tokens

RANDOM_SEED = 0
Calibration = tuple[torch.Tensor, torch.Tensor]


class TorchNetwork:
    """`core.detector.Network` in eager PyTorch, float32."""

    def __init__(self, module: StreamPETR, device: torch.device, weights: str) -> None:
        self.model = module.model
        self.device = device
        self.weights = weights
        self.module = module.to(device).eval().requires_grad_(False)
        self._rays: tuple[Calibration, Rays] | None = None

    @classmethod
    def load(cls, model: ModelConfig, checkpoint: Path | None, device: str) -> TorchNetwork:
        """From a checkpoint, or with random weights where none is given."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(RANDOM_SEED)
            module = StreamPETR(model)
        weights = "RANDOM"
        if checkpoint is not None:
            checkpoints.load_checkpoint(module, checkpoint)
            weights = f"{checkpoint.name} sha256:{checkpoints.sha256(checkpoint)[:16]}"
        return cls(module, find_device(device), weights)

    @torch.inference_mode()
    def encode(self, images: torch.Tensor) -> torch.Tensor:
        """Normalised images [B, N, 3, H, W] -> features [B, N, C, rows, columns]."""
        return self.module.encode(images)

    @torch.inference_mode()
    def embed(self, features: torch.Tensor, inputs: NetworkInput) -> Tokens:
        """Features and calibration -> keys and values; a camera's rays are kept as long as its matrix is."""
        return self.module.embed(features, self._rays_of(inputs))

    def _rays_of(self, inputs: NetworkInput) -> Rays:
        calibration = inputs.lidar2img, inputs.intrinsics
        if self._rays is None or not _same_lenses(self._rays[0], calibration):
            rays = self.module.rays(inputs)
        else:
            (lidar2img, _), rays = self._rays
            moved = (lidar2img != inputs.lidar2img).any(dim=-1).any(dim=-1).any(dim=0).nonzero()[:, 0].tolist()
            if moved:
                rays.replace_cameras(moved, self.module.rays(inputs, moved), lidar2img.shape[1])
        self._rays = calibration, rays
        return rays

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


def _same_lenses(a: Calibration, b: Calibration) -> bool:
    """Whether only positions may differ; every camera's rays depend on all cameras' focal lengths."""
    return a[0].shape == b[0].shape and torch.equal(a[1], b[1])
