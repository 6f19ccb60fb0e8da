"""The node over a split: its boxes and reports from recorded bags, matched to samples by their stamps."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tggbc_ros.core.config import CLASS_NAMES
from tggbc_ros.core.geometry import rotation_from_quaternion
from tggbc_ros.core.types import Array, Boxes3D
from tggbc_ros.data.bags.bag_file import BagError, damage_named, open_bag
from tggbc_ros.data.bags.decoder import Decoder
from tggbc_ros.data.records import Sample
from tggbc_ros.evaluation.passes import Detections, Pass, Split, newest_shot

BOXES_TOPIC = "/detector/boxes"
REPORT_TOPIC = "/detector/report"
BOXES_TYPE = "tggbc_ros/msg/BoundingBox3DArray"
REPORT_TYPE = "tggbc_ros/msg/FrameReport"
NODE_STAGES = frozenset({"wait", "images", "poses", "publish"})
"""Stages of the node around the detector's step, which alone counts as frame time, as in the library."""

MAX_DELAY_NS = 1_000_000_000
"""A report is published right after its boxes; one recorded later belongs to another pass over the same data."""


@dataclass(frozen=True)
class Recorded:
    """A message with its header's stamp and the time it was recorded, in nanoseconds."""

    stamp_ns: int
    log_ns: int
    message: Any


def read_recording(path: Path, boxes_topic: str, report_topic: str) -> tuple[list[Recorded], list[Recorded]]:
    """Boxes and reports of a bag, in the order of recording, decoded with the definitions that the bag holds.

    Raises BagError naming the bag if it cannot be read whole, lacks the boxes, or has them in another type.
    """
    found: dict[str, list[Recorded]] = {boxes_topic: [], report_topic: []}
    expected = {boxes_topic: BOXES_TYPE, report_topic: REPORT_TYPE}
    try:
        with open_bag(path) as bag:
            connections = [entry for entry in bag.connections if entry.topic in expected]
            if boxes_topic not in {entry.topic for entry in connections}:
                topics = ", ".join(sorted({entry.topic for entry in bag.connections})) or "none"
                raise BagError(f"bag {path} has no topic {boxes_topic}; its topics: {topics}")
            for entry in connections:
                if entry.msgtype != expected[entry.topic]:
                    raise BagError(f"{entry.topic} in {path} is {entry.msgtype}, expected {expected[entry.topic]}")
            with damage_named(path):
                decoder = Decoder(connections)
                for entry, log_ns, data in bag.messages(connections):
                    message = decoder.decode(data, entry)
                    found[entry.topic].append(Recorded(_stamp_ns(message), log_ns, message))
    except FileNotFoundError as error:
        raise BagError(f"bag {path} cannot be read: {error}") from error
    return found[boxes_topic], found[report_topic]


def recorded_passes(
    split: Split, bags: Sequence[Path], boxes_topic: str = BOXES_TOPIC, report_topic: str = REPORT_TOPIC
) -> list[Pass]:
    """One pass per setting of the pruning that the reports tell, all boxes in one pass where there are no reports.

    The node's stamp is the newest image's, which is near the sample's time, not equal to it: boxes belong to the
    sample with such an image. Everything that is not scored is counted in the passes' notes. Raises ValueError if
    nothing in the bags belongs to the split.
    """
    by_stamp = {newest_shot(sample).timestamp_ns: sample for sample in split.samples()}
    passes: dict[tuple[Any, ...], Pass] = {}
    ignored: Counter[str] = Counter()
    for bag in bags:
        boxes, reports = read_recording(bag, boxes_topic, report_topic)
        for array, report in _pair(boxes, reports):
            if array.stamp_ns not in by_stamp:
                ignored["arrays of no sample"] += 1
            elif reports and report is None:
                ignored["arrays without report"] += 1
            else:
                _take(passes, by_stamp[array.stamp_ns], array, report)
    if not passes:
        counts = ", ".join(f"{count} {cause}" for cause, count in ignored.items()) or "no message"
        raise ValueError(f"no boxes of {', '.join(map(str, bags))} belong to split {split.name!r}: {counts}")
    for record in passes.values():
        record.notes |= ignored
        record.notes["samples without boxes"] = len(by_stamp) - len(record.detections)
    return sorted(passes.values(), key=lambda record: record.keep_ratio or 0.0, reverse=True)


