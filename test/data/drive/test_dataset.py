"""Drives on disk: the official devkit reads them and its evaluator trusts them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from tggbc_ros.core.config import CLASS_NAMES
from tggbc_ros.core.geometry import rotation_from_quaternion
from tggbc_ros.data.drive import dataset
from tggbc_ros.data.drive.config import DriveConfig
from tggbc_ros.data.drive.frames import render_frame
from tggbc_ros.data.drive.schema import CATEGORIES, visibility_token
from tggbc_ros.data.drive.world import make_scene

CONFIG = DriveConfig(duration_s=2.5, image_size=(160, 90), sweeps=True)
SEED = 6


def _make(root: Path, numbers: range, split: str, config: DriveConfig = CONFIG) -> None:
    scenes = [dataset.write_scene(root, SEED, number, config, lambda: None) for number in numbers]
    dataset.write_tables(root, dataset.VERSION, split, scenes)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two drives made at once into one split, and a third added later into another."""
    folder = tmp_path_factory.mktemp("drives")
    _make(folder, range(2), "first")
    _make(folder, range(2, 3), "second")
    return folder


@pytest.fixture(scope="module")
def devkit(root: Path) -> Any:
    """The data set as nuscenes-devkit sees it."""
    nuscenes = pytest.importorskip("nuscenes", reason="nuscenes-devkit is not installed: pip install nuscenes-devkit")
    return nuscenes.NuScenes(dataset.VERSION, str(root), verbose=False)


def test_devkit_finds_every_file_and_every_link(devkit: Any, root: Path) -> None:
    assert [scene["name"] for scene in devkit.scene] == ["drive-6-0000", "drive-6-0001", "drive-6-0002"]
    assert len(devkit.sample) == 3 * 5
    assert len(devkit.sample_data) == 3 * (25 * 6 + 5)
    for record in devkit.sample_data:
        assert (root / record["filename"]).is_file()
        for field, table in (("sample_token", "sample"), ("ego_pose_token", "ego_pose"),
                             ("calibrated_sensor_token", "calibrated_sensor")):  # fmt: skip
            assert devkit.get(table, record[field])
    for sample in devkit.sample:
        assert len(sample["data"]) == 7
        log = devkit.get("log", devkit.get("scene", sample["scene_token"])["log_token"])
        assert devkit.get("map", log["map_token"])["mask"] is not None


def test_chains_of_samples_data_and_annotations_are_whole_and_in_time_order(devkit: Any) -> None:
    for scene in devkit.scene:
        chain = _follow(devkit, "sample", scene["first_sample_token"])
        assert len(chain) == scene["nbr_samples"] == 5
        assert chain[-1]["token"] == scene["last_sample_token"]
        assert np.diff([record["timestamp"] for record in chain]).tolist() == [500_000] * 4
        front = _follow(devkit, "sample_data", chain[0]["data"]["CAM_FRONT"])
        assert [record["is_key_frame"] for record in front] == [index % 6 == 0 for index in range(25)]
        for record in front:
            owner = devkit.get("sample", record["sample_token"])
            assert abs(owner["timestamp"] - record["timestamp"]) <= 250_000 + 45_000
    for instance in devkit.instance:
        chain = _follow(devkit, "sample_annotation", instance["first_annotation_token"])
        assert len(chain) == instance["nbr_annotations"]
        assert chain[-1]["token"] == instance["last_annotation_token"]
        assert {record["instance_token"] for record in chain} == {instance["token"]}


def _follow(devkit: Any, table: str, token: str) -> list[dict[str, Any]]:
    chain = []
    while token:
        chain.append(devkit.get(table, token))
        assert len(chain) < 2 or chain[-1]["prev"] == chain[-2]["token"]
        token = chain[-1]["next"]
    return chain


