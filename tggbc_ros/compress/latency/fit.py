"""From the times of lone layers to that of a network: what each of them is worth there, and what lies between them.

A network's time is a sum of terms, each the size of something times a factor that is fitted to whole encoders and not
negative. `sizes` says for a layer at given widths how much of each there is.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from tggbc_ros.compress.latency.places import Place
from tggbc_ros.compress.values import Floats, shown

REST = "rest"
TERMS = ("1x1", "3x3", "stem", "layer", "weights", "added", "pooled", "joined", "gated", REST)
"""The times of lone convolutions by kernel (factor: times as long); a constant for each convolution (us); its weights,
and what is added, pooled, concatenated and gated (us for a million numbers); what no choice touches (us)."""

MILLION = 1e6


def kernel_term(place: Place) -> str:
    """The term that a convolution's own time is part of."""
    return {1: "1x1", 3: "3x3"}.get(place.kind.kernel, "stem")


def sizes(place: Place, lone_us: Floats, out: npt.NDArray[Any], into: npt.NDArray[Any], cameras: int) -> Floats:
    """[TERMS, …] of a convolution. lone_us: its time alone; out, into: its widths; all of shapes that broadcast."""
    lone_us, out, into = np.broadcast_arrays(lone_us, out.astype(np.float64), into.astype(np.float64))
    found = np.zeros((len(TERMS), *lone_us.shape))
    millions = cameras / MILLION
    found[TERMS.index(kernel_term(place))] = lone_us
    found[TERMS.index("layer")] = 1.0
    found[TERMS.index("weights")] = (place.kind.kernel**2 * out * into + (out * out if place.gated else 0.0)) / MILLION
    found[TERMS.index("added")] = place.added * out * millions
    found[TERMS.index("pooled")] = (place.pooled_out * out + place.pooled_in * into) * millions
    found[TERMS.index("joined")] = place.joined * into * millions
    found[TERMS.index("gated")] = place.gated * out * millions
    return found


@dataclass(frozen=True)
class Encoder:
    """One whole encoder that was timed: what it was (JSON of its shape), and its time, measured and by the fit."""

    shape: str
    measured_ms: float
    fitted_ms: float


@dataclass(frozen=True)
class Fit:
    """factors: of each of `TERMS`. encoders: those that it was fitted to, with what is left over."""

    factors: Mapping[str, float]
    encoders: tuple[Encoder, ...] = ()

    def __post_init__(self) -> None:
        if tuple(self.factors) != TERMS:
            raise ValueError(f"factors are of {', '.join(self.factors)}, expected {', '.join(TERMS)}")
        for name, value in self.factors.items():
            if isinstance(value, bool) or not isinstance(value, int | float) or not 0.0 <= value < 1e9:
                raise ValueError(f"factor {name} is {shown(value)}, expected a number of at least 0")

    def time_us(self, terms: Floats) -> Floats:
        """[TERMS, …] sizes -> microseconds [...]."""
        factors = np.array([self.factors[name] for name in TERMS])
        total: Floats = np.tensordot(factors, terms, axes=1)
        return total


LONE = Fit({name: float(name in ("1x1", "3x3", "stem")) for name in TERMS})
"""The sum of lone convolutions, as it would be without whole encoders to fit to."""
