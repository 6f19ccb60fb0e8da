"""Unlabelled images for offline use: of a split of a data set, or of bags, as the network takes them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import torch

from tggbc_ros.core.config import ModelConfig
from tggbc_ros.core.preprocess import preprocess
from tggbc_ros.core.types import CameraFrame
from tggbc_ros.data.nuscenes.dataset import NuScenes
from tggbc_ros.export.calibration import Calibration, Images, describe, spread
from tggbc_ros.ros.bags.bag_images import bag_frames
from tggbc_ros.ros.params import Settings

Progress = Callable[[], object]


def of_split(
    root: Path, version: str | None, split: str, model: ModelConfig, frames: int, seed: int, done: Progress
) -> tuple[list[Images], Calibration]:
    """Keyframes spread over all scenes of a split and over their time; ``done`` is called after each.

    Raises ValueError for a split that is not there, and CalibrationError for images that will not do.
    """
    dataset = NuScenes(root, version)
    scenes = {name: list(dataset.samples(name)) for name in dataset.scene_names(split)}
    taken = spread([len(samples) for samples in scenes.values()], frames, seed)
    chosen = (scenes[name][index] for name, indices in zip(scenes, taken, strict=True) for index in indices)
    return _as_images(
        (sample.camera_frame() for sample in chosen), model, f"{dataset.tables.name}, split {split}", done
    )


def of_bags(
    bags: Sequence[Path], settings: Settings, model: ModelConfig, frames: int, seed: int, done: Progress
) -> tuple[list[Images], Calibration]:
    """Sets of images spread over all bags and over their time; settings: what a node would be given for these bags.

    Raises BagError for a bag that cannot be read or lacks a camera, and CalibrationError for images that will not do.
    """
    shares = [len(taken) for taken in spread([frames] * len(bags), frames, seed)]
    found = (
        frame
        for number, (path, share) in enumerate(zip(bags, shares, strict=True))
        for frame in bag_frames(path, settings, model, share, seed + number)
    )
    names = ", ".join(path.name for path in bags)
    return _as_images(found, model, f"bag {names}" if len(bags) == 1 else f"bags {names}", done)


def _as_images(
    frames: Iterator[CameraFrame], model: ModelConfig, source: str, done: Progress
) -> tuple[list[Images], Calibration]:
    images = []
    for frame in frames:
        images.append(preprocess(frame, model, torch.device("cpu")).images[0].numpy())
        done()
    return images, describe(images, source, model.image_size)
