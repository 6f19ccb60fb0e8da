"""passes: a split is read whole, and one that cannot be scored is refused before any work."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from ten_classes import SPLIT
from tiny_nuscenes import VERSION, edit_table

from tggbc_ros.data.nuscenes.dataset import NuScenes
from tggbc_ros.evaluation.passes import Split, ground_truth_pass, load_split


def test_scenes_come_whole_and_in_order(root: Path, split: Split) -> None:
    assert {scene: [sample.token for sample in samples] for scene, samples in split.scenes.items()} == {
        "scene-0001": ["scene-0001-0", "scene-0001-1", "scene-0001-2"],
        "scene-0002": ["scene-0002-0"],
    }
    assert [sample.token for sample in load_split(NuScenes(root), "tail").samples()] == ["scene-0002-0"]


def test_ground_truth_leaves_out_what_the_evaluator_does(split: Split) -> None:
    found = ground_truth_pass(split)
    assert [len(found.detections[sample.token].boxes) for sample in split.samples()] == [10] * 4
    scores = np.concatenate([each.boxes.score for each in found.detections.values()])
    assert (np.diff(scores) < 0).all()
    assert (scores[0], scores[-1]) == (1.0, 0.5)
    assert all(np.isfinite(each.boxes.velocity).all() for each in found.detections.values())


def test_empty_split(root: Path) -> None:
    with pytest.raises(ValueError, match="split 'no_scenes' holds no scene of .*scene.json"):
        load_split(NuScenes(root), "no_scenes")


@pytest.mark.parametrize("left", [0, 1])
def test_nothing_to_score_against(root: Path, left: int) -> None:
    """No annotation at all, and none in the split asked for."""
    rows, write = edit_table(root, "sample_annotation")
    rows[:] = [row for row in rows if left and row["sample_token"] == "scene-0001-0"]
    for row in rows:
        row["prev"] = row["next"] = ""
    write()
    with pytest.raises(ValueError, match="sample_annotation.json holds no annotation of a detection class in .*'tail'"):
        load_split(NuScenes(root), "tail")


def test_missing_image_is_named(root: Path) -> None:
    picture = next((root / "samples" / "CAM_BACK").iterdir())
    picture.unlink()
    with pytest.raises(FileNotFoundError, match=f"sample_data CAM_BACK-.*{picture.name}"):
        load_split(NuScenes(root), SPLIT)


def test_unknown_category_is_named(root: Path) -> None:
    rows, write = edit_table(root, "category")
    next(row for row in rows if row["token"] == "cat-bus")["name"] = "vehicle.tram"
    write()
    with pytest.raises(ValueError, match="sample_annotation scene-0001-bus-0 is of category 'vehicle.tram'"):
        load_split(NuScenes(root, VERSION), SPLIT)
