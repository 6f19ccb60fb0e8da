"""The choice of widths on disk: what was chosen, for which network, on which table and scores."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tggbc_ros.compress.cutting import Cut, cut_shape
from tggbc_ros.compress.slim.ledger import read_json, write_json
from tggbc_ros.compress.slim.widths import Chosen
from tggbc_ros.core.shape import Shape

FORMAT = "tggbc_ros widths 1"

NUMBERS = ("budget", "dense_us", "slim_us", "rest_us", "kept_importance", "seconds")


def write_chosen(path: Path, chosen: Chosen, shape: Shape, about: Mapping[str, Any]) -> None:
    """As JSON. shape: of the network before; about: plain values that say what it rests on."""
    content: dict[str, Any] = {"format": FORMAT, **about, **{name: getattr(chosen, name) for name in NUMBERS}}
    content |= {
        "gap": chosen.gap,
        "shape": dataclasses.asdict(cut_shape(shape, chosen.cut)),
        "gone": sorted(chosen.cut.gone),
        "kept": {group: list(channels) for group, channels in chosen.cut.kept.items()},
        "layers_us": {name: list(times) for name, times in chosen.layers.items()},
    }
    write_json(path, content)


def read_cut(path: Path, shape: Shape) -> Cut:
    """Only which channels and blocks stay; raises as `read_chosen` does."""
    content = read_json(path, FORMAT)
    try:
        cut = Cut({group: tuple(map(int, each)) for group, each in content["kept"].items()}, frozenset(content["gone"]))
        cut.check(shape)
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise ValueError(f"{path} is no choice of widths for this network: {error}") from error
    return cut


def read_chosen(path: Path, shape: Shape) -> tuple[Chosen, dict[str, Any]]:
    """What was chosen, and all that the file says; raises OSError, or ValueError naming the file and what is wrong."""
    content = read_json(path, FORMAT)
    cut = read_cut(path, shape)
    try:
        layers = {name: (int(before), int(after)) for name, (before, after) in content["layers_us"].items()}
        numbers = {name: content[name] for name in NUMBERS}
        return Chosen(cut, layers=layers, gap=content["gap"], **numbers), content
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise ValueError(f"{path} is no choice of widths for this network: {error}") from error
