"""Images between nuScenes keyframes -> complete sets.

A camera fires when the lidar's beam sweeps its view, so within one set each camera has its own constant
offset (up to 45 ms); sets follow each other by 50 or 100 ms.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from tggbc_ros.data.nuscenes.tables import SampleDataRow

MAX_DIFFERENCE_US = 20_000.0
"""How far from its expected time an image may be: less than half of the shortest interval between sets."""


def group_shots(
    shots: Mapping[str, list[SampleDataRow]], offsets_us: Mapping[str, float]
) -> tuple[list[tuple[SampleDataRow, ...]], int]:
    """Complete sets in time order, one image per camera in the mapping's order, and the number of images in none.

    offsets_us: how much later than the set's time each camera fires; the median over the keyframes.
    """
    ordered = {name: sorted(rows, key=lambda row: row.timestamp) for name, rows in shots.items()}
    times = {name: np.array([row.timestamp - offsets_us[name] for row in rows]) for name, rows in ordered.items()}
    anchor, *others = ordered
    sets = []
    taken = {name: -1 for name in others}
    for row, time_us in zip(ordered[anchor], times[anchor], strict=True):
        nearest = {name: _nearest(times[name], time_us) for name in others}
        if all(index is not None and index > taken[name] for name, index in nearest.items()):
            taken = {name: index for name, index in nearest.items() if index is not None}
            sets.append((row, *(ordered[name][index] for name, index in taken.items())))
    return sets, sum(len(rows) for rows in ordered.values()) - len(ordered) * len(sets)


def _nearest(times_us: np.ndarray, time_us: float) -> int | None:
    """Index of the time nearest to ``time_us``, None if none is near enough."""
    if times_us.size == 0:
        return None
    index = int(np.abs(times_us - time_us).argmin())
    return index if abs(times_us[index] - time_us) <= MAX_DIFFERENCE_US else None
