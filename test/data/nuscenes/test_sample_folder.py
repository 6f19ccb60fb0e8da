"""sample_folder: the real keyframe gives the official matrices, and what is broken in a folder is named."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny_nuscenes import HEIGHT, INTRINSICS, WIDTH

from tggbc_ros.core.geometry import invert_rigid, rigid, yaw_rotation
from tggbc_ros.data.nuscenes.sample_folder import moved, read_sample_folder
from tggbc_ros.data.records import CAMERA_NAMES

EGO2GLOBAL = rigid(yaw_rotation(0.7), (400.0, 1100.0, 0.0))
LIDAR2EGO = rigid(yaw_rotation(-1.57), (0.9, 0.0, 1.8))
CAM2EGO = rigid([[0, 0, 1], [-1, 0, 0], [0, -1, 0]], (1.7, 0.0, 1.5))
AT_IMAGE = EGO2GLOBAL @ rigid(yaw_rotation(-0.002), (-0.3, 0.01, 0.0))
SKEWED = [[0.2, 0, 1, 1.7], [-1, 0, 0, 0], [0, -1, 0, 1.5], [0, 0, 0, 1]]
LIDAR2CAM = invert_rigid(AT_IMAGE @ CAM2EGO) @ EGO2GLOBAL @ LIDAR2EGO


@pytest.fixture
def write_folder(tmp_path: Path) -> Callable[..., Path]:
    """Writes a sample folder whose record a test has changed."""

    def write(change: Callable[[dict[str, Any]], object] = lambda record: None) -> Path:
        record = _record()
        for camera in record["cameras"].values():
            (tmp_path / camera["file"]).write_bytes(b"not read")
        change(record)
        (tmp_path / "sample.json").write_text(json.dumps(record))
        return tmp_path

    return write


def _record() -> dict[str, Any]:
    camera = {
        "timestamp": 1600000000.123457,
        "width": WIDTH,
        "height": HEIGHT,
        "cam2img": INTRINSICS,
        "cam2ego": CAM2EGO.tolist(),
        "lidar2cam": LIDAR2CAM.tolist(),
    }
    box = {"center": [1, 2, 3], "size_lwh": [4, 2, 1.5], "yaw": 0.5, "velocity": [1, 2], "num_lidar_pts": 7}
    return {
        "sample_token": "token",
        "timestamp": 1600000000.15,
        "ego2global": EGO2GLOBAL.tolist(),
        "lidar2ego": LIDAR2EGO.tolist(),
        "cameras": {name: camera | {"file": f"{name}.jpg"} for name in CAMERA_NAMES},
        "boxes": [
            box | {"category": "bus"},
            box | {"category": None},
            box | {"category": "car", "velocity": [None, None]},
        ],
    }


def test_ego_pose_at_the_image_is_solved(write_folder: Callable[..., Path]) -> None:
    sample = read_sample_folder(write_folder())
    assert sample.timestamp_ns == 1_600_000_000_150_000_000
    assert {shot.timestamp_ns for shot in sample.cameras} == {1_600_000_000_123_457_000}
    for shot in sample.cameras:
        np.testing.assert_allclose(shot.ego2global, AT_IMAGE, atol=1e-9)


def test_boxes_without_a_class_are_counted(write_folder: Callable[..., Path]) -> None:
    annotations = read_sample_folder(write_folder()).annotations
    assert annotations is not None
    assert annotations.class_names == ("bus", "car")
    assert annotations.instances == ("0", "2")
    assert annotations.ignored == 1
    np.testing.assert_array_equal(annotations.boxes.velocity, [[1, 2], [np.nan, np.nan]])
    np.testing.assert_array_equal(annotations.boxes.size[0], [4, 2, 1.5])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda r: r.pop("lidar2ego"), "sample.json has no field 'lidar2ego'"),
        (lambda r: r["cameras"].pop("CAM_BACK"), "has no field 'CAM_BACK'"),
        (lambda r: r["cameras"]["CAM_BACK"].update(cam2ego=SKEWED), "sample.json: cam2ego of CAM_BACK is off a rigid"),
        (lambda r: r["ego2global"].pop(), r"ego2global has shape \(3, 4\)"),
        (
            lambda r: r.update(timestamp=1600000000150000),
            "sample.json: timestamp is 1600000000150000, expected seconds",
        ),
        (lambda r: r["cameras"]["CAM_BACK"].update(timestamp=-1.5), "timestamp is -1.5, expected seconds since 1970"),
        (lambda r: r["boxes"][0].update(category="tank"), "category of a box is 'tank'"),
    ],
)
def test_broken_record_is_named(write_folder: Callable[..., Path], change: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        read_sample_folder(write_folder(change))


def test_missing_image_and_folder_are_named(write_folder: Callable[..., Path], tmp_path: Path) -> None:
    folder = write_folder()
    (folder / "CAM_BACK_LEFT.jpg").unlink()
    with pytest.raises(FileNotFoundError, match="image of CAM_BACK_LEFT .*no file .*CAM_BACK_LEFT.jpg"):
        read_sample_folder(folder)
    with pytest.raises(FileNotFoundError, match="no sample folder: .*sample.json"):
        read_sample_folder(tmp_path / "nowhere")


def test_broken_json_is_named(write_folder: Callable[..., Path]) -> None:
    folder = write_folder()
    (folder / "sample.json").write_text('{"sample_token": ')
    with pytest.raises(ValueError, match="sample.json is not JSON"):
        read_sample_folder(folder)


def test_moved_moves_the_vehicle_and_nothing_else(write_folder: Callable[..., Path]) -> None:
    sample = read_sample_folder(write_folder())
    after = moved(sample, 2.0, 0.02, 0.5)
    step = rigid(yaw_rotation(0.02), (2.0, 0.0, 0.0))
    np.testing.assert_allclose(after.ego2global, sample.ego2global @ step, atol=1e-9)
    np.testing.assert_allclose(after.rig().lidar2cam, sample.rig().lidar2cam, atol=1e-9)
    assert after.timestamp_ns - sample.timestamp_ns == 500_000_000
    assert after.cameras[3].timestamp_ns - sample.cameras[3].timestamp_ns == 500_000_000
    assert after.cameras[3].jpeg == sample.cameras[3].jpeg
    twice = moved(after, 2.0, 0.02, 0.5)
    assert len({sample.token, after.token, twice.token}) == 3


def test_real_sample_gives_the_official_matrices(sample_dir: Path) -> None:
    record = json.loads((sample_dir / "sample.json").read_text())
    sample = read_sample_folder(sample_dir)
    frame = sample.camera_frame()
    for name, lidar2cam, intrinsics in zip(CAMERA_NAMES, frame.rig.lidar2cam, frame.rig.intrinsics, strict=True):
        np.testing.assert_allclose(lidar2cam, record["cameras"][name]["lidar2cam"], atol=1e-6)
        np.testing.assert_allclose(intrinsics, record["cameras"][name]["cam2img"])
    assert {image.shape for image in frame.images} == {(900, 1600, 3)}
    static = invert_rigid(sample.cameras[0].cam2ego) @ sample.lidar2ego
    assert np.abs(static - frame.rig.lidar2cam[0]).max() > 0.1, "the vehicle moves between lidar and image"


def test_real_sample_annotations(sample_dir: Path) -> None:
    annotations = read_sample_folder(sample_dir).annotations
    assert annotations is not None
    assert annotations.ignored == 1
    assert Counter(annotations.class_names) == {
        "pedestrian": 30,
        "barrier": 22,
        "car": 8,
        "traffic_cone": 3,
        "truck": 2,
        "bicycle": 1,
        "bus": 1,
        "construction_vehicle": 1,
    }


def test_real_sample_moved_as_in_the_golden_case(sample_dir: Path, golden_dir: Path) -> None:
    golden = np.load(golden_dir / "public_R_r50_dense.npz")
    sample = read_sample_folder(sample_dir)
    for frame, motion in enumerate([None, *json.loads(str(golden["meta"]))["motions_dx_m_dyaw_rad_dt_s"]]):
        sample = moved(sample, *motion) if motion else sample
        np.testing.assert_allclose(sample.ego2global, golden[f"f{frame}.in.ego2global"], atol=1e-6)
        np.testing.assert_allclose(sample.timestamp_ns / 1e9, golden[f"f{frame}.in.timestamp"][0], atol=1e-6, rtol=0)
        np.testing.assert_allclose(sample.rig().lidar2cam, golden[f"f{frame}.in.extrinsics"][0], atol=1e-6)
