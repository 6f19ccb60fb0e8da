"""Who is on the street: vehicles in the lanes, things at the kerbs, people on the sidewalks and at crossings."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from tggbc_ros.core.types import Array
from tggbc_ros.data.drive import shapes
from tggbc_ros.data.drive.motion import Profiles, footprints_meet, profile_times, trajectory
from tggbc_ros.data.drive.path import cruise_distance, drive_distance
from tggbc_ros.data.drive.scenery import LANE_M, Road, Streets
from tggbc_ros.data.drive.thing import SCENERY, Thing

CHECK_TICKS = 5
FULL_DENSITY = 40
# The room kept free: the vehicle and three metres before and behind it.
EGO_ROOM_M = (11.0, 2.0, 1.7)
EGO_MIDDLE_M = 1.3

# What comes along a lane, what stands at a kerb, and how often. Rare classes are more frequent than in
# traffic, so that ten classes can be learnt and scored from a few drives.
LANE_MENU = {
    "car": 0.38,
    "truck": 0.10,
    "bus": 0.16,
    "trailer": 0.11,
    "motorcycle": 0.09,
    "bicycle": 0.05,
    "construction_vehicle": 0.11,
}
KERB_MENU = {
    "car": 0.22,
    "truck": 0.06,
    "bus": 0.06,
    "trailer": 0.07,
    "construction_vehicle": 0.10,
    "motorcycle": 0.08,
    "bicycle": 0.09,
    "traffic_cone": 0.12,
    "barrier": 0.11,
    "pedestrian": 0.13,
}
WALKER_GAP_M = 34.0
LANE_GAP_M = 30.0
KERB_GAP_M = 9.0


@dataclass(eq=False)
class Traffic:
    """The things that found a place, and how they move; nothing may meet the ego vehicle or one another."""

    rng: np.random.Generator
    streets: Streets
    density: float
    times_s: Array
    reach_m: float
    ego: Thing
    profiles: list[Array]
    things: list[Thing] = field(default_factory=list)
    _poses: list[Array] = field(default_factory=list)

    def add(self, thing: Thing, gap_m: float = 0.35) -> bool:
        """Place a thing unless it would meet another one; says whether it was placed."""
        poses = self._trajectory(thing)
        if self._poses:
            half = np.array([other.size[:2] for other in (self.ego, *self.things)]) / 2
            if footprints_meet(poses, np.array(thing.size[:2]) / 2, np.stack(self._poses), half, gap_m):
                return False
        self.things.append(thing)
        self._poses.append(poses)
        return True

    def start(self) -> None:
        """Reserve the ego vehicle's own way."""
        self._poses.append(self._trajectory(self.ego))

    def profile(self, distance: Array) -> int:
        """Register a distance profile; returns its index."""
        self.profiles.append(distance)
        return len(self.profiles) - 1

    def _trajectory(self, thing: Thing) -> Array:
        return trajectory(thing, self.streets.paths[thing.path], self.profiles[thing.profile][::CHECK_TICKS])

    def window(self, direction: int, profile: int) -> tuple[float, float]:
        """Where along the main street a thing must start to come within reach of the ego vehicle."""
        here = self.profiles[self.ego.profile] + self.ego.along_m - direction * self.profiles[profile]
        return float(here.min()) - self.reach_m, float(here.max()) + self.reach_m


def populate(rng: np.random.Generator, streets: Streets, ego: Thing, ego_distance: Array, objects: int,
             duration_s: float, reach_m: float) -> tuple[list[Thing], Profiles]:  # fmt: skip
    """All annotated things of a drive, and the distance profiles that they and the ego vehicle follow."""
    times = profile_times(duration_s)
    profiles = [np.zeros_like(times), ego_distance]
    traffic = Traffic(rng, streets, objects / FULL_DENSITY, times, reach_m, ego, profiles)
    traffic.start()
    if objects > 0:
        _crossings(traffic)
        _lanes(traffic)
        _kerbs(traffic)
        _walkers(traffic)
    return traffic.things, Profiles(np.stack(traffic.profiles))


