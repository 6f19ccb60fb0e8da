"""plausibility: real rigs are left in peace, faults of each kind are named with camera and number, few are refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from synthetic_rig import CAM2EGO, HEIGHT, INTRINSICS, LIDAR2EGO, WIDTH

from tggbc_ros.core.geometry import rigid, rotation_from_quaternion, yaw_rotation
from tggbc_ros.core.types import Array
from tggbc_ros.data.drive import rig as drive
from tggbc_ros.ros.params import CAMERAS
from tggbc_ros.ros.plausibility import Finding, Look, RigCheck, Told, findings

Looks = dict[str, Look]

SIZE = (HEIGHT, WIDTH)
UPRIGHT_BODY = np.eye(3)


def look(intrinsics: Array, size: tuple[int, int], cam2base: Array, frame_id: str) -> Look:
    return Look(size, intrinsics, Told(size, size, (intrinsics[0, 0], intrinsics[1, 1])), cam2base, frame_id)


@pytest.fixture
def looks() -> Looks:
    return {name: look(INTRINSICS, SIZE, cam2base, name) for name, cam2base in CAM2EGO.items()}


def odd(looks: Looks, lidar2base: Array = LIDAR2EGO) -> dict[str, set[str]]:
    """Kinds of what is found, by camera."""
    found: dict[str, set[str]] = {}
    for one in findings(looks, lidar2base):
        assert one.text and "\n" not in one.text
        found.setdefault(one.camera, set()).add(one.kind)
    return found


def refused(looks: Looks, lidar2base: Array = LIDAR2EGO) -> set[str]:
    return {one.camera for one in findings(looks, lidar2base) if one.impossible}


def every(looks: Looks, change: Callable[[Look], Look]) -> Looks:
    return {name: change(one) for name, one in looks.items()}


def turned(one: Look, rotation: Array) -> Look:
    """The camera with ``rotation`` [3, 3] applied in its own frame."""
    return replace(one, cam2base=one.cam2base @ rigid(rotation, [0, 0, 0]))


def roll(degrees: float) -> Array:
    return yaw_rotation(np.deg2rad(degrees))  # about z, which is the optical axis


def pitch(degrees: float) -> Array:
    half = np.deg2rad(degrees) / 2
    return rotation_from_quaternion(float(np.sin(half)), 0.0, 0.0, float(np.cos(half)))


def told(one: Look, size: tuple[int, int], focal: tuple[float, float] = (120.0, 120.0)) -> Look:
    """CameraInfo of an image of that (height, width), with these focal lengths in its pixels."""
    fx, fy = focal[0] * WIDTH / size[1], focal[1] * HEIGHT / size[0]
    intrinsics = np.array([[fx, 0.0, WIDTH / 2], [0.0, fy, HEIGHT / 2], [0.0, 0.0, 1.0]])
    return replace(one, intrinsics=intrinsics, told=Told(size, SIZE, (fx, fy)))


def test_the_rig_of_the_tests_and_of_the_demo(looks: Looks) -> None:
    assert odd(looks) == {}
    cameras = [each for camera in drive.CAMERAS for each in (camera, camera.resized((704, 256)))]
    for sized in (cameras[::2], cameras[1::2]):
        rig = {one.name: look(one.intrinsics, one.size[::-1], one.cam2ego, one.name) for one in sized}
        assert odd(rig, drive.LIDAR2EGO) == {}


def test_the_real_rig_of_nuscenes(sample_dir: Path) -> None:
    record = json.loads((sample_dir / "sample.json").read_text())
    rig = {
        name: look(np.array(one["cam2img"]), (one["height"], one["width"]), np.array(one["cam2ego"]), name)
        for name, one in record["cameras"].items()
    }
    assert odd(rig, np.array(record["lidar2ego"])) == {}


@pytest.mark.parametrize("size", [(HEIGHT, WIDTH), (900, 1600), (1080, 1920), (30, 53), (45, 80), (1088, 1920)])
def test_camera_info_of_another_size_but_the_same_shape(looks: Looks, size: tuple[int, int]) -> None:
    focal = 0.75 * size[1]
    assert odd(every(looks, lambda one: told(one, size, (focal, focal)))) == {}


@pytest.mark.parametrize(
    ("size", "words"),
    [
        ((120, 160), "CameraInfo is of 160x120 pixels, the image has 160x90, which makes fx 120.0 and fy 90.0 of it"),
        ((1024, 1280), "of 1280x1024 pixels"),
        ((1200, 1920), "of 1920x1200 pixels"),
        ((720, 960), "of 960x720 pixels"),
        ((100, 100), "of 100x100 pixels"),
    ],
)
def test_camera_info_of_another_shape_is_told(looks: Looks, size: tuple[int, int], words: str) -> None:
    rig = looks | {"CAM_BACK": told(looks["CAM_BACK"], size, (0.75 * size[1], 0.75 * size[1]))}
    assert odd(rig) == {"CAM_BACK": {"aspect"}} and refused(rig) == set()
    assert words in findings(rig, LIDAR2EGO)[0].text


@pytest.mark.parametrize("size", [(160, 90), (1600, 900), (1920, 1080)])
def test_width_and_height_exchanged_cannot_be(looks: Looks, size: tuple[int, int]) -> None:
    rig = looks | {"CAM_BACK": told(looks["CAM_BACK"], size)}
    assert refused(rig) == {"CAM_BACK"}
    assert "width and height are exchanged" in findings(rig, LIDAR2EGO)[0].text


@pytest.mark.parametrize(
    ("focal", "kinds", "impossible"),
    [
        ((120.0, 118.0), set(), False),
        ((120.0, 90.0), {"focal"}, False),
        ((90.0, 120.0), {"focal"}, False),
        ((130.0, 120.0), {"focal"}, False),  # square pixels of old video are 1.09
        ((400.0, 60.0), {"focal"}, True),
    ],
)
def test_focal_lengths_apart(looks: Looks, focal: tuple[float, float], kinds: set[str], impossible: bool) -> None:
    rig = looks | {"CAM_BACK": told(looks["CAM_BACK"], SIZE, focal)}
    assert odd(rig).get("CAM_BACK", set()) == kinds
    assert bool(refused(rig)) == impossible


def test_straightened_images_may_be_stretched(looks: Looks) -> None:
    """P of a wide lens seldom has equal focal lengths; what counts for the sensor is K."""
    stretched = np.array([[90.0, 0.0, 80.0], [0.0, 120.0, 45.0], [0.0, 0.0, 1.0]])
    assert odd(every(looks, lambda one: replace(one, intrinsics=stretched))) == {}


@pytest.mark.parametrize(
    ("matrix", "kinds", "impossible"),
    [
        ([[1, 0, 0], [0, 1, 0], [0, 0, 1]], {"field_of_view"}, True),  # what drivers that are not calibrated publish
        ([[0.00366, 0, 0.00192], [0, 0.00366, 0.00108], [0, 0, 1]], {"field_of_view"}, True),  # metres
        ([[19000, 0, 80], [0, 19000, 45], [0, 0, 1]], {"field_of_view"}, True),
        ([[1500, 0, 80], [0, 1500, 45], [0, 0, 1]], {"field_of_view"}, False),
        ([[20, 0, 80], [0, 20, 45], [0, 0, 1]], {"field_of_view"}, False),
        ([[126.6, 0, 161.6], [0, 126.6, 99.2], [0, 0, 1]], {"principal_point"}, False),  # K of an image twice the size
        ([[120, 0, -40], [0, 120, 45], [0, 0, 1]], {"principal_point"}, False),
        ([[120, 0, 9000], [0, 120, 45], [0, 0, 1]], {"principal_point"}, True),
        ([[40, 0, 80], [0, 40, 45], [0, 0, 1]], set(), False),  # 127 degrees
        ([[600, 0, 60], [0, 600, 20], [0, 0, 1]], set(), False),  # 15 degrees
    ],
)
def test_matrices_of_no_such_image(looks: Looks, matrix: list[list[float]], kinds: set[str], impossible: bool) -> None:
    rig = looks | {"CAM_BACK": look(np.array(matrix, float), SIZE, looks["CAM_BACK"].cam2base, "CAM_BACK")}
    assert odd(rig).get("CAM_BACK", set()) == kinds
    assert refused(rig) == ({"CAM_BACK"} if impossible else set())


def test_one_frame_for_all_cameras_cannot_be(looks: Looks) -> None:
    rig = every(looks, lambda one: replace(one, cam2base=looks["CAM_FRONT"].cam2base, frame_id="camera"))
    assert refused(rig) == set(CAMERAS) - {"CAM_FRONT"}
    equal = next(one for one in findings(rig, LIDAR2EGO) if one.kind == "equal")
    assert equal.text == "sits where CAM_FRONT sits and looks where it looks, both images say frame 'camera'"


def test_two_cameras_in_one_place_are_told(looks: Looks) -> None:
    """Frames of two names that are equal; a stereo pair, and cameras of one place with other directions, are none."""
    rig = looks | {"CAM_BACK_LEFT": replace(looks["CAM_BACK_RIGHT"], frame_id="rear_left")}
    assert "equal" in odd(rig)["CAM_BACK_RIGHT"] | odd(rig)["CAM_BACK_LEFT"] and refused(rig) == set()
    beside = rigid(looks["CAM_BACK"].cam2base[:3, :3], looks["CAM_BACK"].cam2base[:3, 3] + [0.0, 0.12, 0.0])
    assert odd(looks | {"stereo": replace(looks["CAM_BACK"], cam2base=beside)}) == {}
    assert odd(every(looks, lambda one: replace(one, cam2base=rigid(one.cam2base[:3, :3], [0, 0, 1.5])))) == {}


def test_two_of_two_in_one_place_are_not_refused(looks: Looks) -> None:
    pair = {"wide": looks["CAM_FRONT"], "tele": looks["CAM_FRONT"]}
    assert odd(pair) == {"tele": {"equal"}} and refused(pair) == set()


def test_body_frames_for_optical_ones_cannot_be(looks: Looks) -> None:
    """x forward, y left, z up: each camera then looks straight up."""
    rig = {
        name: replace(one, cam2base=rigid(yaw_rotation(np.deg2rad(60.0 * place)), one.cam2base[:3, 3]))
        for place, (name, one) in enumerate(looks.items())
    }
    assert refused(rig) == set(CAMERAS)
    text = findings(rig, LIDAR2EGO)[0].text
    assert text.startswith("looks up by 90 degrees, along z of frame 'CAM_FRONT'; is that a body's frame (x forward)")


@pytest.mark.parametrize(
    ("rotation", "kind"),
    [
        (pitch(90.0), "steep"),  # up, or down
        (pitch(-90.0), "steep"),
        (pitch(-60.0), "steep"),
        (roll(90.0), "rolled"),
        (roll(-90.0), "rolled"),
        (roll(180.0), "rolled"),
        (roll(45.0), "rolled"),
    ],
)
def test_a_camera_may_look_anywhere_but_is_told(looks: Looks, rotation: Array, kind: str) -> None:
    """A parking camera, a camera on its side, one upside down."""
    rig = looks | {"CAM_BACK_LEFT": turned(looks["CAM_BACK_LEFT"], rotation)}
    assert odd(rig) == {"CAM_BACK_LEFT": {kind}} and refused(rig) == set()


@pytest.mark.parametrize("rotation", [pitch(30.0), pitch(-30.0), roll(20.0), roll(-20.0)])
def test_a_camera_may_be_tilted(looks: Looks, rotation: Array) -> None:
    assert odd(looks | {"CAM_BACK_LEFT": turned(looks["CAM_BACK_LEFT"], rotation)}) == {}


def test_other_conventions_of_axes_are_told(looks: Looks) -> None:
    """OpenGL's cameras (y up, z backward), aircraft's bodies (x forward, y right, z down), and no rotation at all."""
    opengl = every(looks, lambda one: turned(one, np.diag([1.0, -1.0, -1.0])))
    assert all({"rolled"} <= odd(opengl)[name] for name in CAMERAS) and "heading" in odd(opengl)["CAM_FRONT"]
    aircraft = every(looks, lambda one: replace(one, cam2base=rigid(np.diag([1.0, -1.0, -1.0]), one.cam2base[:3, 3])))
    assert all("steep" in odd(aircraft)[name] for name in CAMERAS)
    one_way = every(looks, lambda one: replace(one, cam2base=rigid(CAM2EGO["CAM_FRONT"][:3, :3], one.cam2base[:3, 3])))
    assert "one_way" in odd(one_way)["CAM_FRONT"] and refused(one_way) == set()


@pytest.mark.parametrize("turn_deg", [90.0, -90.0, 180.0])
def test_a_lidar_frame_turned_about_z_is_told_by_the_cameras_names(looks: Looks, turn_deg: float) -> None:
    """Such as x forward, as most lidars have it."""
    turned_lidar = LIDAR2EGO @ rigid(yaw_rotation(np.deg2rad(turn_deg)), [0, 0, 0])
    assert odd(looks, turned_lidar)["CAM_FRONT"] == {"heading"}
    assert odd({name.lower().replace("_", " "): one for name, one in looks.items()}, turned_lidar)
    unnamed = {f"c{place}": one for place, one in enumerate(looks.values())}
    assert odd(unnamed, turned_lidar) == {}


def test_images_of_exchanged_cameras_are_told(looks: Looks) -> None:
    rig = looks | {"CAM_FRONT": looks["CAM_BACK"], "CAM_BACK": looks["CAM_FRONT"]}
    assert odd(rig) == {"CAM_FRONT": {"heading"}, "CAM_BACK": {"heading"}}


def test_a_lidar_frame_on_its_side_is_told(looks: Looks) -> None:
    assert "tilted" in odd(looks, LIDAR2EGO @ rigid(pitch(90.0), [0, 0, 0]))["lidar"]


@pytest.mark.parametrize(
    ("distance_m", "kinds", "impossible"), [(12, set(), 0), (40, {"distance"}, 0), (1500, {"distance"}, 1)]
)
def test_mountings_in_millimetres(looks: Looks, distance_m: float, kinds: set[str], impossible: bool) -> None:
    far = rigid(looks["CAM_BACK"].cam2base[:3, :3], [-distance_m, 0.0, 1.5])
    rig = looks | {"CAM_BACK": replace(looks["CAM_BACK"], cam2base=far)}
    assert odd(rig).get("CAM_BACK", set()) == kinds
    assert bool(refused(rig)) == impossible


def test_each_calibration_is_checked_and_told_once(looks: Looks, monkeypatch: pytest.MonkeyPatch) -> None:
    told_of: list[str] = []
    calls: list[int] = []

    def counted(*given: object) -> tuple[Finding, ...]:
        calls.append(len(calls))
        return findings(*given)

    monkeypatch.setattr("tggbc_ros.ros.plausibility.findings", counted)
    check = RigCheck(told_of.append)
    wrong = looks | {"CAM_BACK": turned(looks["CAM_BACK"], roll(90.0))}
    for _ in range(3):
        assert check.check(wrong, LIDAR2EGO) == check.found
    check.check({"CAM_FRONT": looks["CAM_FRONT"]}, LIDAR2EGO)  # a set without the others
    assert len(calls) == len(told_of) == 1 and len(check.found) == 1
    assert told_of[0].startswith("implausible calibration: CAM_BACK: is rolled by 90 degrees, by y of frame 'CAM_BACK'")
    check.check(looks, LIDAR2EGO)
    assert check.found == () and len(told_of) == 1
    check.check(wrong, LIDAR2EGO)
    assert len(told_of) == 2
