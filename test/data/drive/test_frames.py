"""Frames for a training loop: images, rig and truth that belong together."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from stage import empty_scene, staged, thing

from tggbc_ros.core.config import CLASS_NAMES
from tggbc_ros.core.geometry import invert_rigid, transform_points
from tggbc_ros.data.drive import world
from tggbc_ros.data.drive.config import DriveConfig
from tggbc_ros.data.drive.frames import annotate, render_frame, render_scene
from tggbc_ros.data.drive.render import render_camera

CONFIG = DriveConfig(duration_s=2.0, image_size=(160, 90))


def test_samples_come_at_2_hz_and_sweeps_at_12_hz() -> None:
    samples = list(render_scene((1, 0), CONFIG))
    stamps = np.diff([frame.frame.timestamp_ns for frame in samples])
    assert stamps.tolist() == [500_000_000] * 3
    assert all(frame.is_sample for frame in samples)
    sweeps = list(render_scene((1, 0), dataclasses.replace(CONFIG, sweeps=True)))
    assert [frame.index for frame in sweeps] == list(range(19))
    assert [frame.index for frame in sweeps if frame.is_sample] == [0, 6, 12, 18]
    assert np.diff([frame.frame.timestamp_ns for frame in sweeps]).max() <= 83_334_000
    for sample, sweep in zip(samples, sweeps[::6], strict=True):
        for first, second in zip(sample.frame.images, sweep.frame.images, strict=True):
            assert first.tobytes() == second.tobytes()


def test_image_times_are_at_most_45_ms_old_and_within_1_ms_for_the_newest() -> None:
    for frame in render_scene(3, CONFIG):
        age_us = frame.frame.timestamp_ns // 1000 - frame.camera_us
        assert age_us.min() >= 0
        assert age_us.min() <= 1000
        assert age_us.max() <= 45_000


def test_boxes_in_the_lidar_frame_are_the_annotations_in_the_global_frame() -> None:
    frame = next(iter(render_scene(2, CONFIG)))
    boxes, truth = frame.boxes(), frame.annotations
    assert len(boxes) == len(truth) > 5
    back = transform_points(frame.frame.lidar2global, boxes.center)
    np.testing.assert_allclose(back, truth.center, atol=1e-9)
    np.testing.assert_allclose(np.hypot(*boxes.velocity.T), np.hypot(*truth.velocity.T), atol=1e-9)
    np.testing.assert_allclose(truth.center[:, 2], truth.size[:, 2] / 2)
    assert set(boxes.label.tolist()) <= set(range(len(CLASS_NAMES)))
    distance = np.hypot(*(truth.center[:, :2] - frame.frame.lidar2global[:2, 3]).T)
    assert distance.max() <= CONFIG.range_m + 1.0


def test_velocity_is_the_positions_difference_over_neighbouring_samples() -> None:
    scene = world.make_scene(8, dataclasses.replace(CONFIG, duration_s=4.0))
    frames = [render_frame(scene, index) for index in (0, 6, 12, 18, 24, 30, 36, 42)]
    tracks = [{int(i): row for row, i in enumerate(frame.annotations.instance)} for frame in frames]
    moving = 0
    for instance, row in tracks[3].items():
        if instance not in tracks[2] or instance not in tracks[4]:
            continue
        before = frames[2].annotations.center[tracks[2][instance], :2]
        after = frames[4].annotations.center[tracks[4][instance], :2]
        velocity = frames[3].annotations.velocity[row]
        np.testing.assert_allclose(velocity, after - before, atol=1e-9)
        moving += bool(np.hypot(*velocity) > 0.5)
    assert moving >= 3


def test_attributes_belong_to_their_class_and_follow_the_motion() -> None:
    allowed = {
        "pedestrian": "pedestrian.", "bicycle": "cycle.", "motorcycle": "cycle.", "barrier": "", "traffic_cone": "",
    }  # fmt: skip
    seen = set()
    for seed in range(4):
        scene = world.make_scene(seed, CONFIG)
        truth = annotate(scene, 0.5, [render_camera(scene, camera, 0.5) for camera in scene.cameras])
        for label, attribute, velocity in zip(truth.label, truth.attribute, truth.velocity, strict=True):
            prefix = allowed.get(CLASS_NAMES[label], "vehicle.")
            assert attribute.startswith(prefix) if prefix else attribute == ""
            if attribute.endswith(".moving"):
                assert np.hypot(*velocity) > 0.2
            if attribute in ("vehicle.parked", "vehicle.stopped", "pedestrian.standing"):
                assert np.hypot(*velocity) <= 0.2
            seen.add(attribute)
    assert len(seen) >= 6


def test_lidar_points_fall_with_the_square_of_the_distance_and_are_zero_for_the_unseen() -> None:
    street = empty_scene()
    left = street.ego_left_m
    near, far = (_points([thing("car", along, left)]) for along in (12.0, 22.0))
    middle = [along - 1.7 - 2.3 for along in (12.0, 22.0)]  # from the camera to the car's back
    assert near[0] / far[0] == pytest.approx((middle[1] / middle[0]) ** 2, rel=0.15)
    assert _points([thing("car", 30.0, left), thing("bus", 16.0, left)])[0] == 0


def _points(things: list) -> np.ndarray:
    return render_frame(staged(empty_scene(), things), 0).annotations.lidar_points


def test_visible_share_counts_all_cameras() -> None:
    """A bus that two cameras see in part is not hidden."""
    scene = staged(empty_scene(), [thing("bus", 9.0, 4.5)])
    frame = render_frame(scene, 0)
    seen_by = [render_camera(scene, camera, 0.0).visible_px[0] > 0 for camera in scene.cameras]
    assert sum(seen_by) >= 2
    assert frame.annotations.visible_share[0] == 1.0


def test_a_static_point_projects_to_one_place_on_the_ground_from_all_frames() -> None:
    """lidar2cam holds the vehicle's motion between the image and the reference time."""
    scene = world.make_scene(8, CONFIG)
    frame = render_frame(scene, 6)
    for number, camera in enumerate(scene.cameras):
        cam2global = scene.ego2global(float(scene.trigger_us[6, number]) / 1e6) @ camera.cam2ego
        expected = invert_rigid(cam2global) @ frame.frame.lidar2global
        np.testing.assert_allclose(frame.frame.rig.lidar2cam[number], expected, atol=1e-9)
