"""A latency table that nobody measured: time is multiply-adds, and something for each channel that comes out."""

from __future__ import annotations

import numpy as np

from tggbc_ros.compress.latency import LatencyTable, Setting
from tggbc_ros.compress.latency.grid import Grid
from tggbc_ros.compress.latency.places import Kind, lateral_places, output_place, places
from tggbc_ros.core.config import ModelConfig
from tggbc_ros.core.shape import PRESETS, Shape

MOST = 4096
PER_US = 2e4
"""Multiply-adds in a microsecond."""


def made_table(model: ModelConfig, engine: str = "torch", step: int = 8, shape: Shape | None = None) -> LatencyTable:
    """Of the model's backbone, as if measured here."""
    shape = shape or model.shape or PRESETS[model.backbone]
    kinds = {each.kind for each in places(shape, model.image_size).values()}
    kinds |= {each.kind for each in lateral_places(shape, model.image_size)}
    kinds.add(output_place(shape, model.image_size).kind)
    grids = {kind: _grid(kind) for kind in kinds}
    return LatencyTable(Setting.here(model, engine), shape, model.embed_dims, step, grids, said={"date": "made up"})


def _grid(kind: Kind) -> Grid:
    height, width = kind.out_size
    widths = (1, MOST)
    rate = 6 * height * width / PER_US
    times = rate * (kind.kernel**2 * np.outer(widths, widths) + 8 * np.array(widths)[:, None])
    return Grid(widths, widths, times.astype(np.float64))
