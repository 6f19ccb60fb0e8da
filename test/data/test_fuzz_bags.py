"""Bags cut short or with bytes changed: what they hold, or a BagError that names the bag."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rosbags.rosbag2 import CompressionFormat, CompressionMode, StoragePlugin, Writer
from rosbags.typesys import Stores, get_typestore
from tiny_nuscenes import write_tiny_nuscenes

from tggbc_ros.data.bags.bag_file import BagError, open_bag
from tggbc_ros.data.bags.sample_bag import BagWriter, read_messages
from tggbc_ros.data.nuscenes.dataset import NuScenes
from tggbc_ros.tools.bag import describe

FUZZ = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
KINDS = [("mcap", "jpeg"), ("mcap", "raw"), ("sqlite3", "jpeg"), ("sqlite3", "raw")]
PLACES = st.floats(0, 1, exclude_max=True)
BYTES = st.one_of(st.sampled_from([0, 1, 127, 255]), st.integers(0, 255))
CHANGES = st.lists(st.tuples(PLACES, BYTES), min_size=1, max_size=20)


@pytest.fixture(scope="module")
def bags(tmp_path_factory: pytest.TempPathFactory) -> Mapping[tuple[str, str], Path]:
    """One keyframe in every form."""
    root = tmp_path_factory.mktemp("bags")
    samples = list(NuScenes(write_tiny_nuscenes(root / "tiny")).samples("scene-0002"))
    made = {}
    for storage, images in KINDS:
        made[storage, images] = root / f"{storage}_{images}"
        with BagWriter(made[storage, images], storage, images) as writer:
            for sample in samples:
                writer.write(sample)
    return made


def read_damaged(bag: Path, work: Path, file: str, content: bytes) -> None:
    """All of a copy of the bag, one of whose files has another content: as bytes, decoded, and described."""
    copy = work / "damaged"
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(bag, copy)
    (copy / file).write_bytes(content)
    for read in (read_bytes, lambda bag: list(read_messages(bag)), describe):
        try:
            read(copy)
        except BagError as error:
            assert str(copy) in str(error)


def read_bytes(bag: Path) -> int:
    """As bag_player does: the length of all messages."""
    with open_bag(bag) as opened:
        return sum(len(data) for _, _, data in opened.messages(opened.connections))


def data_file(bag: Path) -> Path:
    (found,) = (path for path in bag.iterdir() if path.suffix != ".yaml")
    return found


@FUZZ
@given(st.sampled_from(KINDS), CHANGES)
def test_changed_bytes(
    bags: Mapping[tuple[str, str], Path], tmp_path: Path, kind: tuple[str, str], changes: list[tuple[float, int]]
) -> None:
    file = data_file(bags[kind])
    content = bytearray(file.read_bytes())
    for place, value in changes:
        content[int(place * len(content))] = value
    read_damaged(bags[kind], tmp_path, file.name, bytes(content))


@settings(FUZZ, max_examples=15)
@given(st.sampled_from(KINDS), PLACES)
def test_cut_short(bags: Mapping[tuple[str, str], Path], tmp_path: Path, kind: tuple[str, str], share: float) -> None:
    file = data_file(bags[kind])
    content = file.read_bytes()
    read_damaged(bags[kind], tmp_path, file.name, content[: int(share * len(content))])


@settings(FUZZ, max_examples=15)
@given(st.sampled_from(KINDS), CHANGES)
def test_changed_metadata(
    bags: Mapping[tuple[str, str], Path], tmp_path: Path, kind: tuple[str, str], changes: list[tuple[float, int]]
) -> None:
    content = bytearray((bags[kind] / "metadata.yaml").read_bytes())
    for place, value in changes:
        content[int(place * len(content))] = value
    read_damaged(bags[kind], tmp_path, "metadata.yaml", bytes(content))


@pytest.mark.parametrize("kind", KINDS)
def test_half_a_bag_is_an_error_with_its_name(
    bags: Mapping[tuple[str, str], Path], tmp_path: Path, kind: tuple[str, str]
) -> None:
    copy = tmp_path / "half"
    shutil.copytree(bags[kind], copy)
    file = data_file(copy)
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    with pytest.raises(BagError, match="bag .*half"):
        list(read_messages(copy))


@pytest.mark.parametrize("mode", [CompressionMode.MESSAGE, CompressionMode.FILE])
def test_damaged_compression_is_an_error_with_its_name(tmp_path: Path, mode: CompressionMode) -> None:
    bag, typestore = tmp_path / "small", get_typestore(Stores.ROS2_JAZZY)
    writer = Writer(bag, version=9, storage_plugin=StoragePlugin.SQLITE3)
    writer.set_compression(mode, CompressionFormat.ZSTD)
    with writer:
        connection = writer.add_connection("/a", "std_msgs/msg/String", typestore=typestore)
        for number in range(20):
            message = typestore.types["std_msgs/msg/String"](data=f"{number} " * 50)
            writer.write(connection, number, typestore.serialize_cdr(message, "std_msgs/msg/String"))
    assert read_bytes(bag) > 2000
    file = data_file(bag)
    content = bytearray(file.read_bytes())
    magic = content.rindex(b"\x28\xb5\x2f\xfd")  # of the last frame (RFC 8878)
    content[magic + 6 : magic + 12] = b"\xff" * 6
    file.write_bytes(content)
    with pytest.raises(BagError, match="bag .*small cannot be read"):
        read_bytes(bag)
