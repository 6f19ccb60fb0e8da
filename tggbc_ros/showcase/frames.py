"""One pass over a drive as frames to be drawn: images, boxes, ground truth, tracks, kept keys."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tggbc_ros.core.geometry import invert_rigid, transform_boxes, transform_points
from tggbc_ros.core.types import Array, Boxes3D
from tggbc_ros.data.records import Sample
from tggbc_ros.drawing.kept_keys import kept_by_camera
from tggbc_ros.evaluation.passes import LIDAR_POINTS_NEEDED, Detections, Pass, newest_shot
from tggbc_ros.showcase import tracks
from tggbc_ros.showcase.sweep import KeptPictures

TRAIL_S = 3.0


@dataclass(frozen=True, eq=False)
class ShownFrame:
    """One set of images and all that is drawn on it; boxes and trails in the sample's lidar frame.

    time_s: since the first frame. boxes: detections of some score. truth: annotated objects that can be seen.
    trails: class and way [n, 3] of each track's last seconds. kept: camera -> [rows, columns], cells whose keys
    the last decoder layer saw.
    """

    sample: Sample
    time_s: float
    boxes: Boxes3D
    truth: Boxes3D
    trails: Sequence[tuple[int, Array]]
    kept: dict[str, npt.NDArray[np.bool_]]

    @property
    def keys_kept(self) -> int:
        """Cells whose keys were kept, of all cameras."""
        return int(sum(mask.sum() for mask in self.kept.values()))

    @property
    def keys(self) -> int:
        """Cells of all cameras."""
        return sum(mask.size for mask in self.kept.values())


def shown_frames(
    samples: Sequence[Sample], found: Pass, kept: KeptPictures, score_threshold: float
) -> list[ShownFrame]:
    """The frames of a pass that was recorded whole; boxes of at least that score."""
    moments = [_moment(sample, found.detections[sample.token], score_threshold) for sample in samples]
    numbers = tracks.link(moments)
    cameras = [shot.name for shot in samples[0].cameras]
    shown = []
    for index, (sample, moment) in enumerate(zip(samples, moments, strict=True)):
        global2lidar = invert_rigid(sample.lidar2global)
        ways = tracks.trails(moments, numbers, index, TRAIL_S)
        shown.append(
            ShownFrame(
                sample=sample,
                time_s=moment.time_s - moments[0].time_s,
                boxes=transform_boxes(global2lidar, moment.boxes),
                truth=_truth(sample),
                trails=[(label, transform_points(global2lidar, way)) for label, way in ways],
                kept=kept_by_camera(kept[newest_shot(sample).timestamp_ns], cameras),
            )
        )
    return shown


def _moment(sample: Sample, detections: Detections, score_threshold: float) -> tracks.Moment:
    boxes = detections.boxes[detections.boxes.score >= score_threshold]
    return tracks.Moment(sample.timestamp_ns / 1e9, transform_boxes(detections.frame2global, boxes))


def _truth(sample: Sample) -> Boxes3D:
    """Annotated objects that the evaluator counts."""
    if sample.annotations is None:
        raise ValueError(f"sample {sample.token} has no annotations to draw")
    return sample.annotations.boxes[sample.annotations.num_points >= LIDAR_POINTS_NEEDED]
