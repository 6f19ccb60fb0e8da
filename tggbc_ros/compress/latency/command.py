"""``python -m tggbc_ros.tools.compress latency``: how long every layer of an encoder takes at every pair of widths.

Run it on the machine and with the engine that will run the network. Stopped, it goes on where it was at the next call.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

import torch

from tggbc_ros.compress.latency.measure import ENCODERS, SEED, measured
from tggbc_ros.compress.latency.report import report
from tggbc_ros.compress.latency.setting import CAMERAS
from tggbc_ros.core.config import MODELS, model_config

INTERRUPTED = 130


def add_parser(jobs: Any) -> None:
    """Make the job one of the sub-parsers ``jobs``."""
    from tggbc_ros.compress.latency.engines import ENGINES

    parser = jobs.add_parser("latency", help="measure every layer of the image encoder at every pair of widths")
    add = parser.add_argument
    add("--model", choices=list(MODELS), required=True)
    add("--engine", choices=list(ENGINES), required=True, help="the backend that will run it")
    add("--out", type=Path, required=True, metavar="FILE.json", help="the table; until it is whole, FILE.json.partial")
    add("--step", type=_positive, metavar="N", help="channels between two widths (8 for a small backbone, else 32)")
    add("--grid", type=_positive, metavar="N", help="channels between two measured widths (the step)")
    add("--threads", type=_positive, metavar="N", help="of the engine (torch's number)")
    add("--cameras", type=_positive, default=CAMERAS, metavar="N", help="images at once (%(default)s)")
    add("--encoders", type=_several, default=ENCODERS, metavar="N", help="whole ones to fit to (%(default)s)")
    add("--seed", type=int, default=SEED)
    add("--device", default="auto", help="cpu, cuda, cuda:1 or auto (default)")
    parser.set_defaults(run=measure_latency)


def measure_latency(given: argparse.Namespace) -> None:
    """Measure, or go on measuring, and print what came out."""
    if given.threads:
        torch.set_num_threads(given.threads)
    try:
        table = measured(
            model_config(given.model),
            given.engine,
            given.out,
            step=given.step,
            grid=given.grid,
            cameras=given.cameras,
            device=given.device,
            seed=given.seed,
            encoders=given.encoders,
        )
    except KeyboardInterrupt:
        print(f"compress: stopped; the same command goes on from {given.out}.partial", file=sys.stderr)
        raise SystemExit(INTERRUPTED) from None
    for line in report(table):
        print(line)
    print(f"written to {given.out}")


def _positive(text: str) -> int:
    return _at_least(text, 1)


def _several(text: str) -> int:
    return _at_least(text, 2)


def _at_least(text: str, least: int) -> int:
    number = int(text)
    if number < least:
        raise argparse.ArgumentTypeError(f"is {number}, expected at least {least}")
    return number
