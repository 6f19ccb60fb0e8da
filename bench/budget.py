"""Does keep_mode budget hold a deadline on a real machine whose load comes and goes? `python -m bench.budget`.

The whole `Detector` runs, but for the backbone, which would take most of the time and has nothing to do with keys.
Processes that compute for a part of the time are the load.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import multiprocessing
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from bench.decoder import Row
from bench.measure import median
from bench.scene import frame_at
from bench.shapes import SHAPES, num_keys, shape_name
from bench.table import text_table
from tggbc_ros.backends.torch_backend import TorchNetwork
from tggbc_ros.core.config import KeepConfig, PruningConfig
from tggbc_ros.core.detector import Detector
from tggbc_ros.core.types import StepReport

SETTLING = 10
"""Frames that the controller may take to follow a change of load; the rest of a phase is judged."""

LEARNING = 6
"""Dense frames that tell what the machine needs at rest, the first of which warms it up."""

OTHER_IMAGES = 4
LOAD_PERIOD_S = 0.02
"""Much shorter than a frame, so that every frame meets the same load."""


class WithoutBackbone(TorchNetwork):
    """Answers with ever the same features, so that a frame is what happens to keys."""

    def encode(self, images: torch.Tensor) -> torch.Tensor:
        """Noise [B, N, C, rows, columns]."""
        rows, columns = self.model.feature_size
        generator = torch.Generator(self.device).manual_seed(0)
        size = (*images.shape[:2], self.model.embed_dims, rows, columns)
        return torch.randn(size, generator=generator, device=self.device)


def _compute(duty: float) -> None:
    block = np.random.default_rng(0).random((64, 64))
    while True:
        end_s = time.perf_counter() + duty * LOAD_PERIOD_S
        while time.perf_counter() < end_s:
            block = np.tanh(block @ block)
        time.sleep((1.0 - duty) * LOAD_PERIOD_S)


@contextmanager
def load(processes: int, duty: float) -> Iterator[None]:
    """So many processes that compute for this share of the time, on one core each."""
    spawn = multiprocessing.get_context("spawn")
    busy = [spawn.Process(target=_compute, args=(duty,), daemon=True) for _ in range(processes)]
    for process in busy:
        process.start()
    try:
        yield
    finally:
        for process in busy:
            process.kill()
            process.join()


def measure_budget(network: TorchNetwork, share: float, frames: int, processes: int, duty: float) -> list[Row]:
    """One row a phase: at rest, under load, at rest again. The budget is a share of the dense decoder's time at rest.

    late: share of the frames beyond the budget, of those that are judged. changes: of the keep ratio, among them.
    """
    images = [frame_at(number) for number in range(OTHER_IMAGES)]
    detector, number = Detector(network), 0

    def step() -> StepReport:
        nonlocal number
        number += 1
        frame = dataclasses.replace(images[number % OTHER_IMAGES], timestamp_ns=number * 500_000_000)
        return detector.step(frame)[1]

    dense_ms = median([step().stage_ms["decode"] for _ in range(LEARNING)][1:])
    keep = KeepConfig("budget", budget_ms=share * dense_ms)
    detector.pruning = PruningConfig(keep=keep)
    rows = []
    for phase, count in (("at rest", 0), ("under load", processes), ("at rest again", 0)):
        with load(count, duty):
            reports = [step() for _ in tqdm(range(frames), desc=phase, disable=None)]
        machine = {"phase": phase, "processes": count, "duty": duty}
        rows.append({"shape": shape_name(network.model)} | machine | judge(reports, keep))
    return rows


def judge(reports: Sequence[StepReport], keep: KeepConfig) -> Row:
    """How the frames after the first few of a phase kept the budget."""
    judged = reports[SETTLING:]
    times_ms = np.array([each.stage_ms["decode"] for each in judged])
    ratios = np.array([each.keys[-1] / each.num_cells for each in judged])
    return {
        "budget_ms": keep.budget_ms,
        "p95_ms": float(np.quantile(times_ms, 0.95)),
        "late": float((times_ms > keep.budget_ms).mean()),
        "keep_ratio": float(np.median(ratios)),
        "changes": int(np.count_nonzero(np.diff(ratios))),
        "feasible": float(np.mean([each.feasible for each in judged])),
        "decode_ms": [each.stage_ms["decode"] for each in reports],
        "keep_ratios": [each.keys[-1] / each.num_cells for each in reports],
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print a table, write JSON."""
    parser = argparse.ArgumentParser(prog="python -m bench.budget", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("out"), metavar="FOLDER")
    parser.add_argument("--shape", default="900x6000", choices=list(SHAPES), help="queries x keys")
    parser.add_argument("--share", type=float, default=0.7, help="the budget, of the dense decoder's time at rest")
    parser.add_argument("--frames", type=int, default=50, help=f"of each phase, more than {SETTLING}")
    parser.add_argument("--processes", type=int, default=1, help="that compute, in the second phase")
    parser.add_argument("--duty", type=float, default=1.0, help="share of the time in which each of them computes")
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args(arguments)
    if options.frames <= SETTLING or not 0.0 < options.share < 1.0:
        parser.error(f"frames {options.frames}, share {options.share}; expected > {SETTLING} and between 0 and 1")
    if not 0.0 < options.duty <= 1.0:
        parser.error(f"duty {options.duty}, expected > 0 and <= 1")
    network = WithoutBackbone.load(SHAPES[options.shape], None, options.device)
    rows = measure_budget(network, options.share, options.frames, options.processes, options.duty)
    print(budget_table(rows))
    options.out.mkdir(parents=True, exist_ok=True)
    path = options.out / "bench_budget.json"
    path.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
    print(f"{num_keys(network.model)} keys; written to {path}")
    return 0


def budget_table(rows: Sequence[Row]) -> str:
    """One line a phase."""
    names = ("shape", "phase", "processes", "duty", "budget_ms", "p95_ms", "late", "keep_ratio", "changes", "feasible")
    lines = [tuple(_cell(row[name]) for name in names) for row in rows]
    return text_table([name.replace("_", " ") for name in names], lines)


def _cell(value: object) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)


if __name__ == "__main__":
    sys.exit(main())
