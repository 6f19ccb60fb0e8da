"""Training data as arrays: every keyframe of a split, scene after scene, ready to be batched.

`prepare` writes this table once, so that no epoch decodes a JPEG or reads a table again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from tggbc_ros.core.config import ModelConfig
from tggbc_ros.core.types import NetworkInput

IMAGES_FILE = "images.npy"
TABLE_FILE = "frames.npz"


@dataclass(frozen=True, eq=False)
class Targets:
    """The objects of one frame.

    codes: [M, 10], laid out as ``NetworkOutput.codes`` (lidar frame, metres, log sizes); velocity NaN
    where unknown. labels: [M] int64.
    """

    codes: torch.Tensor
    labels: torch.Tensor

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True, eq=False)
class Batch:
    """B frames. ``inputs.images`` is empty ([B, N, 3, 0, 0]) where cached features stand in for images.

    lidar2global: [B, 4, 4] and time_s: [B], float64. fresh: [B], True where a scene begins.
    frames: the rows of the `FrameTable` they are.
    """

    inputs: NetworkInput
    lidar2global: torch.Tensor
    time_s: torch.Tensor
    fresh: torch.Tensor
    targets: tuple[Targets, ...]
    frames: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class FrameTable:
    """F frames of S scenes, in time order within each scene.

    images: [F, N, 3, H, W] uint8, network pixels before normalisation. intrinsics: [F, N, 3, 3],
    lidar2img: [F, N, 4, 4], lidar2global: [F, 4, 4], time_s: [F]. codes: [objects, 10] and labels:
    [objects], frame f's from ``object_start[f]`` to ``object_start[f + 1]``; ``scene_start`` [S + 1] likewise.
    """

    images: npt.NDArray[np.uint8]
    intrinsics: npt.NDArray[np.float32]
    lidar2img: npt.NDArray[np.float32]
    lidar2global: npt.NDArray[np.float64]
    time_s: npt.NDArray[np.float64]
    codes: npt.NDArray[np.float32]
    labels: npt.NDArray[np.int64]
    object_start: npt.NDArray[np.int64]
    scene_start: npt.NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.time_s)

    @property
    def scene_lengths(self) -> tuple[int, ...]:
        """Frames in each scene."""
        return tuple(int(length) for length in np.diff(self.scene_start))

    def targets(self, frame: int, pc_range: tuple[float, ...]) -> Targets:
        """The objects of one frame whose centre the network can express: inside ``pc_range``, lidar frame, metres."""
        part = slice(self.object_start[frame], self.object_start[frame + 1])
        codes, labels = self.codes[part], self.labels[part]
        inside = ((codes[:, :3] > pc_range[:3]) & (codes[:, :3] < pc_range[3:])).all(axis=1)
        return Targets(torch.from_numpy(codes[inside]), torch.from_numpy(labels[inside]))

    def batch(self, frames: Sequence[int], model: ModelConfig, device: torch.device, with_images: bool = True) -> Batch:
        """Those frames as one batch on ``device``; images normalised as ``core.preprocess`` does."""
        rows = list(frames)
        starts = set(self.scene_start.tolist())
        inputs = NetworkInput(
            images=self._images(rows, model, device) if with_images else self._no_images(rows, device),
            intrinsics=torch.from_numpy(self.intrinsics[rows]).to(device),
            lidar2img=torch.from_numpy(self.lidar2img[rows]).to(device),
        )
        targets = (self.targets(row, model.pc_range) for row in rows)
        return Batch(
            inputs=inputs,
            lidar2global=torch.from_numpy(self.lidar2global[rows]).to(device),
            time_s=torch.from_numpy(self.time_s[rows]).to(device),
            fresh=torch.tensor([row in starts for row in rows], device=device),
            targets=tuple(Targets(each.codes.to(device), each.labels.to(device)) for each in targets),
            frames=tuple(rows),
        )

    def _images(self, rows: list[int], model: ModelConfig, device: torch.device) -> torch.Tensor:
        pixels = torch.from_numpy(self.images[rows]).to(device).float()
        mean, std = (pixels.new_tensor(values).view(3, 1, 1) for values in (model.mean, model.std))
        return (pixels - mean) / std

    def _no_images(self, rows: list[int], device: torch.device) -> torch.Tensor:
        return torch.empty(len(rows), self.images.shape[1], 3, 0, 0, device=device)


def load_table(folder: Path) -> FrameTable:
    """The table that `prepare` wrote into ``folder``; images are mapped from disk, not read."""
    for name in (IMAGES_FILE, TABLE_FILE):
        if not (folder / name).is_file():
            raise FileNotFoundError(f"no file {folder / name}: prepared training data is incomplete, delete the folder")
    with np.load(folder / TABLE_FILE) as arrays:
        return FrameTable(
            images=np.load(folder / IMAGES_FILE, mmap_mode="r"), **{name: arrays[name] for name in arrays}
        )
