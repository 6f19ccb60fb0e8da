"""Make synthetic drives: `make` writes a nuScenes data set, `preview` a picture of one moment with its boxes."""

from __future__ import annotations

import argparse
import dataclasses
import functools
import multiprocessing
import os
import sys
import time
from collections.abc import Sequence
from multiprocessing.sharedctypes import Synchronized
from pathlib import Path
from typing import NoReturn

import cv2
from tqdm import tqdm

from tggbc_ros.core.config import CLASS_NAMES
from tggbc_ros.data.drive import dataset
from tggbc_ros.data.drive.config import DEMO_IMAGE_SIZE, DIFFICULTIES, SWEEPS_PER_SAMPLE, DriveConfig, with_difficulty
from tggbc_ros.data.drive.frames import frame_indices, render_frame
from tggbc_ros.data.drive.preview import contact_sheet
from tggbc_ros.data.drive.schema import Tables
from tggbc_ros.data.drive.world import make_scene
from tggbc_ros.drawing.palette import load_palette

_frames_done: Synchronized[int] | None = None


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    options = _parser().parse_args(arguments)
    try:
        config = drive_config(options)
        (make if options.command == "make" else preview)(options, config)
    except (OSError, ValueError) as error:
        print(f"drive: {error}", file=sys.stderr)
        return 2
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tggbc_ros.tools.drive", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    maker = commands.add_parser("make", help="write drives as a nuScenes data set")
    maker.add_argument("--out", type=Path, required=True, help="data root; drives of other seeds in it are kept")
    maker.add_argument("--scenes", type=int, default=1)
    maker.add_argument("--split", default="drive", help="name under which splits.json lists these scenes")
    maker.add_argument("--version", default=dataset.VERSION, help="folder of the tables (default %(default)s)")
    maker.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    maker.add_argument("--sweeps", action=argparse.BooleanOptionalAction, default=True, help="12 Hz between samples")
    viewer = commands.add_parser("preview", help="write one PNG: six cameras with true boxes")
    viewer.add_argument("--out", type=Path, required=True)
    viewer.add_argument("--scene", type=int, default=0)
    viewer.add_argument("--at", type=float, default=5.0, help="seconds from the start")
    sizes = [f"{width} {height}" for width, height in (DriveConfig.image_size, DEMO_IMAGE_SIZE)]
    size_help = f"pixels (default {sizes[0]}; {sizes[1]} where the difficulty is demo)"
    for command in (maker, viewer):
        command.add_argument("--seed", type=int, default=0)
        command.add_argument("--seconds", type=float, default=20.0)
        command.add_argument("--image-size", type=int, nargs=2, metavar=("W", "H"), help=size_help)
        command.add_argument("--difficulty", choices=DIFFICULTIES, default="medium", help="sets the three below")
        command.add_argument("--range", type=float, help="objects beyond it are neither drawn nor annotated, metres")
        command.add_argument("--objects", type=int, help="how many there are, roughly, within 60 m")
        command.add_argument("--clutter", type=float, help="0 to 1: trees, poles, texture")
    return parser


def drive_config(options: argparse.Namespace) -> DriveConfig:
    """The drive that the options describe: a named difficulty, and what was given beside it."""
    if options.seed < 0:
        raise ValueError(f"--seed is {options.seed}, expected 0 or more")
    size = options.image_size or (DEMO_IMAGE_SIZE if options.difficulty == "demo" else DriveConfig.image_size)
    config = DriveConfig(duration_s=options.seconds, image_size=tuple(size), sweeps=getattr(options, "sweeps", False))
    given = {"range_m": options.range, "objects": options.objects, "clutter": options.clutter}
    changes = {name: value for name, value in given.items() if value is not None}
    return dataclasses.replace(with_difficulty(config, options.difficulty), **changes)


def make(options: argparse.Namespace, config: DriveConfig) -> None:
    """Render the scenes in parallel, then write the tables in scene order."""
    for name in ("scenes", "workers"):
        if getattr(options, name) < 1:
            raise ValueError(f"--{name} is {getattr(options, name)}, expected at least 1")
    names = [dataset.scene_name(options.seed, number) for number in range(options.scenes)]
    dataset.check_target(options.out, options.version, options.split, names)
    (options.out / options.version).mkdir(parents=True, exist_ok=True)  # fails before anything is rendered
    workers = min(options.workers, options.scenes)
    job = functools.partial(_render, options.out, options.seed, config)
    with tqdm(total=options.scenes * len(frame_indices(config)), unit="frame", desc="drives", mininterval=0.5) as bar:
        scenes = _render_all(job, options.scenes, workers, bar)
    dataset.write_tables(options.out, options.version, options.split, scenes)


def _render_all(job: functools.partial[Tables], scenes: int, workers: int, bar: tqdm[NoReturn]) -> list[Tables]:
    context = multiprocessing.get_context("spawn")  # a fork would copy the threads of OpenCV and torch half
    counter = context.Value("l", 0)
    with context.Pool(workers, initializer=_start_worker, initargs=(counter,)) as pool:
        pending = pool.map_async(job, range(scenes), chunksize=1)
        while not pending.ready():
            time.sleep(0.1)
            bar.update(counter.value - bar.n)
        result = pending.get()
        bar.update(counter.value - bar.n)
    return result


def _start_worker(counter: Synchronized[int]) -> None:
    global _frames_done
    _frames_done = counter
    cv2.setNumThreads(1)


def _count_frame() -> None:
    if _frames_done is not None:
        with _frames_done.get_lock():
            _frames_done.value += 1


def _render(root: Path, seed: int, config: DriveConfig, number: int) -> Tables:
    return dataset.write_scene(root, seed, number, config, _count_frame)


def preview(options: argparse.Namespace, config: DriveConfig) -> None:
    """Write the picture of the sample nearest to the asked time."""
    scene = make_scene((options.seed, options.scene), config)
    indices = frame_indices(config)
    index = min(max(round(options.at * 2), 0) * SWEEPS_PER_SAMPLE, indices[-1])
    options.out.parent.mkdir(parents=True, exist_ok=True)
    picture = contact_sheet(render_frame(scene, index), load_palette(CLASS_NAMES).colors)
    name = str(options.out)
    if not (cv2.haveImageWriter(name) and cv2.imwrite(name, picture)):
        raise ValueError(f"cannot write {options.out}: expected the name of a picture file, as in drive.png")


if __name__ == "__main__":
    sys.exit(main())
