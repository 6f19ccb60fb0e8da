"""Full rate for a long time: does memory grow, does latency drift, is every set accounted for."""

from __future__ import annotations

import array
import math
import os
import statistics
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
from rclpy.serialization import serialize_message
from sensor_msgs.msg import CompressedImage
from std_msgs.msg import Header
from tggbc_ros.msg import FrameReport
from tqdm import tqdm

from bench.ros_rig import stamped
from drill.ground import Ground
from drill.node import NodeOptions
from drill.table import PLAIN, with_model
from drill.verdict import Row, judge
from tggbc_ros.ros.params import CAMERAS

RATE_HZ = 12.0
SIZE = 900, 1600
PICTURES = 8
WARM_UP_SHARE, WARM_UP_S = 0.2, 60.0
MAX_BOXES = 50
LEAST_SPIN_S = 0.005
MAX_GROWTH = 0.02
MAX_DRIFT, DRIFT_MS = 0.10, 1.0


class Sample(NamedTuple):
    """The node at one second: resident memory, and the median latency since the last sample."""

    elapsed_s: float
    rss_mb: float
    latency_ms: float


def soak(minutes: float, domain_id: int, folder: Path, model: str) -> dict[str, Any]:
    """Run, and return what soak.json holds."""
    samples: list[Sample] = []
    options = with_model(NodeOptions({**PLAIN.parameters, "max_boxes": MAX_BOXES}), model)
    with Ground(options, domain_id, folder / "node.log") as ground:
        ground.rig.period_ns = round(1e9 / RATE_HZ)
        ground.expect(ground.recover() == 1, "the first set was not inferred")
        before = ground.mark()
        _drive(ground, minutes * 60.0, samples)
        row = judge("soak", ground, before, ground.recover(), {"image_unmatched": False}, all_images=False)
    return summary(minutes, row, samples)


def _drive(ground: Ground, duration_s: float, samples: list[Sample]) -> None:
    """Publish on an absolute schedule; sample once a second."""
    pictures = _pictures()
    start_s, number, heard = time.monotonic(), 0, len(ground.reports)
    with tqdm(total=round(duration_s), unit="s", disable=None) as bar:
        while (elapsed_s := time.monotonic() - start_s) < duration_s:
            ground.rig.publish_set(ground.index, infos=number % 12 == 0, **_images(ground, pictures))
            ground.note(good=True, complete=None)
            number += 1
            ground.rig.spin_for(max(LEAST_SPIN_S, start_s + number / RATE_HZ - time.monotonic()))
            if elapsed_s >= len(samples) + 1:
                samples.append(Sample(elapsed_s, rss_mb(ground.process.pid), _latency_ms(ground.reports[heard:])))
                heard = len(ground.reports)
                _forget_contents(ground)
                bar.update(round(elapsed_s) - bar.n)


def _pictures() -> dict[str, list[bytearray]]:
    """Camera -> messages of full size, serialised: to do that for each would cost more than what is measured."""
    jpegs = [_jpeg(seed) for seed in range(PICTURES)]
    return {
        camera: [
            bytearray(serialize_message(CompressedImage(header=Header(frame_id=camera), format="jpeg", data=data)))
            for data in jpegs
        ]
        for camera in CAMERAS
    }


def _images(ground: Ground, pictures: Mapping[str, Sequence[bytearray]]) -> dict[str, bytes]:
    """The set with the ground's number, other pictures than those of the set before."""
    found = {}
    for place, (camera, stamp_ns) in enumerate(ground.rig.stamps_ns(ground.index).items()):
        found[camera] = stamped(pictures[camera][(ground.index + place) % PICTURES], stamp_ns)
    return found


def _latency_ms(reports: Sequence[FrameReport]) -> float:
    """The median; infinite where none came."""
    return statistics.median(report.latency_ms for report in reports) if reports else float("inf")


def _forget_contents(ground: Ground) -> None:
    """Of what was received keep the reports and the boxes' stamps: half an hour of the rest is gigabytes."""
    received = ground.rig.received
    for message in received["boxes"]:
        message.boxes = []
    for topic in ("detections", "markers", "diagnostics"):
        received[topic].clear()


def _jpeg(seed: int) -> array.array[int]:
    """A JPEG file of full size with enough in it to decode."""
    coarse = np.random.default_rng(seed).integers(0, 255, (90, 160, 3), dtype=np.uint8)
    pixels = cv2.resize(coarse, SIZE[::-1], interpolation=cv2.INTER_LINEAR)
    return array.array("B", cv2.imencode(".jpg", pixels)[1].tobytes())


def rss_mb(pid: int) -> float:
    """Resident memory of a process in MB, as Linux tells it."""
    pages = int(Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def summary(minutes: float, row: Row, samples: Sequence[Sample]) -> dict[str, Any]:
    """What soak.json holds: the first and the last third of what comes after the warm-up, compared."""
    settled = [s for s in samples if s.elapsed_s >= min(WARM_UP_S, WARM_UP_SHARE * minutes * 60.0)]
    third = max(1, len(settled) // 3)
    first, last = settled[:third], settled[-third:]
    rss = [statistics.median(sample.rss_mb for sample in part) for part in (first, last)]
    latency = [statistics.median(sample.latency_ms for sample in part) for part in (first, last)]
    growth = rss[1] / rss[0] - 1.0
    problems = list(row.problems)
    if growth >= MAX_GROWTH:
        problems.append(f"memory grew by {growth:.1%}, expected less than {MAX_GROWTH:.0%}")
    if not all(map(math.isfinite, latency)):
        problems.append("in most seconds nothing was published: the machine is too slow for this rate")
    elif latency[1] > latency[0] * (1.0 + MAX_DRIFT) + DRIFT_MS:
        problems.append(f"latency went from {latency[0]:.1f} to {latency[1]:.1f} ms")
    return {
        "minutes": minutes,
        "rate_hz": RATE_HZ,
        "sets_in": row.books.sets_in,
        "published": row.books.published,
        "drops": dict(sorted(row.books.drops.items())),
        "resets": dict(sorted(row.books.resets.items())),
        "rss_mb": {"first_third": round(rss[0], 1), "last_third": round(rss[1], 1), "growth": round(growth, 4)},
        "latency_ms_p50": {"first_third": _finite(latency[0]), "last_third": _finite(latency[1])},
        "pass": not problems,
        "problems": problems,
    }


def _finite(value: float) -> float | None:
    """JSON knows no infinity."""
    return round(value, 2) if math.isfinite(value) else None
