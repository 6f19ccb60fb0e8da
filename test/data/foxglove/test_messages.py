"""foxglove and foxglove_bag: what protobuf writes comes out as ROS messages, number by number, in a bag."""

from __future__ import annotations

from pathlib import Path

import foxglove_messages as foxglove
import numpy as np
import pytest
from mcap_writer import write_mcap

from tggbc_ros.data.bags.mcap_file import Message
from tggbc_ros.data.bags.sample_bag import read_messages
from tggbc_ros.data.foxglove.bag import convert
from tggbc_ros.data.foxglove.messages import to_ros

TIME_NS = 1_600_000_000_123_456_789
K = [120.0, 0.0, 80.0, 0.0, 118.0, 45.0, 0.0, 0.0, 1.0]
PLACE, TURN = [1.5, -0.25, 0.0], [0.5, -0.5, 0.5, -0.5]
PROTO = {
    "CompressedImage": "timestamp:1:T data:2:bytes format:3:string frame_id:4:string",
    "RawImage": "timestamp:1:T width:2:fixed32 height:3:fixed32 encoding:4:string step:5:fixed32 data:6:bytes "
    "frame_id:7:string",
    "CameraCalibration": "timestamp:1:T width:2:fixed32 height:3:fixed32 distortion_model:4:string D:5:doubles "
    "K:6:doubles R:7:doubles P:8:doubles frame_id:9:string",
    "Vector3": "x:1:double y:2:double z:3:double",
    "Quaternion": "x:1:double y:2:double z:3:double w:4:double",
    "FrameTransform": "timestamp:1:T parent_frame_id:2:string child_frame_id:3:string translation:4:Vector3 "
    "rotation:5:Quaternion",
}
"""Foxglove's published schemas: name, number and type of each field."""


def message(schema: str, data: bytes, topic: str = "/topic", encoding: str = "protobuf") -> Message:
    return Message(5, topic, encoding, f"foxglove.{schema}", data)


def stamp_of(header: object) -> int:
    return header.stamp.sec * 1_000_000_000 + header.stamp.nanosec


def test_images() -> None:
    stamped = to_ros(message("CompressedImage", foxglove.compressed_image(TIME_NS, "cam_front", b"\xff\xd8abc")))
    assert stamped[:3] == (5, "/topic", "sensor_msgs/msg/CompressedImage")
    image = stamped.message
    assert (stamp_of(image.header), image.header.frame_id, image.format) == (TIME_NS, "cam_front", "jpeg")
    assert image.data.tobytes() == b"\xff\xd8abc"
    image = to_ros(message("RawImage", foxglove.raw_image(TIME_NS, "cam", (2, 1), b"abcdef"))).message
    assert (image.width, image.height, image.step, image.encoding, image.data.tobytes()) == (2, 1, 6, "bgr8", b"abcdef")
    assert image.header.frame_id == "cam"


def test_calibrations_and_transforms() -> None:
    info = to_ros(message("CameraCalibration", foxglove.camera_calibration(TIME_NS, "cam", (160, 90), K))).message
    assert (info.width, info.height, info.distortion_model, info.d.tolist()) == (160, 90, "", [])
    assert (info.k.tolist(), info.p.tolist()[:4], info.header.frame_id) == (K, [120.0, 0.0, 80.0, 0.0], "cam")
    transform = foxglove.frame_transform(TIME_NS, "map", "base_link", PLACE, TURN)
    (single,) = to_ros(message("FrameTransform", transform)).message.transforms
    several = to_ros(message("FrameTransforms", foxglove.field(1, transform) * 2)).message.transforms
    assert several == [single, single]
    assert (stamp_of(single.header), single.header.frame_id, single.child_frame_id) == (TIME_NS, "map", "base_link")
    place, turn = single.transform.translation, single.transform.rotation
    assert [place.x, place.y, place.z] == PLACE
    assert [turn.x, turn.y, turn.z, turn.w] == TURN


