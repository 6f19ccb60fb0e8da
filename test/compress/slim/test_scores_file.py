"""Scores on disk: as they were, or refused by name."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tggbc_ros.compress import layout
from tggbc_ros.compress.score import Scores
from tggbc_ros.compress.slim.scores_file import MeasuredOn, read_scores, write_scores
from tggbc_ros.core.shape import resnet

SHAPE = resnet("basic", (1, 1, 1, 1), width=8)
WEIGHTS = "ab" * 32
ON = MeasuredOn("tiny", WEIGHTS, "/data", "train", 10, 2, 0)


def scores() -> Scores:
    rng = np.random.default_rng(0)
    widths = layout.widths(SHAPE)
    return Scores({each.name: rng.random(widths[each.group]) for each in layout.layers(SHAPE)}, 5, 1, 2)


def test_they_come_back_to_the_bit(tmp_path: Path) -> None:
    written = scores()
    write_scores(tmp_path / "scores.json", written, ON)
    read = read_scores(tmp_path / "scores.json", SHAPE, WEIGHTS)
    assert (read.batches, read.without_objects, read.not_finite) == (5, 1, 2)
    assert read.importance.keys() == written.importance.keys()
    assert all(np.array_equal(read.importance[name], each) for name, each in written.importance.items())


@pytest.mark.parametrize(
    ("layer", "value", "words"),
    [
        ("layer1.0.conv1", float("nan"), "the score of channel 3 of layer layer1.0.conv1 is nan"),
        ("layer2.0.conv2", -1.0, "the score of channel 3 of layer layer2.0.conv2 is -1.0"),
    ],
)
def test_what_is_no_importance_is_named(tmp_path: Path, layer: str, value: float, words: str) -> None:
    path = tmp_path / "scores.json"
    write_scores(path, scores(), ON)
    content = json.loads(path.read_text())
    content["importance"][layer][3] = value
    path.write_text(json.dumps(content))
    with pytest.raises(ValueError, match=words):
        read_scores(path, SHAPE, WEIGHTS)


def test_those_of_other_weights_or_another_shape_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "scores.json"
    write_scores(path, scores(), replace(ON, weights="cd" * 32))
    with pytest.raises(ValueError, match=r"is of weights sha256:cdcdcdcdcdcdcdcd, expected sha256:abababababababab"):
        read_scores(path, SHAPE, WEIGHTS)
    write_scores(path, scores(), ON)
    with pytest.raises(ValueError, match=r"layer conv1 has 8 scores, expected 16"):
        read_scores(path, resnet("basic", (1, 1, 1, 1), width=16), WEIGHTS)
    with pytest.raises(ValueError, match=r"layer layer1.1.conv1 has 0 scores, expected 8"):
        read_scores(path, resnet("basic", (2, 1, 1, 1), width=8), WEIGHTS)


@pytest.mark.parametrize("key", ["measured_on", "importance", "batches", "format"])
def test_a_damaged_file_is_named(tmp_path: Path, key: str) -> None:
    path = tmp_path / "scores.json"
    write_scores(path, scores(), ON)
    content = json.loads(path.read_text())
    content[key] = "nothing"
    path.write_text(json.dumps(content))
    with pytest.raises(ValueError, match=r"scores.json"):
        read_scores(path, SHAPE, WEIGHTS)
