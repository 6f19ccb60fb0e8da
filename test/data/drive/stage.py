"""A bare street with only the given things on it: a scene whose pictures can be reasoned about."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from tggbc_ros.data.drive import shapes, world
from tggbc_ros.data.drive.config import DriveConfig
from tggbc_ros.data.drive.motion import Motion
from tggbc_ros.data.drive.thing import Thing
from tggbc_ros.data.drive.world import Scene

CONFIG = DriveConfig(duration_s=2.0, image_size=(400, 225), objects=0, clutter=0.0)


def empty_scene(config: DriveConfig = CONFIG) -> Scene:
    """The first seed whose street is straight for 40 m ahead, without noise and blur."""
    for seed in range(100):
        scene = world.make_scene(seed, config)
        if all(abs(scene.motion.paths[0].curvature_at(along)) < 1e-9 for along in range(-20, 42)):
            light = dataclasses.replace(scene.light, noise=np.zeros_like(scene.light.noise), blur_px=0.0)
            return dataclasses.replace(scene, light=light)
    raise AssertionError("no straight street in 100 seeds")


def thing(name: str, along_m: float, left_m: float, **changes: float) -> Thing:
    """A standing thing on the main street, facing along it, without a shadow."""
    size, mesh = shapes.build(np.random.default_rng(5), name)
    made = Thing(name, 0, along_m, left_m, size, mesh, shadow=False)
    return dataclasses.replace(made, **changes)


def staged(scene: Scene, things: Sequence[Thing]) -> Scene:
    """The scene with exactly these things in it."""
    size = np.array([item.size for item in things], dtype=np.float64).reshape(-1, 3)
    motion = Motion.of(things, scene.motion.paths, scene.motion.profiles)
    geometry = world.gather_geometry(things)
    return dataclasses.replace(
        scene, things=tuple(things), objects=len(things), size=size, motion=motion, geometry=geometry
    )