def test_the_bytes_are_protobufs_own() -> None:
    """By Google's library, from the schemas above; the rest of this file rests on what it says."""
    make = protobuf_classes()
    time = {"seconds": TIME_NS // 10**9, "nanos": TIME_NS % 10**9}
    image = make["CompressedImage"](timestamp=time, data=b"\xff\xd8abc", format="jpeg", frame_id="cam_front")
    assert foxglove.compressed_image(TIME_NS, "cam_front", b"\xff\xd8abc") == image.SerializeToString()
    raw = make["RawImage"](timestamp=time, width=2, height=1, encoding="bgr8", step=6, data=b"abcdef", frame_id="cam")
    assert foxglove.raw_image(TIME_NS, "cam", (2, 1), b"abcdef") == raw.SerializeToString()
    eye = [1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0]
    projection = [120.0, 0.0, 80.0, 0.0, 0.0, 118.0, 45.0, 0.0, 0.0, 0.0, 1.0, 0.0]
    info = make["CameraCalibration"](timestamp=time, width=160, height=90, K=K, R=eye, P=projection, frame_id="cam")
    assert foxglove.camera_calibration(TIME_NS, "cam", (160, 90), K) == info.SerializeToString()
    place, turn = dict(zip("xyz", PLACE, strict=True)), dict(zip("xyzw", TURN, strict=True))
    transform = make["FrameTransform"](
        timestamp=time, parent_frame_id="map", child_frame_id="base_link", translation=place, rotation=turn
    )
    assert foxglove.frame_transform(TIME_NS, "map", "base_link", PLACE, TURN) == transform.SerializeToString()


def protobuf_classes() -> dict[str, type]:
    """Classes of the schemas above; skips without the library."""
    pytest.importorskip("google.protobuf", reason="protobuf comes with ./run env/add.sh onnx")
    from google.protobuf import descriptor_pb2, descriptor_pool, message_factory, timestamp_pb2

    kinds = descriptor_pb2.FieldDescriptorProto
    numbers = {
        "bytes": kinds.TYPE_BYTES,
        "string": kinds.TYPE_STRING,
        "double": kinds.TYPE_DOUBLE,
        "doubles": kinds.TYPE_DOUBLE,
        "fixed32": kinds.TYPE_FIXED32,
    }
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(timestamp_pb2.DESCRIPTOR.serialized_pb)
    file = descriptor_pb2.FileDescriptorProto(name="all.proto", package="foxglove", syntax="proto3")
    file.dependency.append("google/protobuf/timestamp.proto")
    for name, fields in PROTO.items():
        described = file.message_type.add(name=name)
        for field in fields.split():
            label, number, kind = field.split(":")
            once = kinds.LABEL_REPEATED if kind == "doubles" else kinds.LABEL_OPTIONAL
            added = described.field.add(name=label, number=int(number), label=once)
            added.type = numbers.get(kind, kinds.TYPE_MESSAGE)
            if kind not in numbers:
                added.type_name = ".google.protobuf.Timestamp" if kind == "T" else f".foxglove.{kind}"
    pool.Add(file)
    return {name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"foxglove.{name}")) for name in PROTO}


def test_other_types_and_encodings_are_not_converted() -> None:
    data = foxglove.frame_transform(TIME_NS, "map", "base_link", PLACE, TURN)
    assert to_ros(message("PointCloud", data)) is None
    assert to_ros(message("FrameTransform", data, encoding="json")) is None


@pytest.mark.parametrize(
    ("schema", "data", "text"),
    [
        ("CompressedImage", foxglove.field(2, 7), "on /topic at 5 ns: field 2 has wire type 0, expected 2"),
        ("CameraCalibration", foxglove.field(6, [1.0, 2.0]), "field 6 has 2 numbers, expected 9"),
        ("FrameTransform", foxglove.timestamp(2**31 * 10**9), "timestamp is 2147483648000000000 ns, expected less"),
    ],
)
def test_what_is_not_of_its_type_is_said(schema: str, data: bytes, text: str) -> None:
    with pytest.raises(ValueError, match=f"foxglove.{schema}.*{text}"):
        to_ros(message(schema, data))


def test_a_bag_with_what_there_is_a_message_for(tmp_path: Path) -> None:
    transform = message("FrameTransform", foxglove.frame_transform(TIME_NS, "map", "base_link", PLACE, TURN), "/tf")
    image = message("CompressedImage", foxglove.compressed_image(TIME_NS, "cam_front", b"\xff\xd8"), "/cam_front")
    cloud = message("PointCloud", b"", "/lidar_top")
    file = write_mcap(tmp_path / "scene.mcap", [transform, image, cloud, image, cloud, cloud])
    found = convert(file, tmp_path / "bag")
    assert (found.written, found.left_out) == ({"/cam_front": 2, "/tf": 1}, {"foxglove.PointCloud": 3})
    read = list(read_messages(tmp_path / "bag"))
    assert [(one.timestamp_ns, one.topic) for one in read] == [(5, "/tf"), (5, "/cam_front"), (5, "/cam_front")]
    np.testing.assert_array_equal(read[1].message.data, [0xFF, 0xD8])


def test_nothing_to_convert_and_broken_files_leave_no_bag(tmp_path: Path) -> None:
    file = write_mcap(tmp_path / "scene.mcap", [message("PointCloud", b"")])
    with pytest.raises(ValueError, match=r"scene.mcap holds foxglove.PointCloud, expected one or more of foxglove.Com"):
        convert(file, tmp_path / "bag")
    file.write_bytes(file.read_bytes()[:60])
    with pytest.raises(ValueError, match="scene.mcap, about byte"):
        convert(file, tmp_path / "bag")
    assert not (tmp_path / "bag").exists()
