"""What there is to be shown: topics of the node's outputs and of the player of one of our bags, as DDS knows them."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from rclpy.context import Context
from rclpy.node import Node
from rclpy.qos import QoSProfile

from tggbc_ros.core.config import MODELS
from tggbc_ros.data.bags.sample_bag import BagWriter
from tggbc_ros.data.nuscenes.dataset import NuScenes
from tggbc_ros.ros.bags.bag_player import BagPlayer, PlayOptions
from tggbc_ros.ros.detector_node import DetectorNode
from tggbc_ros.ros.output.outputs import Outputs
from tggbc_ros.ros.params import CAMERAS

sys.path.insert(0, str(Path(__file__).parents[1] / "data"))
from tiny_nuscenes import write_tiny_nuscenes  # noqa: E402

RCLPY_OWN = {"/parameter_events", "/rosout", "/detector/transition_event"}


@dataclass(frozen=True)
class Shown:
    """Topic -> its type, such as sensor_msgs/msg/Image, and -> the quality of service that is offered."""

    types: dict[str, str]
    qos: dict[str, QoSProfile]


@contextmanager
def shown_topics(context: Context, folder: Path) -> Iterator[Shown]:
    """The publishers themselves, made as the node ``/detector`` and as the player make them."""
    detector, player = DetectorNode(context=context), Node("player", context=context)
    outputs = Outputs(detector, MODELS["demo"], CAMERAS)
    dataset = NuScenes(write_tiny_nuscenes(folder / "data"))
    with BagWriter(folder / "bag") as bag:
        bag.write(next(iter(dataset.samples("scene-0001"))))
    BagPlayer(player, PlayOptions(folder / "bag"))
    time.sleep(0.5)  # the graph follows
    types = {}
    for node in ("detector", "player"):
        for topic, (kind,) in detector.get_publisher_names_and_types_by_node(node, "/"):
            types[topic] = kind
    types = {topic: kind for topic, kind in types.items() if topic not in RCLPY_OWN}
    yield Shown(types, {topic: detector.get_publishers_info_by_topic(topic)[0].qos_profile for topic in types})
    outputs.close()
    detector.destroy_node()
    player.destroy_node()
