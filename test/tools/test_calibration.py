"""tools.calibration: what it writes reads back as what the bag or the data set holds."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from tggbc_ros.data.nuscenes.dataset import NuScenes
from tggbc_ros.ros import calibration_file
from tggbc_ros.ros.params import CAMERAS
from tggbc_ros.tools.calibration import main

TESTS = Path(__file__).parents[1]
sys.path[:0] = [str(TESTS / "data"), str(TESTS / "ros")]

import bag_families as families  # noqa: E402
from synthetic_rig import CAM2EGO, HEIGHT, INTRINSICS, LIDAR2EGO, WIDTH, camera_info, transform  # noqa: E402
from tf2_msgs.msg import TFMessage  # noqa: E402
from tiny_nuscenes import write_tiny_nuscenes  # noqa: E402


def run(*arguments: object) -> int:
    return main(list(map(str, arguments)))


def assert_is_the_rig(path: Path, cameras: list[str] | tuple[str, ...]) -> None:
    found = calibration_file.load(str(path), cameras)
    for camera, matrix in zip(cameras, CAM2EGO.values(), strict=True):
        assert found[camera].intrinsics == tuple(INTRINSICS[[0, 1, 0, 1], [0, 1, 2, 2]])
        assert (found[camera].width, found[camera].height) == (WIDTH, HEIGHT)
        np.testing.assert_allclose(found[camera].cam2base(LIDAR2EGO), matrix, atol=1e-12)


def test_of_our_own_bag(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bag = families.write_bag(tmp_path / "bag", families.our_own([0]))
    assert run("bag", bag, "--out", tmp_path / "rig.yaml") == 0
    assert capsys.readouterr().out == f"wrote {tmp_path / 'rig.yaml'}: {', '.join(CAMERAS)}\n"
    assert_is_the_rig(tmp_path / "rig.yaml", CAMERAS)


def test_of_a_bag_whose_metadata_is_of_another_form_or_gone(tmp_path: Path) -> None:
    bag = families.write_bag(tmp_path / "bag", families.our_own([0]))
    path = bag / "metadata.yaml"
    text = path.read_text().replace("serialization_format: cdr", "serialization_format: ''")
    path.write_text(text.replace("durability: ", "durability: 1 #").replace("sensor_msgs/msg/", "sensor_msgs/"))
    assert run("bag", bag, "--out", tmp_path / "one.yaml") == 0
    path.unlink()
    assert run("bag", bag, "--out", tmp_path / "two.yaml") == 0
    assert (tmp_path / "one.yaml").read_text() == (tmp_path / "two.yaml").read_text()
    assert_is_the_rig(tmp_path / "two.yaml", CAMERAS)


def test_of_a_bag_that_is_not_all_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bag = families.write_bag(tmp_path / "bag", families.our_own([0]))
    (bag / "metadata.yaml").write_text(
        (bag / "metadata.yaml").read_text().replace("message_count: 1", "message_count: 9")
    )
    assert run("bag", bag, "--out", tmp_path / "rig.yaml") == 1
    assert "metadata.yaml counts 9" in capsys.readouterr().err


def test_of_a_bag_whose_topics_and_transforms_are_elsewhere(tmp_path: Path) -> None:
    bag = families.write_bag(tmp_path / "bag", families.nuscenes_to_ros2bag([0, 1]))
    some = list(CAMERAS[:2])
    topic = ("--camera-info-topic", "/{camera}/camera_info")
    assert run("bag", bag, "--out", tmp_path / "two.yaml", *topic, "--cameras", *some) == 0
    found = calibration_file.load(str(tmp_path / "two.yaml"), some)
    for camera in some:
        np.testing.assert_allclose(found[camera].cam2base(LIDAR2EGO), CAM2EGO[camera], atol=1e-12)


def test_a_chain_of_transforms_and_a_lens(tmp_path: Path) -> None:
    info = camera_info("CAM_BACK", 5)
    info.distortion_model, info.d = "equidistant", [0.1, 1 / 3, -0.01, 0.0]
    info.p = [180.0, 0.0, 81.0, 0.0, 0.0, 175.0, 44.0, 0.0, 0.0, 0.0, 1.0, 0.0]
    half = CAM2EGO["CAM_BACK"] @ np.linalg.inv(CAM2EGO["CAM_FRONT"])
    tree = [transform(CAM2EGO["CAM_FRONT"], "mast", "CAM_BACK"), transform(half, "base_link", "mast")]
    entries = [(5, "/camera/CAM_BACK/camera_info", info), (6, "/tf_static", TFMessage(transforms=tree))]
    bag = families.write_bag(tmp_path / "bag", entries)
    assert run("bag", bag, "--out", tmp_path / "back.yaml", "--cameras", "CAM_BACK") == 0
    found = calibration_file.load(str(tmp_path / "back.yaml"), ["CAM_BACK"])["CAM_BACK"]
    np.testing.assert_allclose(found.mounting, CAM2EGO["CAM_BACK"], atol=1e-12)
    assert (list(found.info().d), found.info().distortion_model) == ([0.1, 1 / 3, -0.01, 0.0], "equidistant")
    assert list(found.info().p) == list(info.p)


@pytest.mark.parametrize("p", [[0.0] * 12, [180.0, 0.0, 81.0, 0.0, 0.0, 175.0, 44.0, 0.0, 0.0, 0.0, 0.0, 0.0]])
def test_a_projection_that_the_node_would_not_use_is_not_written(tmp_path: Path, p: list[float]) -> None:
    info = camera_info("CAM_BACK", 5)
    info.distortion_model, info.d, info.p = "equidistant", [0.1, 1 / 3, -0.01, 0.0], p
    tree = [transform(CAM2EGO["CAM_BACK"], "base_link", "CAM_BACK")]
    entries = [(5, "/camera/CAM_BACK/camera_info", info), (6, "/tf_static", TFMessage(transforms=tree))]
    bag = families.write_bag(tmp_path / "bag", entries)
    assert run("bag", bag, "--out", tmp_path / "back.yaml", "--cameras", "CAM_BACK") == 0
    assert calibration_file.load(str(tmp_path / "back.yaml"), ["CAM_BACK"])["CAM_BACK"].projection == ()


def test_of_a_part_of_the_image_the_file_has_that_part(tmp_path: Path) -> None:
    info = camera_info("CAM_BACK", 5)
    info.distortion_model, info.d = "plumb_bob", [0.1, 0.0, 0.0, 0.0, 0.0]
    info.p = [180.0, 0.0, 81.0, 0.0, 0.0, 175.0, 44.0, 0.0, 0.0, 0.0, 1.0, 0.0]
    info.roi.x_offset, info.roi.y_offset, info.roi.width, info.roi.height = 20, 10, 100, 60
    info.binning_x = 2
    tree = [transform(CAM2EGO["CAM_BACK"], "base_link", "CAM_BACK")]
    entries = [(5, "/camera/CAM_BACK/camera_info", info), (6, "/tf_static", TFMessage(transforms=tree))]
    bag = families.write_bag(tmp_path / "bag", entries)
    assert run("bag", bag, "--out", tmp_path / "back.yaml", "--cameras", "CAM_BACK") == 0
    found = calibration_file.load(str(tmp_path / "back.yaml"), ["CAM_BACK"])["CAM_BACK"]
    assert (found.width, found.height) == (50, 60)
    assert found.intrinsics == (60.0, 118.0, 30.0, 35.0)
    assert found.projection == (90.0, 175.0, 30.5, 34.0)


def test_of_a_scene_under_other_names(tmp_path: Path) -> None:
    root = write_tiny_nuscenes(tmp_path / "tiny")
    out = tmp_path / "rig.yaml"
    assert run("data", root, "--scene", "scene-0001", "--lower-case", "--out", out) == 0
    shots = next(iter(NuScenes(root).samples("scene-0001"))).cameras
    found = calibration_file.load(str(out), [shot.name.lower() for shot in shots])
    for shot in shots:
        camera = found[shot.name.lower()]
        np.testing.assert_array_equal(np.array(camera.info().k).reshape(3, 3), shot.intrinsics)
        assert (camera.width, camera.height) == (shot.width, shot.height)
        np.testing.assert_allclose(camera.cam2base(np.eye(4)), shot.cam2ego, atol=1e-12)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--cameras", "CAM_ROOF"], "no CameraInfo on /camera/CAM_ROOF/camera_info"),
        (["--camera-info-topic", "/info"], "camera-info-topic is '/info', expected {camera} in it"),
        (["--base-frame", "car"], "no transform from CAM_FRONT's frame 'CAM_FRONT' to 'car'; known frames: CAM_BACK, "),
    ],
)
def test_what_the_bag_lacks_is_said_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], options: list[str], message: str
) -> None:
    bag = families.write_bag(tmp_path / "bag", families.our_own([0]))
    assert run("bag", bag, "--out", tmp_path / "rig.yaml", *options) == 1
    error = capsys.readouterr().err
    assert error.startswith(f"calibration bag {bag}: {message}")
    assert error.count("\n") == 1
    assert not (tmp_path / "rig.yaml").exists()


def test_a_bag_without_tf_and_of_other_topics_lacks_camera_info(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bag = families.write_bag(tmp_path / "bag", families.chris7462([0]))
    assert run("bag", bag, "--out", tmp_path / "rig.yaml", "--cameras", "CAM_FRONT", "CAM_BACK") == 1
    lacking = "no CameraInfo on /camera/CAM_FRONT/camera_info, /camera/CAM_BACK/camera_info"
    assert capsys.readouterr().err == f"calibration bag {bag}: {lacking}\n"
    topic = ("--camera-info-topic", "/nuscenes/{camera}/image_raw")
    assert run("bag", bag, "--out", tmp_path / "rig.yaml", *topic, "--cameras", "cam_back") == 1
    assert capsys.readouterr().err == f"calibration bag {bag}: no CameraInfo on /nuscenes/cam_back/image_raw\n"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"k": [0.0] * 9}, "intrinsics is [0.0, 0.0, 0.0, 0.0], expected positive fx and fy"),
        ({"k": [float("nan")] * 9}, "intrinsics is [nan, nan, nan, nan], expected 4 finite numbers"),
        ({"d": [0.1] * 5, "distortion_model": "ftheta"}, "distortion_model is 'ftheta', expected one of plumb_bob, "),
        (
            {"d": [0.1] * 3, "distortion_model": "plumb_bob"},
            "distortion is [0.1, 0.1, 0.1], expected 4 or 5 or 8",
        ),
        (
            {"d": [], "distortion_model": "equidistant"},
            "distortion is [], expected 4 finite numbers for equi",
        ),
    ],
)
def test_what_the_node_would_refuse_is_not_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], changes: dict[str, object], message: str
) -> None:
    info = camera_info("CAM_BACK", 5)
    for field, value in changes.items():
        setattr(info, field, value)
    tree = [transform(CAM2EGO["CAM_BACK"], "base_link", "CAM_BACK")]
    entries = [(5, "/camera/CAM_BACK/camera_info", info), (6, "/tf_static", TFMessage(transforms=tree))]
    bag = families.write_bag(tmp_path / "bag", entries)
    assert run("bag", bag, "--out", tmp_path / "rig.yaml", "--cameras", "CAM_BACK") == 1
    error = capsys.readouterr().err
    assert error.startswith(f"calibration bag {bag}: camera CAM_BACK: {message}")
    assert error.count("\n") == 1
    assert not (tmp_path / "rig.yaml").exists()


def test_a_file_that_is_there_stays(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bag = families.write_bag(tmp_path / "bag", families.our_own([0]))
    (tmp_path / "rig.yaml").write_text("mine")
    assert run("bag", bag, "--out", tmp_path / "rig.yaml") == 1
    assert (tmp_path / "rig.yaml").read_text() == "mine"
    assert run("bag", tmp_path / "none", "--out", tmp_path / "other.yaml") == 1
    assert capsys.readouterr().err.count("\n") == 2
