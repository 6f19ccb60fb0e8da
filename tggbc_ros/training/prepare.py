"""nuScenes-schema data on disk -> a `FrameTable` on disk, once for every split and image size."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import numpy.typing as npt

from tggbc_ros.core.config import ModelConfig, PreprocessConfig
from tggbc_ros.core.preprocess import preprocess
from tggbc_ros.core.types import Boxes3D
from tggbc_ros.data.nuscenes.dataset import NuScenes
from tggbc_ros.data.records import Annotations, Sample
from tggbc_ros.training.array_file import new_array
from tggbc_ros.training.frames import IMAGES_FILE, TABLE_FILE, FrameTable, load_table

LOADERS = 2
SOURCE_FILE = "source.txt"


def prepare(
    root: Path,
    split: str,
    model: ModelConfig,
    folder: Path,
    progress: Callable[[int, int], None] | None = None,
    version: str | None = None,
) -> FrameTable:
    """The frame table of a split, read from ``folder`` if it is there already, else made and written.

    Objects without a single lidar or radar point are left out, as the official evaluation does.
    Raises ValueError or FileNotFoundError naming file and record for broken data, a scene of one sample,
    a split without annotations, or a folder that was prepared from other data.
    progress: called with frames done and frames in all. version: as `NuScenes` has it.
    """
    data = NuScenes(root, version)
    source = _source(data, split, model)
    if not folder.exists():
        partial = folder.with_name(folder.name + ".partial")
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        _write(_read_samples(data, split), model, partial, progress)
        (partial / SOURCE_FILE).write_text(source, encoding="utf-8")
        partial.rename(folder)
    _expect_source(folder, source)
    return load_table(folder)


def _source(data: NuScenes, split: str, model: ModelConfig) -> str:
    """What prepared arrays depend on, in words."""
    names = data.scene_names(split)
    digest = hashlib.sha256("\n".join(names).encode()).hexdigest()[:12]
    scenes = f"number of scenes {len(names)}, SHA-256 of their names {digest}"
    return f"split {split} of {data.tables.resolve()}, {scenes}, for {model.color_order} images of {model.image_size}"


def _expect_source(folder: Path, source: str) -> None:
    """Raise unless ``folder`` was prepared from ``source``."""
    path = folder / SOURCE_FILE
    found = path.read_text(encoding="utf-8") if path.is_file() else "something unfinished"
    if found != source:
        raise ValueError(f"{folder} was prepared from {found}, expected {source}: delete it or choose another folder")


def codes_of(boxes: Boxes3D) -> npt.NDArray[np.float32]:
    """Boxes [M] -> [M, 10], laid out as ``NetworkOutput.codes``."""
    angles = np.stack([np.sin(boxes.yaw), np.cos(boxes.yaw)], axis=1)
    return np.concatenate([boxes.center, np.log(boxes.size), angles, boxes.velocity], axis=1).astype(np.float32)


def _read_samples(data: NuScenes, split: str) -> list[list[Sample]]:
    names = data.scene_names(split)
    if not names:
        raise ValueError(f"split {split!r} of {data.tables} has no scene")
    scenes = [list(data.samples(name)) for name in names]
    for name, samples in zip(names, scenes, strict=True):
        if len(samples) < 2:
            found = f"scene {name} of {data.tables} has {len(samples)} sample"
            raise ValueError(f"{found}, expected at least 2 to learn motion")
    return scenes


def _write(
    scenes: Sequence[Sequence[Sample]], model: ModelConfig, folder: Path, progress: Callable[[int, int], None] | None
) -> None:
    samples = [sample for scene in scenes for sample in scene]
    objects = [_objects(sample) for sample in samples]
    if not any(len(labels) for _, labels in objects):
        raise ValueError(f"none of the {len(samples)} samples has an annotation of a detection class")
    cameras, (height, width) = len(samples[0].cameras), model.image_size
    images = new_array(folder / IMAGES_FILE, np.uint8, (len(samples), cameras, 3, height, width))
    calibration = _write_images(samples, model, images, progress)
    images.flush()
    np.savez(
        folder / TABLE_FILE,
        intrinsics=np.stack([intrinsics for intrinsics, _ in calibration]),
        lidar2img=np.stack([lidar2img for _, lidar2img in calibration]),
        lidar2global=np.stack([sample.lidar2global for sample in samples]),
        time_s=np.array([sample.timestamp_ns / 1e9 for sample in samples]),
        codes=np.concatenate([codes for codes, _ in objects]),
        labels=np.concatenate([labels for _, labels in objects]),
        object_start=np.cumsum([0, *(len(labels) for _, labels in objects)]),
        scene_start=np.cumsum([0, *(len(scene) for scene in scenes)]),
    )


def _objects(sample: Sample) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]:
    annotations = sample.annotations
    if annotations is None:
        raise ValueError(f"sample {sample.token} has no annotations: nothing to learn from")
    boxes = annotations.boxes[_visible(annotations)]
    return codes_of(boxes), boxes.label


def _visible(annotations: Annotations) -> npt.NDArray[np.bool_]:
    return np.asarray(annotations.num_points > 0)


def _write_images(
    samples: Sequence[Sample],
    model: ModelConfig,
    images: npt.NDArray[np.uint8],
    progress: Callable[[int, int], None] | None,
) -> list[tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]]:
    """Fill ``images``; returns the intrinsics [N, 3, 3] and lidar2img [N, 4, 4] of each sample."""
    std, mean = (np.array(values, dtype=np.float32).reshape(3, 1, 1) for values in (model.std, model.mean))

    def one(row: int) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
        inputs = preprocess(samples[row].camera_frame(), model, "cpu", PreprocessConfig("exact"))
        images[row] = np.rint(inputs.images[0].numpy() * std + mean).astype(np.uint8)
        return inputs.intrinsics[0].numpy(), inputs.lidar2img[0].numpy()

    calibration = []
    with ThreadPoolExecutor(LOADERS) as pool:
        for done, entry in enumerate(pool.map(one, range(len(samples))), start=1):
            calibration.append(entry)
            if progress is not None:
                progress(done, len(samples))
    return calibration
