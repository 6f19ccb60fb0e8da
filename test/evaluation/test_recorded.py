"""recorded: a bag of the node's boxes scores as the same boxes do without it, and nothing in it goes uncounted."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import numpy as np
import pytest
from recordings import FRAME_MS, PUBLISHED_AT_NS, Logged, array, newest_ns, published, report, write_recording
from rosbags.rosbag2 import StoragePlugin
from tiny_nuscenes import VERSION

from tggbc_ros.core.config import CLASS_NAMES
from tggbc_ros.data.records import Sample
from tggbc_ros.evaluation.passes import Pass, Split, ground_truth_pass, newest_shot
from tggbc_ros.evaluation.recorded import recorded_passes
from tggbc_ros.evaluation.score import Evaluator, Score
from tggbc_ros.evaluation.submission import write_submission


def official(root: Path, split: Split, detections: Pass) -> Score:
    submission = root / "out" / "submission.json"
    write_submission(submission, [s.token for s in split.samples()], detections.detections, CLASS_NAMES)
    return Evaluator(root, VERSION, split.name).score(submission, root / "out")


@pytest.mark.parametrize("storage", [StoragePlugin.MCAP, StoragePlugin.SQLITE3])
def test_ground_truth_through_a_bag(root: Path, split: Split, tmp_path: Path, storage: StoragePlugin) -> None:
    bag = write_recording(tmp_path / "bag", published(split, ground_truth_pass(split)), storage)
    (recorded,) = recorded_passes(split, [bag])
    score = official(root, split, recorded)
    assert score.mean_ap == pytest.approx(1.0, abs=1e-6)
    assert score.nds == pytest.approx(1.0, abs=1e-3)
    assert recorded.notes["samples without boxes"] == 0


def test_same_boxes_score_the_same_with_and_without_a_bag(root: Path, split: Split, tmp_path: Path) -> None:
    """Boxes as bad as a detector's: every number of the score agrees, up to the tilt that a yaw cannot hold."""
    rng = np.random.default_rng(0)
    library = ground_truth_pass(split)
    for token, found in library.detections.items():
        boxes = found.boxes
        noisy = dataclasses.replace(
            boxes,
            center=boxes.center + rng.normal(0.0, 1.0, boxes.center.shape),
            size=boxes.size * rng.uniform(0.7, 1.4, boxes.size.shape),
            yaw=boxes.yaw + rng.normal(0.0, 0.5, len(boxes)),
            velocity=boxes.velocity + rng.normal(0.0, 1.0, boxes.velocity.shape),
            score=rng.uniform(0.0, 1.0, len(boxes)).astype(np.float32).astype(np.float64),
        )
        library.detections[token] = dataclasses.replace(found, boxes=noisy)
    bag = write_recording(tmp_path / "bag", published(split, library))
    (node,) = recorded_passes(split, [bag])
    from_library, from_node = official(root, split, library), official(root, split, node)
    assert 0.1 < from_library.mean_ap < 0.9
    assert from_node.class_ap == pytest.approx(from_library.class_ap, abs=1e-9)
    assert from_node.tp_errors == pytest.approx(from_library.tp_errors, abs=1e-3)
    assert from_node.nds == pytest.approx(from_library.nds, abs=1e-3)


def test_reports_tell_the_passes_apart(split: Split, tmp_path: Path) -> None:
    """The same data played at two ratios into one bag: each ratio gets its own boxes and times."""
    truth = ground_truth_pass(split)
    one_each = {token: dataclasses.replace(found, boxes=found.boxes[:1]) for token, found in truth.detections.items()}
    worse = dataclasses.replace(truth, detections=one_each)
    later_ns = PUBLISHED_AT_NS + 60_000_000_000
    logged = published(split, truth, 1.0) + published(split, worse, 0.3, later_ns)
    dense, pruned = recorded_passes(split, [write_recording(tmp_path / "bag", logged)])
    assert (dense.keep_ratio, pruned.keep_ratio) == (1.0, 0.3)
    assert {len(found.boxes) for found in dense.detections.values()} == {10}
    assert {len(found.boxes) for found in pruned.detections.values()} == {1}
    assert pruned.keys == [(1056, 106)] * 4
    assert pruned.decoder_ms == [4.0] * 4
    assert pruned.frame_ms == pytest.approx([FRAME_MS] * 4)
    assert pruned.settings == {
        "model": "demo",
        "weights": "some file",
        "device": "cpu",
        "keep_mode": "fixed",
        "latency_budget_ms": 0.0,
        "prune_schedule": "gradual",
        "prune_layers": 1,
        "prune_queries": 175,
        "memory": "node",
    }


