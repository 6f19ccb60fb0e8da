"""Times of one kind of convolution at pairs of widths, and between them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from tggbc_ros.compress.values import Floats


@dataclass(frozen=True, eq=False)
class Grid:
    """us: [out, in], microseconds alone; NaN where no layer has such widths. out, into: the widths, ascending."""

    out: tuple[int, ...]
    into: tuple[int, ...]
    us: Floats

    def __post_init__(self) -> None:
        for name, widths in (("c_out", self.out), ("c_in", self.into)):
            rising = all(one < other for one, other in zip(widths, widths[1:], strict=False))
            if not widths or not rising or widths[0] < 1:
                raise ValueError(f"{name} is {list(widths)}, expected widths of at least 1, ascending")
        if self.us.shape != (len(self.out), len(self.into)):
            raise ValueError(f"us has shape {list(self.us.shape)}, expected {[len(self.out), len(self.into)]}")
        if not (np.isnan(self.us) | (self.us > 0)).all() or np.isinf(self.us).any():
            raise ValueError("us holds a time that is not above 0")

    def at(self, out: npt.NDArray[Any], into: npt.NDArray[Any]) -> Floats:
        """Microseconds at widths, two arrays that broadcast: linear in each width between those that were measured.

        Less than the least width costs as much as that. Raises ValueError for widths beyond the grid.
        """
        rows, up = _between(self.out, out, "put out")
        columns, right = _between(self.into, into, "read")
        last_row, last_column = len(self.out) - 1, len(self.into) - 1
        total = np.zeros(np.broadcast_shapes(out.shape, into.shape))
        for step_up, step_right in ((0, 0), (0, 1), (1, 0), (1, 1)):
            weight = (up if step_up else 1.0 - up) * (right if step_right else 1.0 - right)
            row, column = np.minimum(rows + step_up, last_row), np.minimum(columns + step_right, last_column)
            total += np.where(weight > 0.0, weight * self.us[row, column], 0.0)
        if np.isnan(total).any():
            raise ValueError("no layer of the table has such a pair of widths")
        return total


def _between(widths: tuple[int, ...], asked: npt.NDArray[Any], does: str) -> tuple[npt.NDArray[Any], Floats]:
    """Of each asked width the last measured one that is not above it, and how far it is to the next, 0 to 1."""
    known = np.asarray(widths)
    if asked.size and int(asked.max()) > known[-1]:
        raise ValueError(f"a layer is to {does} {int(asked.max())} channels, expected at most {known[-1]}")
    clipped = np.maximum(asked, known[0])
    place = np.searchsorted(known, clipped, side="right") - 1
    after = np.minimum(place + 1, len(known) - 1)
    gap = np.maximum(known[after] - known[place], 1)
    return place, (clipped - known[place]) / gap
