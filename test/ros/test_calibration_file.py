"""calibration_file: what the YAML says, and one line naming file, camera and field for what it says wrongly."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from bag_families import write_calibration
from synthetic_rig import CAM2EGO, HEIGHT, INTRINSICS, LIDAR2EGO, WIDTH, camera_info, pixels

from tggbc_ros.ros import calibration_file, convert
from tggbc_ros.ros.images.lenses import Lenses, make_lens
from tggbc_ros.ros.params import CAMERAS


@pytest.mark.parametrize("field", ["camera2base", "camera2lidar"])
def test_mountings_and_intrinsics(tmp_path: Path, field: str) -> None:
    found = calibration_file.load(str(write_calibration(tmp_path / "rig.yaml", CAMERAS, field)), CAMERAS)
    assert tuple(found) == CAMERAS
    for name, matrix in CAM2EGO.items():
        np.testing.assert_allclose(found[name].cam2base(LIDAR2EGO), matrix, atol=1e-9)
    info = found["CAM_BACK"].info()
    np.testing.assert_array_equal(convert.intrinsics(info, np.zeros((HEIGHT, WIDTH, 3), np.uint8)), INTRINSICS)
    halved = convert.intrinsics(info, np.zeros((HEIGHT // 2, WIDTH // 2, 3), np.uint8))
    np.testing.assert_array_equal(halved[:2], INTRINSICS[:2] / 2)  # of the size it was calibrated on


def test_no_file_is_no_calibration_and_more_cameras_than_asked_for_are_left_out(tmp_path: Path) -> None:
    assert calibration_file.load("", CAMERAS) == {}
    path = write_calibration(tmp_path / "rig.yaml", CAMERAS)
    assert list(calibration_file.load(str(path), CAMERAS[2:4])) == list(CAMERAS[2:4])


@pytest.mark.parametrize(
    ("model", "coefficients"),
    [
        ("plumb_bob", [0.1, -0.2, 0.0, 0.01, 0.05]),
        ("equidistant", [0.02, 0.01, -0.01, 0.003]),
        ("rational_polynomial", [0.1, -0.2, 0.0, 0.01, 0.05, 0.2, -0.1, 0.02]),
        ("PLUMB_BOB", [0.1, -0.2, 0.0, 0.01, 0.05, 0.2, -0.1, 0.02]),
        ("kannala_brandt", [0.02, 0.01, -0.01, 0.003, 0.0]),
    ],
)
def test_distortion_reaches_the_lens(tmp_path: Path, model: str, coefficients: list[float]) -> None:
    path = edited(tmp_path, of_back(distortion=coefficients, distortion_model=model))
    info = calibration_file.load(str(path), CAMERAS)["CAM_BACK"].info()
    shown = pixels(seed=3)
    found = Lenses().lens("CAM_BACK", info, shown)
    published = camera_info("CAM_BACK", 1)
    published.distortion_model, published.d = model, coefficients
    expected = make_lens(published, shown)
    np.testing.assert_array_equal(found.straighten(shown), expected.straighten(shown))
    np.testing.assert_array_equal(found.intrinsics, expected.intrinsics)
    assert np.abs(found.straighten(shown).astype(int) - shown).max() > 20


def test_projection_is_what_the_straight_images_have(tmp_path: Path) -> None:
    bend = {"distortion": [0.1, -0.2, 0.0, 0.01, 0.05], "projection": [150.0, 140.0, 82.0, 43.0]}
    first = calibration_file.load(str(edited(tmp_path, of_back(**bend))), CAMERAS)
    calibration_file.save(tmp_path / "again.yaml", first)
    for known in (first, calibration_file.load(str(tmp_path / "again.yaml"), CAMERAS)):
        info, shown = known["CAM_BACK"].info(), pixels(seed=3)
        lens = make_lens(info, shown)
        np.testing.assert_array_equal(lens.intrinsics, [[150.0, 0.0, 82.0], [0.0, 140.0, 43.0], [0.0, 0.0, 1.0]])
        published = camera_info("CAM_BACK", 1)
        published.distortion_model, published.d = "plumb_bob", bend["distortion"]
        published.p = [150.0, 0.0, 82.0, 0.0, 0.0, 140.0, 43.0, 0.0, 0.0, 0.0, 1.0, 0.0]
        np.testing.assert_array_equal(lens.straighten(shown), make_lens(published, shown).straighten(shown))


def test_plumb_bob_is_the_default_and_without_distortion_there_is_no_lens(tmp_path: Path) -> None:
    path = edited(tmp_path, of_back(distortion=[0.1, -0.2, 0.0, 0.0, 0.0]))
    found = calibration_file.load(str(path), CAMERAS)
    assert found["CAM_BACK"].info().distortion_model == "plumb_bob"
    assert Lenses().lens("CAM_FRONT", found["CAM_FRONT"].info(), pixels(seed=3)) is None


def test_what_is_saved_reads_back(tmp_path: Path) -> None:
    path = edited(tmp_path, of_back(distortion=[0.1, 1 / 3, 0.0, 1e-17], distortion_model="equidistant"))
    first = calibration_file.load(str(path), CAMERAS)
    calibration_file.save(tmp_path / "again.yaml", first)
    second = calibration_file.load(str(tmp_path / "again.yaml"), CAMERAS)
    for name in CAMERAS:
        numbers = [(c.width, c.height, c.intrinsics, c.mounted_on, c.distortion) for c in (first[name], second[name])]
        assert numbers[0] == numbers[1]
        np.testing.assert_allclose(first[name].mounting, second[name].mounting, rtol=0, atol=1e-14)
    assert second["CAM_BACK"].distortion_model == "equidistant"
    with pytest.raises(FileExistsError, match="again.yaml"):
        calibration_file.save(tmp_path / "again.yaml", first)


def edited(tmp_path: Path, edit: Callable[[dict[str, Any]], object]) -> Path:
    path = write_calibration(tmp_path / "rig.yaml", CAMERAS)
    content = yaml.safe_load(path.read_text())
    edit(content["cameras"])
    path.write_text(yaml.safe_dump(content))
    return path


def of_back(**changes: object) -> Callable[[dict[str, Any]], object]:
    return lambda rig: rig["CAM_BACK"].update(changes)


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda rig: rig.pop("CAM_BACK"), "holds no camera CAM_BACK; it has CAM_BACK_LEFT, "),
        (lambda rig: rig.update(CAM_BACK=7), "camera CAM_BACK is 7, expected camera2base, "),
        (of_back(size=None), "camera CAM_BACK: size is None, expected 2 finite numbers"),
        (of_back(size=[160, 0]), "camera CAM_BACK: size is [160, 0], expected width and height in whole pixels"),
        (of_back(size=[160.5, 90]), "expected width and height in whole pixels"),
        (of_back(intrinsics=[1, 2, 3]), "camera CAM_BACK: intrinsics is [1, 2, 3], expected 4 finite numbers"),
        (of_back(intrinsics=[True, 2, 3, 4]), "camera CAM_BACK: intrinsics is [True, 2, 3, 4], expected 4 finite"),
        (of_back(intrinsics=[float("nan"), 2, 3, 4]), "expected 4 finite numbers"),
        (of_back(intrinsics=[-1, 2, 3, 4]), "expected positive fx and fy"),
        (of_back(camera2base=[0, 0, 0, 0, 0, 0, 2]), "camera CAM_BACK: camera2base: quaternion (x, y, z, w) = "),
        (of_back(camera2base="up"), "camera CAM_BACK: camera2base is 'up', expected 7 finite numbers"),
        (of_back(camera2lidar=[0] * 7), "camera CAM_BACK has camera2base and camera2lidar, expected one of"),
        (lambda rig: rig["CAM_BACK"].pop("camera2base"), "camera CAM_BACK has no mounting, expected one of"),
        (of_back(focal=3), "camera CAM_BACK: focal is unknown, expected camera2base, "),
        (of_back(distortion=[1, 2, 3]), "[1.0, 2.0, 3.0], expected 4 or 5 or 8 or 12 or 14 finite numbers"),
        (of_back(distortion=0.1), "CAM_BACK: distortion is 0.1, expected the coefficients of plumb_bob"),
        (of_back(distortion=[float("nan")] * 4), "expected 4 finite numbers"),
        (of_back(distortion_model="equidistant"), "distortion is None, expected the coefficients of equid"),
        (
            of_back(distortion=[], distortion_model="fisheye"),
            "distortion is [], expected 4 finite numbers for equidistant",
        ),
        (of_back(distortion=[0] * 4, distortion_model=None), "distortion_model is None, expected the name of one"),
        (of_back(projection=[1, 1, 0, 0]), "CAM_BACK: projection is [1, 1, 0, 0], expected with distortion only"),
        (of_back(distortion=[0] * 4, projection=[0, 1, 0, 0]), "projection is [0, 1, 0, 0], expected positive fx"),
        (of_back(distortion=[0] * 4, projection=7), "projection is 7, expected 4 finite numbers"),
        (
            of_back(distortion=[0] * 4, distortion_model="ftheta"),
            "distortion_model is 'ftheta', expected one of plumb_bob, ",
        ),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, edit: Callable[[dict[str, Any]], object], message: str) -> None:
    path = edited(tmp_path, edit)
    with pytest.raises(ValueError) as error:
        calibration_file.load(str(path), CAMERAS)
    assert str(error.value).startswith(f"calibration_file {path}")
    assert message in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("content", ["cameras: [", "", "cameras: 3", "- 1", "!!python/object/apply:os.getcwd []", "\0"])
def test_a_file_of_something_else_is_one_line(tmp_path: Path, content: str) -> None:
    path = tmp_path / "other.yaml"
    path.write_text(content)
    with pytest.raises(ValueError, match="other.yaml (is not YAML|holds)") as error:
        calibration_file.load(str(path), CAMERAS)
    assert "\n" not in str(error.value)


def test_no_such_file_is_an_oserror_with_its_name(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="nowhere.yaml"):
        calibration_file.load(str(tmp_path / "nowhere.yaml"), CAMERAS)
