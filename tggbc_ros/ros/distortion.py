"""The distortion that a calibration speaks of: by its model's name as drivers spell it, and by its numbers."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from sensor_msgs.msg import CameraInfo

from tggbc_ros.core.types import Array
from tggbc_ros.ros.drops import BadInputError

PLUMB_BOB, RATIONAL, THIN_PRISM, FISHEYE = "plumb_bob", "rational_polynomial", "thin_prism", "equidistant"
BROWN = (4, 5, 8, 12, 14)
COEFFICIENTS = {PLUMB_BOB: BROWN, RATIONAL: BROWN, THIN_PRISM: (12, 14), FISHEYE: (4,)}
"""Model -> how many coefficients it may have, those that are 0 at the end left out.

All but the fisheye's are one model with ever more terms, k1 k2 p1 p2 k3 k4 k5 k6 s1 s2 s3 s4 and two angles, so that
the count says more than which of the names a driver took. Of a thin prism other orders are in use when it is shorter.
"""

SPELLINGS = {
    PLUMB_BOB: ("", "radtan", "radialtangential", "brown", "brownconrady", "opencv"),
    RATIONAL: ("rational", "fullopencv"),
    FISHEYE: ("fisheye", "opencvfisheye", "equi", "kannalabrandt", "kannalabrandt4", "kb", "kb4"),
}
"""Model -> other names that it goes by, as `_key` writes them."""

OTHER_LENSES = {"ftheta", "mei", "omni", "omnidirectional", "doublesphere", "ds", "eucm", "ucm", "fov", "ocam"}
OTHER_LENSES |= {"scaramuzza", "stereographic", "equisolid", "orthographic", "kannalabrandt8", "kb8"}
"""Models that bend a picture even where no coefficient does, and that are not known here."""


def _key(name: str) -> str:
    """A name without case, blanks and punctuation, which drivers are not of one mind about."""
    return re.sub(r"[^a-z0-9]", "", name.lower())


NAMES = {_key(name): name for name in COEFFICIENTS} | {key: name for name, keys in SPELLINGS.items() for key in keys}


@dataclass(frozen=True, eq=False)
class Distortion:
    """What bends a camera's images. coefficients: as OpenCV takes them for a fisheye, or for any other lens."""

    fisheye: bool
    coefficients: Array


def distortion(model: str, coefficients: Sequence[float]) -> Distortion | None:
    """What model and coefficients mean; None: nothing is bent, as where all coefficients of no fisheye are 0.

    Raises BadInputError: unknown_distortion for a model that is not known, or known to be another one;
    bad_camera_info for coefficients that do not fit it.
    """
    values, known = np.array(coefficients, np.float64), NAMES.get(_key(model))
    if not _bends(model, coefficients):
        return None
    if known is None:
        expected = f"expected one of {', '.join(COEFFICIENTS)}, or d all 0"
        raise BadInputError("unknown_distortion", f"distortion_model is {model!r}, {expected}; d is {values.tolist()}")
    counts = COEFFICIENTS[known]
    count = next((count for count in counts if count <= len(values) and not values[count:].any()), None)
    if count is None or not np.isfinite(values).all():
        expected = f"{' or '.join(map(str, counts))} finite numbers for {known}, and 0 behind them"
        raise BadInputError("bad_camera_info", f"distortion is {values.tolist()}, expected {expected}")
    return Distortion(known == FISHEYE, values[:count])


def is_distorted(info: CameraInfo) -> bool:
    """Whether its images are not a pinhole's. A fisheye's are not, even with all coefficients 0."""
    return _bends(info.distortion_model, info.d)


def _bends(model: str, coefficients: Sequence[float]) -> bool:
    key = _key(model)
    return NAMES.get(key) == FISHEYE or key in OTHER_LENSES or any(coefficients)
