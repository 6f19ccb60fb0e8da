"""How far apart in time the cameras are: why no set ever forms though every camera sends. Knows nothing of ROS."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

FEWEST_IMAGES = 3
"""Of each camera; of fewer, those that belong to the others' may just not have come yet."""


@dataclass(frozen=True)
class Stagger:
    """The images, one of each camera, that are nearest to one another: their spread, first and last camera.

    period_ns: the slowest camera's, from one image to the next.
    """

    spread_ns: int
    first: str
    last: str
    period_ns: int


def stagger(seen: Mapping[str, Sequence[tuple[int, float]]], silent_s: float) -> Stagger | None:
    """Of what came of each camera, as (stamp, arrival by the monotonic clock), in order of arrival.

    None where that says nothing: of a camera there is too little, or it fell silent for longer than ``silent_s``.
    """
    if not seen or any(len(images) < FEWEST_IMAGES for images in seen.values()):
        return None
    heard_s = [images[-1][1] for images in seen.values()]
    if max(heard_s) - min(heard_s) > silent_s:
        return None
    stamps_ns = {camera: sorted(stamp_ns for stamp_ns, _ in images) for camera, images in seen.items()}
    nearest = _nearest(sorted((ns, camera) for camera, shots in stamps_ns.items() for ns in shots), len(seen))
    # Lost images make the median interval of a camera longer, not the least.
    periods_ns = [min(later - ns for ns, later in pairwise(shots)) for shots in stamps_ns.values()]
    return Stagger(*nearest, max(periods_ns))


def _nearest(shots: Sequence[tuple[int, str]], cameras: int) -> tuple[int, str, str]:
    """The shortest run of ``shots``, which are in order of time, that has one of each of so many cameras."""
    newest: dict[str, int] = {}
    found: list[tuple[int, str, str]] = []
    for stamp_ns, camera in shots:
        newest[camera] = stamp_ns
        if len(newest) == cameras:
            first = min(newest, key=newest.__getitem__)
            found.append((stamp_ns - newest[first], first, camera))
    return min(found, key=lambda each: each[0])
