"""message_definitions: installed definitions give the type hashes that ROS itself gives, and missing ones are named."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from ament_index_python.packages import get_package_share_directory

from tggbc_ros.ros.bags.message_definitions import DefinitionError, typestore_of


@pytest.mark.parametrize(
    "msgtype",
    [
        "tggbc_ros/msg/BoundingBox3DArray",
        "tggbc_ros/msg/FrameReport",
        "vision_msgs/msg/Detection3DArray",
        "tf2_msgs/msg/TFMessage",
        "sensor_msgs/msg/CameraInfo",
        "visualization_msgs/msg/MarkerArray",
    ],
)
def test_hash_is_that_of_the_installed_type(msgtype: str) -> None:
    package, _, name = msgtype.split("/")
    description = json.loads((Path(get_package_share_directory(package)) / "msg" / f"{name}.json").read_text())
    hashes = {entry["type_name"]: entry["hash_string"] for entry in description["type_hashes"]}
    assert typestore_of(msgtype).hash_rihs01(msgtype) == hashes[msgtype]


@pytest.mark.parametrize(
    ("msgtype", "message"),
    [
        ("no_such_package/msg/Thing", "package no_such_package of message type"),
        ("std_msgs/msg/NoSuchThing", "cannot read the definition of std_msgs/msg/NoSuchThing"),
        ("std_msgs/String", "expected package/msg/Name"),
    ],
)
def test_what_is_missing_is_named(msgtype: str, message: str) -> None:
    with pytest.raises(DefinitionError, match=message):
        typestore_of(msgtype)
