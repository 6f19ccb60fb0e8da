"""Which image regions kept their keys: trimmed cells dark, what the network never saw in plain grey."""

from __future__ import annotations

from tggbc_ros.core.config import ModelConfig
from tggbc_ros.drawing.draw import WHITE, Image, write_text
from tggbc_ros.drawing.key_regions import cell_fates, dim
from tggbc_ros.drawing.overlay import MOSAIC, at_width, draw_cameras, mosaic
from tggbc_ros.drawing.palette import Palette
from tggbc_ros.showcase.frames import ShownFrame


def key_picture(shown: ShownFrame, model: ModelConfig, palette: Palette, cell_width: int = 640) -> Image:
    """All cameras with detections; per camera the share of its keys that the last decoder layer saw."""
    picture = key_mosaic(shown, model, palette, cell_width)
    height = picture.shape[0] // len(MOSAIC)
    for row, names in enumerate(MOSAIC):
        for column, name in enumerate(names):
            if name in shown.kept:
                share = f"{shown.kept[name].mean():.0%} kept"
                write_text(picture, share, (column * cell_width + 10, (row + 1) * height - 12), WHITE, 0.7)
    return picture


def key_mosaic(shown: ShownFrame, model: ModelConfig, palette: Palette, cell_width: int) -> Image:
    """All cameras side by side, dimmed where keys were trimmed."""
    raw = shown.sample.camera_frame()
    large = at_width(raw, cell_width)
    for name, small, image in zip(raw.rig.names, raw.images, large.images, strict=True):
        dim(image, cell_fates(shown.kept[name], model, *small.shape[:2]), palette.kept)
    return mosaic(draw_cameras(large, shown.boxes, palette, labels=False), cell_width)
