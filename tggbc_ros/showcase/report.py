"""What the demo's page says about what was done."""

from __future__ import annotations

import os
import platform
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version

import cv2
import numpy as np
import torch

from tggbc_ros.data.drive.config import SAMPLE_RATE_HZ
from tggbc_ros.drawing.page_parts import Figure
from tggbc_ros.evaluation.results import Row
from tggbc_ros.showcase.film import SPEED_UP
from tggbc_ros.showcase.page import Report
from tggbc_ros.showcase.plan import BAG, DETECTIONS, DRIVE, FILM, KEYS, LOGS, PLOT, SCORES, SPLIT, Plan

FEW_KEYS = 3000
"""Between the demo model's 1056, which cost no more than choosing among them, and the 4224 of the smallest published
network, where trimming saves time (docs/pruning.md, Study and Times)."""


GAIN = 1.05
"""Times as fast that a machine shows beyond its noise."""


def warning(row: Row) -> str:
    """What to know before looking at boxes; empty where they are a trained model's."""
    if row["weights"] == "RANDOM":
        return "The weights are RANDOM: the boxes mean nothing yet, the line they came along is real."
    return ""


def gain(dense: Row, shown: Row) -> str:
    """In one sentence, what the pass that is shown saves against the dense network with all keys, on this machine."""
    before, after = dense["frame_ms"], shown["frame_ms"]
    scores = f"mAP {dense['mAP']:.3f} -> {shown['mAP']:.3f}"
    if before < GAIN * after:
        return f"On this machine nothing is gained: {before:.1f} -> {after:.1f} ms a frame, {scores}."
    return f"{before / after:.1f} times as fast: {before:.1f} -> {after:.1f} ms a frame, {scores}."


def demo_report(plan: Plan, rows: Sequence[Row]) -> Report:
    """The whole page of a demo from its plan and its scores, in the order of the plan's passes."""
    shown = rows[plan.shown]
    objects = sum(count for name, count in shown.items() if name.startswith("objects_"))
    return Report(
        title="What pruning saves, live in a ROS 2 node",
        lead=f"{gain(rows[0], shown)} {_networks(plan)}: the six cameras of a synthetic drive, played over DDS into a "
        "detector node whose keep_ratio was turned while it ran. "
        f"{shown['samples']} frames with {objects} scored objects: enough to see how it works, too few to prove it.",
        shown=plan.shown,
        warning=warning(shown),
        rows=rows,
        figures=_figures(plan, shown),
        facts=_facts(plan, rows),
        commands=_commands(plan),
        files={
            "results.json": "every score, a list of rows",
            "results.csv": "the same as a table",
            f"{DETECTIONS}/": "rosbag2 of ~/boxes, ~/report and ~/kept_keys, all passes",
            f"{BAG}/": "rosbag2 of cameras, poses and ground truth: what was played",
            f"{DRIVE}/": "the drive as a nuScenes v1.0 data set",
            f"{SCORES}/": "submissions and the evaluator's details, by network and ratio",
            f"{LOGS}/": "what the nodes said",
        },
    )


def _networks(plan: Plan) -> str:
    """Which ones, in words."""
    first, *others = (network.name for network in plan.networks)
    return f"StreamPETR with tgGBC, {first}" + "".join(f" against {other}" for other in others)


def _figures(plan: Plan, shown: Row) -> list[Figure]:
    keep_ratio, keys_total = shown["keep_ratio"], shown["keys_total"]
    film = (
        f"Solid: detections of a score of at least {plan.show_score:g}, by class. Dashed white: ground truth. Arrows: "
        "one second of velocity. Trails: the last seconds of tracks, joined by nearest neighbours for drawing only. "
        f"Played at {SPEED_UP:g} times real time."
    )
    keys = (
        "Dark cells were trimmed: no confident query looked at them. Plain grey is cut off before the network. The "
        "frame with the most objects of the drive."
    )
    time = "the whole frame's time" if len(plan.networks) > 1 else "the decoder's time"
    plot = f"Official mAP and NDS of each pass against the share of keys left and against {time}."
    if keys_total < FEW_KEYS:
        plot += (
            f" {keys_total} keys are so few that choosing among them takes what the later layers save: here pruning "
            "keys shows what it costs. The published networks have thousands; docs/pruning.md tells what it saves them."
        )
    return [
        Figure(plan.out / FILM, f"The drive, {shown['network']} at keep ratio {keep_ratio:g}", film),
        Figure(plan.out / KEYS, f"Image regions whose keys were kept at {keep_ratio:g}", keys),
        Figure(plan.out / PLOT, "What pruning costs and saves", plot),
    ]


def _commands(plan: Plan) -> dict[str, str]:
    """What it does -> the command line."""
    ratios = " ".join(f"{ratio:g}" for ratio in plan.keep_ratios)
    demo = f"make demo ARGS='{_options(plan)} --seed {plan.seed} --seconds {plan.seconds:g} --keep-ratio {ratios}'"
    _, ratio = list(plan.passes())[plan.shown]
    score = f"./run python -m tggbc_ros.tools.evaluate --data {plan.out / DRIVE} --split {SPLIT}"
    return {
        "this page": demo,
        "score the recorded detections again": f"{score} --bag {plan.out / DETECTIONS}/* --out out/again",
        "look at the bag in RViz (ROS 2 sourced)": f"ros2 launch tggbc_ros replay.launch.py bag:={plan.out / BAG}",
        "turn the knob of a running node": f"ros2 param set /detector keep_ratio {ratio:g}",
    }


def _options(plan: Plan) -> str:
    """Those of the networks."""
    dense, *others = plan.networks
    words = [f"--model {dense.model}", *([f"--checkpoint {dense.checkpoint}"] if dense.checkpoint else [])]
    words += [] if others else ["--faster none"]
    for each in others:
        words += [f"--faster {each.model} --faster-backend {each.backend}"]
        words += [f"--faster-checkpoint {each.checkpoint}"] if each.checkpoint else []
    return " ".join(words)


def _facts(plan: Plan, rows: Sequence[Row]) -> dict[str, str]:
    """Identity of what ran."""
    width, height = plan.drive.image_size
    each = {str(row["network"]): row for row in rows}
    return {
        **{name: f"model {row['model']}, {row['weights']}; on {row['device']}" for name, row in each.items()},
        "pruning": f"layers that trim: {rows[0]['prune_layers']}, queries that vote: {rows[0]['prune_queries']}",
        "ran on": f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}",
        "drive": f"synthetic, seed {plan.seed}, {plan.seconds:g} s, {SAMPLE_RATE_HZ} frames a second, "
        f"{width} x {height} pixels, difficulty demo",
        "libraries": ", ".join(f"{name} {found}" for name, found in _libraries().items()),
    }


def _libraries() -> dict[str, str]:
    """Library -> version. Of a ROS 2 installation's OpenCV, only the module itself knows which it is."""
    of_modules = {"torch": torch.__version__, "numpy": np.__version__, "opencv": cv2.__version__}
    return of_modules | {name: _installed_version(name) for name in ("nuscenes-devkit", "rosbags")}


def _installed_version(name: str) -> str:
    """Of a distribution whose modules do not say it."""
    try:
        return version(name)
    except PackageNotFoundError:
        return "of unknown version"
