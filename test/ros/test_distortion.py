"""distortion: what a driver's name and numbers mean, and one line for those that mean nothing known."""

from __future__ import annotations

import pytest
from sensor_msgs.msg import CameraInfo

from tggbc_ros.ros.distortion import distortion, is_distorted
from tggbc_ros.ros.drops import BadInputError

EIGHT = [-0.3, 0.1, 0.001, -0.001, -0.01, 0.02, 0.01, 0.005]
FOURTEEN = [*EIGHT, 0.001, 0.002, 0.003, 0.004, 0.05, 0.06]
FOUR = [-0.03, 0.01, 0.002, -0.001]


@pytest.mark.parametrize("count", [4, 5, 8, 12, 14])
@pytest.mark.parametrize(
    "name",
    ["plumb_bob", "plumb bob", "PLUMB_BOB", "rational_polynomial", "RATIONAL_POLYNOMIAL", ""]
    + ["radtan", "radial-tangential", "brown_conrady", "BrownConrady", "OPENCV", " plumb_bob "],
)
def test_one_model_by_all_its_names_and_lengths(name: str, count: int) -> None:
    found = distortion(name, FOURTEEN[:count])
    assert (found.fisheye, found.coefficients.tolist()) == (False, FOURTEEN[:count])
    assert is_distorted(CameraInfo(distortion_model=name, d=FOURTEEN[:count]))


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ([*EIGHT[:5], 0.0, 0.0, 0.0], EIGHT[:5]),
        ([*EIGHT[:5], 0.0], EIGHT[:5]),
        ([*EIGHT, *[0.0] * 6], EIGHT),
        ([-0.3, 0.0, 0.0, 0.0, 0.0], [-0.3, 0.0, 0.0, 0.0]),
        ([0.0, 0.0, 0.0, 0.0, 0.0, 0.1, 0.0, 0.0], [0.0, 0.0, 0.0, 0.0, 0.0, 0.1, 0.0, 0.0]),
    ],
)
def test_zeros_at_the_end_are_terms_that_are_not_there(given: list[float], meant: list[float]) -> None:
    assert distortion("plumb_bob", given).coefficients.tolist() == meant


@pytest.mark.parametrize(
    "name", ["equidistant", "Equidistant", "fisheye", "FISHEYE", "Kannala_Brandt", "kannala-brandt4", "kb4", "equi"]
)
@pytest.mark.parametrize("zeros", [0, 1, 4, 10])
def test_a_fisheye_by_its_names(name: str, zeros: int) -> None:
    found = distortion(name, FOUR + [0.0] * zeros)
    assert (found.fisheye, found.coefficients.tolist()) == (True, FOUR)
    assert distortion(name, [0.0] * (4 + zeros)).fisheye


@pytest.mark.parametrize("name", ["", "none", "plumb_bob", "rational_polynomial", "thin_prism", "radtan", "whatever"])
@pytest.mark.parametrize("zeros", [0, 1, 4, 5, 8, 14])
def test_nothing_is_bent_by_nothing(name: str, zeros: int) -> None:
    assert distortion(name, [0.0] * zeros) is None
    assert not is_distorted(CameraInfo(distortion_model=name, d=[0.0] * zeros))


def test_a_thin_prism_in_opencvs_order_alone() -> None:
    assert distortion("thin_prism", FOURTEEN[:12]).coefficients.tolist() == FOURTEEN[:12]
    with pytest.raises(BadInputError, match="bad_camera_info: .*expected 12 or 14 finite numbers for thin_prism"):
        distortion("thin_prism", EIGHT)


@pytest.mark.parametrize(
    ("name", "values", "cause", "text"),
    [
        ("inverse_brown_conrady", EIGHT[:5], "unknown_distortion", "'inverse_brown_conrady', expected one of"),
        ("none", EIGHT[:5], "unknown_distortion", "or d all 0"),
        ("double_sphere", [], "unknown_distortion", "expected one of plumb_bob, rational_polynomial, thin_prism, equi"),
        ("FTheta", [0.0] * 4, "unknown_distortion", "'FTheta'"),
        ("kannala_brandt8", [*FOUR, *FOUR], "unknown_distortion", "'kannala_brandt8'"),
        ("plumb_bob", [-0.3, 0.1], "bad_camera_info", "expected 4 or 5 or 8 or 12 or 14 finite numbers for plumb_bob"),
        ("plumb_bob", [*EIGHT, 0.1], "bad_camera_info", "and 0 behind them"),
        ("radtan", [float("nan"), 0.0, 0.0, 0.0], "bad_camera_info", "finite numbers"),
        ("radtan", [0.1, 0.0, 0.0, float("inf")], "bad_camera_info", "finite numbers"),
        ("equidistant", [*FOUR, 0.1], "bad_camera_info", "expected 4 finite numbers for equidistant"),
        (
            "fisheye",
            [0.1, 0.1],
            "bad_camera_info",
            "distortion is [0.1, 0.1], expected 4 finite numbers for equidistant",
        ),
        ("fisheye", [], "bad_camera_info", "expected 4 finite numbers"),
    ],
)
def test_what_has_no_known_meaning_is_named(name: str, values: list[float], cause: str, text: str) -> None:
    assert is_distorted(CameraInfo(distortion_model=name, d=values))
    with pytest.raises(BadInputError) as error:
        distortion(name, values)
    assert error.value.cause == cause
    assert text in str(error.value)
