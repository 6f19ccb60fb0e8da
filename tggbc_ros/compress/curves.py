"""Rate and distortion curves as data: what each candidate sparsity of a layer costs, and does to the output."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tggbc_ros.compress.problem import Integers
from tggbc_ros.compress.values import Floats, integer, integers, named, read_list, reals, rows

BUDGETS_OF = ("weights", "macs", "bytes", "latency")
"""What a budget may count: kept weights, multiply-adds, bytes, nanoseconds or whatever whole unit the curves have."""


@dataclass(frozen=True, eq=False)
class Curves:
    """Candidates of L layers, each an array [P] of its own length.

    sparsity: share of zeros. distortion: of the output with this layer alone pruned so. kept: by what is counted, what
    is left of the layer. first: [L] the first allowed candidate (earlier pruning is not undone). budgets: by what is
    counted. Raises ValueError naming the layer that does not fit.
    """

    name: str
    sparsity: tuple[Floats, ...]
    distortion: tuple[Floats, ...]
    kept: Mapping[str, tuple[Integers, ...]]
    first: tuple[int, ...]
    budgets: Mapping[str, int]

    def __post_init__(self) -> None:
        layers = len(self.distortion)
        if layers == 0:
            raise ValueError(f"{self.name}: no layers, expected at least one")
        for what, given in {"phi": self.sparsity, "min_index": self.first, **self.kept}.items():
            if len(given) != layers:
                raise ValueError(f"{self.name}: {what} has {len(given)} layers, distortion {layers}")
        for of, budget in self.budgets.items():
            if budget < 0:
                raise ValueError(f"{self.name}: budget of {of} is {budget}, expected at least 0")
        for layer in range(layers):
            self._check_layer(layer)

    def _check_layer(self, layer: int) -> None:
        where, count = f"{self.name}: layer {layer}", len(self.distortion[layer])
        for what, given in {"phi": self.sparsity, **self.kept}.items():
            if given[layer].shape != (count,):
                raise ValueError(f"{where}: {what} has shape {list(given[layer].shape)}, expected [{count}]")
        if not 0 <= self.first[layer] < count:
            raise ValueError(f"{where}: min_index is {self.first[layer]}, expected 0 to {count - 1}")
        for what, kept in self.kept.items():
            if kept[layer].min() < 0:
                raise ValueError(f"{where}: kept {what} holds {kept[layer].min()}, expected no negative number")
        if self.sparsity[layer].max() > 1:
            raise ValueError(f"{where}: phi holds {self.sparsity[layer].max()}, expected 0 to 1")


def read_curves(path: Path) -> list[Curves]:
    """The cases of a JSON file; raises OSError, or ValueError naming file, case and what is wrong in it."""
    cases = read_list(path, "cases")
    return [named(path, f"case {place}", _of_entry, entry) for place, entry in enumerate(cases)]


def _of_entry(name: str, entry: Mapping[str, Any]) -> Curves:
    counted = [of for of in BUDGETS_OF if of in entry]
    if not counted:
        raise ValueError(f"{name}: no budget, expected one of {', '.join(BUDGETS_OF)}")
    distortion = rows(reals, f"{name}: distortion", entry["distortion"])
    first = entry.get("min_index", [0] * len(distortion))
    return Curves(
        name,
        rows(reals, f"{name}: phi", entry["phi"]),
        distortion,
        {of: rows(integers, f"{name}: kept_{of}", entry[f"kept_{of}"]) for of in counted},
        tuple(integers(f"{name}: min_index", first).tolist()),
        {of: integer(f"{name}: budget of {of}", entry[of]["budget"]) for of in counted},
    )