def test_tables_say_what_was_rendered(devkit: Any, root: Path) -> None:
    """Boxes, velocities, attributes, visibility, images and poses equal the in-memory frames."""
    scene = make_scene((SEED, 1), CONFIG)
    sample = devkit.get("sample", devkit.scene[1]["first_sample_token"])
    for index in (0, 6, 12):
        frame = render_frame(scene, index)
        truth = frame.annotations
        records = [devkit.get("sample_annotation", token) for token in sample["anns"]]
        assert len(records) == len(truth) > 0
        for row, record in enumerate(records):
            w, x, y, z = record["rotation"]
            heading = rotation_from_quaternion(x, y, z, w)[:, 0]
            np.testing.assert_allclose(record["translation"], truth.center[row], atol=1e-6)
            np.testing.assert_allclose(np.array(record["size"])[[1, 0, 2]], truth.size[row], atol=1e-6)
            np.testing.assert_allclose(heading[:2], [np.cos(truth.yaw[row]), np.sin(truth.yaw[row])], atol=1e-6)
            assert record["category_name"] == CATEGORIES[CLASS_NAMES[truth.label[row]]]
            assert record["num_lidar_pts"] == truth.lidar_points[row]
            assert record["visibility_token"] == visibility_token(truth.visible_share[row])
            names = [devkit.get("attribute", token)["name"] for token in record["attribute_tokens"]]
            assert names == ([truth.attribute[row]] if truth.attribute[row] else [])
            if record["prev"] and record["next"]:
                velocity = devkit.box_velocity(record["token"])[:2]
                np.testing.assert_allclose(velocity, truth.velocity[row], atol=1e-5)
        for name, stamp, image in zip(frame.frame.rig.names, frame.camera_us, frame.frame.images, strict=True):
            data = devkit.get("sample_data", sample["data"][name])
            assert data["timestamp"] == stamp
            assert (data["height"], data["width"]) == image.shape[:2] == (90, 160)
            stored = cv2.imread(str(root / data["filename"]))
            assert np.abs(stored.astype(int) - image).mean() < 8.0
        sample = devkit.get("sample", sample["next"])


def test_calibration_and_poses_give_the_rig_of_the_frame(devkit: Any) -> None:
    from nuscenes.utils.geometry_utils import transform_matrix
    from pyquaternion import Quaternion

    def matrix(record: dict[str, Any]) -> np.ndarray:
        return transform_matrix(record["translation"], Quaternion(record["rotation"]))

    frame = render_frame(make_scene((SEED, 0), CONFIG), 6)
    sample = devkit.get("sample", devkit.get("sample", devkit.scene[0]["first_sample_token"])["next"])

    def sensor2global(channel: str) -> tuple[np.ndarray, list[list[float]]]:
        data = devkit.get("sample_data", sample["data"][channel])
        calibration = devkit.get("calibrated_sensor", data["calibrated_sensor_token"])
        pose = devkit.get("ego_pose", data["ego_pose_token"])
        return matrix(pose) @ matrix(calibration), calibration["camera_intrinsic"]

    lidar2global, _ = sensor2global("LIDAR_TOP")
    np.testing.assert_allclose(lidar2global, frame.frame.lidar2global, atol=1e-6)
    for number, name in enumerate(frame.frame.rig.names):
        cam2global, intrinsics = sensor2global(name)
        np.testing.assert_allclose(intrinsics, frame.frame.rig.intrinsics[number], atol=1e-8)
        np.testing.assert_allclose(
            np.linalg.inv(cam2global) @ lidar2global, frame.frame.rig.lidar2cam[number], atol=1e-5
        )


def test_evaluator_gives_full_marks_to_the_truth_and_none_to_moved_boxes(devkit: Any, tmp_path: Path) -> None:
    assert _evaluate(devkit, "first", 0.0, tmp_path) == pytest.approx((1.0, 1.0), abs=0.01)
    shifted = _evaluate(devkit, "first", 9.0, tmp_path)
    assert shifted[0] < 0.1
    assert shifted[1] < 0.3


def _evaluate(devkit: Any, split: str, shift_m: float, folder: Path) -> tuple[float, float]:
    """Mean over present classes of AP, and of the true-positive scores, for the truth moved by ``shift_m``."""
    from nuscenes.eval.common.config import config_factory
    from nuscenes.eval.detection.evaluate import NuScenesEval
    from nuscenes.utils.splits import get_scenes_of_split

    scenes = set(get_scenes_of_split(split, devkit))
    samples = [s for s in devkit.sample if devkit.get("scene", s["scene_token"])["name"] in scenes]
    results = {sample["token"]: [_detection(devkit, token, shift_m) for token in sample["anns"]] for sample in samples}
    meta = dict.fromkeys(("use_camera", "use_lidar", "use_radar", "use_map", "use_external"), False)
    (folder / "results.json").write_text(json.dumps({"meta": meta, "results": results}))
    config = config_factory("detection_cvpr_2019")
    evaluation = NuScenesEval(devkit, config, str(folder / "results.json"), split, str(folder / "eval"), verbose=False)
    metrics, _ = evaluation.evaluate()
    present = {box.detection_name for boxes in evaluation.gt_boxes.boxes.values() for box in boxes}
    assert len(present) >= 6
    precision = np.mean([metrics.mean_dist_aps[name] for name in present])
    errors = [metrics.get_label_tp(name, kind) for name in present for kind in ("trans_err", "scale_err", "vel_err")]
    return float(precision), float(1.0 - np.mean(np.nan_to_num(np.clip(errors, 0, 1))))


