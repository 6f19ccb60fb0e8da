"""One bag through detectors, one for each keep ratio: the messages that a node would publish of it."""

from __future__ import annotations

import sys
from dataclasses import dataclass, replace
from pathlib import Path

from rclpy.serialization import serialize_message

from tggbc_ros.core.config import CLASS_NAMES
from tggbc_ros.core.detector import Detector, Network
from tggbc_ros.core.geometry import transform_boxes
from tggbc_ros.evaluation.detect import SharedEncoder
from tggbc_ros.ros import convert
from tggbc_ros.ros.bags.bag_sets import BagSet, Books, bag_sets
from tggbc_ros.ros.drops import BadInputError
from tggbc_ros.ros.output.report import Identity, engine_name, frame_report
from tggbc_ros.ros.params import Settings


@dataclass(frozen=True)
class Message:
    """Serialised boxes and report of one set of images. boxes: also as rows of `COLUMNS`, in order of score."""

    stamp_ns: int
    boxes: bytes
    report: bytes
    rows: tuple[tuple[float | str, ...], ...]


COLUMNS = ("class_name", "score", "x", "y", "z", "length", "width", "height", "yaw", "vx", "vy")
"""Of a box: metres, radians, m/s, in the frame that the bag of results names."""


@dataclass(frozen=True)
class BagResult:
    """Of one bag: keep ratio -> its messages in order of time; what became of its sets, in one line."""

    messages: dict[float, list[Message]]
    frame_id: str
    books: str


def detect(network: Network, backend: str, bag: Path, settings: Settings, keep_ratios: tuple[float, ...]) -> BagResult:
    """What a node with these settings would publish, at each keep ratio; backend: name of what runs the network.

    Raises BagError for a bag that cannot be read, lacks a camera, or has no set that can be used.
    """
    shared = SharedEncoder(network)
    books, warned = Books(), list[str]()
    given = [replace(settings, keep_ratio=ratio) for ratio in keep_ratios]
    detectors = [Detector(shared, each.pruning(), each.memory(), each.decode(), images=each.images()) for each in given]
    engine = engine_name(backend, network.precision)
    who = Identity(network.model.name, network.weights, engine, str(network.device))
    found: dict[float, list[Message]] = {ratio: [] for ratio in keep_ratios}
    for drive in bag_sets(bag, settings, network.model, sys.maxsize, books, warned.append):
        for images in drive:
            shared.next_frame()
            for one, detector in zip(given, detectors, strict=True):
                message = _message(images, one, detector, who, books)
                if message is not None:
                    found[one.keep_ratio].append(message)
    return BagResult(found, settings.output_frame, "; ".join([str(books), *dict.fromkeys(warned)]))


def _message(images: BagSet, settings: Settings, detector: Detector, who: Identity, books: Books) -> Message | None:
    """None where the network's answer is not finite, which is counted as a node does."""
    try:
        boxes, step = detector.step(images.frame)
    except FloatingPointError as error:
        books.drop(BadInputError("not_finite", str(error)))
        return None
    boxes = transform_boxes(images.lidar2output, boxes)
    stamp_ns = images.frame.timestamp_ns
    head = convert.header(stamp_ns, settings.output_frame)
    report = frame_report(head, who, settings.pruning(), step, dict(step.stage_ms), books.account.totals())
    report.spread_ms = images.spread_ns / 1e6
    report.missing_cameras = list(images.missing)
    rows = tuple(
        (CLASS_NAMES[label], score, *center, *size, yaw, *velocity)
        for label, score, center, yaw, size, velocity in convert.rows(boxes)
    )
    array = convert.boxes_array(boxes, CLASS_NAMES, head)
    return Message(stamp_ns, serialize_message(array), serialize_message(report), rows)
