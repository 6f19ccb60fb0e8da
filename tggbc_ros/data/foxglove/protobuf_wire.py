"""Protobuf's wire format -> values by field number, without generated code.

Source: https://protobuf.dev/programming-guides/encoding. A field that is not there has its type's zero.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

VARINT, FIXED64, SIZED, FIXED32 = 0, 1, 2, 5
WIDTHS = {FIXED64: 8, FIXED32: 4}


class Fields:
    """One message; a field may occur several times, and the last one counts where only one is meant.

    Raises ValueError for data that are no message, and for a field of another type than is asked for.
    """

    def __init__(self, data: bytes) -> None:
        self._found: dict[int, list[tuple[int, bytes]]] = {}
        for number, kind, value in _fields(data):
            self._found.setdefault(number, []).append((kind, value))

    def integer(self, number: int) -> int:
        """A varint or a fixed32, not negative."""
        return int.from_bytes(self._last(number, VARINT, FIXED32), "little")

    def double(self, number: int) -> float:
        """A double."""
        return float(struct.unpack("<d", self._last(number, FIXED64) or bytes(8))[0])

    def doubles(self, number: int) -> list[float]:
        """A repeated double, packed or not."""
        data = b"".join(self._all(number, FIXED64, SIZED))
        if len(data) % 8:
            raise ValueError(f"field {number} has {len(data)} bytes, expected doubles of 8 each")
        return list(struct.unpack(f"<{len(data) // 8}d", data))

    def data(self, number: int) -> bytes:
        """Bytes."""
        return self._last(number, SIZED)

    def text(self, number: int) -> str:
        """A string; raises UnicodeDecodeError, a ValueError, for bytes that are none."""
        return self.data(number).decode("utf-8")

    def message(self, number: int) -> Fields:
        """A message in the message."""
        return Fields(self.data(number))

    def messages(self, number: int) -> list[Fields]:
        """A repeated message."""
        return [Fields(data) for data in self._all(number, SIZED)]

    def _last(self, number: int, *kinds: int) -> bytes:
        """Little-endian bytes of the last occurrence; none at all where there is none."""
        return ([b""] + self._all(number, *kinds))[-1]

    def _all(self, number: int, *kinds: int) -> list[bytes]:
        found = self._found.get(number, [])
        for kind, _ in found:
            if kind not in kinds:
                raise ValueError(f"field {number} has wire type {kind}, expected {' or '.join(map(str, kinds))}")
        return [value for _, value in found]


def _fields(data: bytes) -> Iterator[tuple[int, int, bytes]]:
    """Number, wire type and value of each field; a varint's value as eight little-endian bytes."""
    at = 0
    while at < len(data):
        tag, at = _varint(data, at)
        kind, size = tag & 7, 0
        if kind == VARINT:
            number, at = _varint(data, at)
            yield tag >> 3, kind, number.to_bytes(8, "little")
            continue
        if kind == SIZED:
            size, at = _varint(data, at)
        elif kind in WIDTHS:
            size = WIDTHS[kind]
        else:
            raise ValueError(f"field {tag >> 3} has wire type {kind}, expected one of 0, 1, 2, 5")
        if size > len(data) - at:
            raise ValueError(f"field {tag >> 3} claims {size} bytes where {len(data) - at} are left")
        yield tag >> 3, kind, data[at : at + size]
        at += size


def _varint(data: bytes, at: int) -> tuple[int, int]:
    """An integer of seven bits a byte, the lowest first, and where it ends."""
    value = 0
    for place, byte in enumerate(data[at : at + 10]):
        value |= (byte & 0x7F) << (7 * place)
        if byte < 0x80:
            return value & (2**64 - 1), at + place + 1
    raise ValueError(f"a number at byte {at} does not end")
