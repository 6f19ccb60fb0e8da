"""jpeg_file: the pixels of OpenCV, and every loss that the decoder tells of, wherever in the file it is."""

from __future__ import annotations

import io
import struct
from collections.abc import Callable

import cv2
import numpy as np
import pytest
from PIL import Image as Pillow

from tggbc_ros.ros import jpeg_file
from tggbc_ros.ros.drops import BadInputError
from tggbc_ros.ros.jpeg_file import decode_jpeg

SIZE = (240, 320)
COARSE = np.random.default_rng(4).integers(0, 255, (12, 16, 3), dtype=np.uint8)
SCENE = cv2.resize(COARSE, SIZE[::-1], interpolation=cv2.INTER_CUBIC)


def encoded(*options: int, pixels: np.ndarray = SCENE) -> bytes:
    return cv2.imencode(".jpg", pixels, list(options))[1].tobytes()


def decoded_by_opencv(data: bytes) -> np.ndarray:
    return cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)


def saved(**options: object) -> bytes:
    file = io.BytesIO()
    Pillow.fromarray(SCENE[..., ::-1]).save(file, "JPEG", **options)
    return file.getvalue()


def with_thumbnail() -> bytes:
    """A JPEG with a whole one inside its head."""
    exif = b"Exif\0\0MM\0*" + bytes(20) + encoded(pixels=SCENE[:16, :16])
    return PLAIN[:2] + b"\xff\xe1" + struct.pack(">H", 2 + len(exif)) + exif + PLAIN[2:]


PLAIN = encoded()
FILES = {
    "plain": PLAIN,
    "progressive": encoded(cv2.IMWRITE_JPEG_PROGRESSIVE, 1),
    "own tables": encoded(cv2.IMWRITE_JPEG_OPTIMIZE, 1),
    "restarts": encoded(cv2.IMWRITE_JPEG_RST_INTERVAL, 4),
    "4:4:4": encoded(cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444),
    "4:2:2": encoded(cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_422),
    "grey": encoded(pixels=SCENE[..., 0]),
    "stored as RGB": saved(keep_rgb=True),
    "thumbnail": with_thumbnail(),
}


def scan_of(data: bytes) -> int:
    """Where its last scan begins, or its only one."""
    return data.rindex(b"\xff\xda") + 12


def cut(data: bytes, at: int, count: int) -> bytes:
    return data[:at] + data[at + count :]


def zeroed(data: bytes, at: int, count: int) -> bytes:
    return data[:at] + bytes(count) + data[at + count :]


def erased(data: bytes, at: int, count: int) -> bytes:
    return data[:at] + b"\xff" * count + data[at + count :]


@pytest.mark.parametrize("by", [1, 2, 4, 8])
@pytest.mark.parametrize("name", FILES)
def test_pixels_are_opencvs(name: str, by: int) -> None:
    flags = jpeg_file.DECODE_FLAGS[by] | cv2.IMREAD_IGNORE_ORIENTATION
    expected = cv2.imdecode(np.frombuffer(FILES[name], np.uint8), flags)
    np.testing.assert_array_equal(decode_jpeg(FILES[name], SIZE, by), expected)


def test_cmyk_becomes_bgr_and_grey_stays_it_where_asked() -> None:
    file = io.BytesIO()
    Pillow.fromarray(SCENE[..., ::-1]).convert("CMYK").save(file, "JPEG")
    found = decode_jpeg(file.getvalue(), SIZE)
    assert np.abs(found.astype(int) - decoded_by_opencv(file.getvalue())).max() <= 2
    grey = decode_jpeg(FILES["grey"], SIZE, grey=True)
    np.testing.assert_array_equal(grey[..., 0], decoded_by_opencv(FILES["grey"])[..., 0])


