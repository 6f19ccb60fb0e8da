"""Images alone of a bag, as a node with the same parameters would show them to its network; no poses are needed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from rclpy.serialization import deserialize_message
from rosbags.interfaces import Connection
from sensor_msgs.msg import CameraInfo

from tggbc_ros.core.config import ModelConfig
from tggbc_ros.core.types import CameraFrame, Rig
from tggbc_ros.data.bags.bag_file import Bag, BagError, open_bag
from tggbc_ros.ros.drops import BadInputError
from tggbc_ros.ros.images.ego_mask import EgoMasks
from tggbc_ros.ros.images.pictures import Message, Picture, Pictures
from tggbc_ros.ros.images.topic_names import image_candidates
from tggbc_ros.ros.params import Settings

WINDOW_NS = 2_000_000_000
"""How long after a moment a camera's image is looked for."""


@dataclass(frozen=True)
class Camera:
    """One camera's topic in a bag: its connections, and what its messages are."""

    name: str
    kind: type
    connections: tuple[Connection, ...]


def bag_frames(path: Path, settings: Settings, model: ModelConfig, count: int, seed: int) -> Iterator[CameraFrame]:
    """Up to ``count`` sets of images, one from each equal stretch of the bag, at a drawn moment of it.

    Every camera's first image after that moment; a stretch with a camera missing, or an image that cannot be used, is
    left out. Matrices and poses of these frames mean nothing. Raises BagError where a camera has no images at all.
    """
    with open_bag(path) as bag:
        cameras = [find_camera(bag, name, settings) for name in settings.camera_names]
        known = first_infos(bag, settings)
        infos = {name: known.get(name) or _unknown() for name in settings.camera_names}
        pictures = Pictures(None, lambda name: infos[name], {}, EgoMasks({}, model), settings.images_rectified)
        edges = np.linspace(bag.start_ns, bag.end_ns, count + 1)
        drawn = np.random.default_rng(seed).uniform(edges[:-1], edges[1:])
        # The start of a stretch, too, where no image is left after the moment.
        for moments_ns in zip(drawn, edges[:-1], strict=True):
            tried = (_seen_at(bag, cameras, pictures, int(moment_ns)) for moment_ns in moments_ns)
            seen = next((each for each in tried if len(each) == len(cameras)), None)
            if seen is not None:
                yield _frame([seen[camera.name] for camera in cameras], settings.camera_names)


def find_camera(bag: Bag, name: str, settings: Settings) -> Camera:
    """Where the bag has the images of a camera; raises BagError naming the topics with images where it has none."""
    topic = settings.image_topic.replace("{camera}", name)
    for kind, candidate in image_candidates(None, topic, settings.image_transport):
        type_name = f"sensor_msgs/msg/{kind.__name__}"
        there = [c for c in bag.connections if c.topic == absolute(candidate) and c.msgtype == type_name]
        found = [connection for connection in there if connection.msgcount]
        if found:
            return Camera(name, kind, tuple(found))
    there = ", ".join(sorted({c.topic for c in bag.connections if "Image" in c.msgtype})) or "none"
    raise BagError(f"bag {bag.path} has no images of {name} on {absolute(topic)}; topics with images: {there}")


def info_connections(bag: Bag, settings: Settings) -> dict[str, list[Connection]]:
    """By camera, where its CameraInfo is."""
    topics = {name: absolute(settings.camera_info_topic.replace("{camera}", name)) for name in settings.camera_names}
    there = [c for c in bag.connections if c.msgtype == "sensor_msgs/msg/CameraInfo"]
    return {name: [c for c in there if c.topic == topic] for name, topic in topics.items()}


def first_infos(bag: Bag, settings: Settings) -> dict[str, CameraInfo]:
    """By camera, its first CameraInfo, where there is one."""
    infos: dict[str, CameraInfo] = {}
    for name, connections in info_connections(bag, settings).items():
        if connections:
            for _, _, data in bag.messages(connections):
                infos[name] = deserialize_message(data, CameraInfo)
                break
    return infos


def _unknown() -> CameraInfo:
    return CameraInfo(k=[1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0])


def _seen_at(bag: Bag, cameras: Sequence[Camera], pictures: Pictures, moment_ns: int) -> Mapping[str, Picture]:
    """By camera, its first image after a moment, where it can be used."""
    by_topic = {connection.topic: camera for camera in cameras for connection in camera.connections}
    asked = [connection for camera in cameras for connection in camera.connections]
    first: dict[str, Message] = {}
    for connection, _, data in bag.messages(asked, moment_ns, moment_ns + WINDOW_NS):
        camera = by_topic[connection.topic]
        if camera.name not in first:
            first[camera.name] = deserialize_message(data, camera.kind)
        if len(first) == len(cameras):
            break
    seen = {}
    for name, message in first.items():
        try:
            seen[name] = pictures.make(name, message)
        except BadInputError:
            continue  # the next moment will do; too few of them are the caller's to name
    return seen


def _frame(seen: Sequence[Picture], names: Sequence[str]) -> CameraFrame:
    nowhere = np.stack([np.eye(4)] * len(seen))
    rig = Rig(tuple(names), np.stack([picture.intrinsics for picture in seen]), nowhere)
    return CameraFrame(tuple(picture.pixels for picture in seen), rig, 0, np.eye(4))


def absolute(topic: str) -> str:
    """As a bag names it."""
    return f"/{topic.lstrip('/')}"
