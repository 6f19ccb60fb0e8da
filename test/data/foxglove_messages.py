"""Foxglove's protobuf messages for tests, written field by field; test_foxglove.py holds them to protobuf's own."""

from __future__ import annotations

import struct
from collections.abc import Sequence


def field(number: int, value: bytes | str | int | float | Sequence[float]) -> bytes:
    """Bytes, text, a varint, a double or packed doubles; nothing for a zero, as proto3 has it."""
    if not value:
        return b""
    if isinstance(value, int):
        return _varint(number << 3) + _varint(value)
    if isinstance(value, float):
        return _varint(number << 3 | 1) + struct.pack("<d", value)
    if isinstance(value, str):
        value = value.encode()
    if not isinstance(value, bytes):
        value = struct.pack(f"<{len(value)}d", *value)
    return _varint(number << 3 | 2) + _varint(len(value)) + value


def fixed32(number: int, value: int) -> bytes:
    return _varint(number << 3 | 5) + struct.pack("<I", value)


def timestamp(time_ns: int) -> bytes:
    return field(1, field(1, time_ns // 1_000_000_000) + field(2, time_ns % 1_000_000_000))


def compressed_image(time_ns: int, frame: str, data: bytes) -> bytes:
    return timestamp(time_ns) + field(2, data) + field(3, "jpeg") + field(4, frame)


def raw_image(time_ns: int, frame: str, size: tuple[int, int], data: bytes) -> bytes:
    width, height = size
    sizes = fixed32(2, width) + fixed32(3, height)
    return timestamp(time_ns) + sizes + field(4, "bgr8") + fixed32(5, 3 * width) + field(6, data) + field(7, frame)


def camera_calibration(time_ns: int, frame: str, size: tuple[int, int], k: Sequence[float]) -> bytes:
    """Without distortion and its model, R the identity, P = [K | 0]."""
    projection = [*k[:3], 0.0, *k[3:6], 0.0, *k[6:], 0.0]
    matrices = field(6, k) + field(7, [1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0]) + field(8, projection)
    return timestamp(time_ns) + fixed32(2, size[0]) + fixed32(3, size[1]) + matrices + field(9, frame)


def frame_transform(time_ns: int, parent: str, child: str, place: Sequence[float], turn: Sequence[float]) -> bytes:
    """place: x y z. turn: x y z w."""
    translation = b"".join(field(axis + 1, float(value)) for axis, value in enumerate(place))
    rotation = b"".join(field(axis + 1, float(value)) for axis, value in enumerate(turn))
    return timestamp(time_ns) + field(2, parent) + field(3, child) + field(4, translation) + field(5, rotation)


def _varint(value: int) -> bytes:
    low = b""
    while value > 0x7F:
        low += bytes([value & 0x7F | 0x80])
        value >>= 7
    return low + bytes([value])
