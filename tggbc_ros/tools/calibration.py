"""Writes a calibration_file from what knows the cameras: ``python -m tggbc_ros.tools.calibration bag|data``.

The file serves bags of the same vehicle that lack CameraInfo or TF; its form is in ros/calibration_file.py.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Container, Iterable, Sequence
from pathlib import Path

import numpy as np
from rosbags.typesys.stores import ros2_jazzy as ros

from tggbc_ros.core.types import Array
from tggbc_ros.data.bags.bag_file import damage_named, open_bag
from tggbc_ros.data.bags.messages import transform_matrix
from tggbc_ros.data.bags.sample_bag import TYPESTORE
from tggbc_ros.data.nuscenes.dataset import NuScenes
from tggbc_ros.data.records import CameraShot
from tggbc_ros.ros.calibration_file import CameraCalibration, save
from tggbc_ros.ros.convert import window
from tggbc_ros.ros.distortion import is_distorted
from tggbc_ros.ros.drops import BadInputError
from tggbc_ros.ros.images.lenses import camera_matrix_of_p
from tggbc_ros.ros.params import Settings

CameraInfo = ros.sensor_msgs__msg__CameraInfo
TFMessage = ros.tf2_msgs__msg__TFMessage
DEFAULTS = Settings()


def of_bag(path: Path, cameras: Sequence[str], info_topic: str, base_frame: str) -> dict[str, CameraCalibration]:
    """By camera: its first CameraInfo, and the first transforms from its frame up to ``base_frame``.

    info_topic: {camera} stands for the camera's name. Raises ValueError naming the camera and what the bag lacks.
    """
    topics = _info_topics(cameras, info_topic)
    infos: dict[str, CameraInfo] = {}
    parents: dict[str, tuple[str, Array]] = {}
    with open_bag(path) as bag:
        asked = [c for c in bag.connections if c.topic in topics and c.msgtype == CameraInfo.__msgtype__]
        _expect_all(topics, {c.topic for c in asked})  # of a bag without any, no connections would be all of them
        transforms = [c for c in bag.connections if c.msgtype == TFMessage.__msgtype__]
        for connection, _, data in bag.messages([*asked, *transforms]):
            with damage_named(path):
                message = TYPESTORE.deserialize_cdr(data, connection.msgtype)
            if isinstance(message, TFMessage):
                for tf in message.transforms:
                    parents.setdefault(tf.child_frame_id, (tf.header.frame_id, transform_matrix(tf.transform)))
            elif isinstance(message, CameraInfo):
                infos.setdefault(connection.topic, message)
    _expect_all(topics, infos)
    return {camera: _of_info(camera, infos[topic], parents, base_frame) for topic, camera in topics.items()}


def _info_topics(cameras: Sequence[str], info_topic: str) -> dict[str, str]:
    """Topic -> camera."""
    topics = {f"/{info_topic.replace('{camera}', camera).lstrip('/')}": camera for camera in cameras}
    if len(topics) < len(set(cameras)):
        raise ValueError(f"camera-info-topic is {info_topic!r}, expected {{camera}} in it")
    return topics


def _expect_all(topics: Iterable[str], found: Container[str]) -> None:
    missing = [topic for topic in topics if topic not in found]
    if missing:
        raise ValueError(f"no CameraInfo on {', '.join(missing)}")


def of_shots(shots: Sequence[CameraShot]) -> dict[str, CameraCalibration]:
    """Of images with all that is known about them; theirs are a pinhole's."""
    return {
        shot.name: CameraCalibration(
            shot.width, shot.height, _four(shot.intrinsics), shot.cam2ego, mounted_on="camera2base"
        )
        for shot in shots
    }


def _of_info(
    camera: str, info: CameraInfo, parents: dict[str, tuple[str, Array]], base_frame: str
) -> CameraCalibration:
    shown = window(info)
    if shown.size is None:
        raise ValueError(f"CameraInfo of {camera} gives no size, expected width and height")
    height, width = shown.size
    to_image = shown.to_image(height, width)
    intrinsics = _four(to_image @ np.array(info.k, np.float64).reshape(3, 3))
    mounting = _sensor2base(camera, info.header.frame_id, parents, base_frame)
    bent = is_distorted(info)
    lens = (tuple(map(float, info.d)), info.distortion_model, _projection(info, to_image)) if bent else ()
    return CameraCalibration(width, height, intrinsics, mounting, "camera2base", *lens)


def _projection(info: CameraInfo, to_image: Array) -> tuple[float, ...]:
    """fx, fy, cx, cy of P where the node would use it; to_image: as `convert.Window.to_image`."""
    matrix = camera_matrix_of_p(info)
    return () if matrix is None else _four(to_image @ matrix)


def _four(matrix: Array) -> tuple[float, ...]:
    """fx, fy, cx, cy of a camera matrix [3, 3]."""
    return tuple(float(matrix[place]) for place in ((0, 0), (1, 1), (0, 2), (1, 2)))


def _sensor2base(camera: str, frame: str, parents: dict[str, tuple[str, Array]], base_frame: str) -> Array:
    """[4, 4], by the chain of parents."""
    matrix, at = np.eye(4), frame
    for _ in range(len(parents) + 1):  # no chain is longer, unless it is a loop
        if at == base_frame:
            return matrix
        if at not in parents:
            break
        at, child2parent = parents[at]
        matrix = child2parent @ matrix
    known = ", ".join(sorted(parents)) or "none"
    raise ValueError(f"no transform from {camera}'s frame {frame!r} to {base_frame!r}; known frames: {known}")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("python -m tggbc_ros.tools.calibration", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    bag = commands.add_parser("bag", help="from the CameraInfo and TF of a rosbag2")
    bag.add_argument("source", type=Path, metavar="BAG", help="bag folder, or one .mcap or .db3 file")
    bag.add_argument("--cameras", nargs="+", default=DEFAULTS.camera_names, metavar="NAME", help="default: nuScenes'")
    bag.add_argument("--camera-info-topic", default=DEFAULTS.camera_info_topic, metavar="TOPIC", help="with {camera}")
    bag.add_argument("--base-frame", default=DEFAULTS.base_frame, metavar="FRAME", help="frame of the vehicle")
    data = commands.add_parser("data", help="from a scene of a data set in nuScenes' v1.0 schema")
    data.add_argument("source", type=Path, metavar="DIR", help="the data set")
    data.add_argument("--scene", required=True, metavar="NAME", help="which scene; vehicles differ")
    data.add_argument("--version", metavar="NAME", help="which version, if there are several")
    data.add_argument("--lower-case", action="store_true", help="cam_front for CAM_FRONT, as some bags call it")
    for command in (bag, data):
        command.add_argument("--out", type=Path, required=True, metavar="FILE", help="YAML file, must not exist")
    return parser


def _calibrations(given: argparse.Namespace) -> dict[str, CameraCalibration]:
    if given.command == "bag":
        return of_bag(given.source, given.cameras, given.camera_info_topic, given.base_frame)
    found = of_shots(next(iter(NuScenes(given.source, given.version).samples(given.scene))).cameras)
    return {name.lower(): camera for name, camera in found.items()} if given.lower_case else found


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; exit status 1 and one line on standard error if it fails."""
    given = _parser().parse_args(arguments)
    try:
        cameras = _calibrations(given)
        save(given.out, cameras)
    except (OSError, ValueError, BadInputError) as error:
        print(f"calibration {given.command} {given.source}: {' '.join(str(error).split())}", file=sys.stderr)
        return 1
    print(f"wrote {given.out}: {', '.join(cameras)}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
