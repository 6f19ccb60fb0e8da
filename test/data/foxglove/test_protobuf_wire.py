"""protobuf_wire: the bytes of the specification's examples, what protobuf itself writes, and garbage."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tggbc_ros.data.foxglove.protobuf_wire import Fields


def test_the_specifications_examples() -> None:
    assert Fields(bytes.fromhex("089601")).integer(1) == 150
    assert Fields(bytes.fromhex("120774657374696e67")).text(2) == "testing"
    assert Fields(bytes.fromhex("1a03089601")).message(3).integer(1) == 150


def test_numbers_packed_and_not_are_the_same() -> None:
    numbers = [1.5, -2.0, 1 / 3]
    packed = b"\x32\x18" + struct.pack("<3d", *numbers)
    single = b"".join(b"\x31" + struct.pack("<d", number) for number in numbers)
    assert Fields(packed).doubles(6) == Fields(single).doubles(6) == numbers
    assert Fields(single).double(6) == numbers[-1]


def test_what_is_not_there_is_zero() -> None:
    empty = Fields(b"")
    assert (empty.integer(1), empty.double(1), empty.doubles(1), empty.data(1), empty.text(1)) == (0, 0.0, [], b"", "")
    assert (empty.message(1).integer(1), empty.messages(1)) == (0, [])


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ("0a05ab", "field 1 claims 5 bytes where 1 are left"),
        ("0d0102", "field 1 claims 4 bytes where 2 are left"),
        ("0b", "field 1 has wire type 3, expected one of 0, 1, 2, 5"),
        ("08" + "ff" * 11, "a number at byte 1 does not end"),
        ("0880", "a number at byte 1 does not end"),
    ],
)
def test_what_is_no_message_is_said(data: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Fields(bytes.fromhex(data))


def test_another_type_than_asked_for_is_said() -> None:
    with pytest.raises(ValueError, match="field 1 has wire type 0, expected 2"):
        Fields(bytes.fromhex("089601")).text(1)
    with pytest.raises(ValueError, match="field 1 has 3 bytes, expected doubles of 8 each"):
        Fields(b"\x0a\x03abc").doubles(1)


@given(st.binary(max_size=60))
def test_garbage_is_a_message_or_a_value_error(data: bytes) -> None:
    try:
        found = Fields(data)
        for ask in (found.integer, found.double, found.doubles, found.text, found.message, found.messages):
            ask(1)
    except ValueError:
        pass
