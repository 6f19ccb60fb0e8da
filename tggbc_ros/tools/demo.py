"""The whole line at work: a clip becomes a bag, the bag is played into the detector node, its boxes become pictures.

python -m tggbc_ros.tools.demo [--out out/demo] [--sample FOLDER] [--model NAME --checkpoint FILE]
"""

from __future__ import annotations

import argparse
import dataclasses
import os
import shutil
import statistics
import sys
from collections.abc import Sequence
from pathlib import Path

import cv2
import rclpy

from tggbc_ros.core.config import CLASS_NAMES
from tggbc_ros.core.geometry import invert_rigid, transform_boxes
from tggbc_ros.data.bag import BagWriter
from tggbc_ros.data.drive import dataset
from tggbc_ros.data.drive.config import DriveConfig
from tggbc_ros.data.nuscenes import NuScenes
from tggbc_ros.data.records import Sample
from tggbc_ros.data.sample_folder import moved, read_sample_folder
from tggbc_ros.msg import BoundingBox3DArray, FrameReport
from tggbc_ros.ros.client import ClientError, boxes_of, choose_domain, replay
from tggbc_ros.ros.overlay import load_palette, overview

SAMPLE_FOLDER = "../shared/nuscenes_sample"
FRAMES = 3
STEP = (2.0, 0.02, 0.5)
"""Between two frames of the sample: metres forward, radians of turn, seconds."""

CLIP, DRIVE = "clip", "drive"
SHOWN_BOXES = 40


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the demo; returns the exit status."""
    options = _parser().parse_args(arguments)
    out: Path = options.out
    for folder in (CLIP, DRIVE):  # and nothing else: the user may have named any folder
        shutil.rmtree(out / folder, ignore_errors=True)
    samples = clip(options.sample, out)
    with BagWriter(out / CLIP) as bag:
        for sample in samples:
            bag.write(sample)
    parameters = {
        "model": options.model,
        "checkpoint": options.checkpoint,
        "allow_random_weights": not options.checkpoint,
    }
    choose_domain()
    rclpy.init()
    try:
        with replay(out / CLIP, len(samples), parameters, {"keep_ratio": options.keep_ratio}, out) as heard:
            boxes, reports = heard.boxes, list(heard.reports.values())
    except ClientError as error:
        print(f"demo: {error}", file=sys.stderr)
        return 1
    finally:
        rclpy.shutdown()
    for index, sample in enumerate(samples):
        picture(sample, boxes[max(shot.timestamp_ns for shot in sample.cameras)], out / f"frame_{index}.png")
    print(table(reports))
    if not options.checkpoint:
        print("The weights are RANDOM: the boxes mean nothing yet, the line they came along is real.")
    print(f"pictures, bag and logs: {out}")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tggbc_ros.tools.demo", description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("out/demo"))
    sample = Path(os.environ.get("TGGBC_SAMPLE") or SAMPLE_FOLDER)
    parser.add_argument("--sample", type=Path, default=sample, help="nuScenes keyframe; without it a drive is made")
    parser.add_argument("--model", default="r50_704")
    parser.add_argument("--checkpoint", default="", help="weights; without, random ones whose boxes mean nothing")
    parser.add_argument("--keep-ratio", type=float, default=0.3)
    return parser


def clip(sample_folder: Path, out: Path) -> list[Sample]:
    """A few frames: the real keyframe with the vehicle moving on, or a synthetic drive. Truth where it holds."""
    if not sample_folder.is_dir():
        print(f"no sample in {sample_folder}: making a short synthetic drive")
        config = DriveConfig(duration_s=FRAMES / 2)
        tables = dataset.write_scene(out / DRIVE, 0, 0, config, progress=lambda: None)
        dataset.write_tables(out / DRIVE, dataset.VERSION, "demo", [tables])
        drive = NuScenes(out / DRIVE)
        return [sample for scene in drive.scene_names("demo") for sample in drive.samples(scene)][:FRAMES]
    samples = [read_sample_folder(sample_folder)]
    while len(samples) < FRAMES:
        samples.append(dataclasses.replace(moved(samples[-1], *STEP), annotations=None))
    return samples


def picture(sample: Sample, message: BoundingBox3DArray, path: Path) -> None:
    """Six cameras and a view from above, detections in colour, ground truth dashed."""
    boxes = transform_boxes(invert_rigid(sample.lidar2ego), boxes_of(message, CLASS_NAMES))
    truth = sample.annotations.boxes if sample.annotations else None
    cv2.imwrite(str(path), overview(sample.camera_frame(), boxes[:SHOWN_BOXES], load_palette(CLASS_NAMES), truth))


def table(reports: Sequence[FrameReport]) -> str:
    """Stage times, milliseconds: median and largest over the frames."""
    report = reports[-1]
    lines = [
        f"model {report.model}, weights {report.weights}, {report.backend} on {report.device}",
        f"keep ratio {report.keep_ratio:.2f}, keys by layer {list(report.keys)}",
        f"{'stage':<12}{'median ms':>12}{'max ms':>12}",
    ]
    by_stage = {
        stage.stage: [s.ms for r in reports for s in r.stages if s.stage == stage.stage] for stage in report.stages
    }
    by_stage["latency"] = [r.latency_ms for r in reports]
    lines += [f"{stage:<12}{statistics.median(ms):>12.1f}{max(ms):>12.1f}" for stage, ms in by_stage.items()]
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
