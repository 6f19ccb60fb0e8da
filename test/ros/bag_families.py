"""One short synthetic drive as a bag of our own and as the bags in the wild have it, each with its own traps.

A family's messages are (log time, topic, message) in order of log time; topics, frames, stamps and what is missing
are those of the named converters.
"""

from __future__ import annotations

import array
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from nav_msgs.msg import Odometry
from rclpy.serialization import serialize_message
from rosbags.rosbag2 import StoragePlugin, Writer
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import Header
from synthetic_rig import (
    CAM2EGO,
    HEIGHT,
    INTRINSICS,
    LIDAR2EGO,
    PERIOD_NS,
    STAGGER_NS,
    START_NS,
    WIDTH,
    camera_info,
    ego2global,
    jpeg,
    stamp,
    static_transforms,
    transform,
)
from tf2_msgs.msg import TFMessage

from tggbc_ros.core.geometry import invert_rigid, quaternion_from_rotation
from tggbc_ros.data.bags.mcap_file import Message
from tggbc_ros.data.bags.sample_bag import TYPESTORE, offered_qos
from tggbc_ros.ros import convert
from tggbc_ros.ros.params import CAMERAS

sys.path.insert(0, str(Path(__file__).parents[1] / "data"))

import foxglove_messages as foxglove  # noqa: E402

Entry = tuple[int, str, Any]
BRIDGE_DELAY_NS = 100_000_000_000_000_000


def shots(sets: Sequence[int]) -> list[tuple[int, str, CompressedImage]]:
    """Stamp, camera and image of every shot, in order of time."""
    found = []
    for index in sets:
        for place, name in enumerate(CAMERAS):
            stamp_ns = START_NS + index * PERIOD_NS + place * STAGGER_NS
            found.append((stamp_ns, name, jpeg(name, stamp_ns, 10 * index + place)))
    return found


def raw(image: CompressedImage, header: Header) -> Image:
    """The same pixels, bgr8."""
    pixels = convert.bgr_image(image)
    data = array.array("B", pixels.tobytes())
    return Image(header=header, height=HEIGHT, width=WIDTH, encoding="bgr8", step=3 * WIDTH, data=data)


def odometry(stamp_ns: int, frame_id: str) -> Odometry:
    message = Odometry(header=Header(stamp=stamp(stamp_ns), frame_id=frame_id), child_frame_id="base_link")
    pose, place, turn = ego2global(stamp_ns), message.pose.pose.position, message.pose.pose.orientation
    place.x, place.y, place.z = pose[:3, 3].tolist()
    turn.x, turn.y, turn.z, turn.w = quaternion_from_rotation(pose[:3, :3])
    return message


def ego_transform(stamp_ns: int, frame_id: str = "map", shift_ns: int = 0) -> TFMessage:
    return TFMessage(transforms=[transform(ego2global(stamp_ns), frame_id, "base_link", stamp_ns + shift_ns)])


def mountings(stamp_ns: int, name: Callable[[str], str] = str) -> list[Any]:
    """Where the sensors sit, as transforms of that time."""
    sensors = {"LIDAR_TOP": LIDAR2EGO, **CAM2EGO}
    return [transform(matrix, "base_link", name(sensor), stamp_ns) for sensor, matrix in sensors.items()]


def our_own(sets: Sequence[int]) -> list[Entry]:
    """What this package's own bags hold."""
    entries: list[Entry] = [(START_NS + sets[0] * PERIOD_NS, "/tf_static", static_transforms())]
    for stamp_ns, name, image in shots(sets):
        entries.append((stamp_ns, "/tf", ego_transform(stamp_ns)))
        entries.append((stamp_ns, f"/camera/{name}/camera_info", camera_info(name, stamp_ns)))
        entries.append((stamp_ns, f"/camera/{name}/image/compressed", image))
    return entries


