"""Attention guidance: an object's query should look at the image cells where the object is.

A decoder learns this by itself, in hundreds of thousands of steps; told where, it takes thousands. An
auxiliary loss of training only, read off the projected heads that every decoder layer hands to pruning.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch

from tggbc_ros.core.decoder import Decoder
from tggbc_ros.core.types import NetworkInput
from tggbc_ros.training.frames import Targets

MIN_DEPTH_M = 0.5


@dataclass(frozen=True, eq=False)
class Seen:
    """Objects in the cameras of one frame.

    box: [N, M, 4], left, top, right, bottom in pixels, at least one cell wide and high, clipped to the image.
    center: [N, M, 3], u, v in pixels and depth in metres of the box's centre. visible: [N, M].
    """

    box: torch.Tensor
    center: torch.Tensor
    visible: torch.Tensor


@dataclass(frozen=True, eq=False)
class Look:
    """What one decoder layer looked with.

    query [B, heads, Q, d] and key [B, heads, K, d]: projected heads. cell [B, K]: which image cell each key is.
    """

    query: torch.Tensor
    key: torch.Tensor
    cell: torch.Tensor


def corners(codes: torch.Tensor) -> torch.Tensor:
    """Box codes [M, 10] -> corners [M, 8, 3] in the lidar frame, metres."""
    signs = torch.tensor(
        [[x, y, z] for x in (-0.5, 0.5) for y in (-0.5, 0.5) for z in (-0.5, 0.5)], device=codes.device
    )
    local = signs * codes[:, None, 3:6].exp()
    sin, cos = (codes[:, 6:8] / codes[:, 6:8].norm(dim=1, keepdim=True)).unbind(dim=1)
    x = cos[:, None] * local[..., 0] - sin[:, None] * local[..., 1]
    y = sin[:, None] * local[..., 0] + cos[:, None] * local[..., 1]
    return torch.stack([x, y, local[..., 2]], dim=-1) + codes[:, None, :3]


def project(points: torch.Tensor, lidar2img: torch.Tensor) -> torch.Tensor:
    """Points [..., 3] into N cameras [N, 4, 4] -> [N, ..., 3]: u, v in pixels, depth in metres."""
    flat = points.reshape(-1, 3) @ lidar2img[:, :3, :3].transpose(1, 2) + lidar2img[:, None, :3, 3]
    depth = flat[..., 2:]
    pixel = flat[..., :2] / depth.clamp(min=MIN_DEPTH_M)
    return torch.cat([pixel, depth], dim=-1).reshape(len(lidar2img), *points.shape)


def see(targets: Targets, lidar2img: torch.Tensor, image_size: tuple[int, int], stride: int) -> Seen:
    """Where the objects of one frame appear, lidar2img [N, 4, 4]; occlusion is not regarded."""
    seen = project(corners(targets.codes), lidar2img)
    center = project(targets.codes[:, :3], lidar2img)
    behind = seen[..., 2:] < MIN_DEPTH_M
    low = seen[..., :2].masked_fill(behind, math.inf).amin(dim=2)
    high = seen[..., :2].masked_fill(behind, -math.inf).amax(dim=2)
    size = torch.tensor([image_size[1], image_size[0]], device=low.device)
    visible = (center[..., 2] > MIN_DEPTH_M) & (high > 0).all(dim=-1) & (low < size).all(dim=-1)
    middle, half = (low + high) / 2, ((high - low) / 2).clamp(min=0.5 * stride)
    box = torch.cat([(middle - half).clamp(min=0), torch.minimum(middle + half, size)], dim=-1)
    return Seen(box=box, center=center, visible=visible)


def cells(seen: Seen, feature_size: tuple[int, int], stride: int) -> torch.Tensor:
    """[N, M, rows, columns], True where a cell's middle lies in the object's image box."""
    rows, columns = feature_size
    u = (torch.arange(columns, device=seen.box.device) + 0.5) * stride
    v = (torch.arange(rows, device=seen.box.device) + 0.5) * stride
    left, top, right, bottom = (edge[..., None, None] for edge in seen.box.unbind(dim=-1))
    inside = (u >= left) & (u <= right) & (v[:, None] >= top) & (v[:, None] <= bottom)
    return inside & seen.visible[..., None, None]


def object_cells(targets: tuple[Targets, ...], inputs: NetworkInput, feature_size: tuple[int, int],
                 image_size: tuple[int, int], stride: int) -> torch.Tensor:  # fmt: skip
    """[B, most objects, T] bool: which of all image cells (camera by camera, row by row) show which object."""
    most = max((len(each) for each in targets), default=0)
    tokens = inputs.lidar2img.shape[1] * feature_size[0] * feature_size[1]
    mask = torch.zeros(len(targets), most, tokens, dtype=torch.bool, device=inputs.lidar2img.device)
    for frame, each in enumerate(targets):
        seen = see(each, inputs.lidar2img[frame], image_size, stride)
        mask[frame, : len(each)] = cells(seen, feature_size, stride).transpose(0, 1).flatten(1)
    return mask


@contextmanager
def watching(decoder: Decoder) -> Iterator[list[Look]]:
    """Collects the `Look` of every layer that runs inside the ``with`` block."""
    looks: list[Look] = []

    def note(_layer: torch.nn.Module, arguments: tuple[object, ...], result: tuple[torch.Tensor, ...]) -> None:
        looks.append(Look(query=result[1], key=result[2], cell=arguments[2].index))  # type: ignore[attr-defined]

    handles = [layer.register_forward_hook(note) for layer in decoder.layers]
    try:
        yield looks
    finally:
        for handle in handles:
            handle.remove()


def guidance_loss(look: Look, shown: torch.Tensor, objects: torch.Tensor) -> torch.Tensor:
    """Sum over queries of -log of the attention, averaged over heads, that falls on their object's cells.

    shown: [B, M, T] from `object_cells`. objects: [B, Q], the object each query stands for, -1 for none.
    Queries whose object shows in no cell that is left cost nothing.
    """
    count = int((objects >= 0).sum(dim=1).max())
    if count == 0:
        return look.query.sum() * 0.0
    rows = (objects >= 0).int().topk(count, dim=1).indices
    chosen = objects.gather(1, rows)
    query = look.query.gather(2, rows[:, None, :, None].expand(-1, look.query.shape[1], -1, look.query.shape[3]))
    attention = torch.softmax((query @ look.key.transpose(-1, -2)).float() / math.sqrt(query.shape[-1]), -1).mean(1)
    cells_left = shown.gather(2, look.cell[:, None].expand(-1, shown.shape[1], -1))
    wanted = cells_left.gather(1, chosen.clamp(min=0)[..., None].expand(-1, -1, cells_left.shape[2]))
    counted = (chosen >= 0) & wanted.any(dim=-1)
    share = (attention * wanted).sum(dim=-1)
    return -(share + 1e-6).log()[counted].sum()