def _detection(devkit: Any, token: str, shift_m: float) -> dict[str, Any]:
    record = devkit.get("sample_annotation", token)
    names = {category: name for name, category in CATEGORIES.items()}
    x, y, z = record["translation"]
    attributes = [devkit.get("attribute", item)["name"] for item in record["attribute_tokens"]]
    return {
        "sample_token": record["sample_token"], "translation": [x + shift_m, y, z], "size": record["size"],
        "rotation": record["rotation"], "velocity": np.nan_to_num(devkit.box_velocity(token)[:2]).tolist(),
        "detection_name": names[record["category_name"]], "detection_score": min(record["num_lidar_pts"], 100) / 100,
        "attribute_name": attributes[0] if attributes else "",
    }  # fmt: skip


def test_splits_that_the_devkit_reserves_and_scenes_already_there_are_refused(root: Path) -> None:
    with pytest.raises(ValueError, match="split is 'val', which is fixed"):
        dataset.check_target(root, dataset.VERSION, "val", [])
    with pytest.raises(ValueError, match="already has scene drive-6-0002"):
        dataset.check_target(root, dataset.VERSION, "more", [dataset.scene_name(SEED, n) for n in (2, 3)])
    dataset.check_target(root, dataset.VERSION, "more", [dataset.scene_name(SEED, 3)])


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("scene", "{", "scene.json is not JSON"),
        ("scene", '[{"token": "a", "name": "b"}, {"token": "c"}]', "scene.json: record 1 has no name"),
        ("log", "[{}]", "log.json: record 0 has no token"),
        ("instance", "[1]", "instance.json: record 0 has no token"),
        ("sample_data", "{}", "sample_data.json holds a dict, expected a list of records"),
        ("splits", "[]", "splits.json holds something else than lists of scene names by split"),
    ],
)
def test_broken_tables_in_the_target_are_named(name: str, content: str, message: str, tmp_path: Path) -> None:
    (tmp_path / dataset.VERSION).mkdir()
    (tmp_path / dataset.VERSION / f"{name}.json").write_text(content)
    with pytest.raises(ValueError, match=message):
        dataset.check_target(tmp_path, dataset.VERSION, "drive", [])


def test_later_drives_join_the_tables_and_leave_the_earlier_ones(root: Path, tmp_path: Path) -> None:
    splits = json.loads((root / dataset.VERSION / "splits.json").read_text())
    assert splits == {"first": ["drive-6-0000", "drive-6-0001"], "second": ["drive-6-0002"]}
    _make(tmp_path, range(2, 3), "second")
    for table in ("sample", "sample_annotation", "ego_pose", "instance"):
        alone = json.loads((tmp_path / dataset.VERSION / f"{table}.json").read_text())
        joined = json.loads((root / dataset.VERSION / f"{table}.json").read_text())
        assert joined[-len(alone) :] == alone
        assert len(joined) > len(alone)
    assert not list(root.rglob("*.part"))


def test_a_drive_of_one_sample_is_valid(tmp_path: Path) -> None:
    _make(tmp_path, range(1), "one", DriveConfig(duration_s=0.5, image_size=(96, 54)))
    samples = json.loads((tmp_path / dataset.VERSION / "sample.json").read_text())
    assert [(record["prev"], record["next"]) for record in samples] == [("", "")]
    scene = json.loads((tmp_path / dataset.VERSION / "scene.json").read_text())[0]
    assert scene["first_sample_token"] == scene["last_sample_token"] == samples[0]["token"]


@pytest.mark.parametrize(("share", "token"), [(0.0, "1"), (0.4, "1"), (0.41, "2"), (0.6, "2"), (0.8, "3"), (1.0, "4")])
def test_visibility_levels(share: float, token: str) -> None:
    assert visibility_token(share) == token
