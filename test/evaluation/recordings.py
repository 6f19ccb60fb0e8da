"""Bags such as a recorder makes of the node's topics, from the node's own messages."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rclpy.serialization import serialize_message
from rosbags.rosbag2 import StoragePlugin, Writer
from tggbc_ros.msg import BoundingBox3DArray, FrameReport, StageTime

from tggbc_ros.core.config import CLASS_NAMES
from tggbc_ros.core.geometry import invert_rigid, transform_boxes
from tggbc_ros.core.types import Boxes3D
from tggbc_ros.data.records import Sample
from tggbc_ros.evaluation.passes import Pass, Split, newest_shot
from tggbc_ros.ros import convert
from tggbc_ros.ros.bags.message_definitions import typestore_of

Logged = tuple[int, str, Any]
TYPES = {BoundingBox3DArray: "tggbc_ros/msg/BoundingBox3DArray", FrameReport: "tggbc_ros/msg/FrameReport"}
FRAME_MS = 10.0
PUBLISHED_AT_NS = 1_700_000_000_000_000_000


def newest_ns(sample: Sample) -> int:
    return newest_shot(sample).timestamp_ns


def array(sample: Sample, boxes: Boxes3D, frame2global: Any) -> BoundingBox3DArray:
    """Boxes as the node publishes them: in base_link at the time of the newest image."""
    newest = newest_shot(sample)
    published = transform_boxes(invert_rigid(newest.ego2global) @ frame2global, boxes)
    return convert.boxes_array(published, CLASS_NAMES, convert.header(newest.timestamp_ns, "base_link"))


def report(
    stamp_ns: int, keep_ratio: float, decoder_ms: float = 4.0, keys: Sequence[int] = (1056, 106), **other: Any
) -> FrameReport:
    stages = {"images": 3.0, "poses": 1.0, "encode": FRAME_MS - decoder_ms, "decode": decoder_ms, "publish": 0.5}
    pruning = {"keep_mode": "fixed", "prune_schedule": "gradual", "prune_layers": 1, "prune_queries": 175} | other
    return FrameReport(
        header=convert.header(stamp_ns, "base_link"),
        model="demo",
        weights="some file",
        device="cpu",
        keep_ratio=keep_ratio,
        keys=list(keys),
        stages=[StageTime(stage=name, ms=ms) for name, ms in stages.items()],
        latency_ms=25.0,
        **pruning,
    )


def published(
    split: Split, found: Pass, keep_ratio: float | None = None, start_ns: int = PUBLISHED_AT_NS, **other: Any
) -> list[Logged]:
    """What a node that found this would have published, with reports if a ratio is given; 0.1 s between frames.

    other: of the reports.
    """
    logged: list[Logged] = []
    for index, sample in enumerate(split.samples()):
        at_ns = start_ns + index * 100_000_000
        detections = found.detections[sample.token]
        logged.append((at_ns, "/detector/boxes", array(sample, detections.boxes, detections.frame2global)))
        if keep_ratio is not None:
            logged.append((at_ns + 1_000_000, "/detector/report", report(newest_ns(sample), keep_ratio, **other)))
    return logged


def write_recording(path: Path, logged: Sequence[Logged], storage: StoragePlugin = StoragePlugin.MCAP) -> Path:
    with Writer(path, version=9, storage_plugin=storage) as writer:
        connections: dict[str, Any] = {}
        for at_ns, topic, message in logged:
            if topic not in connections:
                kind = TYPES[type(message)]
                connections[topic] = writer.add_connection(topic, kind, typestore=typestore_of(kind))
            writer.write(connections[topic], at_ns, serialize_message(message))
    return path
