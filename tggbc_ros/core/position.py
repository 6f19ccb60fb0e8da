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
    """What depends on the calibration alone, of every image cell, or of some.

    position: [B, T, C]. cone: [B, T, 8]. scale and shift: [B, T, C], what the cone makes of a value.
    """

    position: torch.Tensor
    cone: torch.Tensor
    scale: torch.Tensor
    shift: torch.Tensor

    def parts(self) -> tuple[torch.Tensor, ...]:
        """All four, in order."""
        return self.position, self.cone, self.scale, self.shift

    def replace_cameras(self, cameras: list[int], part: Rays, num_cameras: int) -> None:
        """Overwrite the cells of some cameras, in place: all of it is tens of megabytes."""
        for whole, new in zip(self.parts(), part.parts(), strict=True):
            whole.unflatten(1, (num_cameras, -1))[:, cameras] = new.unflatten(1, (len(cameras), -1))

    def replace_cells(self, cells: torch.Tensor, part: Rays) -> None:
        """Overwrite the cells [K], in place."""
        for whole, new in zip(self.parts(), part.parts(), strict=True):
            whole.index_copy_(1, cells, new)

    def of_cells(self, cells: torch.Tensor) -> Rays:
        """Those of the cells [K] alone."""
        return Rays(*(part.index_select(1, cells) for part in self.parts()))


@dataclass(frozen=True, eq=False)
class KeptRays:
    """Rays, and the lidar2img [B, N, 4, 4] and intrinsics [B, N, 3, 3] that they hold for.

    known: [T] bool, of which cells they were computed; None: of all.
    """

    rays: Rays
    lidar2img: torch.Tensor
    intrinsics: torch.Tensor
    known: torch.Tensor | None = None


def renewed(kept: KeptRays | None, inputs: NetworkInput, compute: Callable[..., Rays]) -> KeptRays:
    """Rays of all cells for ``inputs``: those kept, of which only the cameras that moved are computed anew.

    compute: as `PositionEmbedding.rays`. Every camera's rays depend on all cameras' focal lengths, so that other
    intrinsics leave nothing to keep. ``kept`` is written to and must not be used afterwards.
    """
    if kept is None or not _same_lenses(kept, inputs):
        return KeptRays(compute(inputs), inputs.lidar2img, inputs.intrinsics)
    stale = set(_moved(kept, inputs))
    if kept.known is not None:
        unknown = ~kept.known.view(inputs.lidar2img.shape[1], -1)
        stale.update(unknown.any(dim=1).nonzero()[:, 0].tolist())
    if stale:
        cameras = sorted(stale)
        kept.rays.replace_cameras(cameras, compute(inputs, cameras), inputs.lidar2img.shape[1])
    return KeptRays(kept.rays, inputs.lidar2img, inputs.intrinsics)


def renewed_cells(
    kept: KeptRays | None, inputs: NetworkInput, compute: Callable[..., Rays], cells: torch.Tensor, num_cells: int
) -> KeptRays:
    """As `renewed`, where only the cells [K] of all ``num_cells`` are looked at: others are not computed either."""
    if kept is None or not _same_lenses(kept, inputs):
        found = compute(inputs, cells=cells)
        room = Rays(*(part.new_zeros(part.shape[0], num_cells, part.shape[2]) for part in found.parts()))
        known = torch.zeros(num_cells, dtype=torch.bool, device=cells.device)
        room.replace_cells(cells, found)
    else:
        room = kept.rays
        known = torch.ones_like(room.cone[0, :, 0], dtype=torch.bool) if kept.known is None else kept.known
        known.view(inputs.lidar2img.shape[1], -1)[_moved(kept, inputs)] = False
        missing = cells[~known[cells]]
        if len(missing):
            room.replace_cells(missing, compute(inputs, cells=missing))
    known[cells] = True
    return KeptRays(room, inputs.lidar2img, inputs.intrinsics, known)


def _same_lenses(kept: KeptRays, inputs: NetworkInput) -> bool:
    return torch.equal(kept.intrinsics, inputs.intrinsics) and kept.lidar2img.shape == inputs.lidar2img.shape


def _moved(kept: KeptRays, inputs: NetworkInput) -> list[int]:
    """Cameras whose matrix is another one now."""
    differs = (kept.lidar2img != inputs.lidar2img).any(dim=-1).any(dim=-1).any(dim=0)
    moved: list[int] = differs.nonzero()[:, 0].tolist()
    return moved


def depth_bins(model: ModelConfig) -> torch.Tensor:
    """[D] depths in metres, linearly growing steps (LID, CaDDN arXiv 2103.01100)."""
    index = torch.arange(model.depth_bins, dtype=torch.float32)
    step = (model.position_range[3] - model.depth_start_m) / (model.depth_bins * (model.depth_bins + 1))
    return model.depth_start_m + step * index * (index + 1)


