"""A latency table as a file: JSON, of which nothing is believed before it is looked at."""

from __future__ import annotations

import dataclasses
import json
import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from tggbc_ros.compress.latency.fit import Encoder, Fit
from tggbc_ros.compress.latency.grid import Grid
from tggbc_ros.compress.latency.places import Kind
from tggbc_ros.compress.latency.setting import Setting
from tggbc_ros.compress.latency.table import LatencyTable
from tggbc_ros.compress.values import Floats, read_object, replace_text, shown
from tggbc_ros.core.shape import from_data, to_json

FORMAT = "tggbc_ros.latency 1"
SAID = ("date", "seed", "versions", "measured", "rounds")
MOST_WIDTHS = 1024

Value = TypeVar("Value")

_logger = logging.getLogger(__name__)


def read_table(path: Path, expect: Setting | None = None, foreign: bool = False) -> LatencyTable:
    """Raises OSError, or ValueError in one line for a damaged file, or a table of another setting.

    expect: the setting that it has to hold for, such as `Setting.here`. foreign: take one of another setting, with a
    warning that says so; another model is refused even then, since it has other layers.
    """
    table = _read(path)
    differences = table.setting.differences(expect) if expect else ""
    if expect and differences and (not foreign or table.setting.model != expect.model):
        raise ValueError(f"{path} was measured elsewhere: {differences}")
    if differences:
        _logger.warning("TIMES ARE FOREIGN: %s was measured elsewhere: %s", path, differences)
    return table


def _read(path: Path) -> LatencyTable:
    data = read_object(path)
    try:
        return _table(data)
    except (ValueError, TypeError, AttributeError, OverflowError) as error:
        raise ValueError(f"{path} is no latency table: {error}") from error
    except KeyError as error:
        raise ValueError(f"{path} is no latency table: it has no {error}") from error


def write_table(table: LatencyTable, path: Path) -> None:
    """As JSON, in place of what was there; raises OSError where it cannot be written whole, and the old one stays."""
    content = {
        "format": FORMAT,
        "setting": table.setting.data(),
        **table.said,
        "shape": json.loads(to_json(table.shape)),
        "neck": table.neck,
        "step": table.step,
        "fit": {
            "factors": dict(table.fit.factors),
            "encoders": [dataclasses.asdict(each) for each in table.fit.encoders],
        },
        "layers": [_grid_data(kind, grid) for kind, grid in sorted(table.grids.items())],
    }
    replace_text(path, lines(content))


def lines(content: Mapping[str, Any]) -> str:
    """JSON for people too: a line for each name, and for each entry of a list of objects."""
    return "{\n" + ",\n".join(f"{json.dumps(name)}: {_line(value)}" for name, value in content.items()) + "\n}\n"


def _line(value: Any) -> str:
    if isinstance(value, list) and value and all(isinstance(each, dict) for each in value):
        return "[\n" + ",\n".join(json.dumps(each, allow_nan=False) for each in value) + "\n]"
    return json.dumps(value, allow_nan=False)


def _table(data: Mapping[str, Any]) -> LatencyTable:
    if data.get("format") != FORMAT:
        raise ValueError(f"format is {shown(data.get('format'))}, expected {FORMAT!r}")
    setting = Setting.from_data(data["setting"])
    fit = data["fit"]
    table = LatencyTable(
        setting=setting,
        shape=from_data(data["shape"]),
        neck=_whole("neck", data["neck"]),
        step=_whole("step", data["step"]),
        grids=dict(_grid(each) for each in data["layers"]),
        fit=Fit(dict(fit["factors"]), tuple(map(_encoder, fit["encoders"]))),
        said={name: data[name] for name in SAID if name in data},
    )
    table.predict(table.shape)  # raises where a layer is missing
    return table


def _encoder(data: Any) -> Encoder:
    encoder = Encoder(**data)
    if not isinstance(encoder.shape, str):
        raise ValueError(f"shape is {shown(encoder.shape)}, expected text")
    for name, value in (("measured_ms", encoder.measured_ms), ("fitted_ms", encoder.fitted_ms)):
        if not isinstance(value, int | float) or not 0.0 < value < 1e9:
            raise ValueError(f"{name} is {shown(value)}, expected milliseconds")
    return encoder


def _grid_data(kind: Kind, grid: Grid) -> dict[str, Any]:
    times = [[None if np.isnan(us) else round(float(us), 2) for us in row] for row in grid.us]
    return dataclasses.asdict(kind) | {"c_out": list(grid.out), "c_in": list(grid.into), "us": times}


def _grid(data: Any) -> tuple[Kind, Grid]:
    kind = Kind(*(_whole(name, data[name]) for name in ("kernel", "stride", "height", "width")))
    widths = [tuple(_whole(name, each) for each in data[name]) for name in ("c_out", "c_in")]
    if max(map(len, widths)) > MOST_WIDTHS:
        raise ValueError(f"convolution {kind} has {max(map(len, widths))} widths, expected at most {MOST_WIDTHS}")
    return kind, _about(f"convolution {kind}", lambda: Grid(*widths, _times(data["us"])))


def _times(rows: Any) -> Floats:
    found = np.array([[np.nan if us is None else us for us in row] for row in rows])
    if found.dtype.kind not in "iuf":
        raise ValueError(f"us is {shown(rows)}, expected rows of microseconds")
    return found.astype(np.float64)


def _about(name: str, make: Callable[[], Value]) -> Value:
    try:
        return make()
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from error


def _whole(name: str, value: Any) -> int:
    if type(value) is not int or not 1 <= value <= 1 << 20:
        raise ValueError(f"{name} is {shown(value)}, expected a whole number of at least 1")
    return value
