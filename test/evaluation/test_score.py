"""score: the official evaluator gives what detections of known quality must get, and names what is wrong with data."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from ten_classes import ATTRIBUTE, SPLIT
from tiny_nuscenes import VERSION, edit_table

from tggbc_ros.core.config import CLASS_NAMES
from tggbc_ros.core.types import Boxes3D
from tggbc_ros.evaluation.passes import Detections, Pass, Split, ground_truth_pass
from tggbc_ros.evaluation.score import Evaluator, Score
from tggbc_ros.evaluation.submission import write_submission


def official(root: Path, split: Split, detections: Pass) -> Score:
    submission = root / "out" / "submission.json"
    write_submission(submission, [s.token for s in split.samples()], detections.detections, CLASS_NAMES)
    return Evaluator(root, VERSION, split.name).score(submission, root / "out")


def changed(detections: Pass, change: Callable[[Boxes3D], Boxes3D]) -> Pass:
    boxes = {
        token: Detections(change(found.boxes), found.frame2global) for token, found in detections.detections.items()
    }
    return dataclasses.replace(detections, detections=boxes)


def moved(boxes: Boxes3D, **fields: np.ndarray) -> Boxes3D:
    return dataclasses.replace(boxes, **fields)


def test_ground_truth_scores_one(root: Path, split: Split) -> None:
    score = official(root, split, ground_truth_pass(split))
    assert score.mean_ap == pytest.approx(1.0, abs=1e-6)
    assert score.nds == pytest.approx(1.0, abs=1e-3)
    assert score.class_ap == pytest.approx(dict.fromkeys(CLASS_NAMES, 1.0))
    assert score.tp_errors == pytest.approx(dict.fromkeys(("mATE", "mASE", "mAOE", "mAVE", "mAAE"), 0.0), abs=2e-3)
    assert score.ground_truth == dict.fromkeys(CLASS_NAMES, 4)
    assert json.loads((root / "out" / "metrics_summary.json").read_text())["nd_score"] == score.nds


def test_shuffled_boxes_score_zero(root: Path, split: Split) -> None:
    truth = ground_truth_pass(split)
    swapped = official(root, split, changed(truth, lambda b: moved(b, label=(b.label + 1) % len(CLASS_NAMES))))
    assert (swapped.mean_ap, swapped.nds) == (0.0, 0.0)
    rng = np.random.default_rng(3)
    scattered = official(root, split, changed(truth, lambda b: moved(b, center=b.center[rng.permutation(len(b))])))
    assert scattered.mean_ap < 0.1


def test_boxes_a_known_distance_off_miss_the_two_narrow_thresholds(root: Path, split: Split) -> None:
    beside = changed(ground_truth_pass(split), lambda b: moved(b, center=b.center + [1.5, 0.0, 0.0]))
    score = official(root, split, beside)
    assert score.mean_ap == pytest.approx(0.5, abs=1e-6)
    assert score.tp_errors["mATE"] == pytest.approx(1.5, abs=2e-3)


@pytest.mark.parametrize(
    ("change", "error", "value"),
    [
        (lambda b: moved(b, size=2.0 * b.size), "mASE", 7 / 8),
        (lambda b: moved(b, yaw=b.yaw + 0.3), "mAOE", 0.3),
        (lambda b: moved(b, velocity=b.velocity + [0.15, 0.0]), "mAVE", 0.15),
    ],
)
def test_each_error_is_reported_under_its_name(
    root: Path, split: Split, change: Callable[[Boxes3D], Boxes3D], error: str, value: float
) -> None:
    score = official(root, split, changed(ground_truth_pass(split), change))
    assert score.mean_ap == pytest.approx(1.0, abs=1e-6)
    expected = dict.fromkeys(score.tp_errors, 0.0) | {error: value}
    assert score.tp_errors == pytest.approx(expected, abs=3e-3)


def test_wrong_attributes_cost_only_their_error(root: Path, split: Split) -> None:
    """Standing boxes at moving objects: five of the eight classes with attributes are wrong."""
    standing = changed(ground_truth_pass(split), lambda b: moved(b, velocity=np.zeros_like(b.velocity)))
    wrong = [name for name, attribute in ATTRIBUTE.items() if attribute.endswith(("moving", "with_rider"))]
    assert official(root, split, standing).tp_errors["mAAE"] == pytest.approx(len(wrong) / len(ATTRIBUTE))


def test_half_the_objects_found_is_half_the_recall(root: Path, split: Split) -> None:
    truth = ground_truth_pass(split)
    tokens = [sample.token for sample in split.samples()]
    half = dataclasses.replace(truth, detections={token: truth.detections[token] for token in tokens[:2]})
    precision_at_recall = (np.linspace(0, 1, 101) <= 0.5)[11:]
    assert official(root, split, half).mean_ap == pytest.approx(precision_at_recall.mean(), abs=0.02)


def test_a_detector_that_finds_nothing_scores_zero(root: Path, split: Split) -> None:
    score = official(root, split, Pass(keep_ratio=1.0))
    assert (score.mean_ap, score.nds) == (0.0, 0.0)
    assert set(score.tp_errors.values()) == {1.0}
    assert score.ground_truth == dict.fromkeys(CLASS_NAMES, 4)


def test_a_class_without_ground_truth_is_counted_as_such(root: Path, split: Split) -> None:
    rows, write = edit_table(root, "sample_annotation")
    rows[:] = [row for row in rows if not row["instance_token"].endswith("-bus")]
    write()
    without_bus = changed(ground_truth_pass(split), lambda b: b[b.label != CLASS_NAMES.index("bus")])
    score = official(root, split, without_bus)
    assert (score.mean_ap, score.class_ap["bus"], score.ground_truth["bus"]) == (pytest.approx(0.9), 0.0, 0)


def break_log(root: Path) -> None:
    (root / VERSION / "log.json").write_text("[{")


def drop_map_table(root: Path) -> None:
    (root / VERSION / "map.json").unlink()


def unknown_attribute(root: Path) -> None:
    rows, write = edit_table(root, "sample_annotation")
    rows[4]["attribute_tokens"] = ["flying"]
    write()


def map_without_log(root: Path) -> None:
    rows, write = edit_table(root, "map")
    rows[0]["log_tokens"] = []
    write()


def map_without_picture(root: Path) -> None:
    rows, write = edit_table(root, "map")
    rows[0]["filename"] = "maps/lost.png"
    write()


def table_of_numbers(root: Path) -> None:
    (root / VERSION / "visibility.json").write_text("[1, 2]")


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (break_log, "log.json is not JSON"),
        (drop_map_table, "map.json does not exist"),
        (unknown_attribute, r"sample_annotation.json: record scene-0001-truck-1 has attribute_tokens \['flying'\]"),
        (map_without_log, "no record or field 'log'"),
        (map_without_picture, "lost.png does not exist"),
        (table_of_numbers, "visibility.json is not a list of records"),
    ],
)
def test_bad_tables_are_named(root: Path, damage: Callable[[Path], None], message: str) -> None:
    damage(root)
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        Evaluator(root, VERSION, SPLIT)


def test_submission_of_another_split_is_refused(root: Path, split: Split) -> None:
    submission = root / "submission.json"
    write_submission(submission, ["scene-0002-0"], ground_truth_pass(split).detections, CLASS_NAMES)
    with pytest.raises(ValueError, match="no record or field 'scene-0001-0'"):
        Evaluator(root, VERSION, SPLIT).score(submission, root / "out")
