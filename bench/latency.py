"""Predicted against measured: encoders of random shapes that the table of layer times was not fitted to.

python -m bench.latency --model demo --engine torch [--table FILE.json] [--shapes 10] [--seed 1000] [--threads N]

Without a table one is measured first, in the same run, into out/latency_MODEL_ENGINE.json. Encoders have random weights
and take turns. The dense one is among them, though the table knows it and it does not count: whether the machine became
slower since the table was made shows there. Exit status 1 where the goal is missed.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from bench.measure import load_average
from bench.table import text_table
from tggbc_ros.compress.latency.engines import ENGINES, open_engine
from tggbc_ros.compress.latency.measure import encoder_times_ms, measured
from tggbc_ros.compress.latency.plan import random_shapes
from tggbc_ros.compress.latency.report import fit_line
from tggbc_ros.compress.latency.table import LatencyTable
from tggbc_ros.core.config import MODELS, ModelConfig
from tggbc_ros.core.shape import Shape, to_json

MEDIAN_GOAL, MOST_GOAL, MOST_SHARE = 0.05, 0.10, 0.9


@dataclass(frozen=True)
class Row:
    """One encoder. wide: its time as a share of the dense one's, both measured now."""

    name: str
    wide: float
    predicted_ms: float
    measured_ms: float

    @property
    def error(self) -> float:
        """How much more was predicted than measured, as a share of that."""
        return self.predicted_ms / self.measured_ms - 1.0


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print."""
    options = _parser().parse_args(arguments)
    if options.threads:
        torch.set_num_threads(options.threads)
    model = MODELS[options.model]
    path = options.table or Path("out") / f"latency_{options.model}_{options.engine}.json"
    table = measured(model, options.engine, path)
    rows = compare(table, model, options.engine, options.shapes, options.seed)
    print(f"{options.model} on {options.engine}, {table.setting.machine}\n{fit_line(table)}")
    print(f"{rows_table(rows)}\n{torch.get_num_threads()} threads, load at the end {load_average()}")
    return verdict(rows[1:])


def compare(table: LatencyTable, model: ModelConfig, engine: str, count: int, seed: int) -> list[Row]:
    """The dense encoder, which the table knows, and so many others; raises ValueError for shapes that it knows."""
    shapes = [table.shape, *random_shapes(table.shape, table.step, count, seed)]
    if known := {each.shape for each in table.fit.encoders} & set(map(to_json, shapes[1:])):
        raise ValueError(f"seed {seed} draws {len(known)} shapes that the table was fitted to: choose another")
    times = encoder_times_ms(open_engine(engine, model, table.setting.cameras), shapes)
    return [
        _row(table, index, shape, ms, times[0]) for index, (shape, ms) in enumerate(zip(shapes, times, strict=True))
    ]


def _row(table: LatencyTable, index: int, shape: Shape, ms: float, dense_ms: float) -> Row:
    return Row(f"shape {index}" if index else "dense", ms / dense_ms, table.predict(shape), ms)


def rows_table(rows: Sequence[Row]) -> str:
    """Milliseconds of six cameras' images."""
    header = ("encoder", "", "of dense", "predicted ms", "measured ms", "error")
    lines = [
        (row.name, "", f"{row.wide:.2f}", f"{row.predicted_ms:.2f}", f"{row.measured_ms:.2f}", f"{row.error:+.1%}")
        for row in rows
    ]
    return text_table(header, lines)


def verdict(rows: Sequence[Row]) -> int:
    """Print how large the errors are; 1 where that is more than they should be."""
    errors = np.abs([row.error for row in rows])
    median, within = float(np.median(errors)), float((errors <= MOST_GOAL).mean())
    reached = median <= MEDIAN_GOAL and within >= MOST_SHARE
    print(
        f"error: median {median:.1%} (goal {MEDIAN_GOAL:.0%}), {within:.0%} within {MOST_GOAL:.0%} "
        f"(goal {MOST_SHARE:.0%}), largest {errors.max():.1%}{'' if reached else ': MISSED'}"
    )
    return 0 if reached else 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench.latency", description=(__doc__ or "").splitlines()[0])
    add = parser.add_argument
    add("--model", choices=list(MODELS), required=True)
    add("--engine", choices=list(ENGINES), required=True)
    add("--table", type=Path, metavar="FILE.json", help="of tools.compress latency (measured, if it is not there)")
    add("--shapes", type=int, default=10, metavar="N", help="random ones (%(default)s)")
    add("--seed", type=int, default=1000, help="of their widths and blocks (%(default)s)")
    add("--threads", type=int, metavar="N", help="of the engine (default torch's own)")
    return parser


if __name__ == "__main__":
    sys.exit(main())
