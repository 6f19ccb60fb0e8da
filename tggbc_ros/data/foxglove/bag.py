"""An MCAP file with Foxglove's protobuf messages -> a rosbag2 that any ROS 2 tool plays."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from rosbags.interfaces import Connection

from tggbc_ros.data.bags import mcap_file
from tggbc_ros.data.bags.bag_writer import BagFileWriter
from tggbc_ros.data.bags.messages import Stamped
from tggbc_ros.data.bags.sample_bag import TYPESTORE, offered_qos
from tggbc_ros.data.foxglove.messages import CONVERTERS, to_ros


@dataclass(frozen=True)
class Converted:
    """How many messages were written by topic, and how many left out by type, as they have no counterpart."""

    written: Mapping[str, int]
    left_out: Mapping[str, int]


def convert(source: Path, out: Path, storage: str = "mcap") -> Converted:
    """Write images, calibrations and transforms to a new bag, with their topics, log times and frames.

    An unfinished bag is removed. Raises FileExistsError for an existing bag, and ValueError naming the file for one
    that is broken or holds nothing to convert.
    """
    if out.exists():
        raise FileExistsError(f"bag {out} exists already; remove it or choose another name")
    writer = BagFileWriter(out, storage)
    writer.open()
    with ExitStack() as undo:
        undo.callback(shutil.rmtree, out)
        undo.callback(writer.abort)
        found = _write(source, writer)
        undo.pop_all()
    writer.close()
    return found


def _write(source: Path, writer: BagFileWriter) -> Converted:
    connections: dict[str, Connection] = {}
    written: Counter[str] = Counter()
    left_out: Counter[str] = Counter()
    for message in mcap_file.read_messages(source):
        stamped = to_ros(message)
        if stamped is None:
            left_out[message.schema or message.encoding] += 1
            continue
        if stamped.topic not in connections:
            connections[stamped.topic] = _connection(writer, stamped)
        data = TYPESTORE.serialize_cdr(stamped.message, stamped.msgtype)
        writer.write(connections[stamped.topic], stamped.timestamp_ns, data)
        written[stamped.topic] += 1
    if not written:
        types = ", ".join(sorted(left_out)) or "no message"
        raise ValueError(f"{source} holds {types}, expected one or more of {', '.join(CONVERTERS)}, as protobuf")
    return Converted(dict(sorted(written.items())), dict(sorted(left_out.items())))


def _connection(writer: BagFileWriter, stamped: Stamped) -> Connection:
    quality = [offered_qos(stamped.topic)]
    return writer.add_connection(stamped.topic, stamped.msgtype, typestore=TYPESTORE, offered_qos_profiles=quality)
