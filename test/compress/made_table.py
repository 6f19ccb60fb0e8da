"""A table of made-up times for a tiny backbone: a lone convolution takes as many microseconds as c_out x c_in."""

from __future__ import annotations

import numpy as np

from tggbc_ros.compress import layout
from tggbc_ros.compress.latency import LatencyTable, Setting
from tggbc_ros.compress.latency.fit import LONE, Fit
from tggbc_ros.compress.latency.grid import Grid
from tggbc_ros.compress.latency.places import Kind, lateral_places, output_place, places
from tggbc_ros.core.shape import ResNetShape, Stage

IMAGE_SIZE = (32, 64)
NECK = 8
SETTING = Setting("torch", "tiny", IMAGE_SIZE, 6, "cpu", "made up", 2)


def shape() -> ResNetShape:
    """A block a stage, eight channels each, four between a block's two convolutions in the last."""
    stage = Stage(8, ((8,),))
    return ResNetShape("basic", 8, (stage, stage, stage, Stage(8, ((4,),))))


def made_table(fit: Fit = LONE) -> LatencyTable:
    """Answers for `shape` at widths from 1 to 8."""
    kinds: set[Kind] = {place.kind for place in places(shape(), IMAGE_SIZE).values()}
    kinds |= {place.kind for place in lateral_places(shape(), IMAGE_SIZE)} | {output_place(shape(), IMAGE_SIZE).kind}
    stem = places(shape(), IMAGE_SIZE)[layout.layers(shape())[0].name].kind
    axis = tuple(range(1, 9))
    grids = {}
    for kind in kinds:
        into = (3,) if kind == stem else axis
        grids[kind] = Grid(axis, into, np.outer(axis, into).astype(np.float64))
    return LatencyTable(SETTING, shape(), NECK, 4, grids, fit, {"date": "2026-11-28", "seed": 1})