def nuscenes_to_ros2bag(sets: Sequence[int]) -> list[Entry]:
    """mbed92, tatsuyai713: R is no rotation; all of TF at keyframes on /tf, each with the next keyframe's."""
    entries: list[Entry] = []
    keyframes_ns = [START_NS + index * PERIOD_NS for index in sets]
    for number, key_ns in enumerate(keyframes_ns):
        both = [
            entry
            for t in keyframes_ns[number : number + 2]
            for entry in [transform(ego2global(t), "map", "base_link", t), *mountings(t)]
        ]
        entries.append((key_ns, "/tf", TFMessage(transforms=both)))
    for stamp_ns, name, image in shots(sets):
        info = camera_info(name, stamp_ns)
        info.r = [1.0, 0.0, 0.0, 1.0, 0.0, 0.0, 1.0, 0.0, 0.0]
        entries.append((stamp_ns, f"/{name}/camera_info", info))
        entries.append((stamp_ns, f"/{name}/image_rect_compressed", image))
    return sorted(entries, key=lambda entry: entry[0])


def chris7462(sets: Sequence[int]) -> list[Entry]:
    """Raw images in frames of other names, odometry, no TF at all; the pose is written after its image."""
    entries: list[Entry] = []
    for stamp_ns, name, image in shots(sets):
        channel = name.lower()
        header = Header(stamp=stamp(stamp_ns), frame_id=f"{channel}_link")
        info = camera_info(name, stamp_ns)
        info.header = header
        entries.append((stamp_ns, f"/nuscenes/{channel}/image_raw", raw(image, header)))
        entries.append((stamp_ns, f"/nuscenes/{channel}/camera_info", info))
        entries.append((stamp_ns, "/nuscenes/odom", odometry(stamp_ns, "map")))
    return entries


def nuscenes2bag_ros2(sets: Sequence[int]) -> list[Entry]:
    """Wj-costumer: images without stamp, frame and CameraInfo; poses as odometry and on /tf, mountings too."""
    entries: list[Entry] = []
    for stamp_ns, name, image in shots(sets):
        turn = ego_transform(stamp_ns, "odom").transforms
        still = transform(np.eye(4), "map", "odom", stamp_ns)
        entries.append((stamp_ns, "/odom", odometry(stamp_ns, "odom")))
        entries.append((stamp_ns, "/tf", TFMessage(transforms=[*turn, *mountings(stamp_ns, str.lower), still])))
        entries.append((stamp_ns, f"/{name.lower()}/raw", raw(image, Header())))
    return entries


def ros2_dataset_bridge(sets: Sequence[int]) -> list[Entry]:
    """Owen-Liuyuxuan: all stamped when published, years later; cameras in another order, the ego pose last."""
    entries: list[Entry] = []
    for index in sets:
        start_ns = START_NS + index * PERIOD_NS
        images = {name: image for _, name, image in shots([index])}
        for place, name in enumerate(CAMERAS):
            now_ns = start_ns + place * STAGGER_NS + BRIDGE_DELAY_NS
            header = Header(stamp=stamp(now_ns), frame_id=name)
            mounting = [entry for entry in mountings(now_ns) if entry.child_frame_id == name]
            entries.append((now_ns, "/tf", TFMessage(transforms=mounting)))
            entries.append((now_ns, f"/nuscenes/{name}/image", raw(images[name], header)))
            entries.append((now_ns, f"/nuscenes/{name}/camera_info", camera_info(name, now_ns)))
        last_ns = start_ns + len(CAMERAS) * STAGGER_NS
        poses = [mountings(last_ns + BRIDGE_DELAY_NS)[0]]
        poses += ego_transform(last_ns, "world", BRIDGE_DELAY_NS).transforms
        entries += [(last_ns + BRIDGE_DELAY_NS, "/tf", TFMessage(transforms=[pose])) for pose in poses]
    return entries


