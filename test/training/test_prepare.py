"""nuScenes-schema data -> arrays: the same pixels, matrices and objects, and clear words for broken data."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from squares_world import TINY

from tggbc_ros.core.config import DecodeConfig, PreprocessConfig
from tggbc_ros.core.decode import decode_boxes
from tggbc_ros.core.preprocess import preprocess
from tggbc_ros.core.types import NetworkOutput
from tggbc_ros.data.drive import dataset
from tggbc_ros.data.drive.config import DriveConfig
from tggbc_ros.data.nuscenes.dataset import NuScenes
from tggbc_ros.training.frames import FrameTable, load_table
from tggbc_ros.training.prepare import codes_of, prepare

MODEL = replace(TINY, image_size=(64, 160), pc_range=(-40.0, -40.0, -5.0, 40.0, 40.0, 5.0))
CONFIG = DriveConfig(duration_s=1.0, image_size=(192, 108), range_m=30.0, objects=40, clutter=0.0, supersample=1)


@pytest.fixture(scope="module")
def drive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("drive")
    scenes = [dataset.write_scene(root, 5, number, CONFIG, lambda: None) for number in range(2)]
    dataset.write_tables(root, "v1.0-test", "some", scenes)
    return root


def test_arrays_hold_what_the_reader_and_the_preprocessing_give(drive: Path, tmp_path: Path) -> None:
    table = prepare(drive, "some", MODEL, tmp_path / "prepared")
    samples = [sample for name in NuScenes(drive).scene_names("some") for sample in NuScenes(drive).samples(name)]
    assert len(table) == len(samples) == 4 and table.scene_lengths == (2, 2)
    batch = table.batch([0, 3], MODEL, torch.device("cpu"))
    assert batch.fresh.tolist() == [True, False]
    for index, row in enumerate((0, 3)):
        expected = preprocess(samples[row].camera_frame(), MODEL, "cpu", PreprocessConfig("exact"))
        assert torch.allclose(batch.inputs.images[index], expected.images[0], atol=1e-5)
        assert torch.equal(batch.inputs.lidar2img[index], expected.lidar2img[0])
        assert torch.equal(batch.inputs.intrinsics[index], expected.intrinsics[0])
        assert np.array_equal(batch.lidar2global[index].numpy(), samples[row].lidar2global)
        assert float(batch.time_s[index]) == samples[row].timestamp_ns / 1e9
        annotations = samples[row].annotations
        assert annotations is not None
        kept = annotations.boxes[annotations.num_points > 0]
        assert np.array_equal(batch.targets[index].labels.numpy(), kept.label) and len(kept) > 0
        assert np.allclose(batch.targets[index].codes[:, :3].numpy(), kept.center, atol=1e-4)


def test_codes_decode_to_the_boxes_they_came_from(drive: Path) -> None:
    annotations = next(NuScenes(drive).samples("drive-5-0000")).annotations
    assert annotations is not None
    boxes = annotations.boxes
    codes = torch.from_numpy(codes_of(boxes))
    logits = torch.full((len(boxes), 10), -9.0)
    logits[torch.arange(len(boxes)), torch.from_numpy(boxes.label)] = torch.linspace(9, 5, len(boxes))
    output = NetworkOutput(logits[None, None], codes[None, None], torch.zeros(1, len(boxes), 1), (1,), {})
    again = decode_boxes(output, DecodeConfig(max_boxes=len(boxes)))
    assert np.array_equal(again.label, boxes.label)
    for name in ("center", "size", "velocity"):
        assert np.allclose(getattr(again, name), getattr(boxes, name), atol=1e-4, equal_nan=True), name
    assert np.allclose(np.cos(again.yaw - boxes.yaw), 1.0)


def test_objects_beyond_the_range_are_left_out(table: FrameTable) -> None:
    near = table.targets(0, (-20.0, -20.0, -5.0, 20.0, 20.0, 3.0))
    assert len(near) == 3
    ahead = table.targets(0, (-20.0, 0.0, -5.0, 20.0, 20.0, 3.0))
    assert len(ahead) < 3 or (near.codes[:, 1] > 0).all()
    assert torch.equal(ahead.codes, near.codes[near.codes[:, 1] > 0])


def test_a_second_call_reads_what_the_first_wrote(drive: Path, tmp_path: Path) -> None:
    prepare(drive, "some", MODEL, tmp_path / "prepared")
    done: list[int] = []
    table = prepare(drive, "some", MODEL, tmp_path / "prepared", lambda now, total: done.append(now))
    assert len(table) == 4 and done == []


def test_arrays_of_other_data_are_not_taken_for_these(drive: Path, tmp_path: Path) -> None:
    prepare(drive, "some", MODEL, tmp_path / "prepared")
    with pytest.raises(ValueError, match=r"prepared from split some of .*\(64, 160\), expected .*\(64, 192\): delete"):
        prepare(drive, "some", replace(MODEL, image_size=(64, 192)), tmp_path / "prepared")


def test_arrays_of_scenes_that_left_the_split_are_not_taken_for_those_in_it(drive: Path, tmp_path: Path) -> None:
    root = shutil.copytree(drive, tmp_path / "drive")
    splits = root / "v1.0-test" / "splits.json"
    splits.write_text(json.dumps({"some": ["drive-5-0000"]}))
    assert prepare(root, "some", MODEL, tmp_path / "prepared").scene_lengths == (2,)
    for names, count in ((["drive-5-0001"], 1), (["drive-5-0000", "drive-5-0001"], 2)):
        splits.write_text(json.dumps({"some": names}))
        with pytest.raises(ValueError, match=f"number of scenes 1, .*, expected .* number of scenes {count}, "):
            prepare(root, "some", MODEL, tmp_path / "prepared")


def test_of_several_versions_the_named_one_is_read(drive: Path, tmp_path: Path) -> None:
    root = shutil.copytree(drive, tmp_path / "drive")
    shutil.copytree(root / "v1.0-test", root / "v1.0-less")
    (root / "v1.0-less" / "splits.json").write_text(json.dumps({"some": ["drive-5-0001"]}))
    with pytest.raises(ValueError, match=r"these versions: v1.0-less, v1.0-test; .* name the one"):
        prepare(root, "some", MODEL, tmp_path / "prepared")
    table = prepare(root, "some", MODEL, tmp_path / "prepared", version="v1.0-less")
    assert table.scene_lengths == (2,)
    with pytest.raises(ValueError, match=r"prepared from .*v1.0-less.*, expected .*v1.0-test"):
        prepare(root, "some", MODEL, tmp_path / "prepared", version="v1.0-test")


def test_an_incomplete_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="images.npy.*incomplete"):
        load_table(tmp_path)


def test_a_missing_image_is_named_and_leaves_nothing_behind(drive: Path, tmp_path: Path) -> None:
    victim = sorted((drive / "samples" / "CAM_BACK").glob("*.jpg"))[0]
    content = victim.read_bytes()
    victim.unlink()
    try:
        with pytest.raises(FileNotFoundError, match=victim.name):
            prepare(drive, "some", MODEL, tmp_path / "prepared")
    finally:
        victim.write_bytes(content)
    assert not (tmp_path / "prepared").exists()


def test_a_scene_of_one_sample_and_an_empty_split_are_refused(drive: Path, tmp_path: Path) -> None:
    root = tmp_path / "short"
    short = replace(CONFIG, duration_s=0.5)
    dataset.write_tables(root, "v1.0-test", "one", [dataset.write_scene(root, 1, 0, short, lambda: None)])
    with pytest.raises(ValueError, match="scene drive-1-0000 .* has 1 sample"):
        prepare(root, "one", MODEL, tmp_path / "prepared")
    splits = root / "v1.0-test" / "splits.json"
    splits.write_text(json.dumps({"none": []}))
    with pytest.raises(ValueError, match="split 'none' .* has no scene"):
        prepare(root, "none", MODEL, tmp_path / "prepared")


def test_data_without_annotations_are_refused(tmp_path: Path) -> None:
    root = tmp_path / "empty"
    scene = dataset.write_scene(root, 2, 0, replace(CONFIG, objects=0), lambda: None)
    dataset.write_tables(root, "v1.0-test", "some", [scene])
    with pytest.raises(ValueError, match="annotation"):
        prepare(root, "some", MODEL, tmp_path / "prepared")
