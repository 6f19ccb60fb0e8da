"""Budgets kept: encoders that the exact program chose within a latency budget, predicted against measured, in turns.

python -m bench.slim_budgets --model r50_704 --engine openvino_int8 [--table FILE.json] [--budgets 0.7 0.55 0.4]
    [--seeds 1] [--step N] [--threads N]

For shapes whose weights are not at hand: a channel's importance is drawn (log-normal, one draw a seed), an encoder's
weights are noise; neither changes how long a layer takes. The dense encoder takes its turn, too; a budget is a share of
what it is predicted to take, and is judged as a share of what it took. Exit status 1 where a goal is missed.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from bench.measure import load_average
from bench.table import text_table
from tggbc_ros.compress import layout
from tggbc_ros.compress.cutting import cut_shape
from tggbc_ros.compress.importance import Array
from tggbc_ros.compress.latency.engines import ENGINES, open_engine
from tggbc_ros.compress.latency.measure import encoder_times_ms, measured
from tggbc_ros.compress.latency.report import fit_line
from tggbc_ros.compress.latency.table import LatencyTable
from tggbc_ros.compress.slim.widths import MDP, Choices, choose
from tggbc_ros.core.config import MODELS
from tggbc_ros.core.shape import Shape

ERROR_GOAL, EXCESS_GOAL = 0.05, 0.03
GAP, SECONDS = 1e-3, 150.0
"""What the program may leave unproven, and how long it may take."""


@dataclass(frozen=True)
class Row:
    """An encoder chosen within a budget, in milliseconds; share: of what the dense one took."""

    seed: int
    budget: float
    solve_s: float
    blocks_gone: int
    predicted_ms: float
    measured_ms: float
    share: float

    @property
    def error(self) -> float:
        """How much more was predicted than measured, as a share of that."""
        return self.predicted_ms / self.measured_ms - 1.0

    @property
    def excess(self) -> float:
        """How much longer it took than the budget allows, as a share of that."""
        return self.share / self.budget - 1.0


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print."""
    options = _parser().parse_args(arguments)
    if options.threads:
        torch.set_num_threads(options.threads)
    model = MODELS[options.model]
    path = options.table or Path("out") / f"latency_{options.model}_{options.engine}.json"
    table = measured(model, options.engine, path, options.step)
    chosen = [(seed, budget, *_chosen(table, seed, budget)) for seed in options.seeds for budget in options.budgets]
    times = encoder_times_ms(
        open_engine(options.engine, model, table.setting.cameras), [table.shape, *(each[2] for each in chosen)]
    )
    rows = [
        Row(seed, budget, seconds, gone, table.predict(shape), ms, ms / times[0])
        for (seed, budget, shape, gone, seconds), ms in zip(chosen, times[1:], strict=True)
    ]
    print(f"{options.model} on {options.engine}, {table.setting.machine}\n{fit_line(table)}")
    print(f"dense: predicted {table.predict(table.shape):.2f} ms, measured {times[0]:.2f} ms")
    print(f"{rows_table(rows)}\n{torch.get_num_threads()} threads, load at the end {load_average()}")
    return verdict(rows)


def _chosen(table: LatencyTable, seed: int, budget: float) -> tuple[Shape, int, float]:
    found = choose(Choices(table.shape, table, drawn(table.shape, seed), table.step), MDP, budget, GAP, SECONDS)
    return cut_shape(table.shape, found.cut), len(found.cut.gone), found.seconds


def drawn(shape: Shape, seed: int) -> Mapping[str, Array]:
    """An importance for every channel of every layer, log-normal, as measured ones are spread."""
    generator = np.random.default_rng(seed)
    widths = layout.widths(shape)
    return {layer.name: generator.lognormal(sigma=1.0, size=widths[layer.group]) for layer in layout.layers(shape)}


def rows_table(rows: Sequence[Row]) -> str:
    """Milliseconds of six cameras' images."""
    header = ("budget", "seed", "blocks gone", "solved in s", "predicted ms", "measured ms", "error", "share", "excess")
    lines = [
        (
            f"{row.budget:g}",
            str(row.seed),
            str(row.blocks_gone),
            f"{row.solve_s:.1f}",
            f"{row.predicted_ms:.2f}",
            f"{row.measured_ms:.2f}",
            f"{row.error:+.1%}",
            f"{row.share:.3f}",
            f"{row.excess:+.1%}",
        )
        for row in rows
    ]
    return text_table(header, lines)


def verdict(rows: Sequence[Row]) -> int:
    """Print how far off they are at most; 1 where that is more than it should be."""
    error, excess = max(abs(row.error) for row in rows), max(row.excess for row in rows)
    reached = error <= ERROR_GOAL and excess <= EXCESS_GOAL
    print(
        f"largest error {error:.1%} (goal {ERROR_GOAL:.0%}), largest excess {excess:+.1%} (goal {EXCESS_GOAL:.0%})"
        f"{'' if reached else ': MISSED'}"
    )
    return 0 if reached else 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench.slim_budgets", description=(__doc__ or "").splitlines()[0])
    add = parser.add_argument
    add("--model", choices=list(MODELS), required=True)
    add("--engine", choices=list(ENGINES), required=True)
    add("--table", type=Path, metavar="FILE.json", help="of tools.compress latency (measured, if it is not there)")
    add("--step", type=int, metavar="N", help="channels between two of its widths (as compress latency's)")
    add("--budgets", type=float, nargs="+", default=[0.7, 0.55, 0.4], metavar="SHARE")
    add("--seeds", type=int, nargs="+", default=[1], help="of the importances")
    add("--threads", type=int, metavar="N", help="of the engine (default torch's own)")
    return parser


if __name__ == "__main__":
    sys.exit(main())
