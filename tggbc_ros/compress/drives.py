"""Unlabelled drives for offline use: of a split of a data set, or of bags, each in order of time."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from tggbc_ros.core.config import ModelConfig
from tggbc_ros.core.types import CameraFrame
from tggbc_ros.data.nuscenes.dataset import NuScenes
from tggbc_ros.data.records import Sample
from tggbc_ros.ros.bags.bag_sets import Books, bag_drives
from tggbc_ros.ros.params import Settings

LEAST_FRAMES = 8

Drives = Iterator[Iterator[CameraFrame]]
"""Each is to be read to its end before the next."""


def of_split(root: Path, version: str | None, split: str, sweeps: bool, most: int) -> tuple[Drives, int]:
    """Evenly chosen drives of at most so many frames, and how many frames they have.

    sweeps: with the sets of images between the keyframes. Raises ValueError for a split that is not there or has fewer
    than `LEAST_FRAMES`.
    """
    dataset = NuScenes(root, version)
    read = dataset.sweeps if sweeps else dataset.samples
    drives = [drive for scene in dataset.scene_names(split) if (drive := tuple(read(scene)))]
    total = sum(map(len, drives))
    step = max(1, -(-total // most))
    drives = drives[::step] if len(drives) >= step else [drive[: max(1, most // len(drives))] for drive in drives]
    total = sum(map(len, drives))
    if total < LEAST_FRAMES:
        raise ValueError(f"split {split!r} of {root} has {total} sets of images, expected at least {LEAST_FRAMES}")
    return (_frames(drive) for drive in drives), total


def _frames(drive: Sequence[Sample]) -> Iterator[CameraFrame]:
    for sample in drive:
        yield sample.camera_frame()


def of_bags(bags: Sequence[Path], settings: Settings, model: ModelConfig, most: int) -> Drives:
    """Drives of at most so many sets of images, the same share of each bag; what is odd goes to standard error.

    settings: what a node would be given for these bags. Raises BagError for a bag that cannot be read or has no set
    that can be used, and ValueError where all together have fewer than `LEAST_FRAMES`; both say what sets lacked.
    """
    told: list[str] = []
    used = 0
    for path in bags:
        books = Books()
        yield from bag_drives(path, settings, model, -(-most // len(bags)), books, _warn)
        told.append(f"bag {path}: {books}")
        used += books.account.totals().sets_published
    if used < LEAST_FRAMES:
        raise ValueError(f"there are {used} usable sets of images, expected at least {LEAST_FRAMES}; {'; '.join(told)}")
    print("\n".join(told), file=sys.stderr)


def _warn(text: str) -> None:
    print(text, file=sys.stderr)
