"""3D position embedding: every image cell becomes a key that knows which ray of space it looks along."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn

from tggbc_ros.core.config import ModelConfig
from tggbc_ros.core.layers import EPSILON, ModulatedLayerNorm, logit, mlp, modulated
from tggbc_ros.core.types import NetworkInput, Tokens

CONE_NEAR_BIN = 34  # with the last bin, the two depths that describe a cell's viewing cone
CONE_SIZE = 8  # numbers that describe the cone: two focal lengths, two points
FOCAL_SCALE_PX = 1000.0


@dataclass(frozen=True, eq=False)
class Rays:
    """What depends on the calibration alone, of every image cell.

    position: [B, T, C]. cone: [B, T, 8]. scale and shift: [B, T, C], what the cone makes of a value.
    """

    position: torch.Tensor
    cone: torch.Tensor
    scale: torch.Tensor
    shift: torch.Tensor

    def replace_cameras(self, cameras: list[int], part: Rays, num_cameras: int) -> None:
        """Overwrite the cells of some cameras, in place: all of it is tens of megabytes."""
        for name in ("position", "cone", "scale", "shift"):
            whole, new = (getattr(rays, name) for rays in (self, part))
            whole.unflatten(1, (num_cameras, -1))[:, cameras] = new.unflatten(1, (len(cameras), -1))


@dataclass(frozen=True, eq=False)
class KeptRays:
    """Rays, and the lidar2img [B, N, 4, 4] and intrinsics [B, N, 3, 3] that they hold for."""

    rays: Rays
    lidar2img: torch.Tensor
    intrinsics: torch.Tensor


def renewed(kept: KeptRays | None, inputs: NetworkInput, compute: Callable[..., Rays]) -> KeptRays:
    """Rays for ``inputs``: those kept, of which only the cameras that moved are computed anew.

    compute: as `PositionEmbedding.rays`. Every camera's rays depend on all cameras' focal lengths, so that other
    intrinsics leave nothing to keep. ``kept`` is written to and must not be used afterwards.
    """
    same_lenses = kept is not None and torch.equal(kept.intrinsics, inputs.intrinsics)
    if kept is None or not same_lenses or kept.lidar2img.shape != inputs.lidar2img.shape:
        return KeptRays(compute(inputs), inputs.lidar2img, inputs.intrinsics)
    moved = (kept.lidar2img != inputs.lidar2img).any(dim=-1).any(dim=-1).any(dim=0).nonzero()[:, 0].tolist()
    if moved:
        kept.rays.replace_cameras(moved, compute(inputs, moved), inputs.lidar2img.shape[1])
    return KeptRays(kept.rays, inputs.lidar2img, inputs.intrinsics)


def depth_bins(model: ModelConfig) -> torch.Tensor:
    """[D] depths in metres, linearly growing steps (LID, CaDDN arXiv 2103.01100)."""
    index = torch.arange(model.depth_bins, dtype=torch.float32)
    step = (model.position_range[3] - model.depth_start_m) / (model.depth_bins * (model.depth_bins + 1))
    return model.depth_start_m + step * index * (index + 1)


def cell_points(model: ModelConfig, lidar2img: torch.Tensor, rows: int, columns: int) -> torch.Tensor:
    """[B, T, D, 3]: points on each cell's ray, lidar frame, scaled so that position_range is 0..1."""
    device = lidar2img.device
    u = (torch.arange(columns, device=device) + 0.5) * model.stride
    v = (torch.arange(rows, device=device) + 0.5) * model.stride
    pixel = torch.stack([u.expand(rows, -1), v[:, None].expand(-1, columns), torch.ones_like(u).expand(rows, -1)], -1)
    img2lidar = torch.linalg.inv(lidar2img.double()).float()
    ray = torch.einsum("bnij,rcj->bnrci", img2lidar[..., :3, :3], pixel)
    depth = depth_bins(model).to(device).clamp(min=EPSILON)
    points = ray[..., None, :] * depth[:, None] + img2lidar[:, :, None, None, None, :3, 3]
    low, high = ray.new_tensor(model.position_range).split(3)
    scaled: torch.Tensor = (points - low) / (high - low)
    return scaled.flatten(1, 3)


