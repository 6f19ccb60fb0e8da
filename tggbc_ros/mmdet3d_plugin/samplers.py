"""Which frames a process sees, in which order: memory needs whole scenes in time order."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np
from mmdet3d.registry import DATA_SAMPLERS
from mmengine.dataset import DefaultSampler
from mmengine.dist import get_dist_info
from torch.utils.data import Sampler

from tggbc_ros.core.config import MemoryConfig
from tggbc_ros.mmdet3d_plugin.frames import Stamp
from tggbc_ros.mmdet3d_plugin.transforms import lidar2global_of
from tggbc_ros.training.streams import streams


@DATA_SAMPLERS.register_module()
class StreamBatchSampler(Sampler[list[int]]):
    """Batches of one frame from each of ``batch_size`` streams, which play scene after scene in random order.

    For training, as ``batch_sampler``. sampler: a DefaultSampler, of which dataset, rank and number of processes
    count: each process plays streams of its own. The dataset must have filter_empty_gt=False, or it would put
    some other frame in the place of one without objects.
    """

    def __init__(self, sampler: DefaultSampler, batch_size: int, seed: int = 0) -> None:
        if getattr(sampler.dataset, "filter_empty_gt", False):
            raise ValueError("filter_empty_gt is True, expected False: streams must not skip frames")
        self.sampler, self.batch_size, self.seed = sampler, batch_size, seed
        self.rank, self.world_size = sampler.rank, sampler.world_size
        self.scene_lengths = scene_lengths(sampler.dataset)
        self.played = 0

    def __len__(self) -> int:
        """Batches until every frame was played about once."""
        return max(1, sum(self.scene_lengths) // (self.batch_size * self.world_size))

    def __iter__(self) -> Iterator[list[int]]:
        """The next ``len(self)`` batches; the streams go on where the last ones ended."""
        batches = streams(self.scene_lengths, self.batch_size * self.world_size, self.seed, self.played)
        self.played += len(self)
        for frames in itertools.islice(batches, len(self)):
            yield frames[self.rank * self.batch_size : (self.rank + 1) * self.batch_size]


@DATA_SAMPLERS.register_module()
class ContiguousSampler(Sampler[int]):
    """For testing: all frames in order, cut into one contiguous part per process.

    Shorter parts end with a frame twice, as mmengine's collection of results expects equal lengths; it drops just
    these. A process that begins within a scene begins it without memory.
    """

    def __init__(self, dataset: Any, seed: int | None = None) -> None:
        self.rank, self.world_size = get_dist_info()
        self.frames = len(dataset)
        if self.frames < self.world_size:
            raise ValueError(f"{self.frames} frames for {self.world_size} processes, expected at least one each")

    def __len__(self) -> int:
        """Frames of one process."""
        return -(-self.frames // self.world_size)

    def __iter__(self) -> Iterator[int]:
        """Indices into the dataset."""
        part = np.array_split(np.arange(self.frames), self.world_size)[self.rank].tolist()
        return iter(part + part[-1:] * (len(self) - len(part)))

    def set_epoch(self, epoch: int) -> None:
        """Every epoch is the same."""


def scene_lengths(dataset: Any) -> list[int]:
    """Frames of each scene, in the dataset's order: a scene ends where a frame does not follow the one before."""
    config, lengths, before = MemoryConfig(), [], None
    for index in range(len(dataset)):
        info = dataset.get_data_info(index)
        pose = lidar2global_of(info)
        now = Stamp(str(info.get("scene_token", "")), round(float(info["timestamp"]) * 1e9), pose)
        if now.follows(before, config):
            lengths[-1] += 1
        else:
            lengths.append(1)
        before = now
    return lengths