TAILS = {
    "line feed": b"\n",
    "fill bytes": b"\xff" * 7,
    "zeros": bytes(3000),
    "an older image's rest": PLAIN[len(PLAIN) // 2 :],
    "half another image": PLAIN[: len(PLAIN) // 2],
    "a marker": b"\xff\xe1\x00\x10abc",
}


@pytest.mark.parametrize("tail", TAILS)
@pytest.mark.parametrize("name", FILES)
def test_what_follows_the_end_is_harmless(name: str, tail: str) -> None:
    whole = decode_jpeg(FILES[name], SIZE)
    np.testing.assert_array_equal(decode_jpeg(FILES[name] + TAILS[tail], SIZE), whole)


@pytest.mark.parametrize("damage", [cut, zeroed, erased])
@pytest.mark.parametrize("name", [name for name in FILES if name != "progressive"])
def test_what_is_lost_inside_is_found_though_the_end_is_there(
    name: str, damage: Callable[[bytes, int, int], bytes]
) -> None:
    """At several places. Of 300 bytes at most one time in ten ends where it would have ended."""
    data = FILES[name]
    start, missed = scan_of(data), 0
    places = range(start + 50, len(data) - 350, (len(data) - 400 - start) // 20)
    for at in places:
        try:
            decode_jpeg(damage(data, at, 300), SIZE)
            missed += 1
        except BadInputError as error:
            assert error.cause == "bad_image"
            assert "JPEG of 320x240" in str(error)
    assert missed <= len(places) // 10


@pytest.mark.parametrize("damage", [cut, erased])
def test_losses_in_a_progressive_scan(damage: Callable[[bytes, int, int], bytes]) -> None:
    data = FILES["progressive"]
    with pytest.raises(BadInputError, match="is damaged: "):
        decode_jpeg(damage(data, data.index(b"\xff\xda") + 100, 300), SIZE)


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("share", [0.5, 0.9, 0.99])
def test_a_cut_file_is_refused(name: str, share: float) -> None:
    for tail in (b"", bytes(500), b"\xff\xd9"):
        with pytest.raises(BadInputError, match="bad_image"):
            decode_jpeg(FILES[name][: int(len(FILES[name]) * share)] + tail, SIZE)


@pytest.mark.parametrize("padding", [b"\xff\xff", bytes(1), bytes(40), b"\x3f" * 9, b"\x12\x34\x56\x78"])
def test_padding_before_the_end_is_harmless(padding: bytes) -> None:
    """Hardware encoders round their output up; libjpeg warns of what it skips."""
    expected = decode_jpeg(PLAIN, SIZE)
    for data in (PLAIN, FILES["thumbnail"]):
        np.testing.assert_array_equal(decode_jpeg(data[:-2] + padding + data[-2:], SIZE), expected)


def test_a_part_twice_is_a_loss_of_place() -> None:
    middle = (scan_of(PLAIN) + len(PLAIN)) // 2
    with pytest.raises(BadInputError, match="extraneous bytes"):
        decode_jpeg(PLAIN[: middle + 400] + PLAIN[middle:], SIZE)


def test_a_head_that_is_not_by_the_book_costs_nothing() -> None:
    version, scan = bytearray(PLAIN), bytearray(PLAIN)
    version[11] = 9
    scan[PLAIN.index(b"\xff\xda") + 12] = 0  # its last coefficient, which only progressive files need
    for data in (version, scan):
        np.testing.assert_array_equal(decode_jpeg(bytes(data), SIZE), decode_jpeg(PLAIN, SIZE))
    with pytest.raises(BadInputError, match="cut off after .* bytes: it has no end"):
        decode_jpeg(bytes(version[:-2]), SIZE)


@pytest.mark.parametrize("options", [(), (cv2.IMWRITE_JPEG_OPTIMIZE, 1), (cv2.IMWRITE_JPEG_RST_INTERVAL, 4)])
@pytest.mark.parametrize("tone", [0, 7, 128, 255])
def test_a_flat_picture_is_not_taken_for_zeros(options: tuple[int, ...], tone: int) -> None:
    flat = np.full((*SIZE, 3), tone, np.uint8)
    flat[:8, :8] = 255 - tone
    for pixels in (flat, flat[..., 0]):
        decode_jpeg(encoded(*options, pixels=pixels), SIZE)


def test_a_layout_that_only_opencv_takes_needs_its_end() -> None:
    """Luma with fewer samples than chroma: libjpeg-turbo's own interface has no name for it."""
    data = bytearray(FILES["4:4:4"])
    frame = data.index(b"\xff\xc0")
    data[frame + 11], data[frame + 14] = 0x31, 0x11
    with pytest.raises(BadInputError, match="bad_image"):
        decode_jpeg(bytes(data)[:-2], SIZE)
    try:
        decode_jpeg(bytes(data), SIZE)  # the scan is another layout's: OpenCV may refuse it or not, in our words
    except BadInputError as error:
        assert error.cause == "bad_image"


def test_another_size_in_the_file_asks_for_no_more_memory() -> None:
    with pytest.raises(BadInputError, match="bad_image"):
        decode_jpeg(PLAIN, (SIZE[0] - 10, SIZE[1]))


@pytest.mark.parametrize("error", [SystemError("bad call"), MemoryError(), RuntimeError("ABI"), AttributeError("x")])
def test_whatever_the_decoder_raises_costs_this_image(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*given: object, **more: object) -> None:
        raise error

    monkeypatch.setattr(jpeg_file.simplejpeg, "decode_jpeg", broken)
    with pytest.raises(BadInputError, match=type(error).__name__) as caught:
        decode_jpeg(PLAIN, SIZE)
    assert caught.value.cause == "bad_image"
