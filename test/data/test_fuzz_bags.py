"""Bags cut short or with bytes changed: the samples, or a BagError that names the bag."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tiny_nuscenes import write_tiny_nuscenes

from tggbc_ros.data.bag import BagError, BagWriter
from tggbc_ros.data.bag_reader import read_samples
from tggbc_ros.data.nuscenes import NuScenes

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
    """All of a copy of the bag, one of whose files has another content."""
    copy = work / "damaged"
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(bag, copy)
    (copy / file).write_bytes(content)
    try:
        samples = list(read_samples(copy))
    except BagError as error:
        assert str(copy) in str(error)
        return
    for sample in samples:
        try:
            sample.camera_frame()
        except ValueError as error:
            assert "image" in str(error) or "expected" in str(error)


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
        list(read_samples(copy))
