"""Teachers as a training run needs them: built from a file, with their features of all frames where that pays."""

from __future__ import annotations

import hashlib
import math
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from tggbc_ros.core.checkpoint import fitting, sha256
from tggbc_ros.core.config import ModelConfig
from tggbc_ros.core.model import StreamPETR
from tggbc_ros.training.distil import Teacher
from tggbc_ros.training.features import cache_features
from tggbc_ros.training.frames import FrameTable
from tggbc_ros.training.parallel import Crew
from tggbc_ros.training.tasks import Net
from tggbc_ros.training.weights import begin_from

MOST_FEATURES = 4 << 30
"""Bytes of features of all frames that are kept on disk; where they are more, every batch passes the teacher."""


def teacher_from(
    model: ModelConfig, file: Path, table: FrameTable, seen: int, folder: Path, device: torch.device, bf16: bool
) -> Teacher:
    """The network of a checkpoint, with its features of all frames where they pay and are not too many.

    seen: how many frames the run will show it; fewer than the table has are not worth a pass over all, but features
    that are there are used. folder: where they lie, which runs on one table may share. Raises ValueError where the file
    does not fit the model.
    """
    net = Net(fitting(model, file))
    begin_from(net, file)
    net = net.to(device, memory_format=torch.channels_last).eval()
    size = 2 * len(table) * table.images.shape[1] * model.embed_dims * math.prod(model.feature_size)
    path = folder / f"features_{sha256(file)[:16]}_{digest(table)[:16]}.npy"
    if not path.is_file():
        if size > MOST_FEATURES or seen < len(table):
            return Teacher(net.detector)
        folder.mkdir(parents=True, exist_ok=True)
        partial = path.with_name(f".{path.name}.partial")
        with tqdm(total=len(table), unit="frame", desc="teacher's features", disable=None) as bar:
            cache_features(net, table, device, bf16, partial, Crew(), done=bar.update)
        partial.rename(path)
    return Teacher(net.detector, torch.from_numpy(np.load(path, mmap_mode="c")))


def digest(table: FrameTable) -> str:
    """SHA-256 of what a table says of its frames; images are taken to be those of their calibration and times."""
    hashed = hashlib.sha256()
    for array in (table.time_s, table.lidar2global, table.lidar2img, table.codes, table.labels, table.scene_start):
        hashed.update(np.ascontiguousarray(array).tobytes())
    return hashed.hexdigest()


def expect_same_world(student: ModelConfig, teacher: ModelConfig) -> None:
    """Raise ValueError where a network cannot learn another one's features: other images, or another map of them."""
    names = ("image_size", "color_order", "mean", "std", "feature_size", "embed_dims", "class_names", "pc_range")
    for name in names:
        own, wanted = getattr(student, name), getattr(teacher, name)
        if own != wanted:
            raise ValueError(f"{name} of model {student.name} is {own}, but {wanted} of its teacher {teacher.name}")


def take_head(detector: StreamPETR, teacher: StreamPETR) -> None:
    """Begin with the teacher's head, and with the neck's way out to it; the rest of the neck fits the backbone."""
    detector.head.load_state_dict(teacher.head.state_dict())
    detector.neck.output.load_state_dict(teacher.neck.output.state_dict())
