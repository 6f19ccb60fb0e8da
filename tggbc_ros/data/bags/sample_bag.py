"""rosbag2 files (mcap, sqlite3) of samples: standard ROS messages, readable by any ROS 2 tool."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from rosbags.interfaces import Connection, Qos, QosDurability, QosHistory, QosLiveliness, QosReliability, QosTime
from rosbags.typesys import Stores, get_typestore

from tggbc_ros.core.types import Array
from tggbc_ros.data.bags.bag_file import damage_named, open_bag
from tggbc_ros.data.bags.bag_writer import STORAGES, BagFileWriter
from tggbc_ros.data.bags.markers import ground_truth
from tggbc_ros.data.bags.messages import (
    IMAGE_FORMATS,
    TF_STATIC_TOPIC,
    TF_TOPIC,
    Stamped,
    sample_messages,
    static_transforms,
)
from tggbc_ros.data.records import Sample

TYPESTORE = get_typestore(Stores.ROS2_JAZZY)
_FOREVER = QosTime(sec=9223372036, nsec=854775807)


class BagWriter:
    """Writes samples to a new bag, all messages in time order, log time = header stamp but for ground truth.

    storage: mcap or sqlite3. images: jpeg (the files as they are) or raw (bgr8). To be used in a ``with``
    block; a bag whose block ends in an error is removed. Raises FileExistsError for an existing path.
    """

    def __init__(self, path: Path, storage: str = "mcap", images: str = "jpeg") -> None:
        if storage not in STORAGES:
            raise ValueError(f"storage is {storage!r}, expected one of {', '.join(STORAGES)}")
        if images not in IMAGE_FORMATS:
            raise ValueError(f"images is {images!r}, expected one of {', '.join(IMAGE_FORMATS)}")
        if path.exists():
            raise FileExistsError(f"bag {path} exists already; remove it or choose another name")
        self.images = images
        self._path = path
        self._writer = BagFileWriter(path, storage)
        self._connections: dict[str, Connection] = {}
        self._pending: list[Stamped] = []
        self._mounting: tuple[tuple[str, ...], Array] | None = None

    def __enter__(self) -> BagWriter:
        """Create the bag."""
        self._writer.open()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Write what is pending and the metadata; after an error remove the unfinished bag."""
        if kind is None:
            self._flush(None)
            self._writer.close()
            return
        self._writer.abort()
        shutil.rmtree(self._path)

    def write(self, sample: Sample) -> None:
        """Add a sample; samples come in time order, and all have the mounting of the first.

        Messages are held back until the next sample starts, because a set's images may reach into it.
        """
        messages = sample_messages(sample, self.images)
        if sample.annotations is not None:
            messages.append(ground_truth(sample, sample.annotations))
        start_ns = min(stamped.timestamp_ns for stamped in messages)
        if self._pending and start_ns < self._pending[0].timestamp_ns:
            before = self._pending[0].timestamp_ns
            raise ValueError(f"sample {sample.token} starts at {start_ns} ns, expected none before {before} ns")
        if self._mounting is None:
            messages.insert(0, static_transforms(sample, start_ns))
        self._check_mounting(sample)
        self._flush(start_ns)
        self._pending = sorted([*self._pending, *messages], key=lambda stamped: stamped.timestamp_ns)

    def _check_mounting(self, sample: Sample) -> None:
        names = tuple(shot.name for shot in sample.cameras)
        mounting = np.stack([sample.lidar2ego, *(shot.cam2ego for shot in sample.cameras)])
        if self._mounting is None:
            self._mounting = names, mounting
        if names != self._mounting[0]:
            raise ValueError(f"sample {sample.token} has cameras {names}, expected {self._mounting[0]} as before")
        if not np.allclose(mounting, self._mounting[1], rtol=0, atol=1e-9):
            raise ValueError(f"sample {sample.token} mounts its sensors otherwise than the first; write another bag")

    def _flush(self, until_ns: int | None) -> None:
        """Write the pending messages before that time, all if None."""
        ready = [stamped for stamped in self._pending if until_ns is None or stamped.timestamp_ns < until_ns]
        for stamped in ready:
            data = TYPESTORE.serialize_cdr(stamped.message, stamped.msgtype)
            self._writer.write(self._connection(stamped), stamped.timestamp_ns, data)
        self._pending = self._pending[len(ready) :]

    def _connection(self, stamped: Stamped) -> Connection:
        if stamped.topic not in self._connections:
            self._connections[stamped.topic] = self._writer.add_connection(
                stamped.topic, stamped.msgtype, typestore=TYPESTORE, offered_qos_profiles=[offered_qos(stamped.topic)]
            )
        return self._connections[stamped.topic]


def read_messages(path: Path) -> Iterator[Stamped]:
    """Every message of a bag in time order, decoded; standard types of ROS 2 Jazzy only.

    Raises FileNotFoundError without a bag there, BagError naming the bag for one that is damaged.
    """
    with open_bag(path) as bag:
        for connection, timestamp_ns, data in bag.messages():
            with damage_named(path):
                message: Any = TYPESTORE.deserialize_cdr(data, connection.msgtype)
            yield Stamped(timestamp_ns, connection.topic, connection.msgtype, message)


def offered_qos(topic: str) -> Qos:
    """Reliable throughout: best-effort bursts of six images lose messages. Static transforms stay for latecomers."""
    latched = topic == TF_STATIC_TOPIC
    depth = {TF_STATIC_TOPIC: 1, TF_TOPIC: 100}.get(topic, 10)
    return Qos(
        history=QosHistory.KEEP_LAST,
        depth=depth,
        reliability=QosReliability.RELIABLE,
        durability=QosDurability.TRANSIENT_LOCAL if latched else QosDurability.VOLATILE,
        deadline=_FOREVER,
        lifespan=_FOREVER,
        liveliness=QosLiveliness.AUTOMATIC,
        liveliness_lease_duration=_FOREVER,
        avoid_ros_namespace_conventions=False,
    )