def ego_thing(road: Road) -> Thing:
    """The recording vehicle: never drawn, in the right-most lane of the main street, profile 1."""
    _, mesh = shapes.build(np.random.default_rng(0), "car")
    left = -(road.lanes - 0.5) * LANE_M
    return Thing(SCENERY, 0, EGO_MIDDLE_M, left, EGO_ROOM_M, mesh, profile=1)


def ego_profile(rng: np.random.Generator, streets: Streets, duration_s: float) -> Array:
    """The recording vehicle's distance profile."""
    return drive_distance(rng, profile_times(duration_s), streets.paths[0])


def _choose(rng: np.random.Generator, menu: dict[str, float]) -> str:
    weights = np.array(list(menu.values()))
    return str(rng.choice(list(menu), p=weights / weights.sum()))


def _steps(traffic: Traffic, window: tuple[float, float], gap_m: float) -> Iterator[float]:
    """Places along a street at random gaps; denser traffic, smaller gaps."""
    cursor = window[0] + float(traffic.rng.exponential(gap_m / traffic.density))
    while cursor < window[1]:
        yield cursor
        cursor += 1.5 + float(traffic.rng.exponential(gap_m / traffic.density))


def _lanes(traffic: Traffic) -> None:
    """Every lane moves at one speed, so those in it keep their distances; the ego lane moves as the ego does."""
    road = traffic.streets.roads[0]
    for direction in (1, -1):
        for lane in range(road.lanes):
            left = -direction * (lane + 0.5) * LANE_M
            own = left == traffic.ego.left_m
            speed = float(traffic.rng.uniform(3.0, 11.0))
            profile = 1 if own else traffic.profile(cruise_distance(traffic.rng, traffic.times_s, speed))
            for along in _steps(traffic, traffic.window(direction, profile), LANE_GAP_M):
                name = _choose(traffic.rng, LANE_MENU)
                _vehicle(traffic, name, 0, along, left + float(traffic.rng.normal(0.0, 0.15)), direction, profile)


def _vehicle(traffic: Traffic, name: str, path: int, along_m: float, left_m: float, direction: int, profile: int,
             yaw_rad: float = 0.0, parked: bool = False) -> None:  # fmt: skip
    """A vehicle of any kind; two-wheelers in traffic carry riders, a trailer in traffic follows a truck."""
    rider = name in ("bicycle", "motorcycle") and not parked
    size, mesh = shapes.build(traffic.rng, name, rider)
    placed = traffic.add(
        Thing(name, path, along_m, left_m, size, mesh, direction, profile, yaw_rad, parked, rider), gap_m=0.5
    )
    if placed and name == "trailer" and not parked:
        truck_size, truck_mesh = shapes.build(traffic.rng, "truck")
        ahead = along_m + direction * (size[0] / 2 + truck_size[0] / 2 + 0.8)
        traffic.add(Thing("truck", path, ahead, left_m, truck_size, truck_mesh, direction, profile))


def _kerbs(traffic: Traffic) -> None:
    """Parked vehicles, works with cones and barriers, standing people along both kerbs of the main street."""
    window = traffic.window(1, 0)
    for sign in (-1, 1):
        for along in _steps(traffic, window, KERB_GAP_M):
            name = _choose(traffic.rng, KERB_MENU)
            if traffic.streets.near_crossing(along, 6.0) and name != "pedestrian":
                continue
            _KERB_ACTIONS.get(name, _park)(traffic, name, along, sign)


def _park(traffic: Traffic, name: str, along_m: float, sign: int) -> None:
    road = traffic.streets.roads[0]
    depth = shapes.MEAN_SIZE_M[name][1] / 2
    at_kerb = road.half_m - depth - 0.15
    wide = depth * 2 > road.parking_m + 0.3
    left = road.half_m + depth + 0.4 if wide or name in ("bicycle", "motorcycle") else at_kerb
    turn = float(traffic.rng.normal(0.0, 0.05)) + (np.pi if traffic.rng.random() < 0.1 else 0.0)
    _vehicle(traffic, name, 0, along_m, sign * left, -sign, 0, turn, parked=True)


