"""Factors of a network's terms, fitted to whole encoders."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from tggbc_ros.compress.latency.fit import LONE, TERMS, Encoder, Fit
from tggbc_ros.compress.latency.table import LatencyTable
from tggbc_ros.core.shape import Shape, to_json

TRUST = 0.02
"""How much a lone convolution's time is believed beside the encoders: twice as long in a network counts as much as an
error of this share of its part in the time. Enough to decide where the encoders cannot tell kernels apart."""


def calibrated(table: LatencyTable, shapes: Sequence[Shape], measured_ms: Sequence[float]) -> LatencyTable:
    """The table with factors that are not negative and come closest to the times of these encoders, in relative terms.

    shapes and measured_ms: of the encoders. Raises ValueError where there are fewer than two.
    """
    from scipy.optimize import nnls

    if len(shapes) < 2:
        raise ValueError(f"there are {len(shapes)} encoders to fit to, expected at least 2")
    taken = np.asarray(measured_ms) * 1e3
    terms = np.stack([table.terms(shape) for shape in shapes]) / taken[:, None]
    begin = np.array([LONE.factors[name] for name in TERMS])
    trust = TRUST * np.sqrt(len(shapes)) * terms.mean(axis=0) * (begin > 0)
    found, _ = nnls(np.vstack([terms, np.diag(trust)]), np.concatenate([np.ones(len(shapes)), trust * begin]))
    fit = Fit(dict(zip(TERMS, map(float, found), strict=True)))
    fitted = [float(fit.time_us(table.terms(shape))) / 1e3 for shape in shapes]
    encoders = (
        Encoder(to_json(shape), float(measured), time)
        for shape, measured, time in zip(shapes, measured_ms, fitted, strict=True)
    )
    return replace(table, fit=replace(fit, encoders=tuple(encoders)))
