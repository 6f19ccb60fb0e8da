"""Frames through the dense network, with what a study of key gates asks of them beside what the gate's fit does."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch
from tqdm import tqdm

from tggbc_ros.compress.frames import Looked, look
from tggbc_ros.core.config import ModelConfig, PruningConfig
from tggbc_ros.core.detector import Network
from tggbc_ros.core.preprocess import preprocess
from tggbc_ros.core.types import CameraFrame
from tggbc_ros.data.nuscenes.dataset import NuScenes
from tggbc_ros.data.records import Sample
from tggbc_ros.training.frames import Targets
from tggbc_ros.training.guide import cells, see
from tggbc_ros.training.prepare import codes_of

BACKGROUND = 1e-2
"""What a cell without an object weighs against one with."""


@dataclass(eq=False)
class Watched:
    """Frame by frame: what the fit knows, lidar2img [N, 4, 4] and lidar2global [4, 4] in float64.

    objects: [T], bool, which cells lie in the rectangle of an annotated object; None between keyframes.
    """

    looked: list[Looked] = field(default_factory=list)
    lidar2img: list[torch.Tensor] = field(default_factory=list)
    lidar2global: list[torch.Tensor] = field(default_factory=list)
    objects: list[torch.Tensor | None] = field(default_factory=list)


def watch(network: Network, root: Path, split: str, sweeps: bool, most: int) -> Watched:
    """The first drives of a split that hold no more than ``most`` sets of images, but at least one drive."""
    dataset = NuScenes(root, None)
    read = dataset.sweeps if sweeps else dataset.samples
    drives: list[tuple[Sample, ...]] = []
    for scene in dataset.scene_names(split):
        drive = tuple(read(scene))
        if drives and sum(map(len, drives)) + len(drive) > most:
            break
        drives.append(drive)
    watched = Watched()
    with tqdm(total=sum(map(len, drives)), unit="frame", desc="dense network", disable=None) as bar:
        frames = (_noted(drive, network.model, watched) for drive in drives)
        watched.looked = look(network, frames, bar.update, PruningConfig.queries)
    return watched


def _noted(drive: tuple[Sample, ...], model: ModelConfig, watched: Watched) -> Iterator[CameraFrame]:
    for sample in drive:
        frame = sample.camera_frame()
        lidar2img = preprocess(frame, model, "cpu").lidar2img[0]
        watched.lidar2img.append(lidar2img.double())
        watched.lidar2global.append(torch.from_numpy(frame.lidar2global))
        watched.objects.append(_object_cells(sample, lidar2img, model))
        yield frame


def _object_cells(sample: Sample, lidar2img: torch.Tensor, model: ModelConfig) -> torch.Tensor | None:
    if sample.annotations is None:
        return None
    boxes = sample.annotations.boxes[sample.annotations.num_points > 0]
    targets = Targets(torch.from_numpy(codes_of(boxes)), torch.from_numpy(boxes.label))
    seen = see(targets, lidar2img, model.image_size, model.stride)
    return cells(seen, model.feature_size, model.stride).any(dim=1).flatten()


def objects_for_importance(watched: Watched) -> list[Looked]:
    """The keyframes, as if what mattered were the annotated objects."""
    found = []
    for frame, objects in zip(watched.looked, watched.objects, strict=True):
        if objects is not None:
            weight = torch.where(objects[frame.cells], 1.0, BACKGROUND)
            found.append(replace(frame, importance=weight / weight.sum()))
    return found