def _row(traffic: Traffic, name: str, along_m: float, sign: int) -> None:
    """Three to six cones or barriers in a line along the kerb."""
    road = traffic.streets.roads[0]
    spacing, turn = (3.0, 0.0) if name == "traffic_cone" else (2.9, np.pi / 2)
    left = sign * (road.half_m - float(traffic.rng.uniform(0.3, 0.9)))
    for index in range(int(traffic.rng.integers(3, 7))):
        size, mesh = shapes.build(traffic.rng, name)
        yaw = turn + float(traffic.rng.normal(0.0, 0.08))
        traffic.add(Thing(name, 0, along_m + spacing * index, left, size, mesh, -sign, 0, yaw), gap_m=0.05)


def _stand(traffic: Traffic, name: str, along_m: float, sign: int) -> None:
    """One to three people standing on the sidewalk, looking anywhere."""
    road = traffic.streets.roads[0]
    for _ in range(int(traffic.rng.integers(1, 4))):
        size, mesh = shapes.build(traffic.rng, name)
        left = sign * (road.half_m + float(traffic.rng.uniform(0.6, 2.8)))
        along = along_m + float(traffic.rng.uniform(-1.5, 1.5))
        yaw = float(traffic.rng.uniform(-np.pi, np.pi))
        traffic.add(Thing(name, 0, along, left, size, mesh, 1, 0, yaw), gap_m=0.2)


_KERB_ACTIONS = {"traffic_cone": _row, "barrier": _row, "pedestrian": _stand}


def _walkers(traffic: Traffic) -> None:
    """People walking along both sidewalks, either way, at 0.8 to 1.7 m/s."""
    road = traffic.streets.roads[0]
    for sign in (-1, 1):
        for direction in (-1, 1):
            for along in _steps(traffic, traffic.window(direction, 0), WALKER_GAP_M):
                speed = float(traffic.rng.uniform(0.8, 1.7))
                left = sign * (road.half_m + float(traffic.rng.uniform(0.5, 2.9)))
                _walk(traffic, 0, along, left, direction, speed)


def _walk(traffic: Traffic, path: int, along_m: float, left_m: float, direction: int, speed_mps: float) -> None:
    size, mesh = shapes.build(traffic.rng, "pedestrian")
    profile = traffic.profile(speed_mps * traffic.times_s)
    thing = Thing("pedestrian", path, along_m, left_m, size, mesh, direction, profile)
    if not traffic.add(thing, gap_m=0.2):
        traffic.profiles.pop()


def _crossings(traffic: Traffic) -> None:
    """On each crossing street: vehicles waiting at the line or driving off, people on the zebra crossings."""
    main = traffic.streets.roads[0]
    for index, road in enumerate(traffic.streets.roads[1:], start=1):
        for direction in (-1, 1):
            left = -direction * 0.5 * LANE_M
            line = -direction * (main.half_m + 4.0)
            for position in range(int(traffic.rng.poisson(min(1.2 * traffic.density, 3.0)))):
                name = _choose(traffic.rng, LANE_MENU)
                back = shapes.MEAN_SIZE_M[name][0] / 2 + 12.0 * position
                _vehicle(traffic, name, index, line - direction * back, left, direction, 0)
            if traffic.rng.random() < 0.6 * traffic.density:
                speed = float(traffic.rng.uniform(3.0, 8.0))
                profile = traffic.profile(cruise_distance(traffic.rng, traffic.times_s, speed))
                name = _choose(traffic.rng, LANE_MENU)
                _vehicle(traffic, name, index, direction * (main.half_m + 12.0), left, direction, profile)
            for _ in range(int(traffic.rng.poisson(min(1.5 * traffic.density, 4.0)))):
                zebra = float(traffic.rng.choice([-1.0, 1.0])) * (road.half_m + traffic.rng.uniform(1.0, 2.6))
                start = -direction * float(traffic.rng.uniform(2.0, 40.0))
                _walk(traffic, index, start, zebra, direction, float(traffic.rng.uniform(0.8, 1.7)))
