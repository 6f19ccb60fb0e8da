"""banner: at a page's width it shows the street, the boxes from both sides, and what kept its keys."""

from __future__ import annotations

import numpy as np

from tggbc_ros.core.config import CLASS_NAMES, MODELS
from tggbc_ros.drawing.kept_keys import kept_mosaic
from tggbc_ros.drawing.palette import load_palette
from tggbc_ros.evaluation.passes import Split, ground_truth_pass, newest_shot
from tggbc_ros.ros.params import CAMERAS
from tggbc_ros.showcase.banner import ABOVE_PX, CAMERA_WIDTH, banner_frame
from tggbc_ros.showcase.frames import ShownFrame, shown_frames

DEMO, PALETTE = MODELS["demo"], load_palette(CLASS_NAMES)
CAMERAS_PX = 2 * round(198 / 352 * CAMERA_WIDTH)


def frame(split: Split, keys: int) -> ShownFrame:
    kept = kept_mosaic(np.arange(keys), CAMERAS, DEMO.feature_size)
    samples = list(split.samples())
    return shown_frames(samples, ground_truth_pass(split), {newest_shot(s).timestamp_ns: kept for s in samples}, 0.0)[1]


def test_it_is_as_wide_as_a_page_and_shows_boxes_and_keys(split: Split) -> None:
    shown = frame(split, 317)
    picture = banner_frame(shown, DEMO, PALETTE, 0.3)
    assert picture.shape == (CAMERAS_PX + ABOVE_PX, 3 * CAMERA_WIDTH, 3)
    assert picture.shape[1] < 900
    empty = ShownFrame(shown.sample, shown.time_s, shown.boxes[:0], shown.truth, [], shown.kept)
    changed = (picture != banner_frame(empty, DEMO, PALETTE, 0.3)).any(axis=-1)
    assert changed[:CAMERAS_PX].mean() > 0.01, "boxes in the images"
    assert changed[CAMERAS_PX:, :ABOVE_PX].mean() > 0.005, "boxes from above"
    dense = banner_frame(frame(split, 1056), DEMO, PALETTE, 1.0)
    other = (picture != dense).any(axis=-1)
    assert not other[:CAMERAS_PX].any() and other[CAMERAS_PX:, ABOVE_PX:].mean() > 0.1, "kept keys"
