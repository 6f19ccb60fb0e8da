"""Frames to run a detector on: noise from a ring of six cameras on a vehicle that stands still."""

from __future__ import annotations

import numpy as np

from bench.shapes import CAMERAS
from tggbc_ros.core import geometry
from tggbc_ros.core.types import CameraFrame, Rig

PERIOD_NS = 500_000_000
OPTICAL = np.array([[1.0, 0.0, 0.0], [0.0, 0.0, -1.0], [0.0, 1.0, 0.0]])
"""Axes of the lidar frame -> those of a camera that looks along its y."""


def frame_at(number: int, height: int = 900, width: int = 1600) -> CameraFrame:
    """The frame of that number; pixels differ from frame to frame, the calibration does not."""
    noise = np.random.default_rng(number)
    images = tuple(noise.integers(0, 256, (height, width, 3), np.uint8) for _ in range(CAMERAS))
    turns_rad = np.arange(CAMERAS) * 2 * np.pi / CAMERAS
    lidar2cam = [geometry.rigid(OPTICAL @ geometry.yaw_rotation(turn), [0.0, 1.5, 0.0]) for turn in turns_rad]
    focal = 0.8 * width
    intrinsics = np.array([[focal, 0.0, width / 2], [0.0, focal, height / 2], [0.0, 0.0, 1.0]])
    names = tuple(f"camera{index}" for index in range(CAMERAS))
    rig = Rig(names, np.stack([intrinsics] * CAMERAS), np.stack(lidar2cam))
    return CameraFrame(images, rig, number * PERIOD_NS, np.eye(4))
