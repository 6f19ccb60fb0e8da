"""3D position embedding: every image cell becomes a key that knows which ray of space it looks along."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from tggbc_ros.core.config import ModelConfig
from tggbc_ros.core.layers import EPSILON, ModulatedLayerNorm, logit, mlp
from tggbc_ros.core.types import NetworkInput, Tokens

CONE_NEAR_BIN = 34  # with the last bin, the two depths that describe a cell's viewing cone
FOCAL_SCALE_PX = 1000.0


@dataclass(frozen=True, eq=False)
class Rays:
    """What depends on the calibration alone: position [B, T, C] and cone [B, T, 8] of every image cell."""

    position: torch.Tensor
    cone: torch.Tensor


def depth_bins(model: ModelConfig) -> torch.Tensor:
    """[D] depths in metres, linearly growing steps (LID, CaDDN arXiv 2103.01100)."""
    index = torch.arange(model.depth_bins, dtype=torch.float32)
    step = (model.position_range[3] - model.depth_start_m) / (model.depth_bins * (model.depth_bins + 1))
    return model.depth_start_m + step * index * (index + 1)


def cell_points(model: ModelConfig, inputs: NetworkInput, rows: int, columns: int) -> torch.Tensor:
    """[B, T, D, 3]: points on each cell's ray, lidar frame, scaled so that position_range is 0..1."""
    device = inputs.lidar2img.device
    u = (torch.arange(columns, device=device) + 0.5) * model.stride
    v = (torch.arange(rows, device=device) + 0.5) * model.stride
    pixel = torch.stack([u.expand(rows, -1), v[:, None].expand(-1, columns), torch.ones_like(u).expand(rows, -1)], -1)
    img2lidar = torch.linalg.inv(inputs.lidar2img.double()).float()
    ray = torch.einsum("bnij,rcj->bnrci", img2lidar[..., :3, :3], pixel)
    depth = depth_bins(model).to(device).clamp(min=EPSILON)
    points = ray[..., None, :] * depth[:, None] + img2lidar[:, :, None, None, None, :3, 3]
    low, high = ray.new_tensor(model.position_range).split(3)
    scaled: torch.Tensor = (points - low) / (high - low)
    return scaled.flatten(1, 3)


def cones(points: torch.Tensor, intrinsics: torch.Tensor) -> torch.Tensor:
    """[B, T, 8]: focal lengths and two points of the ray, from `cell_points` and [B, N, 3, 3].

    The focal lengths of token j are those of camera j mod N, not of its own camera: the original
    network does so, and its trained weights depend on it.
    """
    tokens, cameras = points.shape[1], intrinsics.shape[1]
    focal = intrinsics[:, :, [0, 1], [0, 1]].abs() / FOCAL_SCALE_PX
    focal = focal.repeat(1, tokens // cameras, 1)
    return torch.cat([focal, points[:, :, -1], points[:, :, CONE_NEAR_BIN]], dim=-1)


class FeatureGate(nn.Module):
    """Scales a position embedding by what is seen there (PETRv2's feature-guided position encoder)."""

    def __init__(self, dims: int) -> None:
        super().__init__()
        self.reduce = nn.Linear(dims, dims)
        self.expand = nn.Linear(dims, dims)

    def forward(self, position: torch.Tensor, features: torch.Tensor) -> torch.Tensor:
        """Both [B, T, C] -> [B, T, C]."""
        gate: torch.Tensor = self.expand(self.reduce(features).relu()).sigmoid()
        return position * gate


class PositionEmbedding(nn.Module):
    """Image features and calibration -> the decoder's keys and values."""

    def __init__(self, model: ModelConfig) -> None:
        super().__init__()
        dims = model.embed_dims
        self.model = model
        self.encoder = mlp(3 * model.depth_bins, 4 * dims, dims)
        self.memory_embed = mlp(dims, dims, dims)
        self.spatial_alignment = ModulatedLayerNorm(8, dims)
        self.featurized = FeatureGate(dims)

    def rays(self, inputs: NetworkInput) -> Rays:
        """The part that changes only with the calibration."""
        stride = self.model.stride
        height, width = inputs.images.shape[-2:]
        points = cell_points(self.model, inputs, -(-height // stride), -(-width // stride))
        return Rays(self.encoder(logit(points).flatten(2)), cones(points, inputs.intrinsics))

    def forward(self, features: torch.Tensor, rays: Rays) -> Tokens:
        """features [B, N, C, rows, columns] -> keys and values [B, N * rows * columns, C]."""
        flat = features.permute(0, 1, 3, 4, 2).flatten(1, 3)
        value = self.spatial_alignment(self.memory_embed(flat), rays.cone)
        index = torch.arange(value.shape[1], device=value.device).expand(value.shape[0], -1)
        return Tokens(key=value + self.featurized(rays.position, value), value=value, index=index)
