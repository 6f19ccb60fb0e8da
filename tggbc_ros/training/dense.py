"""Dense auxiliary task: every image cell says what object it shows and where that is.

Twice: the features in the camera's terms (offset in cells, depth), the decoder's values, which know their
rays, in those of the lidar frame. Backbone and values learn from this within minutes what a decoder's sparse
loss takes hours to tell them; a decoder has nothing to learn from before its values know where things are.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F  # noqa: N812 (the name everyone uses)
from torch import nn

from tggbc_ros.core.config import ModelConfig
from tggbc_ros.training.frames import Batch, Targets
from tggbc_ros.training.guide import cells, see
from tggbc_ros.training.losses import LossConfig, focal_loss

CAMERA_CODES = 8  # the centre's offset in cells (u, v), log depth, log size (3), sin and cos of yaw against the ray
LIDAR_CODES = 8  # centre x, y, z over LIDAR_SCALE_M, log size (3), sin and cos of the yaw
TYPICAL_LOG_DEPTH = math.log(15.0)
LIDAR_SCALE_M = 5.0


@dataclass(frozen=True, eq=False)
class DenseTargets:
    """label [..., rows, columns]: class, or the number of classes for background.

    camera and lidar [..., rows, columns, 8]: codes of the object shown, as CAMERA_CODES and LIDAR_CODES say.
    """

    label: torch.Tensor
    camera: torch.Tensor
    lidar: torch.Tensor


class DenseHead(nn.Module):
    """Class logits and camera codes of every cell's features; class logits and lidar codes of every value."""

    def __init__(self, model: ModelConfig) -> None:
        super().__init__()
        self.classes = len(model.class_names)
        self.hidden = nn.Conv2d(model.embed_dims, model.embed_dims, 3, padding=1)
        self.answer = nn.Conv2d(model.embed_dims, self.classes + CAMERA_CODES, 1)
        self.value_answer = nn.Linear(model.embed_dims, self.classes + LIDAR_CODES)
        for layer in (self.answer, self.value_answer):
            assert layer.bias is not None
            nn.init.zeros_(layer.bias)
            with torch.no_grad():
                layer.bias[: self.classes] = -math.log(99.0)  # 1 % prior, so that background does not swamp the start

    def forward(self, features: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Features [B, N, C, rows, columns] -> logits [B, N, rows, columns, classes] and camera codes [..., 8]."""
        answer = self.answer(self.hidden(features.flatten(0, 1)).relu()).float()
        answer = answer.permute(0, 2, 3, 1).unflatten(0, features.shape[:2])
        logits, codes = answer.split([self.classes, CAMERA_CODES], dim=-1)
        return logits, codes

    def read_values(self, value: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Values [B, T, C] -> logits [B, T, classes] and lidar codes [B, T, 8]."""
        logits, codes = self.value_answer(value).split([self.classes, LIDAR_CODES], dim=-1)
        return logits, codes


def dense_targets(
    targets: Targets, lidar2img: torch.Tensor, intrinsics: torch.Tensor, model: ModelConfig
) -> DenseTargets:
    """What the cells of one frame's N cameras should say; where objects overlap, the nearest speaks."""
    rows, columns = model.feature_size
    background = len(model.class_names)
    if not len(targets):
        shape = len(lidar2img), rows, columns
        nothing = lidar2img.new_zeros(*shape, CAMERA_CODES), lidar2img.new_zeros(*shape, LIDAR_CODES)
        return DenseTargets(lidar2img.new_full(shape, background).long(), *nothing)
    seen = see(targets, lidar2img, model.image_size, model.stride)
    shown = cells(seen, (rows, columns), model.stride)
    depth = seen.center[..., 2, None, None].expand_as(shown).masked_fill(~shown, math.inf)
    nearest, index = depth.min(dim=1)
    label = torch.where(nearest.isfinite(), targets.labels[index], background)
    codes = _cell_codes(targets, seen.center, lidar2img, intrinsics)  # [N, M, 8]
    picked = torch.stack([codes[camera, index[camera]] for camera in range(len(codes))])
    u = torch.arange(columns, device=index.device).expand(rows, -1) + 0.5
    v = (torch.arange(rows, device=index.device) + 0.5)[:, None].expand(-1, columns)
    offset = picked[..., :2] / model.stride - torch.stack([u, v], dim=-1)
    lidar = torch.cat([targets.codes[:, :3] / LIDAR_SCALE_M, targets.codes[:, 3:8]], dim=-1)
    return DenseTargets(label, torch.cat([offset, picked[..., 2:]], dim=-1), lidar[index])


def _cell_codes(
    targets: Targets, center: torch.Tensor, lidar2img: torch.Tensor, intrinsics: torch.Tensor
) -> torch.Tensor:
    """[N, M, 8]: u, v of the centre in pixels, log depth over a typical one, log size, heading against the ray."""
    lidar2cam = torch.linalg.inv(intrinsics) @ lidar2img[:, :3, :3]
    sin, cos = targets.codes[:, 6], targets.codes[:, 7]
    heading = torch.stack([cos, sin, torch.zeros_like(sin)], dim=-1) @ lidar2cam.transpose(1, 2)
    ray = torch.atan2(center[..., 0] - intrinsics[:, None, 0, 2], intrinsics[:, None, 0, 0])
    against = torch.atan2(heading[..., 2], heading[..., 0]) + ray
    log_depth = center[..., 2].clamp(min=0.5).log() - TYPICAL_LOG_DEPTH
    size = targets.codes[:, 3:6].expand(len(lidar2img), -1, -1)
    return torch.cat(
        [center[..., :2], log_depth[..., None], size, against.sin()[..., None], against.cos()[..., None]], -1
    )


def batch_targets(batch: Batch, model: ModelConfig) -> DenseTargets:
    """`dense_targets` of every frame, stacked: label [B, N, rows, columns]."""
    frames = [
        dense_targets(each, batch.inputs.lidar2img[index], batch.inputs.intrinsics[index], model)
        for index, each in enumerate(batch.targets)
    ]
    return DenseTargets(
        label=torch.stack([frame.label for frame in frames]),
        camera=torch.stack([frame.camera for frame in frames]),
        lidar=torch.stack([frame.lidar for frame in frames]),
    )


def dense_losses(
    logits: torch.Tensor, codes: torch.Tensor, wanted: DenseTargets, config: LossConfig
) -> dict[str, torch.Tensor]:
    """Class and box loss of `DenseHead.forward`, each the mean over the cells that show an object."""
    shown = wanted.label < logits.shape[-1]
    error = F.smooth_l1_loss(codes[shown], wanted.camera[shown], beta=0.1, reduction="none")
    weight = error.new_tensor([0.5, 0.5, 4.0, 1.0, 1.0, 1.0, 1.0, 1.0])
    count = max(1, len(error))
    return {
        "dense_class": 2.0 * focal_loss(logits, wanted.label, config) / count,
        "dense_box": (error * weight).sum() / count,
        "dense_depth": error[:, 2].sum().detach() / count,
    }


def value_losses(
    logits: torch.Tensor, codes: torch.Tensor, wanted: DenseTargets, config: LossConfig
) -> dict[str, torch.Tensor]:
    """Class and box loss of `DenseHead.read_values`, as `dense_losses`; value_m is the mean centre error."""
    label, lidar = wanted.label.flatten(1), wanted.lidar.flatten(1, 3)
    shown = label < logits.shape[-1]
    error = F.smooth_l1_loss(codes[shown], lidar[shown], beta=0.1, reduction="none")
    weight = error.new_tensor([4.0, 4.0, 1.0, 0.5, 0.5, 0.5, 0.5, 0.5])
    count = max(1, len(error))
    distance = (codes[shown][:, :2] - lidar[shown][:, :2]).detach().norm(dim=1) * LIDAR_SCALE_M
    return {
        "value_class": 2.0 * focal_loss(logits, label, config) / count,
        "value_box": (error * weight).sum() / count,
        "value_m": distance.sum() / count,
    }
