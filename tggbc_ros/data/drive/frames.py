"""A drive as it passes: one synchronised set of images after the other, with what is true about it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tggbc_ros.core.geometry import invert_rigid, transform_boxes
from tggbc_ros.core.types import Array, Boxes3D, CameraFrame, Rig
from tggbc_ros.data.drive.config import SWEEPS_PER_SAMPLE, DriveConfig
from tggbc_ros.data.drive.render import Rendering, render_camera
from tggbc_ros.data.drive.rig import LIDAR2EGO
from tggbc_ros.data.drive.world import SAMPLE_US, Scene, Seed, labels, make_scene

# A 32-beam lidar: 1.33 degrees between beams, 1084 points a turn.
LIDAR_POINTS_PER_SR = 1.0 / (np.deg2rad(1.33) * 2 * np.pi / 1084)
SEEN_POINTS = 0.3
MOVING_MPS = 0.2


@dataclass(frozen=True, eq=False)
class Annotations:
    """M objects within range at one time, global frame, metres.

    instance: [M], index of the thing in its scene. label: [M], into `CLASS_NAMES`. center: [M, 3], gravity
    centre. size: [M, 3], length, width, height. yaw: [M]. velocity: [M, 2], m/s. visible_share: [M], part of
    an object's pixels, over all cameras, that nothing hides. lidar_points: [M], how many points a lidar would
    have on what is seen; 0 for what is not. attribute: nuScenes attribute name, empty for classes without.
    """

    instance: npt.NDArray[np.int64]
    label: npt.NDArray[np.int64]
    center: Array
    size: Array
    yaw: Array
    velocity: Array
    visible_share: Array
    lidar_points: npt.NDArray[np.int64]
    attribute: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.label)

    def boxes(self, global2target: Array) -> Boxes3D:
        """The objects as boxes in another frame, score 1; ``query`` is the row here."""
        rows = np.arange(len(self), dtype=np.int64)
        score = np.ones(len(self))
        boxes = Boxes3D(self.center, self.size, self.yaw, self.velocity, score, self.label, rows)
        return transform_boxes(global2target, boxes)


@dataclass(frozen=True, eq=False)
class DriveFrame:
    """One set of images. index: frame number, 12 Hz; is_sample: a keyframe, the only ones annotated on disk.

    frame: what the network gets; its reference time is the frame's own time, its lidar frame that moment's.
    camera_us: [cameras], time of each image, microseconds since the epoch, never after the reference time.
    """

    index: int
    is_sample: bool
    frame: CameraFrame
    camera_us: npt.NDArray[np.int64]
    annotations: Annotations

    def boxes(self) -> Boxes3D:
        """All annotations as boxes in the lidar frame."""
        return self.annotations.boxes(invert_rigid(self.frame.lidar2global))


def frame_time_us(index: int) -> int:
    """Reference time of a frame from the first sample, microseconds."""
    return index * SAMPLE_US // SWEEPS_PER_SAMPLE


def render_scene(seed: Seed, config: DriveConfig) -> Iterator[DriveFrame]:
    """Make and render one drive, frame by frame: samples at 2 Hz, or all frames at 12 Hz with ``config.sweeps``."""
    scene = make_scene(seed, config)
    for index in frame_indices(config):
        yield render_frame(scene, index)


def frame_indices(config: DriveConfig) -> range:
    """Numbers of the frames that a drive has, keyframes only or all."""
    last = (config.samples - 1) * SWEEPS_PER_SAMPLE
    return range(0, last + 1, 1 if config.sweeps else SWEEPS_PER_SAMPLE)


def render_frame(scene: Scene, index: int) -> DriveFrame:
    """All cameras' images around the time of frame ``index``, each at its own trigger time."""
    count = len(scene.cameras)
    times_us = scene.trigger_us[index]
    renderings = [
        render_camera(scene, camera, time_us / 1e6, exposure=index * count + number)
        for number, (camera, time_us) in enumerate(zip(scene.cameras, times_us, strict=True))
    ]
    time_us = frame_time_us(index)
    lidar2global = scene.ego2global(time_us / 1e6) @ LIDAR2EGO
    frame = CameraFrame(
        images=tuple(rendering.image for rendering in renderings),
        rig=_rig(scene, times_us, lidar2global),
        timestamp_ns=(scene.start_us + time_us) * 1000,
        lidar2global=lidar2global,
    )
    annotations = annotate(scene, time_us / 1e6, renderings)
    return DriveFrame(index, index % SWEEPS_PER_SAMPLE == 0, frame, scene.start_us + times_us, annotations)


