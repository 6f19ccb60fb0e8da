"""The network: images to features, features to tokens, tokens and memory to boxes."""

from __future__ import annotations

import torch
from torch import nn

from tggbc_ros.core.backbones import build_backbone
from tggbc_ros.core.config import ModelConfig, PruningConfig
from tggbc_ros.core.head import Head
from tggbc_ros.core.neck import CPFPN
from tggbc_ros.core.position import Rays
from tggbc_ros.core.types import AlignedMemory, NetworkInput, NetworkOutput, Tokens


class StreamPETR(nn.Module):
    """StreamPETR (arXiv 2303.11926). No state: memory is passed in, and made anew from the output."""

    def __init__(self, model: ModelConfig) -> None:
        super().__init__()
        self.model = model
        self.backbone = build_backbone(model.backbone, model.shape)
        self.neck = CPFPN(self.backbone.out_channels, model.embed_dims)
        self.head = Head(model)

    def encode(self, images: torch.Tensor) -> torch.Tensor:
        """Normalised images [B, N, 3, H, W] -> features [B, N, C, H / 16, W / 16]."""
        features: torch.Tensor = self.neck(self.backbone(images.flatten(0, 1))).unflatten(0, images.shape[:2])
        return features

    def rays(self, inputs: NetworkInput, cameras: list[int] | None = None) -> Rays:
        """The position embedding's share that depends on the calibration alone, of all cameras or of some."""
        return self.head.position.rays(inputs, cameras)

    def embed(self, features: torch.Tensor, rays: Rays) -> Tokens:
        """Features [B, N, C, rows, columns] -> the decoder's keys and values."""
        tokens: Tokens = self.head.position(features, rays)
        return tokens

    def decode(
        self, tokens: Tokens, memory: AlignedMemory, pruning: PruningConfig, all_layers: bool = False
    ) -> NetworkOutput:
        """Keys, values and memory -> logits and box codes."""
        output: NetworkOutput = self.head(tokens, memory, pruning, all_layers)
        return output

    def forward(
        self, inputs: NetworkInput, memory: AlignedMemory, pruning: PruningConfig, all_layers: bool = False
    ) -> NetworkOutput:
        """The whole line at once."""
        tokens = self.embed(self.encode(inputs.images), self.rays(inputs))
        return self.decode(tokens, memory, pruning, all_layers)