def lines_of_sight(
    model: ModelConfig, inputs: NetworkInput, cameras: list[int] | None = None
) -> tuple[torch.Tensor, torch.Tensor]:
    """`cell_points` and `cones` of all cameras or of some: geometry alone, no weights."""
    height, width = inputs.images.shape[-2:]
    cameras = list(range(inputs.lidar2img.shape[1])) if cameras is None else cameras
    rows, columns = -(-height // model.stride), -(-width // model.stride)
    points = cell_points(model, inputs.lidar2img[:, cameras], rows, columns)
    return points, cones(points, inputs.intrinsics, cameras)


def cones(points: torch.Tensor, intrinsics: torch.Tensor, cameras: list[int]) -> torch.Tensor:
    """[B, T, 8]: focal lengths and two points of the ray, from the `cell_points` of these cameras and [B, N, 3, 3].

    The focal lengths of token j, counted over all N cameras, are those of camera j mod N, not of its own
    camera: the original network does so, and its trained weights depend on it.
    """
    cells, num_cameras = points.shape[1] // len(cameras), intrinsics.shape[1]
    focal = intrinsics[:, :, [0, 1], [0, 1]].abs() / FOCAL_SCALE_PX
    focal = focal.repeat(1, cells, 1).unflatten(1, (num_cameras, cells))[:, cameras].flatten(1, 2)
    return torch.cat([focal, points[:, :, -1], points[:, :, CONE_NEAR_BIN]], dim=-1)


def hold_still(
    inputs: NetworkInput, before: torch.Tensor | None, model: ModelConfig, tolerance_m: float
) -> NetworkInput:
    """The inputs with the lidar2img [B, N, 4, 4] of ``before`` for every camera that has hardly moved since.

    Hardly: no ray of the camera, from the first depth bin to the last, is displaced by more than
    ``tolerance_m``. What depends on the calibration alone can then be kept from frame to frame; with
    ``before`` always the matrices last used, errors do not add up.
    """
    if before is None or before.shape != inputs.lidar2img.shape or tolerance_m <= 0.0:
        return inputs
    ends, ends_before = (frustum(lidar2img, model) for lidar2img in (inputs.lidar2img, before))
    moved_m = (ends - ends_before).norm(dim=-1).amax(dim=-1)
    held = torch.where((moved_m <= tolerance_m)[..., None, None], before, inputs.lidar2img)
    return dataclasses.replace(inputs, lidar2img=held)


def frustum(lidar2img: torch.Tensor, model: ModelConfig) -> torch.Tensor:
    """[B, N, 8, 3] metres, lidar frame, float64: the image's corners at the first and the last depth."""
    height, width = model.image_size
    depths = depth_bins(model)[[0, -1]].tolist()
    corners = [[u * d, v * d, d, 1.0] for u in (0, width) for v in (0, height) for d in depths]
    img2lidar = torch.linalg.inv(lidar2img.double())
    at_depth = torch.tensor(corners, dtype=torch.float64, device=lidar2img.device)
    ends: torch.Tensor = (at_depth @ img2lidar.transpose(-1, -2))[..., :3]
    return ends


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
        self.spatial_alignment = ModulatedLayerNorm(CONE_SIZE, dims)
        self.featurized = FeatureGate(dims)

    def rays(self, inputs: NetworkInput, cameras: list[int] | None = None) -> Rays:
        """The part that changes only with the calibration, of all cameras or of some."""
        return self.describe(*lines_of_sight(self.model, inputs, cameras))

    def describe(self, points: torch.Tensor, cone: torch.Tensor) -> Rays:
        """What the network makes of `lines_of_sight`."""
        return Rays(self.encoder(logit(points).flatten(2)), cone, *self.spatial_alignment.modulation(cone))

    def forward(self, features: torch.Tensor, rays: Rays) -> Tokens:
        """features [B, N, C, rows, columns] -> keys and values [B, N * rows * columns, C]."""
        flat = features.permute(0, 1, 3, 4, 2).flatten(1, 3)
        value = modulated(self.memory_embed(flat), rays.scale, rays.shift)
        index = torch.arange(value.shape[1], device=value.device).expand(value.shape[0], -1)
        return Tokens(key=value + self.featurized(rays.position, value), value=value, index=index)
