"""Streets as lines on the ground, and how fast one goes along them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tggbc_ros.core.types import Array

STEP_M = 0.5
TICK_S = 0.05
MAX_SPEED_MPS = 12.0


@dataclass(frozen=True, eq=False)
class Path:
    """A centre line sampled every ``STEP_M``.

    start_m: distance coordinate of the first point. xy: [N, 2], metres. yaw: [N], radians, continuous.
    curvature: [N], 1/m, positive to the left.
    """

    start_m: float
    xy: Array
    yaw: Array
    curvature: Array

    @property
    def end_m(self) -> float:
        """Distance coordinate of the last point."""
        return self.start_m + STEP_M * (len(self.yaw) - 1)

    def pose(self, along_m: Array, left_m: Array) -> Array:
        """[M] and [M] -> [M, 3]: x, y, yaw at a distance along and an offset to the left; straight past the ends."""
        grid = self.start_m + STEP_M * np.arange(len(self.yaw))
        inside = np.clip(along_m, self.start_m, self.end_m)
        beyond = along_m - inside
        x = np.interp(inside, grid, self.xy[:, 0])
        y = np.interp(inside, grid, self.xy[:, 1])
        yaw = np.interp(inside, grid, self.yaw)
        cos, sin = np.cos(yaw), np.sin(yaw)
        return np.stack([x + beyond * cos - left_m * sin, y + beyond * sin + left_m * cos, yaw], axis=-1)

    def curvature_at(self, along_m: float) -> float:
        """Curvature there, 1/m."""
        index = round((along_m - self.start_m) / STEP_M)
        return float(self.curvature[min(max(index, 0), len(self.curvature) - 1)])


def trace(start_m: float, curvature: Array, pose: tuple[float, float, float]) -> Path:
    """Integrate a curvature profile [N] into a path that passes ``pose`` (x, y, yaw) at distance 0."""
    yaw = np.cumsum(curvature) * STEP_M
    step = STEP_M * np.stack([np.cos(yaw), np.sin(yaw)], axis=-1)
    xy = np.cumsum(step, axis=0)
    origin = round(-start_m / STEP_M)
    turn = pose[2] - yaw[origin]
    rotation = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    return Path(start_m, (xy - xy[origin]) @ rotation.T + np.array(pose[:2]), yaw + turn, curvature)


def main_street(rng: np.random.Generator, length_m: float, margin_m: float) -> Path:
    """A street with bends and right-angled turns, from -margin to length + margin.

    Sharp turns alternate left and right, so the street never meets itself.
    """
    curvature = np.zeros(int((length_m + 2 * margin_m) / STEP_M) + 1)
    cursor = rng.uniform(15.0, 60.0)
    sharp, gentle = rng.choice([-1.0, 1.0], 2)
    while cursor < length_m + margin_m:
        if rng.random() < 0.6:
            radius, angle, sharp = rng.uniform(17.0, 25.0), sharp * np.pi / 2, -sharp
        else:
            radius, angle, gentle = rng.uniform(60.0, 150.0), gentle * rng.uniform(0.15, 0.4), -gentle
        first = int((cursor + margin_m) / STEP_M)
        count = int(abs(angle) * radius / STEP_M)
        curvature[first : first + count] = np.sign(angle) / radius
        cursor += count * STEP_M + rng.uniform(55.0, 100.0)
    smooth = np.convolve(curvature, np.full(13, 1 / 13), mode="same")
    x, y = rng.uniform(500.0, 1500.0, 2)
    return trace(-margin_m, smooth, (x, y, rng.uniform(-np.pi, np.pi)))


def crossing_places(rng: np.random.Generator, street: Path) -> list[float]:
    """Distances at which another street crosses: on straight stretches, well apart."""
    places: list[float] = []
    cursor = street.start_m + 50.0
    while cursor < street.end_m - 50.0:
        straight = all(abs(street.curvature_at(cursor + d)) < 1e-9 for d in range(-42, 43, 3))
        if straight and rng.random() < 0.7:
            places.append(cursor)
            cursor += 90.0
        cursor += 7.0
    return places


def cross_street(street: Path, along_m: float, half_length_m: float) -> Path:
    """A straight street across ``street``, meeting it at its own distance 0, heading to the left."""
    x, y, yaw = street.pose(np.array([along_m]), np.zeros(1))[0]
    curvature = np.zeros(2 * int(half_length_m / STEP_M) + 1)
    return trace(-int(half_length_m / STEP_M) * STEP_M, curvature, (x, y, yaw + np.pi / 2))


def cruise_distance(rng: np.random.Generator, times_s: Array, speed_mps: float) -> Array:
    """Distance gone at each time for a speed that swells and sinks around ``speed_mps`` but never turns negative."""
    swing = speed_mps * rng.uniform(0.0, 0.3)
    rate, phase = rng.uniform(0.2, 0.8), rng.uniform(0.0, 2 * np.pi)
    return np.asarray(speed_mps * times_s - swing / rate * (np.cos(rate * times_s + phase) - np.cos(phase)))


def drive_distance(rng: np.random.Generator, times_s: Array, street: Path) -> Array:
    """Distance gone by a driver who slows for bends (2.5 m/s2 sideways) and may stop once."""
    cruise = rng.uniform(4.0, MAX_SPEED_MPS)
    stop_s = rng.uniform(2.0, 30.0)
    speed, distance = cruise, 0.0
    gone = np.empty_like(times_s)
    for index, time_s in enumerate(times_s):
        gone[index] = distance
        bend = max(abs(street.curvature_at(distance + ahead)) for ahead in (0.0, 4.0, 8.0))
        wish = min(cruise, (2.5 / max(bend, 1e-6)) ** 0.5)
        wish = 0.0 if stop_s < time_s < stop_s + 4.0 else wish
        speed += float(np.clip(wish - speed, -3.0 * TICK_S, 1.5 * TICK_S))
        distance += speed * TICK_S
    return gone - np.interp(0.0, times_s, gone)
