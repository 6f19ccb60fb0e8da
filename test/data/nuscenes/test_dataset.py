"""nuscenes: samples and sweeps of a tiny data set have the times, poses and images that were written."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from tiny_nuscenes import (
    CAMERA_OFFSET_US,
    INTRINSICS,
    LIDAR_TRANSLATION,
    LIDAR_YAW,
    PERIOD_US,
    START_US,
    SWEEPS_BETWEEN,
    VERSION,
    edit_table,
    ego_pose,
)

from tggbc_ros.core.geometry import rigid, yaw_rotation
from tggbc_ros.data.nuscenes.dataset import NuScenes
from tggbc_ros.data.records import CAMERA_NAMES


def pose_at(time_us: int) -> np.ndarray:
    translation, yaw = ego_pose(time_us)
    return rigid(yaw_rotation(yaw), translation)


def test_keyframes_come_in_order_with_their_poses(tiny_root: Path) -> None:
    samples = list(NuScenes(tiny_root).samples("scene-0001"))
    assert [sample.token for sample in samples] == ["scene-0001-0", "scene-0001-1", "scene-0001-2"]
    for index, sample in enumerate(samples):
        time_us = START_US + index * PERIOD_US
        assert sample.timestamp_ns == time_us * 1000
        assert sample.is_keyframe
        np.testing.assert_allclose(sample.ego2global, pose_at(time_us), atol=1e-9)
        np.testing.assert_allclose(sample.lidar2ego, rigid(yaw_rotation(LIDAR_YAW), LIDAR_TRANSLATION), atol=1e-12)
        for name, shot in zip(CAMERA_NAMES, sample.cameras, strict=True):
            shot_us = time_us + CAMERA_OFFSET_US[name]
            assert (shot.name, shot.timestamp_ns) == (name, shot_us * 1000)
            assert shot.jpeg == tiny_root / "samples" / name / f"{shot_us}.jpg"
            np.testing.assert_allclose(shot.ego2global, pose_at(shot_us), atol=1e-9)
            np.testing.assert_allclose(shot.intrinsics, INTRINSICS)


def test_front_camera_looks_forward_and_left_camera_left(tiny_root: Path) -> None:
    sample = next(NuScenes(tiny_root).samples("scene-0001"))
    looks = {shot.name: shot.cam2ego[:3, 2] for shot in sample.cameras}
    np.testing.assert_allclose(looks["CAM_FRONT"], (1, 0, 0), atol=1e-9)
    np.testing.assert_allclose(looks["CAM_FRONT_LEFT"], (math.cos(0.96), math.sin(0.96), 0), atol=1e-9)


def test_sweeps_are_keyframes_and_complete_sets_between(tiny_root: Path) -> None:
    dataset = NuScenes(tiny_root)
    sweeps = list(dataset.sweeps("scene-0001"))
    assert [sweep.is_keyframe for sweep in sweeps] == [True, *[False] * 5, True, *[False] * 5, True]
    assert dataset.images_left_out("scene-0001") == 0
    stamps = [sweep.timestamp_ns for sweep in sweeps]
    assert stamps == sorted(stamps)
    for sweep, delay_us in zip(sweeps[1:6], SWEEPS_BETWEEN, strict=True):
        newest = max(sweep.cameras, key=lambda shot: shot.timestamp_ns)
        assert sweep.annotations is None
        assert sweep.timestamp_ns == newest.timestamp_ns
        np.testing.assert_array_equal(sweep.ego2global, newest.ego2global)
        for name, shot in zip(CAMERA_NAMES, sweep.cameras, strict=True):
            since_start_us = shot.timestamp_ns // 1000 - START_US
            assert since_start_us == delay_us + CAMERA_OFFSET_US[name] + 1_000 * (len(name) % 3)
    assert sweeps[0].camera_frame().rig.names == CAMERA_NAMES


def test_images_of_incomplete_sets_are_counted(tiny_root: Path) -> None:
    rows, write = edit_table(tiny_root, "sample_data")
    lost = next(row for row in rows if row["calibrated_sensor_token"] == "c-CAM_BACK" and not row["is_key_frame"])
    rows.remove(lost)
    write()
    dataset = NuScenes(tiny_root)
    assert len(list(dataset.sweeps("scene-0001"))) == 12
    assert dataset.images_left_out("scene-0001") == 5


def test_a_scene_of_one_sample(tiny_root: Path) -> None:
    dataset = NuScenes(tiny_root)
    (sample,) = dataset.samples("scene-0002")
    assert sample.annotations is not None
    assert len(sample.annotations.boxes) == 0
    assert len(list(dataset.sweeps("scene-0002"))) == 1


def test_splits_of_the_data_set(tiny_root: Path) -> None:
    dataset = NuScenes(tiny_root, VERSION)
    assert dataset.scene_names() == ("scene-0001", "scene-0002")
    assert dataset.scene_names("tiny_val") == ("scene-0002",)


def test_listing_scenes_needs_one_table_only(tiny_root: Path) -> None:
    for path in (tiny_root / VERSION).glob("*.json"):
        if path.name != "scene.json":
            path.unlink()
    assert NuScenes(tiny_root).scene_names() == ("scene-0001", "scene-0002")


def test_test_sets_have_no_annotations(tiny_root: Path) -> None:
    for name in ("sample_annotation", "instance"):
        (tiny_root / VERSION / f"{name}.json").write_text("[]")
    assert next(NuScenes(tiny_root).samples("scene-0001")).annotations is None


def test_several_versions_want_a_name(tiny_root: Path) -> None:
    shutil.copytree(tiny_root / VERSION, tiny_root / "v1.0-other")
    with pytest.raises(ValueError, match="holds these versions: v1.0-other, v1.0-tiny"):
        NuScenes(tiny_root)
    assert NuScenes(tiny_root, "v1.0-other").scene_names()
    with pytest.raises(FileNotFoundError, match="v1.0-none is not a folder"):
        NuScenes(tiny_root, "v1.0-none")


def test_unknown_scene_is_named(tiny_root: Path) -> None:
    with pytest.raises(ValueError, match="scene is 'scene-9'.*scene-0001, scene-0002"):
        next(NuScenes(tiny_root).samples("scene-9"))


def test_missing_image_names_file_and_record(tiny_root: Path) -> None:
    shot_us = START_US + CAMERA_OFFSET_US["CAM_BACK"]
    (tiny_root / "samples" / "CAM_BACK" / f"{shot_us}.jpg").unlink()
    with pytest.raises(FileNotFoundError, match=f"CAM_BACK named by sample_data CAM_BACK-{shot_us}: no file .*jpg"):
        next(NuScenes(tiny_root).samples("scene-0001"))


def test_missing_keyframe_image_names_sample_and_camera(tiny_root: Path) -> None:
    rows, write = edit_table(tiny_root, "sample_data")
    rows[:] = [row for row in rows if row["token"] != f"CAM_BACK-{START_US + CAMERA_OFFSET_US['CAM_BACK']}"]
    write()
    with pytest.raises(ValueError, match="sample scene-0001-0 has no key frame of CAM_BACK in"):
        next(NuScenes(tiny_root).samples("scene-0001"))


@pytest.mark.parametrize(
    ("table", "change", "message"),
    [
        ("ego_pose", {"token": "other"}, "sample_data LIDAR_TOP-.* refers to ego_pose 'pose-LIDAR_TOP-"),
        ("ego_pose", {"rotation": [1, 1, 0, 0]}, "ego_pose pose-LIDAR_TOP-.*: quaternion .* has norm 1.41"),
        ("ego_pose", {"rotation": [1, 0, 0]}, "ego_pose pose-LIDAR_TOP-.*: not enough values"),
        ("sample_data", {"sample_token": "nowhere"}, "sample_data LIDAR_TOP-.* refers to sample 'nowhere'"),
        ("sample_data", {"calibrated_sensor_token": "x"}, "sample_data .* refers to calibrated_sensor 'x'"),
        ("calibrated_sensor", {"sensor_token": "x"}, "calibrated_sensor c-LIDAR_TOP refers to sensor 'x'"),
        ("sample", {"scene_token": "nowhere"}, "sample.json has no sample of scene-0002"),
    ],
)
def test_broken_records_are_named(tiny_root: Path, table: str, change: dict[str, object], message: str) -> None:
    rows, write = edit_table(tiny_root, table)
    broken = rows[-1] if table == "sample" else rows[0]
    broken.update(change)
    write()
    with pytest.raises(ValueError, match=message):
        list(NuScenes(tiny_root).samples("scene-0001"))


def test_unknown_split_without_devkit_or_with_it(tiny_root: Path) -> None:
    try:
        import nuscenes  # noqa: F401
    except ImportError:
        with pytest.raises(ImportError, match="'nosuch' is not in .*splits.json.*pip install nuscenes-devkit"):
            NuScenes(tiny_root).scene_names("nosuch")
    else:
        with pytest.raises(ValueError, match="split is 'nosuch', expected one of tiny_val, .*mini_val"):
            NuScenes(tiny_root).scene_names("nosuch")


def test_broken_splits_file_is_named(tiny_root: Path) -> None:
    (tiny_root / VERSION / "splits.json").write_text("{")
    with pytest.raises(ValueError, match="splits.json is not JSON"):
        NuScenes(tiny_root).scene_names("tiny_val")


TIMED = ("sample", "sample_data", "ego_pose")


def change_times(root: Path, tables: Sequence[str], change: Callable[[int], float]) -> None:
    for name in tables:
        rows, write = edit_table(root, name)
        for row in rows:
            row["timestamp"] = change(row["timestamp"])
        write()


@pytest.mark.parametrize(
    ("tables", "factor", "start_us", "message"),
    [
        (TIMED, 1000, START_US, "sample.json: record scene-0001-0 has timestamp 1600000000000000000, expected micros"),
        (("sample",), 1000, START_US, "sample.json: record scene-0001-0 has timestamp 1600000000000000000, expected"),
        (("sample_data",), 1000, START_US, "sample_data.json: record LIDAR_TOP-1600000000000000 has timestamp 16000"),
        (("ego_pose",), 1000, START_US, "ego_pose.json: record pose-LIDAR_TOP-1600000000000000 has timestamp 16000"),
        (TIMED, 1e-3, START_US, "sample.json: record scene-0001-0 has timestamp 1600000000000, expected microseconds"),
        (("ego_pose",), 1e-3, START_US, "ego_pose.json: record pose-.* has timestamp 1600000000000, expected micros"),
        (TIMED, 1e-6, START_US, "sample.json: samples scene-0001-0 and those after it are . apart, expected microsec"),
        (TIMED, 1000, 1_000_000, "sample.json: samples scene-0001-0 and those after it are 500000000 apart, expected"),
        (TIMED, 1e-3, 1_000_000, "sample.json: samples scene-0001-0 and those after it are 500 apart, expected micro"),
        (("sample_data",), 1000, 1_000_000, "sample_data.json: record LIDAR_TOP-.* has timestamp .*from its sample's"),
        (("sample_data",), 1e-6, START_US, "sample_data.json: record LIDAR_TOP-.* from its sample's, expected micros"),
        (TIMED, -1, START_US, "sample.json: record scene-0001-0 has timestamp -1600000000000000, expected microsecon"),
    ],
)
def test_times_in_another_unit_are_named(
    tiny_root: Path, tables: Sequence[str], factor: float, start_us: int, message: str
) -> None:
    """start_us: where the times begin, before they are multiplied."""
    change_times(tiny_root, TIMED, lambda time_us: time_us - START_US + start_us)
    change_times(tiny_root, tables, lambda time_us: int(time_us * factor))
    with pytest.raises(ValueError, match=message):
        list(NuScenes(tiny_root).samples("scene-0001"))


def test_times_may_begin_anywhere(tiny_root: Path) -> None:
    change_times(tiny_root, TIMED, lambda time_us: time_us - START_US + 1_000_000)
    samples = list(NuScenes(tiny_root).samples("scene-0001"))
    assert [sample.timestamp_ns for sample in samples] == [10**9 + k * PERIOD_US * 1000 for k in range(3)]


def test_seconds_with_a_fraction_are_named(tiny_root: Path) -> None:
    change_times(tiny_root, ("sample",), lambda time_us: time_us / 1e6)
    with pytest.raises(ValueError, match="timestamp 1600000000.0, expected a whole number of microseconds"):
        list(NuScenes(tiny_root).samples("scene-0001"))


@pytest.mark.parametrize("content", ["[]", '{"tiny_val": "scene-0002"}'])
def test_splits_file_of_another_shape_is_named(tiny_root: Path, content: str) -> None:
    (tiny_root / VERSION / "splits.json").write_text(content)
    with pytest.raises(ValueError, match="splits.json holds something else than lists of scene names by split"):
        NuScenes(tiny_root).scene_names("tiny_val")


def test_own_split_with_a_scene_that_is_not_there_is_refused(tiny_root: Path) -> None:
    (tiny_root / VERSION / "splits.json").write_text(json.dumps({"tiny_val": ["scene-0002", "scene-9"]}))
    with pytest.raises(ValueError, match="splits.json: split 'tiny_val' names scene 'scene-9', which scene.json does"):
        NuScenes(tiny_root).scene_names("tiny_val")


def test_official_split_gives_those_of_its_scenes_that_are_there(tiny_root: Path) -> None:
    pytest.importorskip("nuscenes", reason="nuscenes-devkit is not installed")
    assert NuScenes(tiny_root).scene_names("train") == ("scene-0001", "scene-0002")
    assert NuScenes(tiny_root).scene_names("mini_val") == ()


def test_agrees_with_the_devkit(tiny_root: Path) -> None:
    devkit = pytest.importorskip("nuscenes.nuscenes", reason="nuscenes-devkit is not installed")
    reference = devkit.NuScenes(version=VERSION, dataroot=str(tiny_root), verbose=False)
    for sample in NuScenes(tiny_root).samples("scene-0001"):
        record = reference.get("sample", sample.token)
        boxes = {box.token: box for box in reference.get_sample_data(record["data"]["LIDAR_TOP"])[1]}
        assert sample.annotations is not None
        index = int(sample.token[-1])
        ours = sample.annotations.boxes[:1]
        theirs = boxes[f"car-{index}"]
        np.testing.assert_allclose(ours.center[0], theirs.center, atol=1e-9)
        np.testing.assert_allclose(ours.size[0], theirs.wlh[[1, 0, 2]])
        np.testing.assert_allclose(ours.yaw[0], theirs.orientation.yaw_pitch_roll[0], atol=1e-9)
        velocity = sample.lidar2global[:3, :2] @ ours.velocity[0]
        np.testing.assert_allclose(velocity[:2], reference.box_velocity(f"car-{index}")[:2], atol=1e-9)
        assert json.dumps(sorted(boxes)).count("car") == 1
