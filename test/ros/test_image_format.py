"""image_format: what compressed_image_transport's format says, word by word."""

from __future__ import annotations

import cv2
import pytest

from tggbc_ros.ros.drops import BadInputError
from tggbc_ros.ros.image_format import Stored, stored

AS_IT_IS, SWAPPED = Stored(swapped=False, mosaic=None), Stored(swapped=True, mosaic=None)


@pytest.mark.parametrize(
    "said", ["", "jpeg", "jpg", "JPEG", "png", "rgb8", "bayer_rggb8", "bgr8;", "h264", "image/jpeg", " jpeg "]
)
def test_one_word_tells_nothing(said: str) -> None:
    assert stored(said) == AS_IT_IS


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        ("bgr8; jpeg compressed bgr8", AS_IT_IS),
        ("rgb8; jpeg compressed bgr8", AS_IT_IS),
        ("rgb8; jpeg compressed rgb8", SWAPPED),
        ("bgr8; jpeg compressed rgb8", SWAPPED),
        ("rgb8; jpeg compressed ", SWAPPED),
        ("bgr8; jpeg compressed", SWAPPED),
        ("rgb8; jpeg", SWAPPED),
        ("rgba8; png compressed bgr8", AS_IT_IS),
        ("rgba8; png compressed rgba8", SWAPPED),
        ("bgra8; png compressed bgra8", AS_IT_IS),
        ("bgra8; png compressed rgba8", SWAPPED),
        ("rgb16; png compressed bgr16", AS_IT_IS),
        ("bgr16; png compressed rgb16", SWAPPED),
        ("mono8; jpeg compressed ", AS_IT_IS),
        ("mono16; png compressed ", AS_IT_IS),
        ("8UC3; jpeg compressed bgr8", AS_IT_IS),
        ("8UC1; jpeg compressed ", AS_IT_IS),
        ("yuv422_yuy2; jpeg compressed mono8", AS_IT_IS),
        ("nv21; jpeg compressed bgr8", AS_IT_IS),
        ("nv21; jpeg compressed rgb8", SWAPPED),
        ("bayer_rggb8; jpeg compressed mono8", AS_IT_IS),
        ("bayer_rggb8; jpeg compressed bgr8", AS_IT_IS),
    ],
)
def test_red_and_blue_are_where_the_transport_put_them(said: str, meant: Stored) -> None:
    assert stored(said) == meant


@pytest.mark.parametrize("rest", ["jpeg compressed ", "png compressed ", "png", "jpeg compressed bayer_grbg8"])
def test_a_mosaic_was_stored_as_it_is_where_nothing_says_otherwise(rest: str) -> None:
    assert stored(f"bayer_grbg8; {rest}") == Stored(swapped=False, mosaic=cv2.COLOR_BayerGB2BGR)


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("order", ["rggb", "bggr", "gbrg", "grbg"])
def test_every_mosaic_is_known(order: str, bits: int) -> None:
    assert stored(f"bayer_{order}{bits}; png compressed ").mosaic is not None


@pytest.mark.parametrize(
    "said",
    ["16UC1; png compressed ", "16UC1; png", "32FC1; tiff compressed ", "16UC1; compressedDepth png", "8UC2; png"]
    + ["32FC1; compressedDepth rvl", "16SC1; jpeg compressed mono8", "64FC3; png compressed ", "16UC3; png"],
)
def test_numbers_are_no_picture(said: str) -> None:
    with pytest.raises(BadInputError, match="bad_encoding: format is '") as error:
        stored(said)
    assert said in str(error.value)
