"""Which image regions kept their keys: trimmed cells dark, what the network never saw in plain grey."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from tggbc_ros.core.config import ModelConfig
from tggbc_ros.core.preprocess import fit_image
from tggbc_ros.ros.overlay import MOSAIC, WHITE, Image, Palette, draw_cameras, enlarged, mosaic, write_text
from tggbc_ros.showcase.frames import ShownFrame

CUT, TRIMMED, KEPT = 0, 1, 2
EDGE = (66, 228, 240)
"""BGR of the outline around what was kept."""

TRIMMED_LIGHT, CUT_LIGHT, CUT_VEIL = 0.3, 0.12, 70


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
    large = enlarged(raw, cell_width)
    for name, small, image in zip(raw.rig.names, raw.images, large.images, strict=True):
        height, width = small.shape[:2]
        fate = cell_fates(shown.kept[name], model, height, width)
        fate = cv2.resize(fate, image.shape[1::-1], interpolation=cv2.INTER_NEAREST).astype(np.uint8, copy=False)
        _dim(image, fate)
    return mosaic(draw_cameras(large, shown.boxes, palette, labels=False), cell_width)


def cell_fates(kept: npt.NDArray[np.bool_], model: ModelConfig, height: int, width: int) -> npt.NDArray[np.uint8]:
    """For a raw image of that size: CUT, TRIMMED or KEPT per pixel, from the fate of each cell [rows, columns].

    In the pixels of the scaled image before it is cut, of the same shape as the raw one but for rounding.
    """
    fit = fit_image(height, width, model)
    net_height, net_width = model.image_size
    cells = np.where(kept, KEPT, TRIMMED).astype(np.uint8)
    pixels = cells.repeat(model.stride, axis=0).repeat(model.stride, axis=1)[:net_height, :net_width]
    fate = np.full((fit.height, fit.width), CUT, dtype=np.uint8)
    fate[fit.top : fit.top + net_height, fit.left : fit.left + net_width] = pixels
    return fate


def _dim(image: Image, fate: npt.NDArray[np.uint8]) -> None:
    """Darken in place, and draw the edge of what was kept."""
    grey = cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_BGR2GRAY), cv2.COLOR_GRAY2BGR)
    image[fate == TRIMMED] = (image[fate == TRIMMED] * TRIMMED_LIGHT).astype(np.uint8)
    image[fate == CUT] = (grey[fate == CUT] * CUT_LIGHT + CUT_VEIL).astype(np.uint8)
    outlines, _ = cv2.findContours((fate == KEPT).astype(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    cv2.drawContours(image, outlines, -1, EDGE, 1)
