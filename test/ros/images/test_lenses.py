"""lenses: a straight line of the world is straight in the image again, and nothing is done where nothing is bent."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from sensor_msgs.msg import CameraInfo
from synthetic_rig import HEIGHT, INTRINSICS, WIDTH, camera_info, pixels

from tggbc_ros.ros import convert
from tggbc_ros.ros.distortion import is_distorted
from tggbc_ros.ros.drops import BadInputError
from tggbc_ros.ros.images.lenses import Lenses, make_lens, rectified_intrinsics

PLUMB_BOB = [-0.28, 0.09, 0.001, -0.002, -0.01]
RATIONAL = [0.4, -0.1, 0.001, 0.0005, 0.02, 0.6, -0.05, 0.01]
FISHEYE = [0.02, -0.01, 0.004, -0.001]
DIRECTIONS = np.array([[x, y, 1.0] for x in (-0.5, -0.2, 0.0, 0.3, 0.5) for y in (-0.25, 0.0, 0.1, 0.3)])


def distorted(model: str, coefficients: list[float]) -> CameraInfo:
    info = camera_info("CAM_FRONT", 1)
    info.distortion_model, info.d = model, coefficients
    return info


def bent(model: str, d: list[float], directions: np.ndarray) -> np.ndarray:
    """Where a distorted camera sees these directions [n, 3]: (u, v) in pixels, by the models' definitions.

    equidistant: r = theta (1 + k1 theta^2 + ...), Kannala and Brandt 2006; else Brown's model with a denominator.
    """
    x, y = directions[:, 0] / directions[:, 2], directions[:, 1] / directions[:, 2]
    r2 = x**2 + y**2
    if model == "equidistant":
        theta = np.arctan(np.sqrt(r2))
        bend = theta * (1 + sum(k * theta ** (2 * n + 2) for n, k in enumerate(d))) / np.sqrt(np.maximum(r2, 1e-18))
        x, y = bend * x, bend * y
    else:
        k1, k2, p1, p2, k3, k4, k5, k6 = (*d, *[0.0] * (8 - len(d)))
        bend = (1 + k1 * r2 + k2 * r2**2 + k3 * r2**3) / (1 + k4 * r2 + k5 * r2**2 + k6 * r2**3)
        x, y = (
            x * bend + 2 * p1 * x * y + p2 * (r2 + 2 * x**2),
            y * bend + p1 * (r2 + 2 * y**2) + 2 * p2 * x * y,
        )
    return np.stack([x, y, np.ones_like(x)], axis=1) @ INTRINSICS[:2].T


def spot(u: float, v: float) -> np.ndarray:
    """A bright blob at a place between pixels."""
    rows, columns = np.mgrid[:HEIGHT, :WIDTH]
    bright = 255 * np.exp(-((columns - u) ** 2 + (rows - v) ** 2) / (2 * 2.0**2))
    return np.repeat(bright[..., None], 3, axis=2).astype(np.uint8)


def center(image: np.ndarray) -> np.ndarray:
    """(u, v) of the brightness's centre of mass."""
    weight = image[..., 0].astype(float)
    rows, columns = np.mgrid[:HEIGHT, :WIDTH]
    return np.array([(weight * columns).sum(), (weight * rows).sum()]) / weight.sum()


@pytest.mark.parametrize(
    ("model", "d"), [("plumb_bob", PLUMB_BOB), ("rational_polynomial", RATIONAL), ("equidistant", FISHEYE)]
)
def test_a_direction_comes_to_lie_where_the_pinhole_sees_it(model: str, d: list[float]) -> None:
    lens = make_lens(distorted(model, d), pixels(0))
    np.testing.assert_array_equal(lens.intrinsics, INTRINSICS)
    shift = []
    for direction, (u, v) in zip(DIRECTIONS, bent(model, d, DIRECTIONS), strict=True):
        expected = (lens.intrinsics @ direction)[:2]
        if not (8 < expected[0] < WIDTH - 8 and 8 < expected[1] < HEIGHT - 8):
            continue
        np.testing.assert_allclose(center(lens.straighten(spot(u, v))), expected, atol=0.4)
        shift.append(np.hypot(*(expected - (u, v))))
    assert len(shift) >= 10
    assert max(shift) > 3.0  # it does bend


