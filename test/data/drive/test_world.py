"""The world of a drive: fixed by its seed, full of classes, free of collisions."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from tggbc_ros.core.config import CLASS_NAMES
from tggbc_ros.data.drive import world
from tggbc_ros.data.drive.config import DriveConfig, with_difficulty
from tggbc_ros.data.drive.motion import footprints_meet
from tggbc_ros.data.drive.rig import CAMERAS
from tggbc_ros.data.drive.shapes import MEAN_SIZE_M, build

CONFIG = DriveConfig(duration_s=6.0, image_size=(96, 54))


def test_equal_seed_gives_equal_world_and_another_seed_another() -> None:
    first, second, other = (world.make_scene((4, k), CONFIG) for k in (2, 2, 3))
    assert first.start_us == second.start_us
    for time_s in (0.0, 3.3):
        np.testing.assert_array_equal(first.poses(time_s), second.poses(time_s))
        np.testing.assert_array_equal(first.ego2global(time_s), second.ego2global(time_s))
    np.testing.assert_array_equal(first.ground.fine, second.ground.fine)
    assert first.start_us != other.start_us
    assert not np.allclose(first.ego2global(0.0), other.ego2global(0.0))


def test_all_ten_classes_occur_in_a_handful_of_drives() -> None:
    seen = np.concatenate([world.labels(world.make_scene(seed, CONFIG)) for seed in range(6)])
    assert set(seen.tolist()) == set(range(len(CLASS_NAMES)))


@pytest.mark.parametrize("seed", range(3))
def test_nobody_drives_through_anybody_nor_through_the_ego_vehicle(seed: int) -> None:
    scene = world.make_scene(seed, CONFIG)
    times = np.arange(0.0, 6.0, 0.2)
    poses = np.stack([scene.poses(float(time))[: scene.objects] for time in times], axis=1)
    half = scene.size[: scene.objects, :2] / 2
    for index in range(scene.objects - 1):
        # A tenth smaller: things were placed by their positions four times a second.
        assert not footprints_meet(poses[index], 0.9 * half[index], poses[index + 1 :], 0.9 * half[index + 1 :], 0.0)
    ego = np.stack([_ego_middle(scene, float(time)) for time in times])
    assert not footprints_meet(ego, np.array([2.0, 0.9]), poses, 0.9 * half, 0.0)


def _ego_middle(scene: world.Scene, time_s: float) -> np.ndarray:
    pose = scene.ego2global(time_s)
    middle = pose[:3, 3] + 1.3 * pose[:3, 0]
    return np.array([middle[0], middle[1], np.arctan2(pose[1, 0], pose[0, 0])])


def test_ego_vehicle_turns_and_changes_speed() -> None:
    turned, slowest, fastest = 0.0, np.inf, 0.0
    for seed in range(8):
        scene = world.make_scene(seed, dataclasses.replace(CONFIG, duration_s=20.0, objects=0))
        poses = np.stack([scene.ego2global(time) for time in np.arange(0.0, 19.6, 0.5)])
        yaw = np.unwrap(np.arctan2(poses[:, 1, 0], poses[:, 0, 0]))
        speed = np.linalg.norm(np.diff(poses[:, :2, 3], axis=0), axis=1) / 0.5
        turned = max(turned, float(np.abs(yaw - yaw[0]).max()))
        slowest, fastest = min(slowest, speed.min()), max(fastest, speed.max())
    assert turned > np.deg2rad(80)
    assert slowest < 2.0
    assert 8.0 < fastest < 13.0


def test_cameras_trigger_up_to_45_ms_before_the_sample_and_never_after() -> None:
    scene = world.make_scene(1, CONFIG)
    frame_us = np.arange(len(scene.trigger_us)) * 500_000 // 6
    before_us = frame_us[:, None] - scene.trigger_us
    assert before_us.min() >= 0
    assert before_us.max() <= 45_000
    assert np.ptp(before_us, axis=1).min() > 40_000
    names = [camera.name for camera in CAMERAS]
    assert names[int(before_us[0].argmin())] == "CAM_BACK_LEFT"
    assert len(scene.trigger_us) == (CONFIG.samples - 1) * 6 + 1


@pytest.mark.parametrize("name", CLASS_NAMES)
@pytest.mark.parametrize("rider", [False, True])
def test_every_mesh_fills_its_box_and_faces_outward(name: str, rider: bool) -> None:
    for seed in range(5):
        size, mesh = build(np.random.default_rng(seed), name, rider)
        corners = mesh.quads.reshape(-1, 3)
        np.testing.assert_allclose(corners.max(axis=0) - corners.min(axis=0), size, atol=0.02)
        np.testing.assert_allclose((corners.max(axis=0) + corners.min(axis=0))[:2], 0.0, atol=0.02)
        assert corners[:, 2].min() == pytest.approx(0.0, abs=0.02)
        outward = ((mesh.quads.mean(axis=1) - mesh.center) * mesh.normals).sum(axis=1)
        assert (outward > 0).all()
        if not (rider and name in ("bicycle", "motorcycle")) and name not in ("bicycle", "motorcycle"):
            np.testing.assert_allclose(size, MEAN_SIZE_M[name], rtol=0.121)


def test_difficulty_sets_range_objects_and_clutter() -> None:
    easy, hard = (with_difficulty(CONFIG, name) for name in ("easy", "hard"))
    assert easy.range_m < hard.range_m
    assert len(world.make_scene(0, easy).things) < len(world.make_scene(0, hard).things)
    with pytest.raises(ValueError, match="difficulty is 'absurd', expected one of easy"):
        with_difficulty(CONFIG, "absurd")


@pytest.mark.parametrize(
    ("field", "value"),
    [("duration_s", 0.2), ("duration_s", float("nan")), ("range_m", 1.0), ("objects", -1), ("clutter", 1.5),
     ("image_size", (8, 8)), ("image_size", (90, 90)), ("supersample", 0)],
)  # fmt: skip
def test_bad_configuration_is_refused_by_name(field: str, value: object) -> None:
    with pytest.raises(ValueError, match=f"{field} is "):
        dataclasses.replace(CONFIG, **{field: value})


def test_positions_outside_the_drive_are_refused() -> None:
    with pytest.raises(ValueError, match="time_s is 60"):
        world.make_scene(0, CONFIG).poses(60.0)
