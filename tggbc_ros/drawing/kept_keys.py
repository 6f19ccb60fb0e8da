"""Which image cells kept their keys, as a picture: one pixel a cell, the cameras side by side. NumPy only, no ROS.

KEPT (255) where the last decoder layer still saw the cell's key, TRIMMED (0) where only earlier ones did, and
UNSTARTED (64) where none did: a missing camera, the vehicle itself, or what start_ratio or carry_ratio left out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from tggbc_ros.drawing.overlay import MOSAIC

KEPT, UNSTARTED, TRIMMED = 255, 64, 0
COLUMNS = 3


def arrangement(cameras: Sequence[str]) -> tuple[tuple[str, ...], ...]:
    """Rows of cameras: as in `overlay.MOSAIC` where all have a place there, else three a row in the order given."""
    places = tuple(tuple(name for name in row if name in cameras) for row in MOSAIC)
    if sum(map(len, places)) == len(cameras):
        return MOSAIC
    return tuple(tuple(cameras[start : start + COLUMNS]) for start in range(0, len(cameras), COLUMNS))


def kept_mosaic(
    kept: npt.NDArray[np.int64],
    cameras: Sequence[str],
    feature_size: tuple[int, int],
    started: npt.NDArray[np.int64] | None = None,
) -> npt.NDArray[np.uint8]:
    """Cells -> picture, uint8 [rows of cameras * rows, cameras a row * columns]; a place without a camera is 0.

    kept: as in `StepReport.kept`, camera by camera in the order of ``cameras``, row by row of ``feature_size``
    (rows, columns). started: as in `StepReport.started`. Raises ValueError for a cell that no camera has.
    """
    by_camera = cells_by_camera(kept, cameras, feature_size)
    pictures = {name: np.where(cells, KEPT, TRIMMED).astype(np.uint8) for name, cells in by_camera.items()}
    if started is not None:
        for name, cells in cells_by_camera(started, cameras, feature_size).items():
            pictures[name][~cells] = UNSTARTED
    return _arranged(pictures, arrangement(cameras), feature_size)


def cells_by_camera(
    kept: npt.NDArray[np.int64], cameras: Sequence[str], feature_size: tuple[int, int]
) -> dict[str, npt.NDArray[np.bool_]]:
    """Camera -> which of its cells [rows, columns] kept their keys; arguments and errors as in `kept_mosaic`."""
    rows, columns = feature_size
    count = len(cameras) * rows * columns
    if len(kept) and not (kept.min() >= 0 and kept.max() < count):
        raise ValueError(f"kept cells range from {kept.min()} to {kept.max()}, expected 0 to {count - 1}")
    cells = np.zeros(count, dtype=np.bool_)
    cells[kept] = True
    return dict(zip(cameras, cells.reshape(len(cameras), rows, columns), strict=True))


def kept_by_camera(picture: npt.NDArray[np.uint8], cameras: Sequence[str]) -> dict[str, npt.NDArray[np.bool_]]:
    """The inverse of `kept_mosaic`: camera -> which of its cells [rows, columns] kept their keys.

    Raises ValueError for a picture that these cameras do not divide evenly.
    """
    places = arrangement(cameras)
    down, across = len(places), max(map(len, places))
    if picture.ndim != 2 or picture.shape[0] % down or picture.shape[1] % across:
        raise ValueError(f"picture of kept keys has shape {picture.shape}, expected {down} by {across} equal cameras")
    rows, columns = picture.shape[0] // down, picture.shape[1] // across
    cut = picture.reshape(down, rows, across, columns).swapaxes(1, 2) == KEPT
    return {name: cut[row, column] for row, names in enumerate(places) for column, name in enumerate(names)
            if name in cameras}  # fmt: skip


def _arranged(
    by_camera: Mapping[str, npt.NDArray[np.uint8]], places: Sequence[Sequence[str]], feature_size: tuple[int, int]
) -> npt.NDArray[np.uint8]:
    rows, columns = feature_size
    picture = np.full((rows * len(places), columns * max(map(len, places))), TRIMMED, dtype=np.uint8)
    for row, names in enumerate(places):
        for column, name in enumerate(names):
            if name in by_camera:
                cell = picture[row * rows : (row + 1) * rows, column * columns : (column + 1) * columns]
                cell[:] = by_camera[name]
    return picture
