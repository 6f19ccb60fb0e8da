"""Small bags of numbers for tests, and their metadata.yaml changed."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import yaml
from rosbags.rosbag2 import CompressionFormat, CompressionMode
from rosbags.typesys import Stores, get_typestore

from tggbc_ros.data.bags.bag_file import open_bag
from tggbc_ros.data.bags.bag_writer import BagFileWriter
from tggbc_ros.data.bags.sample_bag import offered_qos

STORE = get_typestore(Stores.ROS2_JAZZY)
NUMBER = "std_msgs/msg/UInt32"
START_NS = 1_600_000_000_000_000_000
STEP_NS = 10_000_000
TOPICS = ("/a", "/b")
COUNT = 40


def number(value: int) -> bytes:
    return bytes(STORE.serialize_cdr(STORE.types[NUMBER](data=value), NUMBER))


def write_numbers(
    path: Path,
    storage: str = "sqlite3",
    values: Iterable[int] = range(COUNT),
    compression: CompressionMode = CompressionMode.NONE,
) -> Path:
    """Number k at START_NS + k steps, the even ones on /a, the odd ones on /b; the path."""
    writer = BagFileWriter(path, storage)
    writer.set_compression(compression, CompressionFormat.ZSTD)
    with writer:
        added = [
            writer.add_connection(topic, NUMBER, typestore=STORE, offered_qos_profiles=[offered_qos(topic)])
            for topic in TOPICS
        ]
        for value in values:
            writer.write(added[value % 2], START_NS + value * STEP_NS, number(value))
    return path


def read_numbers(path: Path, with_losses: bool = False) -> list[int]:
    """Each checked to be on its topic, at its time and in order."""
    found, last_ns = [], 0
    with open_bag(path, with_losses) as bag:
        for connection, time_ns, data in bag.messages():
            found.append(int(STORE.deserialize_cdr(data, NUMBER).data))
            assert connection.topic == TOPICS[found[-1] % 2]
            assert time_ns == START_NS + found[-1] * STEP_NS >= last_ns
            last_ns = time_ns
    return found


def losses_of(path: Path) -> str:
    with open_bag(path, with_losses=True) as bag:
        return "; ".join(bag.losses)


def notes_of(path: Path) -> str:
    with open_bag(path, with_losses=True) as bag:
        return "; ".join(bag.notes)


def change_metadata(bag: Path, change: Callable[[dict[str, Any]], object]) -> None:
    path = bag / "metadata.yaml"
    content = yaml.safe_load(path.read_text())
    change(content["rosbag2_bagfile_information"])
    path.write_text(yaml.safe_dump(content))


def data_file(bag: Path) -> Path:
    (found,) = (path for path in bag.iterdir() if path.suffix != ".yaml")
    return found


def cut(file: Path, share: float) -> None:
    """Keep that share of its bytes."""
    file.write_bytes(file.read_bytes()[: int(share * file.stat().st_size)])
