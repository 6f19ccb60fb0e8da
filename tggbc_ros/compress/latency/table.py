"""A table of how long every layer of an encoder takes at every pair of widths, and the time of a whole encoder from it.

All times are those of one batch of the setting's cameras. Costs are whole microseconds and calibrated, so that
``rest_us``, the lateral convolutions' and the layers' add up to exactly what `LatencyTable.predict` says.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from tggbc_ros.compress import layout
from tggbc_ros.compress.latency.fit import LONE, REST, TERMS, Fit, sizes
from tggbc_ros.compress.latency.grid import Grid
from tggbc_ros.compress.latency.places import Kind, Place, lateral_places, output_place, places
from tggbc_ros.compress.latency.setting import Setting
from tggbc_ros.compress.problem import Integers
from tggbc_ros.core.shape import Shape, alike


@dataclass(frozen=True, eq=False)
class LatencyTable:
    """setting: what it holds for. shape: the widest backbone that it answers for. neck: channels its neck puts out.

    step: between the widths that it is made for. grids: times of lone convolutions by kind. fit: what they are worth in
    a network. said: the rest that the file says, as plain values: date, seed, versions, how it was measured.
    """

    setting: Setting
    shape: Shape
    neck: int
    step: int
    grids: Mapping[Kind, Grid]
    fit: Fit = LONE
    said: Mapping[str, Any] = field(default_factory=dict)

    def predict(self, shape: Shape) -> float:
        """Milliseconds of the whole encoder, backbone and neck, with a backbone of that shape.

        Raises ValueError for a backbone of another kind, or one that is wider than the table.
        """
        return self._total_us(shape) / 1e3

    def costs(self, layer: layout.Layer, widths_out: Sequence[int], widths_in: Sequence[int]) -> Integers:
        """Microseconds [len(out), len(in)] of a layer of the backbone and of what comes with it.

        widths_out: channels that it may put out; widths_in: that it may read, all read groups together; (3,) for a
        layer that reads the image. Width 0 costs nothing. Raises ValueError for widths beyond the table.
        """
        place = self._places.get(layer.name)
        if place is None:
            raise ValueError(f"layer {layer.name} is not in the table, which is of a {self.setting.model}")
        return self._costs(place, widths_out, widths_in)

    def lateral_costs(self, index: int, widths_in: Sequence[int]) -> Integers:
        """Microseconds [len(in)] of the neck's convolution that reads the map at stride 16 (0) or 32 (1)."""
        place = lateral_places(self.shape, self.setting.image_size)[index]
        return self._costs(place, (self.neck,), widths_in)[0]

    @property
    def rest_us(self) -> int:
        """What no choice touches: the neck's last convolution and enlargement, and what every call costs.

        The backbone's first convolution is not in it: its costs are a layer's, by how many channels it puts out.
        """
        place = output_place(self.shape, self.setting.image_size)
        return int(self._costs(place, (self.neck,), (self.neck,))[0, 0]) + round(self.fit.factors[REST])

    def terms(self, shape: Shape) -> npt.NDArray[np.float64]:
        """[TERMS], how much of each an encoder with such a backbone has."""
        self._expect_alike(shape)
        widths, image_size = layout.widths(shape), self.setting.image_size
        total = np.zeros(len(TERMS))
        total[TERMS.index(REST)] = 1.0
        for layer in layout.layers(shape):
            read = sum(widths[group] for group in layer.reads) if layer.reads else 3
            total += self._sizes(self._places[layer.name], (widths[layer.group],), (read,))[:, 0, 0]
        for place, read in zip(lateral_places(self.shape, image_size), shape.out_channels, strict=True):
            total += self._sizes(place, (self.neck,), (read,))[:, 0, 0]
        return total + self._sizes(output_place(self.shape, image_size), (self.neck,), (self.neck,))[:, 0, 0]

    @functools.cached_property
    def _places(self) -> Mapping[str, Place]:
        return places(self.shape, self.setting.image_size)

    def _total_us(self, shape: Shape) -> int:
        self._expect_alike(shape)
        widths, total = layout.widths(shape), self.rest_us
        for layer in layout.layers(shape):
            read = sum(widths[group] for group in layer.reads) if layer.reads else 3
            total += int(self.costs(layer, (widths[layer.group],), (read,))[0, 0])
        for index, read in enumerate(shape.out_channels):
            total += int(self.lateral_costs(index, (read,))[0])
        return total

    def _expect_alike(self, shape: Shape) -> None:
        names = {layer.name for layer in layout.layers(shape)}
        if not alike(shape, self.shape) or not names <= self._places.keys():
            raise ValueError(f"the shape is of another backbone than the table's, which is of a {self.setting.model}")

    def _costs(self, place: Place, widths_out: Sequence[int], widths_in: Sequence[int]) -> Integers:
        times = self.fit.time_us(self._sizes(place, widths_out, widths_in))
        there = np.outer(np.asarray(widths_out) > 0, np.asarray(widths_in) > 0)
        return np.where(there, np.rint(times), 0).astype(np.int64)

    def _sizes(self, place: Place, widths_out: Sequence[int], widths_in: Sequence[int]) -> npt.NDArray[np.float64]:
        out, into = np.asarray(widths_out)[:, None], np.asarray(widths_in)[None, :]
        if place.kind not in self.grids:
            raise ValueError(f"the table has no convolution {place.kind}")
        lone = self.grids[place.kind].at(out, into)
        return sizes(place, lone, out, into, self.setting.cameras)
