"""JPEGs -> pixels, and whether any of them were lost on the way: the decoder is asked, not the last two bytes."""

from __future__ import annotations

import re
from collections.abc import Iterator

import cv2
import numpy as np
import numpy.typing as npt
import simplejpeg

from tggbc_ros.ros.drops import BadInputError
from tggbc_ros.ros.foreign import foreign

END = b"\xff\xd9"
HARMLESS = re.compile("Invalid SOS parameters")
"""What libjpeg complains of without losing a pixel. All else is a loss, but for `EXTRANEOUS` padding."""

OTHERS_TAKE = re.compile("subsampling|unknown JFIF revision|Unknown Adobe color transform")
"""What libjpeg-turbo's own interface refuses by a file's head, though libjpeg decodes it."""

CUT_OFF = "Premature end of JPEG file"
EXTRANEOUS = re.compile(r"(\d+) extraneous bytes before marker")
ROUNDED_UP = 4
"""So many bytes too many before a marker are a camera's that counts in words; what is damaged ends elsewhere."""

DECODE_FLAGS = {
    1: cv2.IMREAD_COLOR,
    2: cv2.IMREAD_REDUCED_COLOR_2,
    4: cv2.IMREAD_REDUCED_COLOR_4,
    8: cv2.IMREAD_REDUCED_COLOR_8,
}
"""How OpenCV decodes a JPEG that much smaller."""

BLANK = bytes(64)
"""More zeros than any block of a picture takes where they stand for coefficients that are not 0."""

DEFINE_TABLES, START_OF_SCAN, SEQUENTIAL = 0xC4, 0xDA, (0xC0, 0xC1)


def decode_jpeg(data: bytes, size: tuple[int, int], by: int = 1, grey: bool = False) -> npt.NDArray[np.uint8]:
    """Pixels [height, width, 3], BGR, or [height, width, 1] if ``grey``, of a JPEG of ``size`` in a ``by``-th of it.

    What stands behind the end of the image is not looked at. Raises BadInputError, bad_image, for a file that is cut
    off or damaged: where libjpeg says so, or where zeros have taken the place of a part of it.
    """
    shape = -(-size[0] // by), -(-size[1] // by), 1 if grey else 3
    named = f"JPEG of {size[1]}x{size[0]}"
    try:
        with foreign("bad_image", named):
            pixels = _decode(data, shape, strict=True)
    except BadInputError as error:
        pixels = _decode_again(data, shape, by, error, named)
    if pixels is None or pixels.shape != shape:
        found = None if pixels is None else pixels.shape
        raise BadInputError("bad_image", f"{named} decodes to {found}, its head says {shape}")
    if BLANK in data and _is_blanked(data):
        raise BadInputError("bad_image", f"{named} is damaged: zeros stand where a part of it was")
    return pixels


def _decode(data: bytes, shape: tuple[int, int, int], strict: bool) -> npt.NDArray[np.uint8]:
    """Into memory of that shape, so that a second size in the file cannot ask for more."""
    colours, buffer = "GRAY" if shape[2] == 1 else "BGR", np.empty(shape, np.uint8)
    least = {"min_height": shape[0], "min_width": shape[1]}
    return np.asarray(simplejpeg.decode_jpeg(data, colours, buffer=buffer, strict=strict, **least), np.uint8)


def _decode_again(
    data: bytes, shape: tuple[int, int, int], by: int, error: BadInputError, named: str
) -> npt.NDArray[np.uint8] | None:
    """What the decoder complained of without need; raises ``error`` in other words where there was need.

    OpenCV decodes the few heads that are not quite by the book; of these no damage is seen, but for the lack of an end.
    """
    complaint = error.detail.removeprefix(f"{named}: ").removeprefix("ValueError: ")
    if not OTHERS_TAKE.search(complaint):
        if not (HARMLESS.search(complaint) or _is_padding(complaint, data)):
            what = f"cut off after {len(data)} bytes" if CUT_OFF in complaint else "damaged"
            raise BadInputError("bad_image", f"{named} is {what}: {complaint}") from error
        with foreign("bad_image", named):
            return _decode(data, shape, strict=False)
    if _scan(data) is None:
        raise BadInputError("bad_image", f"{named} is cut off after {len(data)} bytes: it has no end") from error
    flags = cv2.IMREAD_GRAYSCALE if shape[2] == 1 else DECODE_FLAGS[by]
    with foreign("bad_image", named):
        pixels = cv2.imdecode(np.frombuffer(data, np.uint8), flags | cv2.IMREAD_IGNORE_ORIENTATION)
    return None if pixels is None else np.asarray(pixels, np.uint8).reshape(*pixels.shape[:2], shape[2])


def _is_padding(complaint: str, data: bytes) -> bool:
    """Whether what was left over before a marker is a camera's padding: where it is not, the decoder lost its place."""
    found = EXTRANEOUS.search(complaint)
    if found is None:
        return False
    left = (_scan(data) or b"").rstrip(b"\xff")[-int(found[1]) :]
    return len(left) <= ROUNDED_UP or left == left[:1] * len(left)


def _is_blanked(data: bytes) -> bool:
    """Whether zeros stand where they mean block upon block of coefficients that are not 0, which no picture has.

    The shortest of its codes is all zeros. Where that ends a block or leaves coefficients out they may be a flat part
    of the picture, and where they are not, the decoder tells by what is left over at the end. Files whose scans refine
    each other are not judged.
    """
    tables: dict[int, int] = {}
    for marker, at, end in _segments(data):
        if marker == DEFINE_TABLES:
            tables |= _first_symbols(data[at:end])
        elif marker == START_OF_SCAN:
            first_table = 0x10 | (data[at + 2] & 0x0F)
            return BLANK in (_scan(data) or b"") and bool(tables.get(first_table, 1) & 0x0F)
        elif 0xC0 <= marker <= 0xCF and marker not in SEQUENTIAL:
            return False
    return False


def _scan(data: bytes) -> bytes | None:
    """What stands between the head and the end of the image; None without an end."""
    start = next((end for marker, _, end in _segments(data) if marker == START_OF_SCAN), len(data))
    stop = data.find(END, start)
    return None if stop < 0 else data[start:stop]


def _segments(data: bytes) -> Iterator[tuple[int, int, int]]:
    """Marker of every segment of the head, and where its content begins and ends; the scan is the last."""
    at = 2
    while at + 4 <= len(data):
        if data[at] != 0xFF or data[at + 1] == 0xFF:  # fill bytes
            at += 1
            continue
        end = at + 2 + int.from_bytes(data[at + 2 : at + 4], "big")
        yield data[at + 1], at + 4, end
        if data[at + 1] == START_OF_SCAN:
            return
        at = end


def _first_symbols(content: bytes) -> dict[int, int]:
    """Class and number of each Huffman table -> the symbol whose code is all zeros: a run of zeros and a size."""
    found, at = {}, 0
    while at + 17 < len(content):
        found[content[at]] = content[at + 17]
        at += 17 + sum(content[at + 1 : at + 17])
    return found
