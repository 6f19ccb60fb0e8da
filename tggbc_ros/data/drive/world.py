"""One drive's world, fixed by a seed: streets, things, light, and where everything is at any time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tggbc_ros.core.config import CLASS_NAMES
from tggbc_ros.core.geometry import rigid, yaw_rotation
from tggbc_ros.core.types import Array
from tggbc_ros.data.drive import rig, scenery, traffic
from tggbc_ros.data.drive.config import SAMPLE_RATE_HZ, SWEEPS_PER_SAMPLE, DriveConfig
from tggbc_ros.data.drive.motion import Motion
from tggbc_ros.data.drive.path import MAX_SPEED_MPS, cross_street, crossing_places, main_street
from tggbc_ros.data.drive.scenery import Ground, Road, Streets
from tggbc_ros.data.drive.shapes import pick
from tggbc_ros.data.drive.thing import Thing

Seed = int | Sequence[int]

SAMPLE_US = 1_000_000 // SAMPLE_RATE_HZ
JITTER_US = 400


@dataclass(frozen=True, eq=False)
class Geometry:
    """All quads of all things, [F, ...], each in its thing's own frame; owner: index of the thing."""

    quads: Array
    color: Array
    normal: Array
    center: Array
    layer: npt.NDArray[np.int64]
    owner: npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Light:
    """Sun, sky and camera settings of a drive.

    sun: [3], unit vector towards it, global frame. ambient: share of light without sun, 0 to 1. haze_m: distance
    over which contrast falls to 1/e. zenith, horizon: sky colours. table: [256, 3], exposure and tint per
    channel. noise: [n, n, 3] grey levels. blur_px: standard deviation, output pixels.
    """

    sun: Array
    ambient: float
    haze_m: float
    zenith: Array
    horizon: Array
    table: npt.NDArray[np.uint8]
    noise: npt.NDArray[np.int16]
    blur_px: float


@dataclass(frozen=True, eq=False)
class Scene:
    """A drive. Things are ordered: the annotated ones first (``objects`` of them), scenery after.

    Times are seconds from the first sample; the first sample is at ``start_us`` (microseconds, epoch).
    size: [N, 3], length, width, height. ego_left_m: the recording vehicle's offset on street 0. trigger_us:
    [frames, cameras], exposure times from the first sample.
    """

    seed: tuple[int, ...]
    config: DriveConfig
    start_us: int
    cameras: tuple[rig.Camera, ...]
    things: tuple[Thing, ...]
    objects: int
    size: Array
    motion: Motion
    ego_left_m: float
    geometry: Geometry
    ground: Ground
    light: Light
    trigger_us: npt.NDArray[np.int64]

    def poses(self, time_s: float) -> Array:
        """[N, 3]: x, y, yaw of all things, global frame."""
        return self.motion.poses(time_s)

    def ego2global(self, time_s: float) -> Array:
        """[4, 4]: the recording vehicle's pose."""
        path = self.motion.paths[0]
        along = self.motion.profiles.at(time_s)[1]
        x, y, yaw = path.pose(np.array([along]), np.array([self.ego_left_m]))[0]
        return rigid(yaw_rotation(float(yaw)), [x, y, 0.0])


def make_scene(seed: Seed, config: DriveConfig) -> Scene:
    """The world of one drive; equal for an equal seed (a number or several) and configuration."""
    entropy = (seed,) if isinstance(seed, int) else tuple(seed)
    rng = np.random.default_rng(entropy)
    streets = _streets(rng, config)
    ego = traffic.ego_thing(streets.roads[0])
    distance = traffic.ego_profile(rng, streets, config.duration_s)
    reach_m = config.range_m + 5.0
    things, profiles = traffic.populate(rng, streets, ego, distance, config.objects, config.duration_s, reach_m)
    objects = len(things)
    things += scenery.buildings(rng, streets, config.clutter) + scenery.furniture(rng, streets, config.clutter)
    return Scene(
        seed=entropy,
        config=config,
        start_us=1_500_000_000_000_000 + int(rng.integers(0, 10**14)) * 2,
        cameras=tuple(camera.resized(config.image_size) for camera in rig.CAMERAS),
        things=tuple(things),
        objects=objects,
        size=np.array([thing.size for thing in things], dtype=np.float64).reshape(-1, 3),
        motion=Motion.of(things, streets.paths, profiles),
        ego_left_m=ego.left_m,
        geometry=gather_geometry(things),
        ground=scenery.paint_ground(rng, streets, config.clutter),
        light=_light(rng, config),
        trigger_us=_triggers(rng, config),
    )


