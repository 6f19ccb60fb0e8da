"""Detections joined to tracks by nearest neighbours, for drawing where things came from and for nothing else.

No scores, no second chances, no re-identification: a tracker that has to be right is another program.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tggbc_ros.core.types import Array, Boxes3D

GATE_M = 2.5
MAX_GAP_S = 1.1


@dataclass(frozen=True, eq=False)
class Moment:
    """What was detected at one time; boxes in the global frame, which stands still."""

    time_s: float
    boxes: Boxes3D


@dataclass(frozen=True, eq=False)
class _End:
    """The last box of a track so far; centre and velocity in the ground plane."""

    track: int
    time_s: float
    label: int
    center: Array
    velocity: Array


def link(moments: Sequence[Moment]) -> list[npt.NDArray[np.int64]]:
    """Number of the track of every box, moment by moment; moments in time order.

    A track takes the box of its class that is nearest to where it was, or to where its velocity led since, within
    GATE_M; nearest pairs first. A box that no track takes begins one; a track is over after MAX_GAP_S without a box.
    """
    numbers: list[npt.NDArray[np.int64]] = []
    ends: list[_End] = []
    begun = 0
    for moment in moments:
        ends = [end for end in ends if moment.time_s - end.time_s <= MAX_GAP_S]
        number = np.full(len(moment.boxes), -1, dtype=np.int64)
        for end, row in _nearest_pairs(ends, moment):
            number[row] = ends[end].track
        new = np.flatnonzero(number < 0)
        number[new] = begun + np.arange(len(new))
        begun += len(new)
        found = set(number.tolist())
        ends = [end for end in ends if end.track not in found] + _ends(moment, number)
        numbers.append(number)
    return numbers


def trails(
    moments: Sequence[Moment], numbers: Sequence[npt.NDArray[np.int64]], index: int, seconds: float
) -> list[tuple[int, Array]]:
    """Tracks that have a box at moment ``index``: class and way [n >= 2, 3] of the last seconds, oldest first."""
    since_s = moments[index].time_s - seconds
    found: list[tuple[int, Array]] = []
    for row, number in enumerate(numbers[index]):
        way = [
            moment.boxes.center[numbers[at] == number][0]
            for at, moment in enumerate(moments[: index + 1])
            if moment.time_s >= since_s and (numbers[at] == number).any()
        ]
        if len(way) > 1:
            found.append((int(moments[index].boxes.label[row]), np.stack(way)))
    return found


def _nearest_pairs(ends: Sequence[_End], moment: Moment) -> list[tuple[int, int]]:
    """(end, box) of the same class within the gate, nearest pairs first, each in one pair at most."""
    boxes = moment.boxes
    if not ends or not len(boxes):
        return []
    last = np.stack([end.center for end in ends])
    moved = last + np.stack([end.velocity * (moment.time_s - end.time_s) for end in ends])
    distance = np.minimum(_distances(last, boxes), _distances(moved, boxes))
    distance[np.array([end.label for end in ends])[:, None] != boxes.label[None]] = np.inf
    pairs: list[tuple[int, int]] = []
    while distance.min() <= GATE_M:
        end, row = divmod(int(distance.argmin()), len(boxes))
        pairs.append((end, row))
        distance[end], distance[:, row] = np.inf, np.inf
    return pairs


def _distances(places: Array, boxes: Boxes3D) -> Array:
    """[places, boxes], metres in the ground plane."""
    return np.asarray(np.linalg.norm(places[:, None] - boxes.center[None, :, :2], axis=-1))


def _ends(moment: Moment, number: npt.NDArray[np.int64]) -> list[_End]:
    boxes = moment.boxes
    velocity = np.nan_to_num(boxes.velocity)
    return [
        _End(int(track), moment.time_s, int(boxes.label[row]), boxes.center[row, :2], velocity[row])
        for row, track in enumerate(number)
    ]
