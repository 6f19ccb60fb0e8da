"""Whether a calibration can be that of a vehicle's cameras: intrinsics and mountings, whatever they came from.

Knows nothing of ROS. Most of what is odd here is right for somebody's rig, so it is only told; what cannot be is marked
impossible. Numbers are in pixels, metres and degrees.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from tggbc_ros.core.types import Array

ASPECT_TOLERANCE = 0.02
"""Of two aspect ratios; sizes are whole pixels, which small images feel."""

PIXEL_ASPECT, IMPOSSIBLE_PIXEL_ASPECT = 1.05, 3.0
"""fx / fy or its inverse. Sensors have square pixels; of old video up to 1.09, and 2 where lines are left out."""

FIELD_OF_VIEW_DEG, POSSIBLE_FIELD_OF_VIEW_DEG = (5.0, 150.0), (0.5, 176.0)
"""Of a pinhole's image, across its whole width. Straightened fisheyes come to about 150."""

IMPOSSIBLE_OFF_AXIS_DEG = 80.0
"""How far from the optical axis all of an image may lie."""

SAME_PLACE_M, SAME_TURN_DEG = 0.01, 1.0
STEEP_DEG, IMPOSSIBLE_UP_DEG = 45.0, 60.0
ROLLED_DEG = 30.0
ONE_DIRECTION_DEG = 10.0
TILTED_DEG = 45.0
OFF_NAME_DEG = 75.0
FAR_M, IMPOSSIBLE_FAR_M = 30.0, 300.0

FEWEST_EQUAL, FEWEST_STEEP, FEWEST_ONE_WAY = 3, 2, 4
"""From how many cameras on all of them at one place, looking up, or looking one way say something of the rig."""

HEADINGS = {"front": (0.0, 1.0), "back": (0.0, -1.0), "rear": (0.0, -1.0), "left": (-1.0, 0.0), "right": (1.0, 0.0)}
"""Word in a camera's name -> where it looks in the network's frame (x right, y forward)."""

Size = tuple[int, int]


@dataclass(frozen=True)
class Told:
    """What CameraInfo says of an image. Sizes are (height, width) in pixels.

    size: of the image it is of, after its roi and binning; None: not said. published: of the image that came.
    focal: fx and fy of K in pixels of that; None where K is not of such an image.
    """

    size: Size | None
    published: Size
    focal: tuple[float, float] | None


@dataclass(frozen=True, eq=False)
class Look:
    """One camera's calibration as it is inferred with.

    size: (height, width) of the image. intrinsics: [3, 3], in its pixels. cam2base: [4, 4]. frame_id: of the image.
    """

    size: Size
    intrinsics: Array
    told: Told
    cam2base: Array
    frame_id: str


@dataclass(frozen=True)
class Finding:
    """What is odd of one camera ("lidar": of the network's frame). kind: a short name for it."""

    camera: str
    kind: str
    text: str
    impossible: bool = False


def findings(looks: Mapping[str, Look], lidar2base: Array) -> tuple[Finding, ...]:
    """All that is odd; empty for a rig as they are. lidar2base: [4, 4], the network's frame (x right, y forward)."""
    found = [finding for camera, look in looks.items() for finding in _of_camera(camera, look)]
    return (*found, *_of_lidar(lidar2base), *_of_rig(looks), *_of_names(looks, lidar2base))


def _of_camera(camera: str, look: Look) -> Iterator[Finding]:
    for finding in (_aspect(look.told) or _pixels(look.told), *_lens(look), *_pose(look)):
        if finding is not None:
            kind, text, impossible = finding
            yield Finding(camera, kind, text, impossible)


Odd = tuple[str, str, bool]


def _aspect(told: Told) -> Odd | None:
    """CameraInfo of an image of another shape."""
    if told.size is None:
        return None
    (height, width), (rows, columns) = told.size, told.published
    ratio, shape = width * rows / (height * columns), columns / rows
    tolerance = ASPECT_TOLERANCE + 1.0 / min(*told.size, *told.published)
    if abs(math.log(ratio)) <= tolerance:
        return None
    sizes = f"CameraInfo is of {width}x{height} pixels, the image has {columns}x{rows}"
    if abs(math.log(ratio * shape * shape)) <= tolerance:
        return "aspect", f"{sizes}: width and height are exchanged", True
    if told.focal:
        sizes += f", which makes fx {told.focal[0]:.1f} and fy {told.focal[1]:.1f} of it"
    return "aspect", f"{sizes}; was it cropped? CameraInfo.roi says so, scaling does not", False


