"""Compare this implementation with recorded runs of the original network.

python -m tggbc_ros.tools.golden FILE... [--json REPORT] [--sample FOLDER] [--node]

Prints for each output the largest error and what it may be; the exit status is 1 if one is exceeded and
2 if a file cannot be compared. Files of real frames need the sample folder whose images they were made from.
With --node, such a file is played as a bag over DDS into a detector node, and what it publishes is compared.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import rclpy
import torch

from tggbc_ros.core.checkpoint import to_official
from tggbc_ros.core.config import PreprocessConfig
from tggbc_ros.core.geometry import transform_boxes
from tggbc_ros.core.preprocess import preprocess, raw_to_network
from tggbc_ros.core.types import Boxes3D, CameraFrame, Rig
from tggbc_ros.data.bags.sample_bag import BagWriter
from tggbc_ros.data.golden.cases import AnyArray, GoldenFile, GoldenFrame, read_golden
from tggbc_ros.data.golden.checks import (
    LOOSE,
    ROUNDING,
    Check,
    check_frame,
    check_heads,
    heading_length,
    largest_difference,
    not_compared,
    recorded_boxes,
    worst,
)
from tggbc_ros.data.golden.replay import (
    EQUAL_PIXELS,
    MATRIX,
    Step,
    formula_network,
    moved_samples,
    original_alignment,
    outputs_by_name,
    parts_by_name,
    run,
)
from tggbc_ros.data.golden.vit_cases import CHECKS as VIT_CHECKS
from tggbc_ros.data.golden.vit_cases import check_vit
from tggbc_ros.data.records import Sample
from tggbc_ros.msg import BoundingBox3DArray, FrameReport
from tggbc_ros.ros.client import ClientError, boxes_of, choose_domain, replay

PARTS = 3e-4  # the original inverts lidar2img in float32

CheckedFrame = tuple[GoldenFrame, Mapping[str, AnyArray], list[Check]]


def check_file(path: Path, sample_folder: Path) -> tuple[list[Check], list[str]]:
    """Every check of a file, the worst frame of each, and the names of recorded outputs that are not compared."""
    golden = read_golden(path)
    if golden.kind == "pipeline":
        return list(check_pipeline(golden)), []
    if golden.kind in VIT_CHECKS:
        return check_vit(golden)
    checks: list[Check] = []
    left_out: set[str] = set()
    for frame, computed, found in (check_parts if golden.kind == "parts" else check_case)(golden, sample_folder):
        checks += found
        left_out.update(not_compared(computed, frame))
    return worst(checks), sorted(left_out)


def check_case(golden: GoldenFile, sample_folder: Path) -> Iterator[CheckedFrame]:
    """A case played through the network."""
    for index, step in enumerate(run(golden, sample_folder)):
        computed = outputs_by_name(step)
        checks = [*step.given.checks, *check_frame(computed, step.frame, step.tolerances)]
        if golden.is_far(index):
            checks += check_with_original_poses(golden, step)
        yield step.frame, computed, checks


def check_with_original_poses(golden: GoldenFile, step: Step) -> Iterator[Check]:
    """Far from the origin: the same network with poses combined in float32, as the original did.

    Ours are combined in float64 and therefore differ from it; this shows that nothing else does.
    """
    module, frame = formula_network(golden.model.name, golden.salt), step.frame
    aligned = original_alignment(step.before, frame, golden.model.memory_length)
    with torch.inference_mode():
        output = module.decode(step.tokens, aligned, golden.pruning, all_layers=True)
    computed = outputs_by_name(dataclasses.replace(step, output=output))
    tolerances = LOOSE if step.given.pixels_differ else ROUNDING
    for check in check_heads(computed, frame.outputs, tolerances):
        yield dataclasses.replace(check, output=f"{check.output} (float32 poses)")


def check_pipeline(golden: GoldenFile) -> Iterator[Check]:
    """Preprocessing of one image made of blocks."""
    arrays, model = golden.arrays, golden.model
    image = arrays["img_lowres_bgr"].repeat(20, axis=0).repeat(20, axis=1)
    rig = Rig(("camera",), arrays["intrinsic_in"][None, :3, :3], arrays["extrinsic"][None].astype(np.float64))
    frame = CameraFrame((image,), rig, 0, np.eye(4))
    inputs = preprocess(frame, model, "cpu", PreprocessConfig("exact"))
    pixels = inputs.images[0, 0].permute(1, 2, 0).numpy()
    intrinsics = raw_to_network(frame, model)[0] @ rig.intrinsics[0]
    lidar2img = inputs.lidar2img[0, 0].numpy()
    yield Check("out_img_hwc", largest_difference(pixels, arrays["out_img_hwc"]), EQUAL_PIXELS)
    yield Check("out_intrinsic", largest_difference(intrinsics, arrays["out_intrinsic"][:3, :3]), 1e-9)
    yield Check("out_lidar2img", largest_difference(lidar2img, arrays["out_lidar2img"].astype(np.float32)), MATRIX)


def check_parts(golden: GoldenFile, sample_folder: Path) -> Iterator[CheckedFrame]:
    """Tensors inside the network, recorded while another case ran."""
    case = read_golden(golden.path.with_name(f"{golden.meta['case']}.npz"))
    module = formula_network(case.model.name, case.salt)
    for frame, step in zip(golden.frames, run(case, sample_folder), strict=False):
        computed = parts_by_name(module, step, case)
        yield (
            frame,
            computed,
            [
                Check(name, largest_difference(computed[name], recorded), PARTS)
                for name, recorded in frame.outputs.items()
                if name in computed
            ],
        )


def check_node(path: Path, sample_folder: Path) -> list[Check]:
    """A case of real frames, as a bag over DDS through a detector node that starts dense and is pruned live."""
    golden = read_golden(path)
    if golden.kind != "sample":
        raise ValueError(f"{path} starts from network inputs, expected a case of real frames: a bag holds images")
    samples = moved_samples(golden, sample_folder)
    choose_domain()
    rclpy.init()
    try:
        with tempfile.TemporaryDirectory() as name:
            heard = publish_case(golden, samples, Path(name))
    finally:
        rclpy.shutdown()
    checks = [Check("node.frames", float(abs(len(heard) - len(samples))), 0)]
    for sample, frame in zip(samples, golden.frames, strict=True):
        message, report = heard.get(max(shot.timestamp_ns for shot in sample.cameras), (None, None))
        if message is not None and report is not None:
            checks += check_published(golden, frame, sample, message, report)
    return worst(checks)


def publish_case(
    golden: GoldenFile, samples: Sequence[Sample], folder: Path
) -> dict[int, tuple[BoundingBox3DArray, FrameReport]]:
    """Boxes and report of each set by its stamp in nanoseconds, from a node with formula weights."""
    checkpoint, pruning = folder / "formula.pth", golden.pruning
    torch.save({"state_dict": to_official(formula_network(golden.model.name, golden.salt))}, checkpoint)
    with BagWriter(folder / "case") as bag:
        for sample in samples:
            bag.write(sample)
    parameters = {"model": golden.model.name, "checkpoint": str(checkpoint), "keep_ratio": 1.0, "device": "cpu"}
    parameters["resize"] = "exact"
    live = {"keep_ratio": pruning.keep_ratio, "prune_layers": pruning.layers, "prune_queries": pruning.queries}
    with replay(folder / "case", len(samples), parameters, live, folder) as client:
        return {stamp: (client.boxes[stamp], report) for stamp, report in client.reports.items()}


def check_published(
    golden: GoldenFile, frame: GoldenFrame, sample: Sample, message: BoundingBox3DArray, report: FrameReport
) -> Iterator[Check]:
    """One set's boxes, in base_link, against the recorded ones, each with the nearest of its class.

    Messages do not name queries. Recorded boxes that score as low as the last published one may have
    fallen off the end.
    """
    ours, recorded = boxes_of(message, golden.model.class_names), frame.outputs
    theirs = transform_boxes(sample.lidar2ego, recorded_boxes(recorded))
    wrong_frame = 0 if message.header.frame_id == "base_link" else np.inf
    yield Check("node.frame_id", float(wrong_frame), 0)
    yield Check("node.keys", abs(report.keys[-1] - golden.keys_left), 0)
    count = min(len(ours), len(theirs))
    if not count:
        yield Check("node.scores", float(abs(len(ours) - len(theirs))), 0)
        return
    yield Check("node.scores", largest_difference(ours.score[:count], theirs.score[:count]), LOOSE.score)
    theirs = theirs[theirs.score > ours.score[-1] + LOOSE.score]
    length = heading_length(recorded, theirs.query).clip(max=1.0)
    limits = np.array([LOOSE.metres] * 3 + [LOOSE.codes] * 3 + [LOOSE.codes, LOOSE.codes, LOOSE.codes, LOOSE.score])
    for row in range(len(theirs)):
        same = ours[ours.label == theirs.label[row]]
        errors = np.abs(_row(same) - _row(theirs[row : row + 1]))
        errors[:, 6] = np.abs((errors[:, 6] + np.pi) % (2 * np.pi) - np.pi) * length[row]
        nearest = errors[np.argmin((errors / limits).max(axis=1))] if len(same) else np.full(10, np.inf)
        for name, part in (("center", slice(3)), ("log_size", slice(3, 6)), ("velocity", slice(7, 9))):
            yield Check(f"node.boxes.{name}", float(nearest[part].max()), float(limits[part][0]))
        yield Check("node.boxes.yaw", float(nearest[6]), LOOSE.codes)


def _row(boxes: Boxes3D) -> AnyArray:
    """[M, 10]: centre, log size, yaw, velocity, score."""
    columns = (boxes.center, np.log(boxes.size), boxes.yaw[:, None], boxes.velocity, boxes.score[:, None])
    return np.concatenate(columns, axis=1)


def report_of(path: Path, checks: Sequence[Check]) -> list[dict[str, object]]:
    """Checks as JSON has them; an error that is no number is null."""
    return [
        {
            "file": str(path),
            "output": check.output,
            "max_abs_error": float(check.error) if np.isfinite(check.error) else None,
            "tolerance": check.tolerance,
            "pass": check.passed,
        }
        for check in checks
    ]


def print_checks(path: Path, checks: Sequence[Check], left_out: Sequence[str]) -> None:
    """One line per output."""
    print(path.name)
    for check in checks:
        print(f"  {check.output:44} {check.error:10.3g}  of {check.tolerance:8.3g}  {'' if check.passed else 'MISSED'}")
    if left_out:
        print(f"  not compared: {', '.join(left_out)}")


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit status: 0 all within tolerance, 1 a miss, 2 a file that cannot be compared."""
    parser = argparse.ArgumentParser(prog="golden", description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE")
    parser.add_argument("--json", type=Path, metavar="REPORT", help="write the same figures here")
    parser.add_argument("--sample", type=Path, metavar="FOLDER", help="images of the real frame [beside FILE's folder]")
    parser.add_argument("--node", action="store_true", help="compare what a running detector node publishes")
    options = parser.parse_args(arguments)
    if options.json and not options.json.parent.is_dir():
        parser.error(f"--json is {options.json}: its folder does not exist")
    report: list[dict[str, object]] = []
    failures: list[str] = []
    for path in options.files:
        try:
            folder = options.sample or sample_beside(path)
            checks, left_out = (check_node(path, folder), []) if options.node else check_file(path, folder)
        except (ValueError, FileNotFoundError, ClientError) as error:
            print(f"{path.name}\n  cannot be compared: {error}", file=sys.stderr)
            failures.append(path.name)
            continue
        print_checks(path, checks, left_out)
        report += report_of(path, checks)
    if options.json:
        options.json.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    missed = sum(not entry["pass"] for entry in report)
    print(f"{len(report)} outputs of {len(options.files)} files, {missed} missed, {len(failures)} files not compared")
    return 2 if failures else min(missed, 1)


def sample_beside(path: Path) -> Path:
    """Where the sample folder is, unless told: TGGBC_SAMPLE, else beside the golden folder."""
    return Path(os.environ.get("TGGBC_SAMPLE") or path.resolve().parent.parent / "nuscenes_sample")


if __name__ == "__main__":
    sys.exit(main())
