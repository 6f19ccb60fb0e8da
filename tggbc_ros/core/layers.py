"""Small pieces that several parts of the head share; all from StreamPETR (arXiv 2303.11926) and PETR."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import nn

EPSILON = 1e-5


def mlp(inputs: int, hidden: int, outputs: int) -> nn.Sequential:
    """Linear, ReLU, Linear."""
    return nn.Sequential(nn.Linear(inputs, hidden), nn.ReLU(), nn.Linear(hidden, outputs))


def logit(probability: torch.Tensor) -> torch.Tensor:
    """Inverse sigmoid of values clamped to [0, 1], bounded to about +-11.5 so that 0 and 1 stay finite."""
    probability = probability.clamp(0.0, 1.0)
    return torch.log(probability.clamp(min=EPSILON) / (1.0 - probability).clamp(min=EPSILON))


def sine_embedding(value: torch.Tensor, features: int) -> torch.Tensor:
    """[...] -> [..., features]: sine on even, cosine on odd places, wavelengths 1 to 10000."""
    index = torch.arange(features, device=value.device)
    wavelength = 10000.0 ** (2 * (index // 2).to(value.dtype) / features)
    phase = value[..., None] * (2 * math.pi) / wavelength
    return torch.where(index % 2 == 0, phase.sin(), phase.cos())


def point_embedding(point: torch.Tensor, features: int = 128) -> torch.Tensor:
    """Normalised points [..., 3] -> [..., 3 * features], in the order y, x, z (as the network was trained)."""
    return sine_embedding(point[..., [1, 0, 2]], features).flatten(-2)


def fourier_embedding(code: torch.Tensor, octaves: int = 6) -> torch.Tensor:
    """[..., D] -> [..., 2 * octaves * D]: sine then cosine of the code at frequencies 1, 2, 4, ..."""
    waves = [wave(code * 2.0**octave) for octave in range(octaves) for wave in (torch.sin, torch.cos)]
    return torch.cat(waves, dim=-1)


class ModulatedLayerNorm(nn.Module):
    """Layer norm whose scale and shift are read off a condition (StreamPETR's motion-aware layer norm)."""

    def __init__(self, condition_dims: int, dims: int) -> None:
        super().__init__()
        self.reduce = nn.Linear(condition_dims, dims)
        self.gamma = nn.Linear(dims, dims)
        self.beta = nn.Linear(dims, dims)

    def modulation(self, condition: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Scale and shift [..., dims] of a condition [..., condition_dims]."""
        hidden = self.reduce(condition).relu()
        return self.gamma(hidden), self.beta(hidden)

    def forward(self, x: torch.Tensor, condition: torch.Tensor) -> torch.Tensor:
        """x [..., dims], condition [..., condition_dims] -> [..., dims]."""
        return modulated(x, *self.modulation(condition))


def modulated(x: torch.Tensor, scale: torch.Tensor, shift: torch.Tensor) -> torch.Tensor:
    """x [..., dims], normalised over its last axis, then scaled and shifted."""
    return torch.addcmul(shift, scale, F.layer_norm(x, x.shape[-1:]))
