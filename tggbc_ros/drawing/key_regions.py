"""Image regions by what became of their keys: kept, trimmed, or never seen by the network. No ROS."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from tggbc_ros.core.config import ModelConfig
from tggbc_ros.core.preprocess import fit_image
from tggbc_ros.drawing.draw import Image
from tggbc_ros.drawing.palette import Color

CUT, TRIMMED, KEPT, UNSTARTED = 0, 1, 2, 3
TRIMMED_LIGHT, CUT_LIGHT, CUT_VEIL = 0.3, 0.12, 70


def cell_fates(
    kept: npt.NDArray[np.bool_],
    model: ModelConfig,
    height: int,
    width: int,
    started: npt.NDArray[np.bool_] | None = None,
) -> npt.NDArray[np.uint8]:
    """For a raw image of that size: CUT, UNSTARTED, TRIMMED or KEPT per pixel, from each cell's fate [rows, columns].

    started: cells whose keys the first layer saw; None: all.

    In the pixels of the scaled image before it is cut, of the same shape as the raw one but for rounding.
    """
    fit = fit_image(height, width, model)
    net_height, net_width = model.image_size
    cells = np.where(kept, KEPT, TRIMMED).astype(np.uint8)
    if started is not None:
        cells[~started] = UNSTARTED
    pixels = cells.repeat(model.stride, axis=0).repeat(model.stride, axis=1)[:net_height, :net_width]
    fate = np.full((fit.height, fit.width), CUT, dtype=np.uint8)
    fate[fit.top : fit.top + net_height, fit.left : fit.left + net_width] = pixels
    return fate


def dim(image: Image, fate: npt.NDArray[np.uint8], outline: Color) -> None:
    """Darken in place what was trimmed, take the colours too of what was never started, veil what was cut.

    The edge of what was kept is drawn.

    fate: as from `cell_fates`, of any size; it is stretched over the image.
    """
    size = image.shape[1], image.shape[0]
    fate = cv2.resize(fate, size, interpolation=cv2.INTER_NEAREST).astype(np.uint8, copy=False)
    grey = cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_BGR2GRAY), cv2.COLOR_GRAY2BGR)
    trimmed, cut, unstarted = ((fate == each).astype(np.uint8) for each in (TRIMMED, CUT, UNSTARTED))
    cv2.copyTo(cv2.convertScaleAbs(grey, alpha=TRIMMED_LIGHT), unstarted, image)
    cv2.copyTo(cv2.convertScaleAbs(image, alpha=TRIMMED_LIGHT), trimmed, image)
    cv2.copyTo(cv2.convertScaleAbs(grey, alpha=CUT_LIGHT, beta=CUT_VEIL), cut, image)
    outlines, _ = cv2.findContours((fate == KEPT).astype(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE)
    cv2.drawContours(image, outlines, -1, outline, 1)