def _streets(rng: np.random.Generator, config: DriveConfig) -> Streets:
    """The main street as long as the drive can get, and the streets that cross it."""
    margin = config.range_m + 40.0
    main = main_street(rng, MAX_SPEED_MPS * config.duration_s, margin)
    roads = [Road(lanes=int(rng.integers(1, 3)), parking_m=float(rng.choice([0.0, 2.5, 3.2])))]
    places = crossing_places(rng, main)
    crossing = [cross_street(main, place, margin) for place in places]
    roads += [Road(lanes=1, parking_m=float(rng.choice([0.0, 1.5]))) for _ in places]
    return Streets((main, *crossing), tuple(roads), tuple(places))


def gather_geometry(things: Sequence[Thing]) -> Geometry:
    """The quads of all things, in their order."""
    meshes = [thing.mesh for thing in things]
    return Geometry(
        quads=np.concatenate([mesh.quads for mesh in meshes]),
        color=np.concatenate([mesh.color for mesh in meshes]),
        normal=np.concatenate([mesh.normals for mesh in meshes]),
        center=np.concatenate([mesh.center for mesh in meshes]),
        layer=np.concatenate([mesh.layer for mesh in meshes]),
        owner=np.repeat(np.arange(len(meshes)), [len(mesh.layer) for mesh in meshes]),
    )


def _light(rng: np.random.Generator, config: DriveConfig) -> Light:
    azimuth, elevation = rng.uniform(-np.pi, np.pi), np.deg2rad(rng.uniform(28.0, 65.0))
    sun = [np.cos(azimuth) * np.cos(elevation), np.sin(azimuth) * np.cos(elevation), np.sin(elevation)]
    horizon = np.array(pick(rng, ((225.0, 218.0, 208.0), (205.0, 205.0, 205.0)), 12.0))
    zenith = np.array(pick(rng, ((215.0, 165.0, 110.0), (195.0, 190.0, 185.0), (230.0, 190.0, 150.0)), 12.0))
    gain, gamma = rng.uniform(0.8, 1.15), rng.uniform(0.85, 1.15)
    tint = rng.uniform(0.95, 1.05, 3)
    level = (np.arange(256.0)[:, None] / 255.0) ** gamma * gain * tint
    noise = rng.normal(0.0, rng.uniform(1.0, 5.0), (160, 160, 3))
    return Light(
        sun=np.array(sun),
        ambient=float(rng.uniform(0.45, 0.75)),
        haze_m=float(rng.uniform(150.0, 400.0)),
        zenith=zenith,
        horizon=horizon,
        table=np.clip(level * 255.0, 0, 255).astype(np.uint8),
        noise=np.round(noise).astype(np.int16),
        blur_px=float(rng.uniform(0.0, 0.7)) * config.image_size[0] / 800.0,
    )


def _triggers(rng: np.random.Generator, config: DriveConfig) -> npt.NDArray[np.int64]:
    """Exposure times [frames, cameras] in microseconds: frame times at 12 Hz, each camera's offset, a little jitter."""
    frames = np.arange((config.samples - 1) * SWEEPS_PER_SAMPLE + 1)
    time_us = frames * SAMPLE_US // SWEEPS_PER_SAMPLE
    offset_us = np.round([camera.trigger_s * 1e6 for camera in rig.CAMERAS]).astype(np.int64)
    jitter_us = rng.integers(-JITTER_US, JITTER_US + 1, (len(frames), len(offset_us)))
    return np.asarray(time_us[:, None] + offset_us + jitter_us, dtype=np.int64)


def labels(scene: Scene) -> npt.NDArray[np.int64]:
    """[objects]: class of each annotated thing, as index into `CLASS_NAMES`."""
    names = [thing.name for thing in scene.things[: scene.objects]]
    return np.array([CLASS_NAMES.index(name) for name in names], dtype=np.int64)
