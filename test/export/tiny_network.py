"""A network small enough to be exported in tests, and a drive to run it on."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import tiny_model
import torch

from tggbc_ros.core import geometry
from tggbc_ros.core.checkpoint import build_network
from tggbc_ros.core.types import CameraFrame, Rig

TINY = replace(tiny_model.TINY, name="tiny_exported")
CAMERAS = 6
CELLS = CAMERAS * 2 * 4
T0_NS = 1_532_402_927_647_951_000


def write_checkpoint(path: Path) -> None:
    """Random weights, but as a checkpoint; logits far enough apart that rounding does not reorder queries."""
    module, _ = build_network(TINY, None)
    with torch.no_grad():
        module.head.cls_branch[-1].weight.mul_(4.0)
    torch.save({"state_dict": module.state_dict()}, path)


def frame_at(number: int, turn_rad: float = 0.0, cells: np.ndarray | None = None) -> CameraFrame:
    """Two frames a second of noise from a ring of cameras; the vehicle drives straight on."""
    rng = np.random.default_rng(number)
    images = tuple(rng.integers(0, 256, (45, 80, 3), np.uint8) for _ in range(CAMERAS))
    optical = np.array([[1.0, 0, 0], [0, 0, -1], [0, 1, 0]])  # lidar axes -> a camera that looks along y
    turns = turn_rad + np.arange(CAMERAS) * np.pi / 3
    cameras = [geometry.rigid(optical @ geometry.yaw_rotation(turn), [0, 1.5, 0]) for turn in turns]
    intrinsics = np.array([[50.0, 0, 40], [0, 50, 22], [0, 0, 1]])
    rig = Rig(tuple(f"cam{i}" for i in range(CAMERAS)), np.stack([intrinsics] * CAMERAS), np.stack(cameras))
    pose = geometry.rigid(np.eye(3), [1000 + 2.0 * number, 2000, 0])
    return CameraFrame(images, rig, T0_NS + number * 500_000_000, pose, cells)