def _pair(boxes: Sequence[Recorded], reports: Sequence[Recorded]) -> Iterator[tuple[Recorded, Recorded | None]]:
    """Boxes with the report of the same stamp that was recorded nearest, each report once.

    A stamp may come several times, when the same data was played several times.
    """
    by_stamp: defaultdict[int, list[Recorded]] = defaultdict(list)
    for report in reports:
        by_stamp[report.stamp_ns].append(report)
    for array in boxes:
        candidates = by_stamp[array.stamp_ns]
        nearest = min(candidates, key=lambda report: abs(report.log_ns - array.log_ns), default=None)
        if nearest is None or abs(nearest.log_ns - array.log_ns) > MAX_DELAY_NS:
            yield array, None
            continue
        candidates.remove(nearest)
        yield array, nearest


def _take(passes: dict[tuple[Any, ...], Pass], sample: Sample, array: Recorded, report: Recorded | None) -> None:
    """Put a sample's boxes into the pass of its setting; the first ones count where it was played again."""
    keep_ratio, settings = _settings(report.message) if report else (None, {})
    record = passes.setdefault((keep_ratio, *settings.values()), Pass(keep_ratio, settings=settings))
    if sample.token in record.detections:
        record.notes["samples played again"] = record.notes.get("samples played again", 0) + 1
        return
    record.detections[sample.token] = _detections(sample, array)
    if report:
        stage_ms = {stage.stage: float(stage.ms) for stage in report.message.stages}
        record.keys.append(tuple(int(count) for count in report.message.keys))
        record.encode_ms.append(stage_ms["encode"])
        record.decoder_ms.append(stage_ms["decode"])
        record.frame_ms.append(sum(ms for stage, ms in stage_ms.items() if stage not in NODE_STAGES))
        record.latency_ms.append(float(report.message.latency_ms))


def _settings(report: Any) -> tuple[float, dict[str, str | int | float]]:
    """What tells passes apart: keep ratio, and columns; float32 numbers as they were typed."""
    return round(float(report.keep_ratio), 6), {
        "model": report.model,
        "weights": report.weights,
        "device": report.device,
        "keep_mode": report.keep_mode,
        "latency_budget_ms": round(float(report.latency_budget_ms), 3),
        "prune_schedule": report.prune_schedule,
        "prune_layers": int(report.prune_layers),
        "prune_queries": int(report.prune_queries),
        "memory": "node",
    }


def _detections(sample: Sample, array: Recorded) -> Detections:
    """Boxes as they were published; their frame at the time of the newest image, from the data set."""
    ego2global = newest_shot(sample).ego2global
    frames: Mapping[str, Array] = {
        "base_link": ego2global,
        "LIDAR_TOP": ego2global @ sample.lidar2ego,
        "map": np.eye(4),
    }
    frame = array.message.header.frame_id
    if frame not in frames:
        raise ValueError(f"boxes at {array.stamp_ns} ns are in frame {frame!r}, expected one of {', '.join(frames)}")
    return Detections(boxes_from_message(array.message), frames[frame])


def boxes_from_message(message: Any) -> Boxes3D:
    """A BoundingBox3DArray as boxes in its own frame; raises ValueError for a class that nuScenes does not have."""
    unknown = {box.class_name for box in message.boxes} - set(CLASS_NAMES)
    if unknown:
        where = f"boxes at {_stamp_ns(message)} ns"
        raise ValueError(f"{where} have class {sorted(unknown)[0]!r}, expected one of {', '.join(CLASS_NAMES)}")
    count = len(message.boxes)
    place = [(box.pose.position, box.size, box.velocity) for box in message.boxes]
    return Boxes3D(
        center=np.array([(p.x, p.y, p.z) for p, _, _ in place], dtype=np.float64).reshape(count, 3),
        size=np.array([(s.x, s.y, s.z) for _, s, _ in place], dtype=np.float64).reshape(count, 3),
        yaw=np.array([_yaw_rad(box.pose.orientation) for box in message.boxes], dtype=np.float64),
        velocity=np.array([(v.x, v.y) for _, _, v in place], dtype=np.float64).reshape(count, 2),
        score=np.array([box.score for box in message.boxes], dtype=np.float64),
        label=np.array([CLASS_NAMES.index(box.class_name) for box in message.boxes], dtype=np.int64),
        query=np.arange(count, dtype=np.int64),
    )


def _yaw_rad(orientation: Any) -> float:
    heading = rotation_from_quaternion(orientation.x, orientation.y, orientation.z, orientation.w)[:, 0]
    return float(np.arctan2(heading[1], heading[0]))


def _stamp_ns(message: Any) -> int:
    stamp = message.header.stamp
    return int(stamp.sec) * 1_000_000_000 + int(stamp.nanosec)
