"""image_file: PNGs by their checksums, colours by the message's format, and what a picture lacks."""

from __future__ import annotations

import io
import struct
import zlib

import cv2
import numpy as np
import pytest
from PIL import Image as Pillow

from tggbc_ros.core.config import DEMO
from tggbc_ros.ros import image_file
from tggbc_ros.ros.drops import BadInputError
from tggbc_ros.ros.image_file import decode_file

HEIGHT, WIDTH = 64, 96
BLUE = np.full((HEIGHT, WIDTH, 3), (200, 30, 10), np.uint8)
SCENE = cv2.resize(np.random.default_rng(3).integers(0, 255, (8, 12, 3), dtype=np.uint8), (WIDTH, HEIGHT))


def file_of(pixels: np.ndarray, suffix: str = ".jpg") -> bytes:
    return cv2.imencode(suffix, pixels, [cv2.IMWRITE_JPEG_QUALITY, 95] if suffix == ".jpg" else [])[1].tobytes()


def mosaic(order: str, pixels: np.ndarray) -> np.ndarray:
    """What a sensor behind a Bayer filter of that order sees of BGR pixels."""
    places = {"r": 2, "g": 1, "b": 0}
    seen = np.empty(pixels.shape[:2], pixels.dtype)
    for number, colour in enumerate(order):
        row, column = divmod(number, 2)
        seen[row::2, column::2] = pixels[row::2, column::2, places[colour]]
    return seen


def expect_blue(data: bytes, said: str) -> str:
    """Whether the middle is the blue it was; what the picture lacks."""
    found = decode_file(data, said)
    np.testing.assert_allclose(found.pixels[32, 48].astype(int), BLUE[0, 0], atol=6)
    return found.lacks


@pytest.mark.parametrize("suffix", [".jpg", ".png"])
@pytest.mark.parametrize(
    ("said", "pixels"),
    [
        ("{}", BLUE),
        ("bgr8; {} compressed bgr8", BLUE),
        ("rgb8; {} compressed bgr8", BLUE),
        ("rgb8; {} compressed rgb8", BLUE[..., ::-1]),
        ("bgr8; {} compressed rgb8", BLUE[..., ::-1]),
        ("rgb8; {}", BLUE[..., ::-1]),
        ("yuv422; {} compressed bgr8", BLUE),
        ("bayer_rggb8; {} compressed bgr8", BLUE),
    ],
)
def test_colours_are_where_the_format_puts_them(said: str, pixels: np.ndarray, suffix: str) -> None:
    assert expect_blue(file_of(np.ascontiguousarray(pixels), suffix), said.format(suffix[1:])) == ""


@pytest.mark.parametrize("said", ["bgra8; png compressed bgra8", "rgba8; png compressed bgr8", "png"])
def test_alpha_is_left_out(said: str) -> None:
    alpha = np.dstack([BLUE, np.full((HEIGHT, WIDTH), 9, np.uint8)])
    np.testing.assert_array_equal(decode_file(file_of(alpha, ".png"), said).pixels, BLUE)
    swapped = np.ascontiguousarray(alpha[..., [2, 1, 0, 3]])
    np.testing.assert_array_equal(decode_file(file_of(swapped, ".png"), "rgba8; png compressed rgba8").pixels, BLUE)


def test_sixteen_bits_become_eight() -> None:
    deep = BLUE.astype(np.uint16) * 257
    np.testing.assert_array_equal(decode_file(file_of(deep, ".png"), "rgb16; png compressed bgr16").pixels, BLUE)
    swapped = file_of(np.ascontiguousarray(deep[..., ::-1]), ".png")
    np.testing.assert_array_equal(decode_file(swapped, "rgb16; png compressed rgb16").pixels, BLUE)


@pytest.mark.parametrize("order", ["rggb", "bggr", "gbrg", "grbg"])
@pytest.mark.parametrize(("bits", "suffix"), [(8, ".jpg"), (8, ".png"), (16, ".png")])
def test_a_mosaic_becomes_colours_and_is_named(order: str, bits: int, suffix: str) -> None:
    seen = mosaic(order, BLUE) if bits == 8 else mosaic(order, BLUE).astype(np.uint16) * 257
    said = f"bayer_{order}{bits}; {suffix[1:]} compressed "
    assert expect_blue(file_of(seen, suffix), said) == f"a Bayer mosaic, compressed as {said!r}"


