"""Measure the image encoder: module by module as the network has it, and as backend torch runs it, by precision.

python -m bench.encoder [--models r50_704 ...] [--device cuda] [--repeats N] [--threads N]
python -m bench.encoder --models r50_704 --checkpoint SLIM.safetensors

Weights are the model's own or random, which does not matter to a clock; --checkpoint is for those of a slim network.
The ways take turns within one run; ratios are of medians, over the first. Prints a table.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch

from bench.backends import expect_one
from bench.measure import interleaved_ms, load_average, median
from bench.shapes import CAMERAS
from bench.table import text_table
from tggbc_ros import backends
from tggbc_ros.backends.torch_backend import PRECISIONS, find_device
from tggbc_ros.backends.torch_encoder import Encoder
from tggbc_ros.core.checkpoint import build_network
from tggbc_ros.core.config import MODELS, ModelConfig

AS_TRAINED = "as trained"
REPEATS = 5


@dataclass(frozen=True)
class Row:
    """One way to run an encoder: median time, times faster than as trained, largest error as a share of a feature."""

    model: str
    way: str
    encode_ms: float
    ratio: float
    error: float


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print; exit status 2 and one line on standard error if it cannot be done."""
    options = _parser().parse_args(arguments)
    if options.threads:
        torch.set_num_threads(options.threads)
    try:
        expect_one(options.models, options.checkpoint)
        device = find_device(options.device)
        given = device, options.repeats, options.precisions, options.checkpoint
        rows = [row for name in options.models for row in measure_encoder(MODELS[name], *given)]
    except ValueError as error:
        print(f"bench: {error}", file=sys.stderr)
        return 2
    print(f"{encoder_table(rows)}\n{device}, {torch.get_num_threads()} threads, load at the end {load_average()}")
    return 0


@torch.inference_mode()
def measure_encoder(
    model: ModelConfig,
    device: torch.device,
    repeats: int,
    precisions: Sequence[str] = tuple(PRECISIONS),
    checkpoint: Path | None = None,
) -> list[Row]:
    """One row a way, the one as trained first."""
    torch.manual_seed(0)
    module, _ = build_network(model, backends.choose_weights(model, checkpoint, allow_random_weights=True))
    module = module.to(device).eval().requires_grad_(False)
    images = torch.randn(1, CAMERAS, 3, *model.image_size, device=device)
    ways = {AS_TRAINED: module.encode} | {name: Encoder(module, device, PRECISIONS[name]) for name in precisions}
    expected = module.encode(images)
    errors = {way: float((call(images) - expected).abs().max() / expected.abs().max()) for way, call in ways.items()}
    times = interleaved_ms({way: partial(call, images) for way, call in ways.items()}, repeats, device)
    medians = {way: median(each) for way, each in times.items()}
    return [Row(model.name, way, ms, medians[AS_TRAINED] / ms, errors[way]) for way, ms in medians.items()]


def encoder_table(rows: Sequence[Row]) -> str:
    """Milliseconds of six cameras' images, ratio and error."""
    header = ("model", "encoder", "ms", "times", "error")
    lines = [(row.model, row.way, f"{row.encode_ms:.1f}", f"{row.ratio:.2f}", f"{row.error:.1e}") for row in rows]
    return text_table(header, lines)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench.encoder", description=(__doc__ or "").splitlines()[0])
    add = parser.add_argument
    add("--models", nargs="+", choices=list(MODELS), default=list(MODELS))
    add("--checkpoint", type=Path, metavar="FILE", help="weights of the one model that is named")
    add("--precisions", nargs="+", choices=list(PRECISIONS), default=list(PRECISIONS))
    add("--repeats", type=int, default=REPEATS, metavar="N", help="of each way (%(default)s)")
    add("--threads", type=int, metavar="N", help="on a CPU (default torch's own)")
    add("--device", default="auto", help="as the parameter device (%(default)s)")
    return parser


if __name__ == "__main__":
    sys.exit(main())
