"""Where moving things are at any time, and whether two of them would meet."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tggbc_ros.core.types import Array
from tggbc_ros.data.drive.path import TICK_S, Path
from tggbc_ros.data.drive.thing import Thing

LEAD_S = 1.0


@dataclass(frozen=True, eq=False)
class Profiles:
    """Distance gone at every ``TICK_S`` from ``-LEAD_S`` on: [P, T] metres, 0 at time 0; profile 0 stands still."""

    distance: Array

    def at(self, time_s: float) -> Array:
        """[P]: distance gone by each profile at one time; raises outside the recorded times."""
        tick = (time_s + LEAD_S) / TICK_S
        last = self.distance.shape[1] - 1
        if not 0.0 <= tick <= last:
            raise ValueError(f"time_s is {time_s}, expected in [{-LEAD_S}, {last * TICK_S - LEAD_S:g}]")
        index = min(int(tick), last - 1)
        share = tick - index
        return np.asarray((1.0 - share) * self.distance[:, index] + share * self.distance[:, index + 1])


def profile_times(duration_s: float) -> Array:
    """The times a profile of a drive is recorded at."""
    return np.arange(-LEAD_S, duration_s + LEAD_S + TICK_S / 2, TICK_S)


@dataclass(frozen=True, eq=False)
class Motion:
    """N things on their streets; `poses` says where they are. Arrays are [N], as in `Thing`."""

    paths: tuple[Path, ...]
    profiles: Profiles
    path: npt.NDArray[np.int64]
    along_m: Array
    left_m: Array
    direction: npt.NDArray[np.int64]
    profile: npt.NDArray[np.int64]
    yaw_rad: Array

    @classmethod
    def of(cls, things: Sequence[Thing], paths: tuple[Path, ...], profiles: Profiles) -> Motion:
        """The motion of a list of things."""
        return cls(
            paths,
            profiles,
            path=np.array([thing.path for thing in things], dtype=np.int64),
            along_m=np.array([thing.along_m for thing in things], dtype=np.float64),
            left_m=np.array([thing.left_m for thing in things], dtype=np.float64),
            direction=np.array([thing.direction for thing in things], dtype=np.int64),
            profile=np.array([thing.profile for thing in things], dtype=np.int64),
            yaw_rad=np.array([thing.yaw_rad for thing in things], dtype=np.float64),
        )

    def poses(self, time_s: float) -> Array:
        """[N, 3]: x, y in metres and yaw in radians, global frame."""
        along = self.along_m + self.direction * self.profiles.at(time_s)[self.profile]
        result = np.empty((len(along), 3))
        for index, path in enumerate(self.paths):
            chosen = np.flatnonzero(self.path == index)
            result[chosen] = path.pose(along[chosen], self.left_m[chosen])
        result[:, 2] += self.yaw_rad + np.where(self.direction < 0, np.pi, 0.0)
        return result


def trajectory(thing: Thing, path: Path, distance: Array) -> Array:
    """[T, 3]: where one thing is after its profile's distances [T]; the same as `Motion.poses`, for one thing."""
    poses = path.pose(thing.along_m + thing.direction * distance, np.full_like(distance, thing.left_m))
    poses[:, 2] += thing.yaw_rad + (np.pi if thing.direction < 0 else 0.0)
    return poses


def footprints_meet(poses: Array, half: Array, other_poses: Array, other_half: Array, gap_m: float) -> bool:
    """Whether one footprint [T, 3] comes closer than ``gap_m`` to any of [N, T, 3] at any time.

    half: [2] and [N, 2], half length and half width. Separating axes of both rectangles.
    """
    reach = np.hypot(*half) + np.hypot(other_half[:, 0], other_half[:, 1]) + gap_m
    apart = np.square(other_poses[..., :2] - poses[:, :2]).sum(axis=-1).min(axis=1) > reach**2
    other_poses, other_half = other_poses[~apart], other_half[~apart]  # few can meet; spare the rest the trigonometry
    delta = other_poses - poses
    meets = _overlap_on_axes(delta, poses[:, 2], half, other_half[:, None], gap_m)
    meets &= _overlap_on_axes(-delta, other_poses[..., 2], other_half[:, None], half, gap_m)
    return bool(meets.any())


def _overlap_on_axes(delta: Array, yaw: Array, half: Array, other_half: Array, gap_m: float) -> npt.NDArray[np.bool_]:
    """Whether rectangles ``delta`` (x, y, relative yaw) apart overlap on both axes of the one at ``yaw``."""
    cos, sin = np.cos(yaw), np.sin(yaw)
    ahead = np.abs(cos * delta[..., 0] + sin * delta[..., 1])
    aside = np.abs(-sin * delta[..., 0] + cos * delta[..., 1])
    turned_cos, turned_sin = np.abs(np.cos(delta[..., 2])), np.abs(np.sin(delta[..., 2]))
    reach_ahead = turned_cos * other_half[..., 0] + turned_sin * other_half[..., 1]
    reach_aside = turned_sin * other_half[..., 0] + turned_cos * other_half[..., 1]
    overlap: npt.NDArray[np.bool_] = (ahead < half[..., 0] + reach_ahead + gap_m) & (
        aside < half[..., 1] + reach_aside + gap_m
    )
    return overlap