@pytest.mark.parametrize(
    "changed",
    [{"keep_mode": "mass"}, {"keep_mode": "budget", "latency_budget_ms": 7.1}, {"prune_schedule": "once"}],
)
def test_other_modes_at_the_same_ratio_are_passes_of_their_own(
    split: Split, tmp_path: Path, changed: dict[str, str | float]
) -> None:
    truth = ground_truth_pass(split)
    later_ns = PUBLISHED_AT_NS + 60_000_000_000
    logged = published(split, truth, 0.3) + published(split, truth, 0.3, later_ns, **changed)
    first, second = recorded_passes(split, [write_recording(tmp_path / "bag", logged)])
    assert second.settings == first.settings | changed
    for record in (first, second):
        assert (record.keep_ratio, len(record.detections), len(record.decoder_ms)) == (0.3, 4, 4)
        assert "samples played again" not in record.notes


@pytest.mark.parametrize("storage", [StoragePlugin.MCAP, StoragePlugin.SQLITE3])
@pytest.mark.parametrize("share", [0.1, 0.3, 0.5])
def test_bag_cut_short_is_named(split: Split, tmp_path: Path, storage: StoragePlugin, share: float) -> None:
    bag = write_recording(tmp_path / "bag", published(split, ground_truth_pass(split), 0.3), storage)
    (file,) = (path for path in bag.iterdir() if path.suffix != ".yaml")
    file.write_bytes(file.read_bytes()[: int(share * file.stat().st_size)])
    with pytest.raises(ValueError, match=f"bag {bag} cannot be read: "):
        recorded_passes(split, [bag])


@pytest.mark.parametrize("storage", [StoragePlugin.MCAP, StoragePlugin.SQLITE3])
def test_metadata_of_another_form_and_none_costs_no_box(split: Split, tmp_path: Path, storage: StoragePlugin) -> None:
    bag = write_recording(tmp_path / "bag", published(split, ground_truth_pass(split), 0.3), storage)
    whole = recorded_passes(split, [bag])[0]
    path = bag / "metadata.yaml"
    text = path.read_text().replace("RIHS01_", "RIHS01_0")
    changed = re.sub(r"(durability|serialization_format): .*", r"\1: ''", text)
    for content in (changed, None):
        path.unlink()
        if content:
            path.write_text(content)
        (found,) = recorded_passes(split, [bag])
        assert found.detections.keys() == whole.detections.keys()
        assert (found.keys, found.notes) == (whole.keys, whole.notes)


def test_messages_that_metadata_counts_and_the_file_lacks_are_named(split: Split, tmp_path: Path) -> None:
    bag = write_recording(tmp_path / "bag", published(split, ground_truth_pass(split), 0.3))
    path = bag / "metadata.yaml"
    path.write_text(path.read_text().replace("message_count: 4", "message_count: 5"))
    with pytest.raises(ValueError, match="metadata.yaml counts 5 messages on /detector/boxes, the files hold 4"):
        recorded_passes(split, [bag])


