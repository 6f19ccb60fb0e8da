"""Which image cells passed each gate of a vision transformer, as a picture. NumPy only, no ROS."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from tggbc_ros.drawing.kept_keys import kept_mosaic


def tokens_mosaic(
    tokens: npt.NDArray[np.bool_] | None, cameras: Sequence[str], feature_size: tuple[int, int]
) -> npt.NDArray[np.uint8]:
    """Mosaics as `kept_keys.kept_mosaic` makes them, one below the other, gate by gate.

    tokens: [G, cells] as in `StepReport.tokens`: 255 where a cell's token passed the gated block, 0 where it did not.
    None, where all passed, is one mosaic with all cells 255. Raises ValueError for another number of cells.
    """
    cells = len(cameras) * feature_size[0] * feature_size[1]
    known = np.ones((1, cells), dtype=np.bool_) if tokens is None else tokens
    if known.shape[1] != cells:
        raise ValueError(f"tokens have {known.shape[1]} cells, expected {cells} of {len(cameras)} cameras")
    return np.concatenate([kept_mosaic(np.flatnonzero(gate), cameras, feature_size) for gate in known])