def test_the_straight_image_has_the_intrinsics_of_p_where_it_holds_any() -> None:
    info = distorted("equidistant", FISHEYE)
    wide = np.array([[60.0, 0.0, 78.0, 0.0], [0.0, 59.0, 44.0, 0.0], [0.0, 0.0, 1.0, 0.0]])
    info.p = wide.ravel().tolist()
    lens = make_lens(info, pixels(0))
    np.testing.assert_array_equal(lens.intrinsics, wide[:, :3])
    direction = np.array([0.68, 0.1, 1.0])  # outside of what K's pinhole would show
    u, v = bent("equidistant", FISHEYE, direction[None])[0]
    np.testing.assert_allclose(center(lens.straighten(spot(u, v))), (wide[:, :3] @ direction)[:2], atol=0.4)
    half = make_lens(info, pixels(0)[::2, ::2])
    np.testing.assert_allclose(half.intrinsics, np.diag([0.5, 0.5, 1.0]) @ wide[:, :3])


def test_a_part_of_a_distorted_image_is_straightened_as_in_the_whole() -> None:
    """K, P and the map, of a window, and of every other pixel: what the whole image would show there."""
    info = distorted("plumb_bob", PLUMB_BOB)
    info.p = [130.0, 0.0, 78.0, 0.0, 0.0, 125.0, 44.0, 0.0, 0.0, 0.0, 1.0, 0.0]
    smooth = cv2.GaussianBlur(pixels(3), (0, 0), 4)
    whole = make_lens(info, smooth).straighten(smooth)
    info.roi.x_offset, info.roi.y_offset, info.roi.width, info.roi.height = 30, 20, 100, 60
    part = make_lens(info, smooth[20:80, 30:130])
    np.testing.assert_allclose(part.intrinsics, [[130, 0, 48], [0, 125, 24], [0, 0, 1]], atol=1e-9)
    found, inner = part.straighten(smooth[20:80, 30:130]), (slice(8, -8), slice(8, -8))
    assert np.abs(found[inner].astype(int) - whole[20:80, 30:130][inner]).max() <= 1
    info.binning_x = info.binning_y = 2
    half = cv2.resize(smooth[20:80, 30:130], (50, 30), interpolation=cv2.INTER_AREA)
    binned = make_lens(info, half)
    np.testing.assert_allclose(binned.intrinsics, [[65, 0, 24], [0, 62.5, 12], [0, 0, 1]], atol=1e-9)
    large = cv2.resize(found, (50, 30), interpolation=cv2.INTER_AREA)
    assert np.abs(binned.straighten(half)[4:-4, 4:-4].astype(int) - large[4:-4, 4:-4]).mean() < 3.0


def test_a_rectified_image_has_the_intrinsics_of_p() -> None:
    info = distorted("plumb_bob", PLUMB_BOB)
    info.p = [130.0, 0.0, 78.0, -5.0, 0.0, 125.0, 44.0, 0.0, 0.0, 0.0, 1.0, 0.0]
    expected = [[130.0, 0.0, 78.0], [0.0, 125.0, 44.0], [0.0, 0.0, 1.0]]
    np.testing.assert_array_equal(rectified_intrinsics(info, pixels(0)), expected)
    np.testing.assert_array_equal(rectified_intrinsics(info, pixels(0)), make_lens(info, pixels(0)).intrinsics)
    info.binning_x, info.roi.y_offset, info.roi.height, info.roi.width = 2, 20, 60, WIDTH
    found = rectified_intrinsics(info, pixels(0)[20:80, ::2])
    np.testing.assert_allclose(found, [[65.0, 0.0, 39.0], [0.0, 125.0, 24.0], [0.0, 0.0, 1.0]])


def test_without_p_a_rectified_image_is_refused_unless_nothing_was_bent() -> None:
    np.testing.assert_array_equal(rectified_intrinsics(camera_info("CAM_FRONT", 1), pixels(0)), INTRINSICS)
    for info in (distorted("plumb_bob", PLUMB_BOB), distorted("equidistant", [0.0] * 4)):
        with pytest.raises(BadInputError, match="bad_camera_info: P of 'CAM_FRONT' is"):
            rectified_intrinsics(info, pixels(0))


def test_r_is_not_applied() -> None:
    info = distorted("plumb_bob", PLUMB_BOB)
    expected = make_lens(info, pixels(0)).straighten(pixels(1))
    info.r = [0.0, 1.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 5.0]
    np.testing.assert_array_equal(make_lens(info, pixels(0)).straighten(pixels(1)), expected)