def _pixels(told: Told) -> Odd | None:
    """Focal lengths of a lens that would see wider than high."""
    if told.focal is None:
        return None
    fx, fy = told.focal
    ratio = max(fx / fy, fy / fx)
    if ratio <= PIXEL_ASPECT:
        return None
    return "focal", f"fx {fx:.1f} and fy {fy:.1f} differ by a factor of {ratio:.2f}", ratio > IMPOSSIBLE_PIXEL_ASPECT


def _lens(look: Look) -> Iterator[Odd]:
    """Field of view and principal point."""
    height, width = look.size
    (fx, _, cx), (_, fy, cy) = look.intrinsics[0], look.intrinsics[1]
    for name, focal, extent in (("fx", fx, width), ("fy", fy, height)):
        angle = 2 * math.degrees(math.atan(extent / 2 / focal))
        (least, most), (low, high) = FIELD_OF_VIEW_DEG, POSSIBLE_FIELD_OF_VIEW_DEG
        if not least <= angle <= most:
            text = f"{name} {focal:.4g} of an image of {width}x{height} pixels sees {angle:.1f} degrees"
            yield "field_of_view", text, not low <= angle <= high
    right, down = max(-cx, cx - width, 0.0), max(-cy, cy - height, 0.0)
    if right or down:
        off = math.degrees(math.atan(math.hypot(right / fx, down / fy)))
        text = f"the principal point ({cx:.0f}, {cy:.0f}) lies outside of the image of {width}x{height} pixels"
        yield "principal_point", f"{text}; are K and size of one resolution?", off > IMPOSSIBLE_OFF_AXIS_DEG


def _pose(look: Look) -> Iterator[Odd]:
    """Distance, pitch and roll of one camera."""
    distance_m = float(np.linalg.norm(look.cam2base[:3, 3]))
    if distance_m > FAR_M:
        text = f"{_frame(look)} is {distance_m:.0f} m from the vehicle's; are those millimetres?"
        yield "distance", text, distance_m > IMPOSSIBLE_FAR_M
    up_deg = _elevation_deg(look)
    if abs(up_deg) > STEEP_DEG:
        way = "up" if up_deg > 0 else "down"
        text = f"looks {way} by {abs(up_deg):.0f} degrees, along z of {_frame(look)}"
        yield "steep", f"{text}; is that a body's frame (x forward) instead of an optical one (z forward)?", False
        return
    (right_up, down_up) = look.cam2base[2, 0], look.cam2base[2, 1]
    roll_deg = math.degrees(math.atan2(right_up, -down_up))
    if abs(roll_deg) > ROLLED_DEG:
        text = f"is rolled by {abs(roll_deg):.0f} degrees, by y of {_frame(look)}"
        yield "rolled", f"{text}, which points down in the image of a camera that is not", False


def _elevation_deg(look: Look) -> float:
    """How far the optical axis points above the horizon of the vehicle's frame."""
    return math.degrees(math.asin(np.clip(look.cam2base[2, 2], -1.0, 1.0)))


def _frame(look: Look) -> str:
    return f"frame {look.frame_id!r}"


def _of_lidar(lidar2base: Array) -> Iterator[Finding]:
    """The network's z axis points up."""
    tilt_deg = _angle_deg(lidar2base[:3, 2], np.array([0.0, 0.0, 1.0]))
    if tilt_deg > TILTED_DEG:
        text = f"z of lidar_frame is {tilt_deg:.0f} degrees off that of base_frame; both are expected to point up"
        yield Finding("lidar", "tilted", text)


def _of_rig(looks: Mapping[str, Look]) -> Iterator[Finding]:
    """What only the cameras together show."""
    yield from _equal(looks)
    steep = [camera for camera, look in looks.items() if _elevation_deg(look) > IMPOSSIBLE_UP_DEG]
    if len(steep) == len(looks) >= FEWEST_STEEP:
        text = f"all {len(looks)} cameras look up by more than {IMPOSSIBLE_UP_DEG:.0f} degrees"
        yield from (Finding(camera, "all_up", text, impossible=True) for camera in steep)
        return
    axes = [look.cam2base[:3, 2] for look in looks.values()]
    if len(axes) >= FEWEST_ONE_WAY and not any(_elevation_deg(look) < -STEEP_DEG for look in looks.values()):
        widest_deg = max(_angle_deg(axes[0], axis) for axis in axes)
        if widest_deg < ONE_DIRECTION_DEG:
            text = f"all {len(looks)} cameras look one way, within {widest_deg:.1f} degrees"
            yield Finding(next(iter(looks)), "one_way", text)


