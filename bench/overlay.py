"""What one mosaic of ~/overlay costs: CPU time of the thread that draws it. ``python -m bench.overlay``."""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from typing import TypeVar

import cv2
import numpy as np
from std_msgs.msg import Header

from bench.scene import frame_at
from tggbc_ros.core.config import MODELS
from tggbc_ros.core.types import Boxes3D
from tggbc_ros.drawing.kept_keys import arrangement
from tggbc_ros.drawing.overlay import mosaic
from tggbc_ros.drawing.palette import load_palette
from tggbc_ros.ros.output.overlay_topics import OverlayOptions, Scene, draw_scene, jpeg

Result = TypeVar("Result")
MODEL = MODELS["r50_704"]
PALETTE = load_palette(MODEL.class_names)


def boxes_around(count: int) -> Boxes3D:
    """Cars all around, 8 to 50 m away."""
    noise = np.random.default_rng(count)
    turn_rad, range_m = noise.uniform(0, 2 * np.pi, count), noise.uniform(8, 50, count)
    center = np.stack([range_m * np.cos(turn_rad), range_m * np.sin(turn_rad), np.full(count, -1.0)], axis=-1)
    return Boxes3D(
        center=center,
        size=np.tile([4.5, 1.9, 1.6], (count, 1)),
        yaw=noise.uniform(-np.pi, np.pi, count),
        velocity=np.zeros((count, 2)),
        score=noise.uniform(0.2, 1, count),
        label=noise.integers(0, len(MODEL.class_names), count),
        query=np.arange(count),
    )


def measure(boxes: int, options: OverlayOptions, repeats: int) -> dict[str, float]:
    """Medians in milliseconds: pictures of six 1600 x 900 cameras with boxes, the mosaic, its JPEG message."""
    frame, cells = frame_at(1), 6 * MODEL.feature_size[0] * MODEL.feature_size[1]
    scene = Scene(frame, boxes_around(boxes), np.arange(0, cells, 3), Header(), options)
    rows = arrangement(frame.rig.names)
    times: dict[str, list[float]] = {"draw": [], "mosaic": [], "jpeg": []}
    for _ in range(repeats + 1):
        pictures = _timed(times["draw"], lambda: draw_scene(scene, MODEL, PALETTE, frame.rig.names))
        whole = _timed(times["mosaic"], lambda made=pictures: mosaic(made, options.width, rows))
        _timed(times["jpeg"], lambda made=whole: jpeg(made, Header()))
    return {stage: statistics.median(each[1:]) for stage, each in times.items()}


def _timed(times: list[float], call: Callable[[], Result]) -> Result:
    start = time.thread_time()
    result = call()
    times.append((time.thread_time() - start) * 1e3)
    return result


def main(arguments: Sequence[str] | None = None) -> int:
    """Print a table."""
    parser = argparse.ArgumentParser(prog="python -m bench.overlay", description=__doc__)
    parser.add_argument("--repeats", type=int, default=20)
    parser.add_argument("--width", type=int, default=640)
    given = parser.parse_args(arguments)
    cv2.setNumThreads(1)
    print("boxes  kept keys   draw  mosaic   jpeg    sum, ms of CPU")
    for boxes in (0, 20, 60):
        for kept_keys in (False, True):
            found = measure(boxes, OverlayOptions(given.width, kept_keys), given.repeats)
            numbers = " ".join(f"{value:7.1f}" for value in [*found.values(), sum(found.values())])
            print(f"{boxes:5d}  {kept_keys!s:9} {numbers}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
