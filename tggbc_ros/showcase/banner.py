"""The short film that README opens with: what goes in, what comes out, which keys that took, at a page's width."""

from __future__ import annotations

import numpy as np

from tggbc_ros.core.config import ModelConfig
from tggbc_ros.drawing.birds_eye import birds_eye
from tggbc_ros.drawing.draw import DARK, GREY, WHITE, Image, write_text
from tggbc_ros.drawing.overlay import at_width, draw_cameras, mosaic
from tggbc_ros.drawing.palette import Palette
from tggbc_ros.showcase.frames import ShownFrame
from tggbc_ros.showcase.keys import key_mosaic

CAMERA_WIDTH = 288
ABOVE_PX = 312
MARGIN_PX = 12
RANGE_M = 26.0
FRAMES, QUALITY = 28, 60
"""The last so many: with what a set of the demo costs, a film of 1.1 MB."""


def banner_frame(shown: ShownFrame, model: ModelConfig, palette: Palette, keep_ratio: float) -> Image:
    """One picture: six cameras with boxes, below them the view from above and the cells whose keys were kept."""
    frame = at_width(shown.sample.camera_frame(), CAMERA_WIDTH)
    cameras = mosaic(draw_cameras(frame, shown.boxes, palette, labels=False), CAMERA_WIDTH)
    ways = [(way, palette.colors[label]) for label, way in shown.trails]
    above = birds_eye(shown.boxes, palette, None, ABOVE_PX, RANGE_M, ways)
    panel = np.full((ABOVE_PX, cameras.shape[1] - ABOVE_PX, 3), DARK, dtype=np.uint8)
    keys = key_mosaic(shown, model, palette, (panel.shape[1] - 2 * MARGIN_PX) // 3)
    top = ABOVE_PX - keys.shape[0] - MARGIN_PX
    panel[top : top + keys.shape[0], MARGIN_PX : MARGIN_PX + keys.shape[1]] = keys
    write_text(panel, "six cameras in, 3D boxes with velocity out", (MARGIN_PX, 26), WHITE, 0.6)
    write_text(panel, "StreamPETR, its keys pruned at run time by tgGBC", (MARGIN_PX, 50), GREY, 0.5)
    kept = f"keep_ratio {keep_ratio:g}: {shown.keys_kept} of {shown.keys} keys left, the others' cells are dark"
    write_text(panel, kept, (MARGIN_PX, top - 10), GREY, 0.45)
    return np.vstack([cameras, np.hstack([above, panel])])