def test_a_mosaic_is_never_decoded_to_less_than_its_size() -> None:
    large = file_of(mosaic("rggb", np.full((900, 1600, 3), BLUE[0, 0], np.uint8)))
    assert decode_file(large, "bayer_rggb8; jpeg compressed ", DEMO).pixels.shape == (900, 1600, 3)
    assert decode_file(large, "mono8; jpeg compressed mono8", DEMO).pixels.shape == (225, 400, 3)


@pytest.mark.parametrize("suffix", [".jpg", ".png"])
@pytest.mark.parametrize(
    "said",
    ["jpeg", "mono8; jpeg compressed ", "yuv422_yuy2; jpeg compressed mono8", "bgr8; jpeg compressed bgr8"],
)
def test_grey_is_used_and_named(said: str, suffix: str) -> None:
    grey = SCENE[..., 1]
    found = decode_file(file_of(grey, suffix), said)
    assert np.abs(found.pixels.astype(int) - grey[..., None]).max() <= (0 if suffix == ".png" else 40)
    assert found.lacks == f"grey, compressed as {said!r}"


def test_deep_grey_is_grey() -> None:
    deep = SCENE[..., 1].astype(np.uint16) * 257
    found = decode_file(file_of(deep, ".png"), "mono16; png compressed ")
    np.testing.assert_array_equal(found.pixels, SCENE[..., 1:2].repeat(3, axis=2))
    assert found.lacks.startswith("grey")


def test_a_depth_image_is_no_picture() -> None:
    with pytest.raises(BadInputError, match="bad_encoding: format is '16UC1; png compressed '"):
        decode_file(file_of(SCENE[..., 1].astype(np.uint16), ".png"), "16UC1; png compressed ")


def test_a_palette_has_colours() -> None:
    file = io.BytesIO()
    Pillow.fromarray(SCENE[..., ::-1]).quantize(64).save(file, "PNG")
    found = decode_file(file.getvalue(), "png")
    expected = cv2.imdecode(np.frombuffer(file.getvalue(), np.uint8), cv2.IMREAD_COLOR)
    np.testing.assert_array_equal(found.pixels, expected)
    assert found.lacks == ""


PNG = file_of(SCENE, ".png")


def chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


@pytest.mark.parametrize("tail", [b"\n", bytes(9), b"\xff" * 7, PNG[:100], chunk(b"IDAT", b"more")])
def test_what_follows_a_pngs_last_chunk_is_harmless(tail: bytes) -> None:
    np.testing.assert_array_equal(decode_file(PNG + tail, "png").pixels, SCENE)


@pytest.mark.parametrize("count", [1, 300])
@pytest.mark.parametrize("what", ["cut", "zeroed", "flipped"])
def test_a_png_with_a_loss_inside_is_refused(what: str, count: int) -> None:
    middle = len(PNG) // 2
    inside = {"cut": b"", "zeroed": bytes(count), "flipped": bytes(255 - each for each in PNG[middle : middle + count])}
    with pytest.raises(BadInputError, match="bad_image: PNG of 96x64 is (damaged|cut off)"):
        decode_file(PNG[:middle] + inside[what] + PNG[middle + count :], "png")


@pytest.mark.parametrize("share", [0.1, 0.5, 0.99])
def test_a_cut_png_is_refused(share: float) -> None:
    for tail in (b"", bytes(60), b"IEND\xaeB\x60\x82"):
        with pytest.raises(BadInputError, match="bad_image"):
            decode_file(PNG[: int(len(PNG) * share)] + tail, "png")


@pytest.mark.parametrize("error", [SystemError("bad call"), RuntimeError("ABI"), ImportError("numpy.core.multiarray")])
@pytest.mark.parametrize(("module", "name"), [("Pillow", "open"), ("cv2", "imdecode"), ("cv2", "cvtColor")])
def test_whatever_a_library_raises_costs_this_image(
    module: str, name: str, error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*given: object, **more: object) -> None:
        raise error

    monkeypatch.setattr(getattr(image_file, module), name, broken)
    with pytest.raises(BadInputError, match=f"bad_image: .*{type(error).__name__}: {error}"):
        decode_file(PNG, "rgb8; png compressed rgb8")
