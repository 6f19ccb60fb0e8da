"""A hand-made world of coloured squares in two cameras, small enough to train on in seconds."""

from __future__ import annotations

import numpy as np

from tggbc_ros.core.config import ModelConfig
from tggbc_ros.training.frames import FrameTable

TINY = ModelConfig(
    name="tiny",
    backbone="resnet18_half",
    image_size=(64, 96),
    color_order="rgb",
    mean=(120.0, 120.0, 120.0),
    std=(60.0, 60.0, 60.0),
    num_queries=12,
    num_propagated=6,
    memory_length=12,
    embed_dims=32,
    num_heads=4,
    ffn_dims=64,
    num_layers=2,
    pc_range=(-20.0, -20.0, -5.0, 20.0, 20.0, 3.0),
    position_range=(-25.0, -25.0, -10.0, 25.0, 25.0, 10.0),
)
INTRINSICS = np.array([[50.0, 0.0, 48.0], [0.0, 50.0, 32.0], [0.0, 0.0, 1.0]], dtype=np.float32)
# Camera axes in the lidar frame (x right, y forward, z up), one looking along y and one against it.
LOOKS = np.array(
    [[[1, 0, 0], [0, 0, -1], [0, 1, 0]], [[-1, 0, 0], [0, 0, -1], [0, -1, 0]]],
    dtype=np.float32,
)


def lidar2img() -> np.ndarray:
    """[2, 4, 4], both cameras at the lidar's origin."""
    matrices = np.tile(np.eye(4, dtype=np.float32), (2, 1, 1))
    matrices[:, :3, :3] = INTRINSICS @ LOOKS
    return matrices


def make_table(scenes: int, length: int, seed: int = 0) -> FrameTable:
    """``scenes`` of ``length`` frames at 2 Hz; each has three standing 2 m cubes of class 0 (red) or 1 (green)."""
    rng = np.random.default_rng(seed)
    images = np.full((scenes * length, 2, 3, 64, 96), 120, dtype=np.uint8)
    codes, labels = [], []
    for scene in range(scenes):
        center = np.stack([rng.uniform(-5, 5, 3), rng.choice([-1, 1], 3) * rng.uniform(6, 12, 3), np.zeros(3)], axis=1)
        label = rng.integers(0, 2, 3)
        for step in range(length):
            for place, kind in zip(center, label, strict=True):
                _paint(images[scene * length + step], place, kind)
            code = np.concatenate([center, np.full((3, 3), np.log(2.0)), np.tile([0.0, 1.0, 0.0, 0.0], (3, 1))], axis=1)
            codes.append(code.astype(np.float32))
            labels.append(label.astype(np.int64))
    frames = scenes * length
    return FrameTable(
        images=images,
        intrinsics=np.tile(INTRINSICS, (frames, 2, 1, 1)),
        lidar2img=np.tile(lidar2img(), (frames, 1, 1, 1)),
        lidar2global=np.tile(np.eye(4), (frames, 1, 1)),
        time_s=1.5e9 + 0.5 * np.arange(frames),
        codes=np.concatenate(codes),
        labels=np.concatenate(labels),
        object_start=3 * np.arange(frames + 1),
        scene_start=length * np.arange(scenes + 1),
    )


def _paint(images: np.ndarray, place: np.ndarray, kind: int) -> None:
    """A square as large as a 2 m cube's face in the camera that sees ``place``."""
    camera = 0 if place[1] > 0 else 1
    x, y, depth = LOOKS[camera] @ place
    u, v, half = 50 * x / depth + 48, 50 * y / depth + 32, 50 / depth
    rows = slice(max(0, round(v - half)), max(0, round(v + half)))
    columns = slice(max(0, round(u - half)), max(0, round(u + half)))
    images[camera, :, rows, columns] = 20
    images[camera, kind, rows, columns] = 250
