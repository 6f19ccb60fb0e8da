"""JPEG and PNG files, as CompressedImage holds them -> pixels. Whatever they hold, all they raise is BadInputError."""

from __future__ import annotations

import io
import zlib
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image as Pillow

from tggbc_ros.core.config import ModelConfig
from tggbc_ros.core.preprocess import jpeg_reduction
from tggbc_ros.ros import image_format
from tggbc_ros.ros.drops import BadInputError
from tggbc_ros.ros.foreign import foreign
from tggbc_ros.ros.jpeg_file import decode_jpeg

Pixels = npt.NDArray[np.uint8]

MAX_PIXELS = 64_000_000
"""Larger images are refused before they are decoded: a few kilobytes can claim to be gigabytes."""

MAX_ASPECT = 16
"""Longer stripes are refused: scaled to the network's height they would fill the memory."""

GREY_MODES = {"1", "L", "LA", "I", "I;16"}
"""Pillow's names for what has no colours."""

PNG_HEAD = 8


@dataclass(frozen=True, eq=False)
class Decoded:
    """pixels: [height, width, 3], BGR. full_size: (height, width) of the image as it was published.

    lacks: what it lacks of a colour image, empty for nothing.
    """

    pixels: Pixels
    full_size: tuple[int, int]
    lacks: str = ""


def check_size(height: int, width: int) -> None:
    """Raises BadInputError, bad_size, for an image that is empty, too large or too long."""
    short, long = sorted((height, width))
    if short == 0 or height * width > MAX_PIXELS or long > MAX_ASPECT * short:
        raise BadInputError(
            "bad_size", f"image is {width}x{height}, expected 1 to {MAX_PIXELS} pixels, sides 1:{MAX_ASPECT} at most"
        )


def decode_file(data: bytes, said: str, needed: ModelConfig | None = None) -> Decoded:
    """Pixels of a JPEG or PNG; ``said`` is the message's format. A JPEG as small as the network ``needed`` allows.

    Raises BadInputError: bad_size, bad_encoding or bad_image.
    """
    meant = image_format.stored(said)
    kind, size, grey = _read_head(data, said)
    check_size(*size)
    mosaic = meant.mosaic if grey else None
    decode = _decode_png if kind == "PNG" else decode_jpeg
    by = jpeg_reduction(*size, needed) if needed and kind != "PNG" and mosaic is None else 1
    pixels = decode(data, size, by, mosaic is not None)
    if mosaic is not None:
        lacks = f"a Bayer mosaic, compressed as {said!r}"
        return Decoded(_convert(pixels, mosaic), size, lacks)
    if meant.swapped and not grey:
        pixels = _convert(pixels, cv2.COLOR_RGB2BGR)
    return Decoded(pixels, size, f"grey, compressed as {said!r}" if grey else "")


def _convert(pixels: Pixels, conversion: int) -> Pixels:
    with foreign("bad_image", f"OpenCV's conversion {conversion}"):
        return np.asarray(cv2.cvtColor(pixels, conversion), np.uint8)


def _read_head(data: bytes, said: str) -> tuple[str, tuple[int, int], bool]:
    """Kind of file, (height, width), and whether it has no colours, without decoding any of it."""
    try:
        with (
            foreign("bad_image", f"{len(data)} bytes of {said!r}"),
            Pillow.open(io.BytesIO(data), formats=("JPEG", "PNG")) as file,
        ):
            width, height = file.size
            return str(file.format), (height, width), file.mode in GREY_MODES
    except BadInputError as error:
        if isinstance(error.__cause__, Pillow.DecompressionBombError):
            raise BadInputError("bad_size", error.detail) from error
        raise


def _decode_png(data: bytes, size: tuple[int, int], by: int, grey: bool) -> Pixels:
    """As `decode_jpeg`, of a whole PNG: ``by`` is 1."""
    named = f"PNG of {size[1]}x{size[0]}"
    _check_chunks(data, named)
    flags = (cv2.IMREAD_GRAYSCALE if grey else cv2.IMREAD_COLOR) | cv2.IMREAD_IGNORE_ORIENTATION
    with foreign("bad_image", named):
        pixels = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    if pixels is None or pixels.shape[:2] != size:
        found = None if pixels is None else pixels.shape
        raise BadInputError("bad_image", f"{named} decodes to {found}, its head says {size}")
    return np.asarray(pixels, np.uint8)


def _check_chunks(data: bytes, named: str) -> None:
    """Every chunk up to the last is whole, by its checksum; what follows that is not looked at."""
    at, kind = PNG_HEAD, b""
    while kind != b"IEND":
        end = at + 12 + int.from_bytes(data[at : at + 4], "big")
        if end > len(data) or at + 12 > len(data):
            raise BadInputError("bad_image", f"{named} is cut off after {len(data)} bytes, in its chunk at {at}")
        kind = data[at + 4 : at + 8]
        if zlib.crc32(data[at + 4 : end - 4]) != int.from_bytes(data[end - 4 : end], "big"):
            raise BadInputError("bad_image", f"{named} is damaged: the checksum of {kind!r} at byte {at} is wrong")
        at = end