def _rig(scene: Scene, times_us: npt.NDArray[np.int64], lidar2global: Array) -> Rig:
    cam2global = [
        scene.ego2global(time_us / 1e6) @ camera.cam2ego
        for camera, time_us in zip(scene.cameras, times_us, strict=True)
    ]
    return Rig(
        names=tuple(camera.name for camera in scene.cameras),
        intrinsics=np.stack([camera.intrinsics for camera in scene.cameras]),
        lidar2cam=invert_rigid(np.stack(cam2global)) @ lidar2global,
    )


def annotate(scene: Scene, time_s: float, renderings: list[Rendering]) -> Annotations:
    """The objects within range of the vehicle at ``time_s``, and how well the renderings show them."""
    poses = scene.poses(time_s)[: scene.objects]
    distance = np.hypot(*(poses[:, :2] - scene.ego2global(time_s)[:2, 3]).T)
    chosen = np.flatnonzero(distance <= scene.config.range_m)
    share, points = _visibility(scene, renderings)
    velocity = _velocity(scene, time_s)[chosen]
    speed = np.hypot(velocity[:, 0], velocity[:, 1])
    size = scene.size[chosen]
    return Annotations(
        instance=chosen,
        label=labels(scene)[chosen],
        center=np.column_stack([poses[chosen, :2], size[:, 2] / 2]),
        size=size,
        yaw=(poses[chosen, 2] + np.pi) % (2 * np.pi) - np.pi,
        velocity=velocity,
        visible_share=share[chosen],
        lidar_points=points[chosen],
        attribute=tuple(_attribute(scene, int(i), float(v)) for i, v in zip(chosen, speed, strict=True)),
    )


def _velocity(scene: Scene, time_s: float) -> Array:
    """[objects, 2]: from the positions one sample before and after, within the drive, as nuScenes defines it."""
    step_s = SAMPLE_US / 1e6
    last_s = frame_time_us(len(scene.trigger_us) - 1) / 1e6
    before, after = max(time_s - step_s, 0.0), min(time_s + step_s, last_s)
    if after <= before:  # a drive of one sample
        before, after = time_s - step_s, time_s + step_s
    moved = scene.poses(after) - scene.poses(before)
    return np.asarray(moved[: scene.objects, :2] / (after - before))


def _visibility(scene: Scene, renderings: list[Rendering]) -> tuple[Array, npt.NDArray[np.int64]]:
    """Per object: share of its pixels that is seen, and lidar points by the solid angle that is seen."""
    full = np.sum([rendering.full_px for rendering in renderings], axis=0)
    visible = np.sum([rendering.visible_px for rendering in renderings], axis=0)
    focal = [camera.intrinsics[0, 0] * camera.intrinsics[1, 1] for camera in scene.cameras]
    angle_sr = np.sum([r.visible_px / area for r, area in zip(renderings, focal, strict=True)], axis=0)
    points = np.floor(angle_sr * LIDAR_POINTS_PER_SR + 1.0 - SEEN_POINTS)
    return visible / np.maximum(full, 1e-9), points.astype(np.int64)


def _attribute(scene: Scene, index: int, speed_mps: float) -> str:
    thing = scene.things[index]
    moving = speed_mps > MOVING_MPS
    match thing.name:
        case "traffic_cone" | "barrier":
            return ""
        case "pedestrian":
            return "pedestrian.moving" if moving else "pedestrian.standing"
        case "bicycle" | "motorcycle":
            return "cycle.with_rider" if thing.rider else "cycle.without_rider"
    if thing.parked:
        return "vehicle.parked"
    return "vehicle.moving" if moving else "vehicle.stopped"