def cell_points(
    model: ModelConfig, lidar2img: torch.Tensor, rows: int, columns: int, cells: torch.Tensor | None = None
) -> torch.Tensor:
    """[B, T, D, 3]: points on each cell's ray, lidar frame, scaled so that position_range is 0..1.

    cells: [K], of these cells alone, counted over all cameras.
    """
    device = lidar2img.device
    u = (torch.arange(columns, device=device) + 0.5) * model.stride
    v = (torch.arange(rows, device=device) + 0.5) * model.stride
    pixel = torch.stack([u.expand(rows, -1), v[:, None].expand(-1, columns), torch.ones_like(u).expand(rows, -1)], -1)
    img2lidar = torch.linalg.inv(lidar2img.double()).float()
    ray = torch.einsum("bnij,rcj->bnrci", img2lidar[..., :3, :3], pixel)
    origin = img2lidar[:, :, None, None, None, :3, 3]
    if cells is not None:
        ray = ray.flatten(1, 3)[:, cells]
        origin = img2lidar[:, cells // (rows * columns), None, :3, 3]
    depth = depth_bins(model).to(device).clamp(min=EPSILON)
    points = ray[..., None, :] * depth[:, None] + origin
    low, high = ray.new_tensor(model.position_range).split(3)
    scaled: torch.Tensor = (points - low) / (high - low)
    return scaled.flatten(1, -3)


def lines_of_sight(
    model: ModelConfig, inputs: NetworkInput, cameras: list[int] | None = None, cells: torch.Tensor | None = None
) -> tuple[torch.Tensor, torch.Tensor]:
    """`cell_points` and `cones` of all cameras or of some, or of the cells [K]: geometry alone, no weights."""
    height, width = inputs.images.shape[-2:]
    rows, columns = -(-height // model.stride), -(-width // model.stride)
    cameras = list(range(inputs.lidar2img.shape[1])) if cameras is None else cameras
    points = cell_points(model, inputs.lidar2img[:, cameras], rows, columns, cells)
    if cells is not None:
        return points, cones_of_cells(points, inputs.intrinsics, cells)
    return points, cones(points, inputs.intrinsics, cameras)


def cones(points: torch.Tensor, intrinsics: torch.Tensor, cameras: list[int]) -> torch.Tensor:
    """[B, T, 8]: focal lengths and two points of the ray, from the `cell_points` of these cameras and [B, N, 3, 3].

    The focal lengths of token j, counted over all N cameras, are those of camera j mod N, not of its own
    camera: the original network does so, and its trained weights depend on it.
    """
    cells, num_cameras = points.shape[1] // len(cameras), intrinsics.shape[1]
    focal = _focal(intrinsics).repeat(1, cells, 1).unflatten(1, (num_cameras, cells))[:, cameras].flatten(1, 2)
    return torch.cat([focal, points[:, :, -1], points[:, :, CONE_NEAR_BIN]], dim=-1)


def cones_of_cells(points: torch.Tensor, intrinsics: torch.Tensor, cells: torch.Tensor) -> torch.Tensor:
    """As `cones`, from the `cell_points` of the cells [K] alone."""
    focal = _focal(intrinsics)[:, cells % intrinsics.shape[1]]
    return torch.cat([focal, points[:, :, -1], points[:, :, CONE_NEAR_BIN]], dim=-1)


def _focal(intrinsics: torch.Tensor) -> torch.Tensor:
    """[B, N, 2] focal lengths as the network takes them."""
    return intrinsics[:, :, [0, 1], [0, 1]].abs() / FOCAL_SCALE_PX


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

    def rays(self, inputs: NetworkInput, cameras: list[int] | None = None, cells: torch.Tensor | None = None) -> Rays:
        """The part that changes only with the calibration, of all cameras or of some, or of the cells [K]."""
        return self.describe(*lines_of_sight(self.model, inputs, cameras, cells))

    def describe(self, points: torch.Tensor, cone: torch.Tensor) -> Rays:
        """What the network makes of `lines_of_sight`."""
        return Rays(self.encoder(logit(points).flatten(2)), cone, *self.spatial_alignment.modulation(cone))

    def forward(self, features: torch.Tensor, rays: Rays) -> Tokens:
        """features [B, N, C, rows, columns] -> keys and values [B, N * rows * columns, C]."""
        key, value = self.embed(cell_features(features), rays)
        return Tokens(key, value, torch.arange(value.shape[1], device=value.device).expand(value.shape[0], -1))

    def embed(self, features: torch.Tensor, rays: Rays) -> tuple[torch.Tensor, torch.Tensor]:
        """features [B, K, C] of any cells, and their rays -> key and value [B, K, C] of each."""
        value = modulated(self.memory_embed(features), rays.scale, rays.shift)
        return value + self.featurized(rays.position, value), value


def cell_features(features: torch.Tensor) -> torch.Tensor:
    """[B, N, C, rows, columns] -> [B, T, C], one row a cell; no copy where channels lie last already."""
    return features.permute(0, 1, 3, 4, 2).flatten(1, 3)
