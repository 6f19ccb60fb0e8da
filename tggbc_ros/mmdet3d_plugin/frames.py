"""mmdet3d's samples and boxes -> the core's types, and back.

Boxes are LiDARInstance3DBoxes: bottom centre, length, width, height, yaw about z, velocity x and y; metres, radians,
lidar frame (x right, y forward, z up), as the core has them but for the centre, which is the gravity centre there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from mmdet3d.structures import Det3DDataSample, LiDARInstance3DBoxes
from mmengine.structures import InstanceData

from tggbc_ros.core import memory as temporal
from tggbc_ros.core.config import MemoryConfig
from tggbc_ros.core.types import Array, Boxes3D, NetworkInput
from tggbc_ros.training.frames import Batch, Targets

REQUIRED = ("intrinsics", "lidar2img", "lidar2global", "timestamp")


@dataclass(frozen=True, eq=False)
class Stamp:
    """When and where a frame was taken. scene: its token, empty where the infos name none."""

    scene: str
    timestamp_ns: int
    lidar2global: Array

    def follows(self, before: Stamp | None, config: MemoryConfig) -> bool:
        """Whether memory of the frame ``before`` may serve this one: same scene, and time and pose that fit."""
        if before is None or self.scene != before.scene:
            return False
        earlier, now = ((stamp.timestamp_ns, stamp.lidar2global) for stamp in (before, self))
        return not temporal.distrust(earlier, now, config)


def stamps_of(samples: Sequence[Det3DDataSample]) -> tuple[Stamp, ...]:
    """Scene, time and pose of each sample."""
    return tuple(_stamp(sample.metainfo) for sample in samples)


def _stamp(info: dict[str, Any]) -> Stamp:
    missing = [name for name in REQUIRED if name not in info]
    if missing:
        raise KeyError(f"the samples lack {', '.join(missing)}: FitCameraImages makes them, meta_keys must name them")
    pose = np.asarray(info["lidar2global"], dtype=np.float64)
    return Stamp(str(info.get("scene_token", "")), round(float(info["timestamp"]) * 1e9), pose)


def batch_of(
    images: torch.Tensor,
    samples: Sequence[Det3DDataSample],
    fresh: Sequence[bool],
    pc_range: Sequence[float] | None,
) -> Batch:
    """Normalised images [B, N, 3, H, W] and their samples as a training batch.

    fresh: where memory begins anew. pc_range: of the targets, see `targets_of`; None: no targets are asked for.
    """
    stamps = stamps_of(samples)
    device = images.device
    intrinsics, lidar2img = (
        torch.from_numpy(np.stack([np.asarray(sample.metainfo[name], np.float32) for sample in samples])).to(device)
        for name in ("intrinsics", "lidar2img")
    )
    time_s = [stamp.timestamp_ns / 1e9 for stamp in stamps]
    return Batch(
        inputs=NetworkInput(images, intrinsics, lidar2img),
        lidar2global=torch.from_numpy(np.stack([stamp.lidar2global for stamp in stamps])).to(device),
        time_s=torch.tensor(time_s, dtype=torch.float64, device=device),
        fresh=torch.tensor(list(fresh), device=device),
        targets=() if pc_range is None else tuple(targets_of(sample, pc_range) for sample in samples),
        frames=tuple(range(len(samples))),
    )


def targets_of(sample: Det3DDataSample, pc_range: Sequence[float]) -> Targets:
    """Ground truth whose centre the network can express: inside ``pc_range``, lidar frame, metres."""
    truth = sample.gt_instances_3d
    boxes, labels = truth.bboxes_3d, truth.labels_3d
    center, tensor = boxes.gravity_center, boxes.tensor
    yaw = tensor[:, 6:7]
    codes = torch.cat([center, tensor[:, 3:6].log(), yaw.sin(), yaw.cos(), tensor[:, 7:9]], dim=1).float()
    low, high = codes.new_tensor(pc_range).split(3)
    inside = ((codes[:, :3] > low) & (codes[:, :3] < high)).all(dim=1)
    return Targets(codes[inside], labels[inside].long())


def instances_of(boxes: Boxes3D) -> InstanceData:
    """Detections as mmdet3d has them: bboxes_3d, scores_3d, labels_3d, on the CPU."""
    columns = (boxes.center, boxes.size, boxes.yaw[:, None], boxes.velocity)
    tensor = torch.from_numpy(np.concatenate(columns, axis=1)).float()
    return InstanceData(
        bboxes_3d=LiDARInstance3DBoxes(tensor, box_dim=9, origin=(0.5, 0.5, 0.5)),
        scores_3d=torch.from_numpy(boxes.score).float(),
        labels_3d=torch.from_numpy(boxes.label),
    )
