"""What is scored: the detections of one pass over a split, and what they cost."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np

from tggbc_ros.core.types import Array, Boxes3D
from tggbc_ros.data.nuscenes.dataset import NuScenes
from tggbc_ros.data.records import CameraShot, Sample

LIDAR_POINTS_NEEDED = 1
"""The evaluator leaves out ground truth in which no lidar or radar point lies."""


@dataclass(frozen=True, eq=False)
class Split:
    """What a detector is to see, scene by scene in time order: keyframes, or also the sweeps between them."""

    name: str
    scenes: Mapping[str, tuple[Sample, ...]]

    def samples(self) -> Iterator[Sample]:
        """Those to be scored, which are the keyframes: nothing else is annotated."""
        for samples in self.scenes.values():
            yield from (sample for sample in samples if sample.is_keyframe)


@dataclass(frozen=True, eq=False)
class Detections:
    """Boxes of one sample in a frame, and that frame's pose [4, 4] in the global frame."""

    boxes: Boxes3D
    frame2global: Array


@dataclass(eq=False)
class Pass:
    """Detections by sample token, and per frame what the detector reported.

    keep_ratio: as asked; None where nobody recorded it. keys: keys that each decoder layer saw. token_rates:
    the share of tokens that passed the encoder's gated blocks. encode_ms, decoder_ms and frame_ms: wall time of the
    encoder, of the decoder and of the whole step. latency_ms: of a node, from the last image of a set to
    its boxes. settings: columns for the table of results.
    notes: what was left out or is missing, counted, by cause.
    """

    keep_ratio: float | None
    detections: dict[str, Detections] = field(default_factory=dict)
    keys: list[tuple[int, ...]] = field(default_factory=list)
    token_rates: list[float] = field(default_factory=list)
    encode_ms: list[float] = field(default_factory=list)
    decoder_ms: list[float] = field(default_factory=list)
    frame_ms: list[float] = field(default_factory=list)
    latency_ms: list[float] = field(default_factory=list)
    settings: dict[str, str | int | float] = field(default_factory=dict)
    notes: dict[str, int] = field(default_factory=dict)


def load_split(dataset: NuScenes, name: str, sweeps: bool = False) -> Split:
    """Read a split's tables whole, so that what is wrong with them shows before hours of work.

    sweeps: with the sets of images between the keyframes. Raises ValueError for a split without scenes, without
    annotations to score against, or without the sweeps asked for; FileNotFoundError naming the record for a
    missing image.
    """
    read = dataset.sweeps if sweeps else dataset.samples
    scenes = {scene: tuple(read(scene)) for scene in dataset.scene_names(name)}
    if not scenes:
        raise ValueError(f"split {name!r} holds no scene of {dataset.tables / 'scene.json'}")
    split = Split(name, scenes)
    if sweeps and not any(not sample.is_keyframe for samples in scenes.values() for sample in samples):
        raise ValueError(f"{dataset.tables / 'sample_data.json'} holds no sweep between keyframes in split {name!r}")
    annotations = [sample.annotations for sample in split.samples() if sample.annotations is not None]
    if not any(len(each.boxes) for each in annotations):
        table = dataset.tables / "sample_annotation.json"
        raise ValueError(f"{table} holds no annotation of a detection class in split {name!r}: nothing to score")
    return split


def newest_shot(sample: Sample) -> CameraShot:
    """The image whose stamp a node gives to the whole set."""
    return max(sample.cameras, key=lambda shot: shot.timestamp_ns)


def at_newest_images(split: Split) -> Split:
    """The same samples with time and pose of their newest images as reference, which is what a node goes by.

    On nuScenes the two are less than a millisecond apart. A detector run on these gives exactly the node's boxes.
    """
    scenes = {scene: tuple(map(_at_newest_image, samples)) for scene, samples in split.scenes.items()}
    return Split(split.name, scenes)


def _at_newest_image(sample: Sample) -> Sample:
    newest = newest_shot(sample)
    return dataclasses.replace(sample, timestamp_ns=newest.timestamp_ns, ego2global=newest.ego2global)


def ground_truth_pass(split: Split) -> Pass:
    """The annotations themselves as detections: what perfect boxes get on this data.

    Scores fall evenly from 1 to 0.5, because the evaluator averages errors along falling scores: of equal ones
    it would see a single box. Objects that it leaves out, for no lidar or radar point is in them, are left out.
    """
    seen = {
        sample.token: (sample, sample.annotations.boxes[sample.annotations.num_points >= LIDAR_POINTS_NEEDED])
        for sample in split.samples()
        if sample.annotations is not None
    }
    scores = iter(np.linspace(1.0, 0.5, sum(len(boxes) for _, boxes in seen.values())).tolist())
    found = Pass(keep_ratio=None, settings={"weights": "GROUND TRUTH"})
    for token, (sample, boxes) in seen.items():
        falling = np.array(list(itertools.islice(scores, len(boxes))))
        velocity = np.nan_to_num(boxes.velocity)  # unknown ones are not scored
        known = Boxes3D(boxes.center, boxes.size, boxes.yaw, velocity, falling, boxes.label, boxes.query)
        found.detections[token] = Detections(known, sample.lidar2global)
    return found
