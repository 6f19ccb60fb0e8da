"""What has been measured so far, in a file beside the one that is to be: measuring may stop at any time and go on."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tggbc_ros.compress.latency.engines import Lone
from tggbc_ros.compress.latency.file import lines
from tggbc_ros.compress.latency.places import Kind
from tggbc_ros.compress.latency.setting import Setting
from tggbc_ros.compress.values import read_object, replace_text, shown

FORMAT = "tggbc_ros.latency.partial 1"
SAVE_EVERY_S = 5.0


@dataclass(frozen=True)
class Order:
    """What is to be measured: a partial file of another order is no beginning of it.

    step: between widths that are asked for; grid: between those that are measured; encoders: how many whole ones.
    """

    setting: Setting
    step: int
    grid: int
    encoders: int
    seed: int
    versions: Mapping[str, str]

    def data(self) -> dict[str, Any]:
        """For JSON."""
        counts = {"step": self.step, "grid": self.grid, "encoders": self.encoders, "seed": self.seed}
        return {"setting": self.setting.data(), **counts, "versions": dict(self.versions)}


@dataclass(eq=False)
class Progress:
    """times_us: of each lone layer, one for each round so far; encoders_ms: of the whole encoders that are done."""

    path: Path
    order: Order
    times_us: dict[Lone, list[float]] = field(default_factory=dict)
    encoders_ms: list[float] = field(default_factory=list)
    _saved: float = field(default_factory=time.monotonic)

    @classmethod
    def begin(cls, path: Path, order: Order) -> Progress:
        """From the file, if there is one; raises ValueError in one line where it is of another order, or damaged."""
        if not path.exists():
            return cls(path, order)
        data = read_object(path)
        if data.get("format") != FORMAT:
            raise ValueError(f"{path} has format {shown(data.get('format'))}, expected {FORMAT!r}")
        wrong = _differences(data.get("order"), order.data())
        if wrong:
            raise ValueError(f"{path} was begun otherwise: {wrong}; remove it to begin anew")
        try:
            return cls(path, order, dict(map(_times, data["layers"])), [_number(each) for each in data["encoders_ms"]])
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"{path} is damaged: {error}; remove it to begin anew") from error

    def save(self, now: bool = False) -> None:
        """Write the file, if it was not just written; it appears whole or not at all."""
        if not now and time.monotonic() - self._saved < SAVE_EVERY_S:
            return
        layers = [[*_key(lone), times] for lone, times in self.times_us.items()]
        content = {"format": FORMAT, "order": self.order.data(), "encoders_ms": self.encoders_ms, "layers": layers}
        replace_text(self.path, lines(content))
        self._saved = time.monotonic()

    def remove(self) -> None:
        """Once all is measured."""
        self.path.unlink(missing_ok=True)


def _key(lone: Lone) -> tuple[int, ...]:
    kind = lone.kind
    return kind.kernel, kind.stride, kind.height, kind.width, lone.out, lone.into


def _times(row: Any) -> tuple[Lone, list[float]]:
    *key, times = row
    kernel, stride, height, width, out, into = map(int, key)
    return Lone(Kind(kernel, stride, height, width), out, into), [_number(each) for each in times]


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not value >= 0.0:
        raise ValueError(f"a time is {shown(value)}")
    return float(value)


def _differences(found: Any, expected: Mapping[str, Any]) -> str:
    """What differs, by name, settings within settings too."""
    if not isinstance(found, dict):
        return f"it says {shown(found)} of its order"
    wrong = []
    for name, value in expected.items():
        if isinstance(value, dict) and isinstance(found.get(name), dict):
            inner = _differences(found[name], value)
            wrong += [inner] if inner else []
        elif found.get(name) != value:
            wrong.append(f"{name} is {shown(found.get(name))}, expected {shown(value)}")
    return "; ".join(wrong)
