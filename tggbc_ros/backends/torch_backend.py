"""PyTorch: the reference backend."""

from __future__ import annotations

from pathlib import Path

import torch

from tggbc_ros.backends.torch_encoder import Encoder
from tggbc_ros.core import checkpoint as checkpoints
from tggbc_ros.core.config import ModelConfig, PruningConfig
from tggbc_ros.core.gates import Decisions
from tggbc_ros.core.key_gate import KeyGate
from tggbc_ros.core.model import StreamPETR
from tggbc_ros.core.position import KeptRays, cell_features, renewed, renewed_cells
from tggbc_ros.core.types import AlignedMemory, NetworkInput, NetworkOutput, Tokens

PRECISIONS = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}


class TorchNetwork:
    """`core.detector.Network` in PyTorch: the encoder in ``precision``, the head in float32."""

    def __init__(self, module: StreamPETR, device: torch.device, weights: str, precision: str = "fp32") -> None:
        self.model = module.model
        self.device = device
        self.weights = weights
        self.precision = precision
        self.gate: KeyGate | None = None
        self.own_threads = False
        self.head = module.head.to(device).eval().requires_grad_(False)
        self._encoder = Encoder(module, device, PRECISIONS[precision])
        self._rays: KeptRays | None = None

    @classmethod
    def load(cls, model: ModelConfig, checkpoint: Path | None, device: str, precision: str = "fp32") -> TorchNetwork:
        """From a checkpoint, or with random weights where none is given."""
        module, weights = checkpoints.build_network(model, checkpoint)
        return cls(module, find_device(device), weights, precision)

    @torch.inference_mode()
    def encode(self, images: torch.Tensor) -> torch.Tensor:
        """Normalised images [B, N, 3, H, W] -> features [B, N, C, rows, columns]."""
        return self._encoder(images)

    @property
    def gated_blocks(self) -> int:
        """How many of its encoder's blocks have a gate."""
        return self._encoder.gated_blocks

    @torch.inference_mode()
    def encode_gated(self, images: torch.Tensor, shift: float) -> tuple[torch.Tensor, Decisions]:
        """The same, of the tokens that gates let through; see `core.token_rate.Gated`."""
        return self._encoder.gated(images, shift)

    @torch.inference_mode()
    def embed(self, features: torch.Tensor, inputs: NetworkInput, cells: torch.Tensor | None = None) -> Tokens:
        """Features and calibration -> keys and values; a camera's rays are kept as long as its matrix is."""
        position = self.head.position
        if cells is None:
            self._rays = renewed(self._rays, inputs, position.rays)
            tokens: Tokens = position(features, self._rays.rays)
            return tokens
        by_cell = cell_features(features)
        self._rays = renewed_cells(self._rays, inputs, position.rays, cells, by_cell.shape[1])
        key, value = position.embed(by_cell.index_select(1, cells), self._rays.rays.of_cells(cells))
        return Tokens(key, value, cells.expand(len(features), -1), by_cell.shape[1])

    @torch.inference_mode()
    def decode(self, tokens: Tokens, memory: AlignedMemory, pruning: PruningConfig) -> NetworkOutput:
        """Keys, values and memory -> logits and box codes of the last decoder layer."""
        output: NetworkOutput = self.head(tokens, memory, pruning)
        return output

    @torch.inference_mode()
    def start_points(self) -> torch.Tensor:
        """[propagated, 3] metres, lidar frame."""
        return self.head.queries.start_points()

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
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise ValueError(f"device is {name!r}, but there are {torch.cuda.device_count()} CUDA devices, counted from 0")
    return device
