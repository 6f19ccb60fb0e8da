"""bag: it gives the samples it was made from, matrices, images and annotations alike."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from bag_samples import read_samples

from tggbc_ros.data.bags.sample_bag import BagWriter
from tggbc_ros.data.nuscenes.dataset import NuScenes
from tggbc_ros.data.nuscenes.sample_folder import moved, read_sample_folder
from tggbc_ros.data.records import Sample


def write(path: Path, samples: list[Sample], storage: str, images: str) -> Path:
    with BagWriter(path, storage, images) as writer:
        for sample in samples:
            writer.write(sample)
    return path


def expect_same(written: Sample, read: Sample) -> None:
    assert read.timestamp_ns == written.timestamp_ns
    ours, theirs = read.camera_frame(), written.camera_frame()
    assert ours.rig.names == theirs.rig.names
    np.testing.assert_array_equal(ours.rig.intrinsics, theirs.rig.intrinsics)
    np.testing.assert_allclose(ours.rig.lidar2cam, theirs.rig.lidar2cam, atol=1e-9)
    np.testing.assert_allclose(ours.lidar2global, theirs.lidar2global, atol=1e-9)
    assert [s.timestamp_ns for s in read.cameras] == [s.timestamp_ns for s in written.cameras]
    for image, expected in zip(ours.images, theirs.images, strict=True):
        np.testing.assert_array_equal(image, expected)
    assert (read.annotations is None) == (written.annotations is None)
    if read.annotations is not None and written.annotations is not None:
        for name in ("center", "size", "velocity", "label"):
            found, expected = getattr(read.annotations.boxes, name), getattr(written.annotations.boxes, name)
            np.testing.assert_allclose(found, expected, atol=1e-9)
        turned = np.angle(np.exp(1j * (read.annotations.boxes.yaw - written.annotations.boxes.yaw)))
        np.testing.assert_allclose(turned, 0.0, atol=1e-9)
        assert read.annotations.instances == written.annotations.instances


@pytest.mark.parametrize("storage", ["mcap", "sqlite3"])
@pytest.mark.parametrize("images", ["jpeg", "raw"])
def test_round_trip_of_keyframes_and_sweeps(tmp_path: Path, tiny_root: Path, storage: str, images: str) -> None:
    samples = list(NuScenes(tiny_root).sweeps("scene-0001"))
    read = list(read_samples(write(tmp_path / "bag", samples, storage, images)))
    assert len(read) == 13
    assert [sample.is_keyframe for sample in read] == [sample.is_keyframe for sample in samples]
    for written, back in zip(samples, read, strict=True):
        expect_same(written, back)


def test_round_trip_of_the_real_sample(tmp_path: Path, sample_dir: Path) -> None:
    first = read_sample_folder(sample_dir)
    samples = [first, moved(first, 2.0, 0.02, 0.5)]
    read = list(read_samples(write(tmp_path / "bag", samples, "mcap", "jpeg")))
    for written, back in zip(samples, read, strict=True):
        expect_same(written, back)
