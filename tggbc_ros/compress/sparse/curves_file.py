"""Curves as a file, in the format that `compress.allocation` solves too, with what they rest on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tggbc_ros.compress.curves import Curves
from tggbc_ros.compress.slim.ledger import read_json, write_json
from tggbc_ros.compress.sparse.choice import COUNTED, costs
from tggbc_ros.compress.sparse.layers import Layer
from tggbc_ros.compress.sparse.levels import SPARSITIES, kept_counts

FORMAT = "tggbc_ros sparse curves 1"


@dataclass(frozen=True, eq=False)
class Found:
    """Of a network's layers, in order. predicted: distortion at each of `SPARSITIES`; measured likewise, or nothing.

    positions: how often each is applied in a frame. item: bytes of a number in the dense file. agreement: rank
    correlation of the two, if both are there.
    """

    names: tuple[str, ...]
    sizes: tuple[int, ...]
    positions: tuple[int, ...]
    item: int
    predicted: Sequence[Sequence[float]]
    measured: Sequence[Sequence[float]]
    agreement: float | None

    def curves(self, which: str, budgets: Mapping[str, int] | None = None) -> Curves:
        """For the solver; which: "predicted" or "measured". The first candidate of each layer is the dense one."""
        rows = self.predicted if which == "predicted" else self.measured
        if not rows:
            raise ValueError("nothing is measured in these curves, expected --curves measured")
        kept = [np.array(kept_counts(size), np.int64) for size in self.sizes]
        counted = {
            of: tuple(
                costs(of, size, row, at, self.item)
                for size, row, at in zip(self.sizes, kept, self.positions, strict=True)
            )
            for of in COUNTED
        }
        return Curves(
            which,
            tuple(np.array(SPARSITIES) for _ in self.sizes),
            tuple(np.array(row) for row in rows),
            counted,
            (0,) * len(self.sizes),
            budgets or {},
        )


def write_found(path: Path, found: Found, which: str, target: float, said: Mapping[str, Any]) -> None:
    """Write it with one case for `compress.allocation`, whose budgets are a share of everything."""
    curves = found.curves(which)
    case: dict[str, Any] = {
        "layers": list(found.names),
        "sizes": list(found.sizes),
        "positions": list(found.positions),
        "phi": [row.tolist() for row in curves.sparsity],
        "distortion": [row.tolist() for row in curves.distortion],
        "predicted": [list(row) for row in found.predicted],
        "measured": [list(row) for row in found.measured],
        "min_index": list(curves.first),
    }
    for of, rows in curves.kept.items():
        case[f"kept_{of}"] = [row.tolist() for row in rows]
        case[of] = {"budget": int(target * sum(int(row[0]) for row in rows))}
    write_json(path, {"format": FORMAT, **said, "item": found.item, "agreement": found.agreement, "cases": [case]})


def read_found(path: Path, layers: Sequence[Layer], weights: str) -> Found:
    """Raises OSError, or ValueError naming the file where it is damaged, or of another network (weights: SHA-256)."""
    content = read_json(path, FORMAT)
    if content.get("weights") != weights:
        raise ValueError(f"{path} is of weights {content.get('weights')}, expected {weights}")
    try:
        case = content["cases"][0]
        found = Found(
            tuple(case["layers"]),
            tuple(case["sizes"]),
            tuple(case["positions"]),
            int(content["item"]),
            case["predicted"],
            case["measured"],
            content["agreement"],
        )
        found.curves("measured" if found.measured else "predicted")
    except (KeyError, IndexError, TypeError) as error:
        raise ValueError(f"{path} is damaged: {error!r}") from error
    if found.names != tuple(layer.name for layer in layers):
        raise ValueError(f"{path} has curves of other layers than the network's {len(layers)}")
    return found
