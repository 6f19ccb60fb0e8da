"""Calibration from a YAML file, for bags and cameras that do not publish theirs.

    cameras:
      CAM_FRONT:
        size: [1600, 900]                        # width and height in pixels of the images it was calibrated on
        intrinsics: [1266.4, 1266.4, 816.3, 491.5]   # fx, fy, cx, cy in those pixels
        camera2base: [1.7, 0.0, 1.5, -0.5, 0.5, -0.5, 0.5]   # x, y, z in metres, qx, qy, qz, qw

``camera2lidar`` may stand in place of ``camera2base``. ``distortion: [k1, k2, p1, p2, k3]`` may stand there too, for
images that are not rectified; ``distortion_model`` then says whether it is a plumb_bob (that is the default) or another
model of CameraInfo, by any name and with as many coefficients as ``ros/distortion.py`` knows. ``projection: [fx, fy,
cx, cy]``, from CameraInfo.P, says which intrinsics the images are to have once the distortion is out of them; without
it they keep theirs. Of cameras that publish a part of the sensor's image (CameraInfo's roi and binning) the file speaks
as of that part alone.
"""

from __future__ import annotations

import math
import reprlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from sensor_msgs.msg import CameraInfo

from tggbc_ros.core.geometry import quaternion_from_rotation, rigid, rotation_from_quaternion
from tggbc_ros.core.types import Array
from tggbc_ros.ros.distortion import distortion
from tggbc_ros.ros.drops import BadInputError

MOUNTINGS = ("camera2base", "camera2lidar")
FIELDS = {"size", "intrinsics", "distortion", "distortion_model", "projection", *MOUNTINGS}
DEFAULT_MODEL = "plumb_bob"


@dataclass(frozen=True, eq=False)
class CameraCalibration:
    """One camera: image size in pixels; fx, fy, cx, cy in those pixels; where its optical frame sits.

    mounting: [4, 4], the matrix that mounted_on names, camera2base or camera2lidar. distortion: coefficients of
    distortion_model as CameraInfo.D has them; none: a pinhole's images. projection: fx, fy, cx, cy of the images
    without their distortion; none: those of intrinsics.
    """

    width: int
    height: int
    intrinsics: tuple[float, ...]
    mounting: Array
    mounted_on: str
    distortion: tuple[float, ...] = ()
    distortion_model: str = DEFAULT_MODEL
    projection: tuple[float, ...] = ()

    def cam2base(self, lidar2base: Array) -> Array:
        """The mounting on the vehicle [4, 4], where the lidar's is lidar2base."""
        return lidar2base @ self.mounting if self.mounted_on == "camera2lidar" else self.mounting

    def info(self) -> CameraInfo:
        """The intrinsics and the distortion as the camera would publish them."""
        fx, fy, cx, cy = self.intrinsics
        matrix = [fx, 0.0, cx, 0.0, fy, cy, 0.0, 0.0, 1.0]
        model = self.distortion_model if self.distortion else ""
        info = CameraInfo(width=self.width, height=self.height, k=matrix, d=self.distortion, distortion_model=model)
        fx, fy, cx, cy = self.projection or self.intrinsics
        info.p = [fx, 0.0, cx, 0.0, 0.0, fy, cy, 0.0, 0.0, 0.0, 1.0, 0.0]
        return info


def load(path: str, cameras: Sequence[str]) -> Mapping[str, CameraCalibration]:
    """Calibration by camera name, empty without a path; the file may hold more cameras than are asked for.

    Raises ValueError naming file, camera and field, or OSError for a file that cannot be read.
    """
    if not path:
        return {}
    try:
        content = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ValueError(f"calibration_file {path} is not YAML: {' '.join(str(error).split())}") from error
    given = content.get("cameras") if isinstance(content, dict) else None
    if not isinstance(given, dict):
        raise ValueError(f"calibration_file {path} holds {reprlib.repr(content)}, expected cameras: and one by one")
    missing = [name for name in cameras if name not in given]
    if missing:
        known = ", ".join(map(str, given)) or "none"
        raise ValueError(f"calibration_file {path} holds no camera {', '.join(missing)}; it has {known}")
    return {name: _camera(f"calibration_file {path}: camera {name}", given[name]) for name in cameras}


