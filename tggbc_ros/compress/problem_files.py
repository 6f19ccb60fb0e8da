"""Problems from files: JSON with a list of instances, or NPZ with a key prefix ``iNN_`` for each."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from tggbc_ros.compress.problem import Integers, Layer, Problem
from tggbc_ros.compress.values import integer, integers, named, read_arrays, read_list, shown

PREFIX = re.compile(r"(i[^_]+)_choices$")


def read_problems(path: Path) -> dict[int | str, Problem]:
    """Instance (its place in the JSON list, or its prefix in the NPZ file) -> problem, in the file's order.

    Raises OSError where it cannot be read, ValueError naming file, instance and what is wrong in it.
    """
    if path.suffix == ".npz":
        return _of_npz(path)
    return {
        place: named(path, f"instance {place}", _of_entry, entry)
        for place, entry in enumerate(read_list(path, "instances"))
    }


def _of_entry(name: str, entry: Mapping[str, Any]) -> Problem:
    choices = tuple(integers(f"{name}: choices", entry["choices"]).tolist())
    layers = [_layer_of_entry(f"{name}: layer {place}", place, e) for place, e in enumerate(entry["layers"])]
    fixed = {
        _number(f"{name}: fixed", group): integer(f"{name}: fixed", k) for group, k in entry.get("fixed", {}).items()
    }
    return Problem(
        name,
        choices,
        integer(f"{name}: n_blocks", entry["n_blocks"]),
        integer(f"{name}: budget", entry["budget"]),
        tuple(layers),
        fixed,
    )


def _number(name: str, key: str) -> int:
    if not key.isdecimal():
        raise ValueError(f"{name} has the key {shown(key)}, expected the number of a group")
    return int(key)


def _layer_of_entry(name: str, place: int, entry: Mapping[str, Any]) -> Layer:
    pre = entry["pre"]
    reads = pre if isinstance(pre, list) else [] if pre == -1 else [pre]
    worth = entry.get("imp")
    return Layer(
        str(entry.get("name", place)),
        integer(f"{name}: group", entry["group"]),
        tuple(integer(f"{name}: pre", group) for group in reads),
        integer(f"{name}: block", entry["block"]),
        integers(f"{name}: lat", entry["lat"]),
        None if worth is None else integers(f"{name}: imp", worth),
    )


def _of_npz(path: Path) -> dict[int | str, Problem]:
    arrays = read_arrays(path)
    prefixes = [found[1] for key in arrays if (found := PREFIX.match(key))]
    if not prefixes:
        raise ValueError(f"{path} has no array iNN_choices")
    return {prefix: named(path, f"instance {prefix}", _of_arrays, _below(arrays, prefix)) for prefix in prefixes}


def _below(arrays: Mapping[str, np.ndarray[Any, Any]], prefix: str) -> dict[str, np.ndarray[Any, Any]]:
    return {key[len(prefix) + 1 :]: value for key, value in arrays.items() if key.startswith(f"{prefix}_")}


def _of_arrays(name: str, arrays: Mapping[str, Any]) -> Problem:
    fixed = integers(f"{name}: fixed", arrays["fixed"]).reshape(-1, 2)
    return Problem(
        name,
        tuple(integers(f"{name}: choices", arrays["choices"]).tolist()),
        integer(f"{name}: n_blocks", arrays["n_blocks"]),
        integer(f"{name}: budget", arrays["budget"]),
        tuple(_layers_of_arrays(name, arrays)),
        {int(group): int(choice) for group, choice in fixed},
    )


def _layers_of_arrays(name: str, arrays: Mapping[str, Any]) -> Iterator[Layer]:
    groups, reads, blocks, worth_lengths = (
        integers(f"{name}: {key}", arrays[key]) for key in ("layer_group", "layer_pre", "layer_block", "imp_len")
    )
    shapes = integers(f"{name}: lat_shape", arrays["lat_shape"])
    n = len(groups)
    if shapes.shape != (n, 2) or not len(reads) == len(blocks) == len(worth_lengths) == n:
        raise ValueError(
            f"{name}: layer_pre, layer_block, lat_shape and imp_len: expected the {n} layers of layer_group"
        )
    names = arrays["layer_names"] if "layer_names" in arrays else np.arange(n)
    tables = _split(f"{name}: lat_flat", arrays["lat_flat"], shapes.prod(axis=1))
    worths = _split(f"{name}: imp_flat", arrays["imp_flat"], worth_lengths)
    for i in range(n):
        image = reads[i] == -1
        yield Layer(
            str(names[i]),
            int(groups[i]),
            () if image else (int(reads[i]),),
            int(blocks[i]),
            tables[i] if image else tables[i].reshape(shapes[i]),
            worths[i] if worth_lengths[i] else None,
        )


def _split(name: str, flat: Any, lengths: Integers) -> list[Integers]:
    """A flat array cut into pieces of these lengths."""
    whole = integers(name, flat)
    if lengths.min(initial=0) < 0 or whole.shape != (lengths.sum(),):
        raise ValueError(f"{name} has shape {list(whole.shape)}, expected [{lengths.sum()}]")
    return np.split(whole, np.cumsum(lengths)[:-1])
