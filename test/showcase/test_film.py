"""film: every frame is there, and shows the street, the boxes, their ways and the numbers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tggbc_ros.core.config import CLASS_NAMES, MODELS
from tggbc_ros.core.geometry import transform_boxes
from tggbc_ros.drawing.kept_keys import kept_mosaic
from tggbc_ros.drawing.palette import load_palette
from tggbc_ros.evaluation.passes import Pass, Split, ground_truth_pass, newest_shot
from tggbc_ros.evaluation.results import Row
from tggbc_ros.ros.params import CAMERAS
from tggbc_ros.showcase.film import ABOVE_PX, CAMERA_WIDTH, film_frame, write_film
from tggbc_ros.showcase.frames import ShownFrame, shown_frames

DEMO, PALETTE = MODELS["demo"], load_palette(CLASS_NAMES)
ROWS: list[Row] = [
    {"network": "dense", "keep_ratio": ratio, "keys_kept": keys, "frame_ms": 9.5, "mAP": 0.25, "NDS": 0.35}
    for ratio, keys in ((1.0, 1056), (0.3, 317))
]


@pytest.fixture
def truth(split: Split) -> Pass:
    return ground_truth_pass(split)


def kept(split: Split, count: int) -> dict[int, np.ndarray]:
    picture = kept_mosaic(np.arange(count), CAMERAS, DEMO.feature_size)
    return {newest_shot(sample).timestamp_ns: picture for sample in split.samples()}


def frames(split: Split, truth: Pass, threshold: float = 0.0) -> list[ShownFrame]:
    return shown_frames(list(split.samples()), truth, kept(split, 317), threshold)


def test_frames_hold_boxes_in_the_samples_lidar_frame(split: Split, truth: Pass) -> None:
    """Fed with the ground truth, each frame's boxes are its annotations, and moving ones have their way behind them."""
    found = frames(split, truth)
    assert [frame.time_s for frame in found] == pytest.approx([0.0, 0.5, 1.0, 1.5])
    for frame in found:
        assert len(frame.boxes) == len(frame.truth) > 0
        np.testing.assert_allclose(frame.boxes.center, frame.truth.center, atol=1e-6)
        assert (frame.keys_kept, frame.keys) == (317, 1056)
        assert frame.kept["CAM_FRONT"].all() and not frame.kept["CAM_BACK_RIGHT"].any()
    assert found[0].trails == []
    last = found[-1]
    assert last.trails
    ends = np.stack([way[-1] for _, way in last.trails])
    offset = np.linalg.norm(ends[:, None] - last.boxes.center[None], axis=-1).min(axis=1)
    np.testing.assert_allclose(offset, 0.0, atol=1e-6)


def test_a_score_threshold_leaves_out_weak_boxes(split: Split, truth: Pass) -> None:
    strong = frames(split, truth, threshold=0.75)
    everything = frames(split, truth)
    assert 0 < sum(len(frame.boxes) for frame in strong) < sum(len(frame.boxes) for frame in everything)
    assert all((frame.boxes.score >= 0.75).all() for frame in strong)


def test_a_frame_shows_cameras_the_view_from_above_and_the_passes(split: Split, truth: Pass) -> None:
    frame = frames(split, truth)[-1]
    picture = film_frame(frame, DEMO, PALETTE, ROWS, 1)
    cameras_px = 2 * round(198 / 352 * CAMERA_WIDTH)
    assert picture.shape == (cameras_px + ABOVE_PX, 3 * CAMERA_WIDTH, 3)
    empty = ShownFrame(frame.sample, frame.time_s, frame.boxes[:0], frame.truth[:0], [], frame.kept)
    changed = (picture != film_frame(empty, DEMO, PALETTE, ROWS, 1)).any(axis=-1)
    assert changed[:cameras_px].mean() > 0.01, "boxes in the images"
    assert changed[cameras_px:, :ABOVE_PX].mean() > 0.005, "boxes from above"
    for which, title_and_table in enumerate(film_frame(frame, DEMO, PALETTE, ROWS, index) for index in (0, 1)):
        lines = [title_and_table[cameras_px + 120 + 28 * line - 18 : cameras_px + 124 + 28 * line, ABOVE_PX:]
                 for line in range(2)]  # fmt: skip
        assert [bool(line.max() > 200) for line in lines] == [which == 0, which == 1], "white is the pass of the frame"


def test_the_file_has_every_frame_at_twice_the_speed(split: Split, truth: Pass, tmp_path: Path) -> None:
    path = tmp_path / "film.webp"
    pictures = [film_frame(frame, DEMO, PALETTE, ROWS, 1) for frame in frames(split, truth)]
    write_film(pictures, path)
    with Image.open(path) as film:
        assert film.n_frames == len(pictures) == 4
        assert film.size == pictures[0].shape[1::-1]
        for index, picture in enumerate(pictures):
            film.seek(index)
            shown = np.asarray(film.convert("RGB"))[..., ::-1].astype(int)
            assert film.info["duration"] == 250
            assert np.abs(shown - picture).mean() < 6.0
    with pytest.raises(ValueError, match="has no frames"):
        write_film([], path)


def test_boxes_in_another_frame_are_drawn_at_the_same_place(split: Split, truth: Pass) -> None:
    """As the node publishes: in the vehicle's frame, whose pose goes with them."""
    turned = Pass(keep_ratio=1.0)
    for token, found in truth.detections.items():
        lidar2global = found.frame2global
        turned.detections[token] = type(found)(transform_boxes(lidar2global, found.boxes), np.eye(4))
    for ours, theirs in zip(frames(split, turned), frames(split, truth), strict=True):
        np.testing.assert_allclose(ours.boxes.center, theirs.boxes.center, atol=1e-6)
        np.testing.assert_allclose(ours.boxes.velocity, theirs.boxes.velocity, atol=1e-6)
