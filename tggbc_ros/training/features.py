"""Features of every frame, computed once: what the head learns from while backbone and neck rest."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from tggbc_ros.training.array_file import new_array
from tggbc_ros.training.frames import FrameTable
from tggbc_ros.training.parallel import Crew
from tggbc_ros.training.tasks import Net

FEATURES_FILE = "features.npy"


@torch.no_grad()
def cache_features(
    net: Net,
    table: FrameTable,
    device: torch.device,
    bf16: bool,
    path: Path,
    crew: Crew,
    batch: int = 16,
    done: Callable[[int], object] | None = None,
) -> torch.Tensor:
    """[F, N, C, rows, columns] float16, mapped from ``path``: frames through backbone and neck as they are now.

    A crew of processes shares the work and the file. done: called with the frames of each batch of this process.
    """
    model = net.detector.model
    shape = len(table), table.images.shape[1], model.embed_dims, *model.feature_size
    if crew.leads:
        new_array(path, np.float16, shape)
    crew.wait()
    cache = np.load(path, mmap_mode="r+")
    for first in range(crew.rank * batch, len(table), crew.size * batch):
        rows = list(range(first, min(first + batch, len(table))))
        images = table.batch(rows, model, device).inputs.images
        cache[rows] = net.encode(images, bf16).to("cpu", torch.float16).numpy()
        if done is not None:
            done(len(rows))
    cache.flush()
    crew.wait()
    return torch.from_numpy(cache)
