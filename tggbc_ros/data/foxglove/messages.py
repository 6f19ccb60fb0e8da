"""Foxglove's protobuf messages -> the ROS messages that say the same.

Source of the fields' numbers: the schemas that Foxglove publishes (docs.foxglove.dev, "Message schemas"). What has
no place in the ROS message is nothing that the detector needs.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from rosbags.typesys.stores import ros2_jazzy as ros

from tggbc_ros.data.bags.mcap_file import Message
from tggbc_ros.data.bags.messages import Stamped, make_header
from tggbc_ros.data.foxglove.protobuf_wire import Fields

MAX_NS = 2**31 * 1_000_000_000


def to_ros(message: Message) -> Stamped | None:
    """The same topic and log time; None for a type that has no counterpart here.

    Raises ValueError naming topic and field for data that are not of the type they claim.
    """
    convert = CONVERTERS.get(message.schema) if message.encoding == "protobuf" else None
    if convert is None:
        return None
    try:
        converted = convert(Fields(message.data))
    except ValueError as error:
        raise ValueError(f"{message.schema} on {message.topic} at {message.log_time_ns} ns: {error}") from error
    return Stamped(message.log_time_ns, message.topic, converted.__msgtype__, converted)  # type: ignore[attr-defined]


def _compressed_image(given: Fields) -> object:
    data = np.frombuffer(given.data(2), dtype=np.uint8)
    return ros.sensor_msgs__msg__CompressedImage(_header(given, frame=4), format=given.text(3), data=data)


def _raw_image(given: Fields) -> object:
    data = np.frombuffer(given.data(6), dtype=np.uint8)
    return ros.sensor_msgs__msg__Image(
        header=_header(given, frame=7),
        height=given.integer(3),
        width=given.integer(2),
        encoding=given.text(4),
        is_bigendian=0,
        step=given.integer(5),
        data=data,
    )


def _camera_calibration(given: Fields) -> object:
    return ros.sensor_msgs__msg__CameraInfo(
        header=_header(given, frame=9),
        height=given.integer(3),
        width=given.integer(2),
        distortion_model=given.text(4),
        d=np.array(given.doubles(5)),
        k=_matrix(given, 6, 9),
        r=_matrix(given, 7, 9),
        p=_matrix(given, 8, 12),
        binning_x=0,
        binning_y=0,
        roi=ros.sensor_msgs__msg__RegionOfInterest(x_offset=0, y_offset=0, height=0, width=0, do_rectify=False),
    )


def _matrix(given: Fields, number: int, size: int) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """A matrix by rows; zeros where it is not given, as ROS has it."""
    values = given.doubles(number) or [0.0] * size
    if len(values) != size:
        raise ValueError(f"field {number} has {len(values)} numbers, expected {size}")
    return np.array(values)


def _frame_transform(given: Fields) -> object:
    return ros.tf2_msgs__msg__TFMessage(transforms=[_transform(given)])


def _frame_transforms(given: Fields) -> object:
    return ros.tf2_msgs__msg__TFMessage(transforms=[_transform(transform) for transform in given.messages(1)])


def _transform(given: Fields) -> ros.geometry_msgs__msg__TransformStamped:
    place, turn = given.message(4), given.message(5)
    return ros.geometry_msgs__msg__TransformStamped(
        header=_header(given, frame=2),
        child_frame_id=given.text(3),
        transform=ros.geometry_msgs__msg__Transform(
            translation=ros.geometry_msgs__msg__Vector3(*(place.double(axis) for axis in (1, 2, 3))),
            rotation=ros.geometry_msgs__msg__Quaternion(*(turn.double(axis) for axis in (1, 2, 3, 4))),
        ),
    )


def _header(given: Fields, frame: int) -> ros.std_msgs__msg__Header:
    """Field 1 is always google.protobuf.Timestamp; ``frame`` is the number of the frame's name."""
    time = given.message(1)
    timestamp_ns = time.integer(1) * 1_000_000_000 + time.integer(2)
    if timestamp_ns >= MAX_NS:
        raise ValueError(f"timestamp is {timestamp_ns} ns, expected less than {MAX_NS}")
    return make_header(timestamp_ns, given.text(frame))


CONVERTERS: dict[str, Callable[[Fields], object]] = {
    "foxglove.CompressedImage": _compressed_image,
    "foxglove.RawImage": _raw_image,
    "foxglove.CameraCalibration": _camera_calibration,
    "foxglove.FrameTransform": _frame_transform,
    "foxglove.FrameTransforms": _frame_transforms,
}
"""Type as an MCAP file names it -> what makes a ROS message of it."""