def test_a_smaller_image_is_straightened_the_same() -> None:
    info = distorted("plumb_bob", PLUMB_BOB)
    whole, half = (make_lens(info, image) for image in (pixels(0), pixels(0)[::2, ::2]))
    smooth = cv2.GaussianBlur(pixels(3), (0, 0), 4)
    large = cv2.resize(whole.straighten(smooth), (WIDTH // 2, HEIGHT // 2), interpolation=cv2.INTER_AREA)
    small = half.straighten(cv2.resize(smooth, (WIDTH // 2, HEIGHT // 2), interpolation=cv2.INTER_AREA))
    inner = slice(6, -6), slice(6, -6)
    assert np.abs(large[inner].astype(int) - small[inner].astype(int)).mean() < 3.0


def test_maps_are_made_once_and_again_when_the_calibration_changes() -> None:
    lenses, image, info = Lenses(), pixels(0), distorted("plumb_bob", PLUMB_BOB)
    first = lenses.lens("a", info, image)
    assert lenses.lens("a", distorted("plumb_bob", PLUMB_BOB), pixels(5)) is first
    assert lenses.lens("b", info, image) is not first
    for name, value in (
        ("d", [*PLUMB_BOB[:4], 0.01]),
        ("k", [121.0, 0.0, 80.0, 0.0, 118.0, 45.0, 0.0, 0.0, 1.0]),
        ("p", [100.0, 0.0, 80.0, 0.0, 0.0, 100.0, 45.0, 0.0, 0.0, 0.0, 1.0, 0.0]),
        ("width", 2 * WIDTH),
    ):
        changed = distorted("plumb_bob", PLUMB_BOB)
        setattr(changed, name, value)
        before = lenses.lens("a", info, image)
        assert lenses.lens("a", changed, image) is not before, name
    changed = distorted("plumb_bob", PLUMB_BOB)
    changed.roi.x_offset, changed.roi.width, changed.roi.height = 10, WIDTH - 10, HEIGHT
    before = lenses.lens("a", info, image)
    assert lenses.lens("a", changed, image) is not before, "roi"
    before = lenses.lens("a", info, image)
    assert lenses.lens("a", info, image[::2]) is not before


@pytest.mark.parametrize(
    ("model", "d", "said", "meant"),
    [
        ("plumb_bob", RATIONAL, "rational_polynomial", RATIONAL),
        ("Brown-Conrady", PLUMB_BOB, "plumb_bob", PLUMB_BOB),
        ("", [*PLUMB_BOB, 0.0, 0.0, 0.0], "plumb_bob", PLUMB_BOB),
        ("Kannala_Brandt", [*FISHEYE, 0.0], "equidistant", FISHEYE),
    ],
)
def test_a_drivers_spelling_gives_the_picture_that_the_book_does(
    model: str, d: list[float], said: str, meant: list[float]
) -> None:
    found, expected = (make_lens(distorted(*each), pixels(0)) for each in ((model, d), (said, meant)))
    np.testing.assert_array_equal(found.straighten(pixels(1)), expected.straighten(pixels(1)))
    assert np.abs(expected.straighten(pixels(1)).astype(int) - pixels(1)).max() > 20


@pytest.mark.parametrize(("model", "d"), [("", []), ("plumb_bob", [0.0] * 5), ("anything", [0.0]), ("equidis", [])])
def test_an_undistorted_camera_has_no_lens(model: str, d: list[float]) -> None:
    info = distorted(model, d)
    assert not is_distorted(info)
    assert Lenses().lens("a", info, pixels(0)) is None


def test_a_fisheye_is_one_even_with_coefficients_of_zero() -> None:
    lens = Lenses().lens("a", distorted("equidistant", [0.0] * 4), pixels(0))
    u, v = bent("equidistant", [0.0] * 4, np.array([[0.5, 0.2, 1.0]]))[0]
    assert lens is not None
    np.testing.assert_allclose(center(lens.straighten(spot(u, v))), (140.0, 68.6), atol=0.4)


@pytest.mark.parametrize(
    ("model", "d", "cause", "text"),
    [
        ("ftheta", [0.1], "unknown_distortion", "distortion_model of 'CAM_FRONT' is 'ftheta', expected"),
        ("none", [0.1, 0.0, 0.0, 0.0, 0.0], "unknown_distortion", "expected one of plumb_bob, rational_polynomial"),
        ("plumb_bob", [0.1] * 3, "bad_camera_info", "expected 4 or 5 or 8 or 12 or 14 finite numbers for plumb_bob"),
        ("plumb_bob", [float("nan")] * 5, "bad_camera_info", "finite numbers"),
        ("equidistant", [], "bad_camera_info", "expected 4 finite numbers for equidistant"),
    ],
)
def test_what_cannot_be_straightened_is_refused(model: str, d: list[float], cause: str, text: str) -> None:
    with pytest.raises(BadInputError, match=text) as error:
        Lenses().lens("a", distorted(model, d), pixels(0))
    assert error.value.cause == cause


def test_bad_intrinsics_of_a_distorted_camera_are_refused_too() -> None:
    info = distorted("plumb_bob", PLUMB_BOB)
    info.k = [0.0] * 9
    with pytest.raises(BadInputError, match="bad_camera_info"):
        make_lens(info, pixels(0))
    with pytest.raises(BadInputError, match="bad_camera_info"):
        convert.intrinsics(info, pixels(0))