def save(path: Path, cameras: Mapping[str, CameraCalibration]) -> None:
    """Write what `load` reads; numbers come back as they are, mountings but for a quaternion's rounding (1e-15).

    Raises FileExistsError for a file that is there, and ValueError naming the camera where `load` would refuse it.
    """
    entries = {name: _entry(camera) for name, camera in cameras.items()}
    for name, entry in entries.items():
        _camera(f"camera {name}", entry)
    with path.open("x", encoding="utf-8") as file:
        yaml.safe_dump({"cameras": entries}, file, sort_keys=False, default_flow_style=None, width=120)


def _entry(camera: CameraCalibration) -> dict[str, Any]:
    place = camera.mounting[:3, 3].tolist()
    turn = [float(number) for number in quaternion_from_rotation(camera.mounting[:3, :3])]
    entry: dict[str, Any] = {"size": [camera.width, camera.height], "intrinsics": list(camera.intrinsics)}
    if camera.distortion or camera.distortion_model != DEFAULT_MODEL:
        entry |= {"distortion": list(camera.distortion), "distortion_model": camera.distortion_model}
    if camera.projection:
        entry["projection"] = list(camera.projection)
    return entry | {camera.mounted_on: place + turn}


def _camera(where: str, given: Any) -> CameraCalibration:
    """What one camera's entry says. where: file and camera, for errors."""
    if not isinstance(given, dict):
        raise ValueError(f"{where} is {reprlib.repr(given)}, expected {', '.join(sorted(FIELDS))}")
    unknown = sorted(map(str, set(given) - FIELDS))
    if unknown:
        raise ValueError(f"{where}: {', '.join(unknown)} is unknown, expected {', '.join(sorted(FIELDS))}")
    mounted_on = [name for name in MOUNTINGS if name in given]
    if len(mounted_on) != 1:
        raise ValueError(f"{where} has {' and '.join(mounted_on) or 'no mounting'}, expected one of {MOUNTINGS}")
    width, height = _numbers(where, given, "size", 2)
    if not (width >= 1 and height >= 1 and width.is_integer() and height.is_integer()):
        raise ValueError(f"{where}: size is {given['size']}, expected width and height in whole pixels")
    intrinsics = _focal(where, given, "intrinsics")
    mounting = _mounting(where, given, mounted_on[0])
    lens = (*_distortion(where, given), _projection(where, given))
    return CameraCalibration(int(width), int(height), intrinsics, mounting, mounted_on[0], *lens)


def _focal(where: str, given: Mapping[str, Any], field: str) -> tuple[float, ...]:
    """fx, fy, cx, cy."""
    numbers = _numbers(where, given, field, 4)
    if min(numbers[:2]) <= 0:
        raise ValueError(f"{where}: {field} is {given[field]}, expected positive fx and fy")
    return numbers


def _projection(where: str, given: Mapping[str, Any]) -> tuple[float, ...]:
    """Empty where the entry has none; one without a distortion to take out would change nothing, so it is refused."""
    if "projection" not in given:
        return ()
    if "distortion" not in given:
        raise ValueError(f"{where}: projection is {reprlib.repr(given['projection'])}, expected with distortion only")
    return _focal(where, given, "projection")


def _distortion(where: str, given: Mapping[str, Any]) -> tuple[tuple[float, ...], str]:
    """Coefficients and their model; none where the entry speaks of neither."""
    if not {"distortion", "distortion_model"} & set(given):
        return (), DEFAULT_MODEL
    model, values = given.get("distortion_model", DEFAULT_MODEL), given.get("distortion")
    if not isinstance(model, str):
        raise ValueError(f"{where}: distortion_model is {reprlib.repr(model)}, expected the name of one")
    if not isinstance(values, list):
        raise ValueError(f"{where}: distortion is {reprlib.repr(values)}, expected the coefficients of {model}")
    numbers = _numbers(where, given, "distortion", len(values))
    try:
        distortion(model, numbers)
    except BadInputError as error:
        raise ValueError(f"{where}: {error.detail}") from error
    return numbers, model


def _mounting(where: str, given: Mapping[str, Any], field: str) -> Array:
    numbers = _numbers(where, given, field, 7)
    try:
        return rigid(rotation_from_quaternion(*numbers[3:]), numbers[:3])
    except ValueError as error:
        raise ValueError(f"{where}: {field}: {error}") from error


def _numbers(where: str, given: Mapping[str, Any], field: str, count: int) -> tuple[float, ...]:
    value = given.get(field)
    fits = isinstance(value, list) and len(value) == count
    # YAML's yes and no are Python's bool, which is an int.
    if not fits or not all(type(number) in (int, float) and math.isfinite(number) for number in value):
        raise ValueError(f"{where}: {field} is {reprlib.repr(value)}, expected {count} finite numbers")
    return tuple(map(float, value))
