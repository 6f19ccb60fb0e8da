"""What CompressedImage.format says of the bytes beside it, by the rules of compressed_image_transport."""

from __future__ import annotations

import re
from dataclasses import dataclass

import cv2

from tggbc_ros.ros.drops import BadInputError

COLOUR = {f"{order}{bits}" for order in ("rgb", "bgr", "rgba", "bgra") for bits in (8, 16)}
MOSAICS = {
    "bayer_rggb": cv2.COLOR_BayerBG2BGR,
    "bayer_bggr": cv2.COLOR_BayerRG2BGR,
    "bayer_gbrg": cv2.COLOR_BayerGR2BGR,
    "bayer_grbg": cv2.COLOR_BayerGB2BGR,
}
"""sensor_msgs' name of a mosaic, without its bits -> OpenCV's conversion, which is named by another corner."""

NUMBERS = re.compile(r"(8|16|32|64)[USF](C\d+)?")
PICTURES_OF_NUMBERS = re.compile(r"8U(C[134])?")


@dataclass(frozen=True)
class Stored:
    """What is in a file. swapped: red and blue have changed places.

    mosaic: where every pixel holds one colour, if the file has but one channel: OpenCV's conversion to BGR; else None.
    """

    swapped: bool
    mosaic: int | None


def stored(said: str) -> Stored:
    """What ``said``, "ORIGINAL; CODEC compressed STORED", tells of the file; one word, as "jpeg", tells nothing.

    An original of colours was stored as RGB, unless it says "compressed bgr". A Bayer mosaic of which STORED says
    nothing was stored as it is. Raises BadInputError, bad_encoding, for what is no picture, as a depth image.
    """
    original, _, rest = (part.strip() for part in said.partition(";"))
    if not rest:
        return Stored(swapped=False, mosaic=None)
    if "compressedDepth" in rest or (NUMBERS.fullmatch(original) and not PICTURES_OF_NUMBERS.fullmatch(original)):
        raise BadInputError("bad_encoding", f"format is {said!r}, expected a picture, as of bgr8")
    swapped = "compressed bgr" not in rest if original in COLOUR else "compressed rgb" in rest
    kept = rest.partition("compressed")[2].strip() in ("", original)
    return Stored(swapped, MOSAICS.get(re.sub(r"\d+$", "", original)) if kept else None)