def _equal(looks: Mapping[str, Look]) -> Iterator[Finding]:
    """Cameras with the mounting of another; all of them in one place cannot be."""
    first: dict[str, str] = {}
    for one, other in combinations(looks, 2):
        if other not in first and _is_same(looks[one].cam2base, looks[other].cam2base):
            first[other] = first.get(one, one)
    for camera, other in first.items():
        mine, its = looks[camera].frame_id, looks[other].frame_id
        frames = f"both images say frame {mine!r}" if mine == its else f"frames {mine!r} and {its!r}"
        text = f"sits where {other} sits and looks where it looks, {frames}"
        everyone = len(first) == len(looks) - 1 and len(set(first.values())) == 1
        yield Finding(camera, "equal", text, impossible=everyone and len(looks) >= FEWEST_EQUAL)


def _is_same(one: Array, other: Array) -> bool:
    apart_m = float(np.linalg.norm(one[:3, 3] - other[:3, 3]))
    cosine = (np.trace(one[:3, :3].T @ other[:3, :3]) - 1.0) / 2.0
    return apart_m < SAME_PLACE_M and math.degrees(math.acos(np.clip(cosine, -1.0, 1.0))) < SAME_TURN_DEG


def _of_names(looks: Mapping[str, Look], lidar2base: Array) -> Iterator[Finding]:
    """Cameras called front or back, beside others; they show a lidar frame turned about z, or cables exchanged."""
    for camera, look in looks.items():
        words = set(re.split(r"[^a-z]+", camera.lower())) & HEADINGS.keys()
        if not words & {"front", "back", "rear"} or abs(_elevation_deg(look)) > STEEP_DEG:
            continue
        x, y, _ = lidar2base[:3, :3].T @ look.cam2base[:3, 2]
        expected = np.sum([HEADINGS[word] for word in words], axis=0)
        if not expected.any():
            continue
        off_deg = _angle_deg(np.array([x, y]), expected)
        if off_deg > OFF_NAME_DEG:
            text = f"looks {off_deg:.0f} degrees off what its name says"
            yield Finding(camera, "heading", f"{text}; lidar_frame is expected with x right, y forward, z up")


def _angle_deg(one: Array, other: Array) -> float:
    cosine = float(one @ other) / (float(np.linalg.norm(one)) * float(np.linalg.norm(other)))
    return math.degrees(math.acos(min(max(cosine, -1.0), 1.0)))


class RigCheck:
    """`findings`, once for each calibration. Of cameras that a set goes without it remembers the last.

    warn: gets what is new, in one line. ``found`` is for any thread, the rest for one.
    """

    def __init__(self, warn: Callable[[str], object]) -> None:
        self._warn = warn
        self._looks: dict[str, Look] = {}
        self._key: tuple[object, ...] = ()
        self._known: frozenset[tuple[str, str]] = frozenset()
        self.found: tuple[Finding, ...] = ()

    def check(self, looks: Mapping[str, Look], lidar2base: Array) -> tuple[Finding, ...]:
        """What is odd, of all cameras that were seen."""
        self._looks |= looks
        key = (lidar2base.tobytes(), *map(_key, self._looks.items()))
        if key != self._key:
            self._key, self.found = key, findings(self._looks, lidar2base)
            self._tell(self.found)
        return self.found

    def _tell(self, found: Sequence[Finding]) -> None:
        known = frozenset((finding.camera, finding.kind) for finding in found)
        new = [finding for finding in found if (finding.camera, finding.kind) not in self._known]
        if new:
            self._warn("implausible calibration: " + "; ".join(f"{one.camera}: {one.text}" for one in new))
        self._known = known


def _key(item: tuple[str, Look]) -> tuple[object, ...]:
    camera, look = item
    return camera, look.size, look.intrinsics.tobytes(), look.told, look.cam2base.tobytes(), look.frame_id
