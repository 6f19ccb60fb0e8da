"""One black frame through the network, so that the first real one finds everything loaded, chosen and allocated."""

from __future__ import annotations

import time
from collections.abc import Sequence

import numpy as np

from tggbc_ros.core.config import DecodeConfig, MemoryConfig, ModelConfig, PreprocessConfig, PruningConfig, RaysConfig
from tggbc_ros.core.detector import Detector, Network
from tggbc_ros.core.geometry import rigid, yaw_rotation
from tggbc_ros.core.types import CameraFrame, Rig

LIDAR2CAM = np.array([[1.0, 0.0, 0.0], [0.0, 0.0, -1.0], [0.0, 1.0, 0.0]])
"""Axes of a camera that looks along the lidar's y."""


def warm_up(
    network: Network,
    cameras: Sequence[str],
    pruning: PruningConfig | None = None,
    memory: MemoryConfig | None = None,
    decode: DecodeConfig | None = None,
    rays: RaysConfig | None = None,
    images: PreprocessConfig | None = None,
) -> float:
    """Infer once, as a `Detector` with these settings would; seconds that it took. Nothing is remembered of it.

    Raises what `Detector.step` does: RuntimeError for memory that is not there, FloatingPointError for NaN.
    """
    started_s = time.monotonic()
    detector = Detector(network, pruning, memory, decode, rays, images)
    try:
        detector.step(black_frame(network.model, cameras))
    finally:
        detector.close()
    return time.monotonic() - started_s


def black_frame(model: ModelConfig, cameras: Sequence[str]) -> CameraFrame:
    """Images of the network's own size, from cameras that look all around from the lidar's place."""
    height, width = model.image_size
    turns = [yaw_rotation(2.0 * np.pi * place / len(cameras)) for place in range(len(cameras))]
    lidar2cam = np.stack([rigid(LIDAR2CAM @ turn, (0.0, 0.0, 0.0)) for turn in turns])
    intrinsics = np.array([[0.8 * width, 0.0, width / 2], [0.0, 0.8 * width, height / 2], [0.0, 0.0, 1.0]])
    rig = Rig(tuple(cameras), np.stack([intrinsics] * len(cameras)), lidar2cam)
    black = np.zeros((height, width, 3), np.uint8)
    return CameraFrame((black,) * len(cameras), rig, 0, np.eye(4))
