"""The film of a drive: six cameras above, below them the view from above, the numbers, and what kept its keys."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from PIL import Image as Pillow

from tggbc_ros.core.config import ModelConfig
from tggbc_ros.data.drive.config import SAMPLE_RATE_HZ
from tggbc_ros.drawing.birds_eye import birds_eye
from tggbc_ros.drawing.draw import DARK, GREY, WHITE, Image, write_text
from tggbc_ros.drawing.overlay import at_width, draw_cameras, mosaic
from tggbc_ros.drawing.palette import Palette
from tggbc_ros.evaluation.results import Row
from tggbc_ros.showcase.frames import ShownFrame
from tggbc_ros.showcase.keys import key_mosaic

CAMERA_WIDTH = 440
ABOVE_PX = 600
MARGIN_PX = 24
RANGE_M = 26.0
COLUMNS = {"network": "network", "keep_ratio": "keep", "frame_ms": "frame ms", "mAP": "mAP", "NDS": "NDS"}
FORMATS = {"network": "s", "keep_ratio": "g", "frame_ms": ".1f", "mAP": ".3f", "NDS": ".3f"}
PLACES_PX = (0, 280, 360, 490, 590)
"""Where the columns begin."""
SPEED_UP = 2.0
QUALITY = 82


def film_frame(shown: ShownFrame, model: ModelConfig, palette: Palette, rows: Sequence[Row], which: int) -> Image:
    """One picture of the film. rows: the scores of all passes, ``which`` of them is that of the frame."""
    frame = at_width(shown.sample.camera_frame(), CAMERA_WIDTH)
    cameras = mosaic(draw_cameras(frame, shown.boxes, palette, shown.truth, labels=False), CAMERA_WIDTH)
    ways = [(way, palette.colors[label]) for label, way in shown.trails]
    above = birds_eye(shown.boxes, palette, shown.truth, ABOVE_PX, RANGE_M, ways)
    panel = np.full((ABOVE_PX, cameras.shape[1] - ABOVE_PX, 3), DARK, dtype=np.uint8)
    write_text(panel, _heading(rows[which]), (MARGIN_PX, 44), WHITE, 0.8)
    write_text(panel, f"{shown.time_s:.1f} s", (panel.shape[1] - 90, 44), WHITE, 0.7)
    _write_scores(panel, rows, which)
    _put_keys(panel, key_mosaic(shown, model, palette, (panel.shape[1] - 2 * MARGIN_PX) // 3), shown)
    return np.vstack([cameras, np.hstack([above, panel])])


def _heading(row: Row) -> str:
    return f"{row['network']}, keep_ratio {row['keep_ratio']:g}"


def _write_scores(panel: Image, rows: Sequence[Row], which: int) -> None:
    """The table of the passes, that of the frame in white."""
    lines = [list(COLUMNS.values()), *([f"{row[name]:{FORMATS[name]}}" for name in COLUMNS] for row in rows)]
    for line, texts in enumerate(lines):
        for column, text in enumerate(texts):
            place = MARGIN_PX + PLACES_PX[column], 92 + 28 * line
            write_text(panel, text, place, WHITE if line == which + 1 else GREY, 0.55)


def _put_keys(panel: Image, keys: Image, shown: ShownFrame) -> None:
    """The cameras with what kept its keys, at the panel's foot."""
    top = panel.shape[0] - keys.shape[0] - MARGIN_PX
    panel[top : top + keys.shape[0], MARGIN_PX : MARGIN_PX + keys.shape[1]] = keys
    caption = f"{shown.keys_kept} of {shown.keys} keys left; the cells of the others are dark"
    write_text(panel, caption, (MARGIN_PX, top - 12), WHITE, 0.55)


def write_film(pictures: Iterable[Image], path: Path, quality: int = QUALITY) -> None:
    """Write pictures of keyframes as an animated WebP, which every browser plays and Pillow alone can write.

    quality: 0 to 100. Raises ValueError where there is no picture.
    """
    frames = [Pillow.fromarray(np.ascontiguousarray(picture[..., ::-1])) for picture in pictures]
    if not frames:
        raise ValueError(f"{path} has no frames: expected at least one picture")
    duration_ms = round(1e3 / SAMPLE_RATE_HZ / SPEED_UP)
    frames[0].save(
        path, save_all=True, append_images=frames[1:], duration=duration_ms, loop=0, quality=quality, method=2
    )