def nuscenes2mcap(sets: Sequence[int]) -> list[Message]:
    """foxglove/nuscenes2mcap, not a bag yet: Foxglove's protobuf, names in lower case, all transforms on /tf.

    A keyframe's messages have the log time of its lidar, which is newer than its images, and each sensor's transform
    comes before its image, the calibration after it. Between keyframes there are poses of other sensors' readings.
    """
    messages = []
    for index in sets:
        lidar_ns = START_NS + index * PERIOD_NS + len(CAMERAS) * STAGGER_NS
        messages += [_foxglove_pose(lidar_ns), _foxglove_mounting("LIDAR_TOP", LIDAR2EGO, lidar_ns)]
        for stamp_ns, name, image in shots([index]):
            frame, size = name.lower(), (WIDTH, HEIGHT)
            info = foxglove.camera_calibration(stamp_ns, frame, size, INTRINSICS.ravel().tolist())
            encoded = foxglove.compressed_image(stamp_ns, frame, bytes(image.data))
            messages.append(_foxglove_mounting(name, CAM2EGO[name], lidar_ns))
            messages.append(_foxglove(lidar_ns, f"/{frame}/image_rect_compressed", "CompressedImage", encoded))
            messages.append(_foxglove(lidar_ns, f"/{frame}/camera_info", "CameraCalibration", info))
        messages.append(_foxglove(lidar_ns, "/lidar_top", "PointCloud", foxglove.timestamp(lidar_ns)))
        messages += [_foxglove_pose(lidar_ns + later_ns) for later_ns in range(80_000_000, 400_000_000, 80_000_000)]
    return messages


def _foxglove(log_ns: int, topic: str, schema: str, data: bytes) -> Message:
    return Message(log_ns, topic, "protobuf", f"foxglove.{schema}", data)


def _foxglove_pose(stamp_ns: int) -> Message:
    return _foxglove_transform(stamp_ns, "map", "base_link", ego2global(stamp_ns))


def _foxglove_mounting(sensor: str, matrix: np.ndarray, stamp_ns: int) -> Message:
    return _foxglove_transform(stamp_ns, "base_link", sensor.lower(), matrix)


def _foxglove_transform(stamp_ns: int, parent: str, child: str, matrix: np.ndarray) -> Message:
    turn = quaternion_from_rotation(matrix[:3, :3])
    return _foxglove(
        stamp_ns, "/tf", "FrameTransform", foxglove.frame_transform(stamp_ns, parent, child, matrix[:3, 3], turn)
    )


def write_bag(path: Path, entries: Sequence[Entry]) -> Path:
    """A rosbag2 of these messages."""
    with Writer(path, version=9, storage_plugin=StoragePlugin.MCAP) as writer:
        connections: dict[str, Any] = {}
        for log_ns, topic, message in entries:
            package = type(message).__module__.split(".")[0]
            kind = f"{package}/msg/{type(message).__name__}"
            if topic not in connections:
                quality = [offered_qos(topic)]
                connections[topic] = writer.add_connection(
                    topic, kind, typestore=TYPESTORE, offered_qos_profiles=quality
                )
            writer.write(connections[topic], log_ns, serialize_message(message))
    return path


def write_calibration(path: Path, cameras: Sequence[str], field: str = "camera2base") -> Path:
    """The rig's calibration as the parameter calibration_file wants it."""
    content = {}
    for camera, matrix in zip(cameras, CAM2EGO.values(), strict=True):
        mounting = matrix if field == "camera2base" else invert_rigid(LIDAR2EGO) @ matrix
        numbers = [*mounting[:3, 3].tolist(), *map(float, quaternion_from_rotation(mounting[:3, :3]))]
        size, pixels = [WIDTH, HEIGHT], INTRINSICS[[0, 1, 0, 1], [0, 1, 2, 2]].tolist()
        content[camera] = {"size": size, "intrinsics": pixels, field: numbers}
    path.write_text(yaml.safe_dump({"cameras": content}), encoding="utf-8")
    return path
