"""A latency table in words: what an encoder's time is made of, and how well the table knows it."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from tggbc_ros.compress.latency.fit import TERMS
from tggbc_ros.compress.latency.table import LatencyTable
from tggbc_ros.core.shape import Shape

NAMES = {
    "1x1": "convolutions 1x1",
    "3x3": "convolutions 3x3",
    "stem": "first convolution",
    "layer": "each convolution's constant",
    "weights": "reading weights",
    "added": "additions",
    "pooled": "poolings",
    "joined": "concatenations",
    "gated": "gates",
    "rest": "what no choice touches",
}


def report(table: LatencyTable) -> Iterator[str]:
    """Lines for people."""
    setting = table.setting
    rows, columns = setting.image_size
    entries = sum(int((~np.isnan(grid.us)).sum()) for grid in table.grids.values())
    yield (
        f"{setting.model} on {setting.engine}, {setting.cameras} cameras of {columns}x{rows}, "
        f"{setting.threads} threads, {setting.device} of {setting.machine}"
    )
    yield f"{entries} layers alone, of {len(table.grids)} kinds, at steps of {table.step} channels"
    yield from time_table(table, table.shape)
    yield "norms are part of the convolutions, and cost nothing"
    if table.fit.encoders:
        yield fit_line(table)


def time_table(table: LatencyTable, shape: Shape) -> Iterator[str]:
    """What the time of an encoder of that shape is made of: milliseconds, share, factor of the fit."""
    parts = table.terms(shape) * np.array([table.fit.factors[name] for name in TERMS]) / 1e3
    total = parts.sum()
    yield f"{'of an encoder of the whole width':<34}{'ms':>9}{'share':>8}{'factor':>10}"
    for name, part in zip(TERMS, parts, strict=True):
        yield f"{NAMES[name]:<34}{part:9.2f}{part / total:8.1%}{table.fit.factors[name]:10.3f}"
    yield f"{'together':<34}{total:9.2f}"


def fit_line(table: LatencyTable) -> str:
    """How far the fit is from the encoders that it was made to."""
    errors = np.array([abs(each.fitted_ms / each.measured_ms - 1.0) for each in table.fit.encoders])
    fastest, slowest = (pick(each.measured_ms for each in table.fit.encoders) for pick in (min, max))
    return (
        f"fitted to {len(errors)} whole encoders of {fastest:.1f} to {slowest:.1f} ms: error median "
        f"{np.median(errors):.1%}, 90 % within {np.quantile(errors, 0.9):.1%}, largest {errors.max():.1%}"
    )
