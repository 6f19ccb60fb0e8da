"""Another rig than the one that keys were learned on: the same drives, as other cameras would have seen them."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, replace

import cv2
import numpy as np

from tggbc_ros.core.config import ModelConfig
from tggbc_ros.core.types import CameraFrame
from tggbc_ros.data.records import Sample
from tggbc_ros.evaluation.passes import Split


@dataclass(frozen=True, eq=False)
class SeenOtherwise(Sample):
    """A sample through lenses of ``zoom`` times the focal length, without the cameras named in ``missing``."""

    zoom: float = 1.0
    missing: tuple[str, ...] = ()
    feature_size: tuple[int, int] = (0, 0)

    def camera_frame(self, needed: ModelConfig | None = None) -> CameraFrame:
        """As of the sample; images are enlarged about their middle, missing cameras are black and have no cells."""
        frame = super().camera_frame(needed)
        images, intrinsics = [], []
        for name, image, matrix in zip(frame.rig.names, frame.images, frame.rig.intrinsics, strict=True):
            height, width = image.shape[:2]
            enlarge = np.array(
                [[self.zoom, 0, (1 - self.zoom) * width / 2], [0, self.zoom, (1 - self.zoom) * height / 2]]
            )
            seen = np.asarray(cv2.warpAffine(image, enlarge, (width, height)), np.uint8)
            images.append(np.zeros_like(seen) if name in self.missing else seen)
            intrinsics.append(np.vstack([enlarge, [0, 0, 1]]) @ matrix)
        there = np.array([name not in self.missing for name in frame.rig.names])
        cells = np.broadcast_to(there[:, None, None], (len(there), *self.feature_size)).copy()
        rig = replace(frame.rig, intrinsics=np.stack(intrinsics))
        return replace(frame, images=tuple(images), rig=rig, cells=None if there.all() else cells)


def seen_otherwise(split: Split, model: ModelConfig, zoom: float, missing: tuple[str, ...]) -> Split:
    """The split on the other rig; raises ValueError for a camera that it does not have."""
    names = {shot.name for sample in split.samples() for shot in sample.cameras}
    if not set(missing) < names:
        raise ValueError(f"--without is {', '.join(missing)}, expected some of {', '.join(sorted(names))}, not all")

    def other(sample: Sample) -> Sample:
        fields = {each.name: getattr(sample, each.name) for each in dataclasses.fields(Sample)}
        return SeenOtherwise(**fields, zoom=zoom, missing=missing, feature_size=model.feature_size)

    return replace(split, scenes={name: tuple(map(other, samples)) for name, samples in split.scenes.items()})
