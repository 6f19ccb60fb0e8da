"""How many weights each layer keeps: by its curves, exactly, or as one would do without them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from tggbc_ros.compress import allocation_peers as peers
from tggbc_ros.compress.allocation import BudgetError, allocate
from tggbc_ros.compress.curves import Curves
from tggbc_ros.compress.problem import Integers
from tggbc_ros.compress.sparse.layers import Layer
from tggbc_ros.compress.values import Floats
from tggbc_ros.core.sparse_file import packed_bytes

METHODS = ("dm3d", "uniform", "magnitude", "lamp", "erk")
COUNTED = ("weights", "macs", "bytes")
HALVINGS = 40


def costs(counted: str, size: int, kept: Integers, positions: int, item: int) -> Integers:
    """What a layer costs when it keeps so many weights, whole numbers.

    positions: how often it is applied in a frame. item: bytes of a number.
    """
    if counted == "weights":
        return kept
    if counted == "macs":
        return kept * positions
    return np.array([min(size * item, packed_bytes(size, int(each), item)) for each in kept], np.int64)


def budget(curves: Curves, counted: str, target: float) -> int:
    """A share of what all layers cost with all their weights, which is their first candidate."""
    return int(target * sum(int(row[0]) for row in curves.kept[counted]))


def chosen(
    method: str,
    curves: Curves,
    counted: str,
    target: float,
    layers: Sequence[Layer],
    weights: Sequence[Floats],
    positions: Sequence[int],
    item: int,
) -> dict[str, int]:
    """Kept weights by layer, within the target. Raises BudgetError where it cannot be met."""
    most = budget(curves, counted, target)
    if method == "dm3d":
        index = allocate(curves, counted, most).index
        kept = [int(row[at]) for row, at in zip(curves.kept["weights"], index, strict=True)]
    else:
        units = list(positions) if counted == "macs" else [1] * len(layers)
        whole = sum(layer.size * unit for layer, unit in zip(layers, units, strict=True))
        share = _peer(method, layers, weights, units, whole)

        def cost(counts: Sequence[int]) -> int:
            return sum(
                int(costs(counted, layer.size, np.array([count]), at, item)[0])
                for layer, count, at in zip(layers, counts, positions, strict=True)
            )

        kept = _within(share, cost, most)
    return {layer.name: count for layer, count in zip(layers, kept, strict=True)}


Share = Callable[[float], list[int]]


def _peer(method: str, layers: Sequence[Layer], weights: Sequence[Floats], units: list[int], whole: int) -> Share:
    """Kept weights at a share of everything."""
    if method == "uniform":
        return lambda share: [int(share * layer.size + 1e-9) for layer in layers]
    if method == "erk":
        return lambda share: peers.by_erk([layer.shape for layer in layers], int(share * whole), units)
    by = {"magnitude": peers.by_magnitude, "lamp": peers.by_lamp}[method]
    return lambda share: by(weights, int(share * whole), units)


def _within(share: Share, cost: Callable[[Sequence[int]], int], most: int) -> list[int]:
    """What the greatest share keeps that costs no more."""
    if cost(share(1.0)) <= most:
        return share(1.0)
    low, high = 0.0, 1.0
    best = share(low)
    if cost(best) > most:
        raise BudgetError(f"a budget of {most} cannot be met, the least is {cost(best)}")
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        found = share(middle)
        if cost(found) <= most:
            low, best = middle, found
        else:
            high = middle
        if high - low < 1e-6:
            break
    return best


def shares(kept: Mapping[str, int], layers: Sequence[Layer], positions: Sequence[int], item: int) -> dict[str, float]:
    """What is left of all layers together, by what is counted."""
    found = {}
    for counted in COUNTED:
        left = whole = 0
        for layer, at in zip(layers, positions, strict=True):
            row = costs(counted, layer.size, np.array([layer.size, kept[layer.name]], np.int64), at, item)
            whole, left = whole + int(row[0]), left + int(row[1])
        found[counted] = left / whole
    return found