def test_every_message_is_scored_or_counted(split: Split, tmp_path: Path) -> None:
    """One sample is played twice, one without report, one twice with one report, and one array is of another time."""
    first, second, third, fourth = split.samples()
    found = ground_truth_pass(split).detections

    def boxes(sample: Sample, at_ns: int, count: int = 10) -> Logged:
        detections = found[sample.token]
        return at_ns, "/detector/boxes", array(sample, detections.boxes[:count], detections.frame2global)

    def about(sample: Sample, at_ns: int) -> Logged:
        return at_ns, "/detector/report", report(newest_ns(sample), 1.0)

    again_ns = PUBLISHED_AT_NS + 60_000_000_000
    logged = [boxes(first, PUBLISHED_AT_NS), about(first, PUBLISHED_AT_NS), boxes(second, PUBLISHED_AT_NS)]
    logged += [about(second, PUBLISHED_AT_NS), boxes(third, PUBLISHED_AT_NS), about(third, again_ns)]
    logged += [boxes(first, again_ns, count=2), about(first, again_ns), boxes(second, again_ns)]
    logged[-1][2].header.stamp.nanosec += 1
    logged += [boxes(fourth, again_ns), about(fourth, again_ns), boxes(fourth, again_ns + 1_000_000)]
    (recorded,) = recorded_passes(split, [write_recording(tmp_path / "bag", logged)])
    counts = {token: len(each.boxes) for token, each in recorded.detections.items()}
    assert counts == {first.token: 10, second.token: 10, fourth.token: 10}
    assert recorded.notes == {
        "samples played again": 1,
        "arrays of no sample": 1,
        "arrays without report": 2,
        "samples without boxes": 1,
    }


def test_frames_of_the_boxes(split: Split, tmp_path: Path) -> None:
    sample = next(split.samples())
    found = ground_truth_pass(split).detections[sample.token]
    ego2global = newest_shot(sample).ego2global
    frames = {"map": np.eye(4), "base_link": ego2global, "LIDAR_TOP": ego2global @ sample.lidar2ego}
    for frame, expected in frames.items():
        message = array(sample, found.boxes, found.frame2global)
        message.header.frame_id = frame
        bag = write_recording(tmp_path / frame, [(PUBLISHED_AT_NS, "/detector/boxes", message)])
        detections = recorded_passes(split, [bag])[0].detections[sample.token]
        np.testing.assert_array_equal(detections.frame2global, expected)


def test_several_bags_are_one_recording(split: Split, tmp_path: Path) -> None:
    logged = published(split, ground_truth_pass(split), 0.5)
    bags = [write_recording(tmp_path / "one", logged[:6]), write_recording(tmp_path / "two", logged[6:])]
    (recorded,) = recorded_passes(split, bags)
    assert len(recorded.detections) == 4
    assert recorded.notes["samples without boxes"] == 0


def test_what_cannot_be_scored_is_refused(split: Split, tmp_path: Path) -> None:
    sample = next(split.samples())
    found = ground_truth_pass(split).detections[sample.token]
    good = array(sample, found.boxes, found.frame2global)

    def bag(name: str, message: object, topic: str = "/detector/boxes") -> Path:
        return write_recording(tmp_path / name, [(PUBLISHED_AT_NS, topic, message)])

    with pytest.raises(ValueError, match="has no topic /detector/boxes; its topics: /other"):
        recorded_passes(split, [bag("topic", good, "/other")])
    with pytest.raises(ValueError, match="FrameReport, expected tggbc_ros/msg/BoundingBox3DArray"):
        recorded_passes(split, [bag("type", report(newest_ns(sample), 1.0))])
    late = array(sample, found.boxes, found.frame2global)
    late.header.stamp.sec += 1000
    with pytest.raises(ValueError, match="belong to split 'all_scenes': 1 arrays of no sample"):
        recorded_passes(split, [bag("late", late)])
    good.header.frame_id = "odom"
    with pytest.raises(ValueError, match="in frame 'odom', expected one of base_link, LIDAR_TOP, map"):
        recorded_passes(split, [bag("frame", good)])
    good.header.frame_id, good.boxes[3].class_name = "base_link", "tram"
    with pytest.raises(ValueError, match="have class 'tram', expected one of car, truck"):
        recorded_passes(split, [bag("class", good)])
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="bag .*empty cannot be read"):
        recorded_passes(split, [tmp_path / "empty"])
    with pytest.raises(ValueError, match="bag .*nowhere cannot be read"):
        recorded_passes(split, [tmp_path / "nowhere"])
