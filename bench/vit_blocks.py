"""Measure a block of EVA-02: padding computed as published, padding for free, and gates that keep ever less.

python -m bench.vit_blocks [--repeats 5] [--shapes 1024:20x50:16 ...] [--out DIR]

One thread, CPU time, the best of the repeats, which take turns: on a machine that others use, too, all that can be
compared. Six images. Writes OUT/vit_blocks.json and prints a table.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import torch

from bench.measure import load_average
from bench.padded_windows import padded_block
from bench.table import text_table
from tggbc_ros.core.backbones.vit import Block, ViT, ViTShape
from tggbc_ros.core.backbones.windows import Windows

IMAGES = 6
HEAD_DIMS = 64
RATES = (0.7, 0.49, 0.343)
SHAPES = ("192:8x22:8", "384:20x50:16", "1024:20x50:16")
Row = dict[str, object]


@torch.inference_mode()
def measure(name: str, repeats: int) -> Row:
    """CPU milliseconds of each way through one window block; name: width:ROWSxCOLUMNS:window."""
    width, rows, columns, window = (int(part) for part in name.replace("x", ":").split(":"))
    shape = ViTShape(width, 1, width // HEAD_DIMS, window, window, ())
    torch.manual_seed(0)
    backbone = ViT(shape).eval()
    backbone.add_gates([0])
    x = torch.randn(IMAGES, rows, columns, width)
    (windows,), block = backbone.windows(x), backbone.blocks[0]
    assert isinstance(block, Block)
    calls: dict[str, Callable[[], object]] = {
        "padded": partial(padded_block, block, x, window, shape),
        "dense": partial(block, x, windows),
        "all open": partial(_gated, backbone, x, windows, 1.0),
    }
    calls |= {f"keep {rate:g}": partial(_gated, backbone, x, windows, rate) for rate in RATES}
    times_ms = best_cpu_ms(calls, repeats)
    return {"block": name, "ms": times_ms, "over padded": times_ms["padded"] / times_ms["dense"]}


def _gated(backbone: ViT, x: torch.Tensor, windows: Windows, rate: float) -> torch.Tensor:
    """What a gate costs, and a block that this share of each image's tokens passes, different ones in each image."""
    keep = backbone.keep(0, x)
    assert keep is not None
    count, tokens = math.ceil(rate * keep[0].numel()), keep[0].numel()
    place = torch.arange(tokens) * 7919 % tokens  # scattered, and each once: 7919 is prime
    chosen = (place + torch.arange(IMAGES)[:, None]) % tokens < count
    return backbone.run_block(0, x, windows, chosen.view_as(keep))


def best_cpu_ms(calls: dict[str, Callable[[], object]], repeats: int) -> dict[str, float]:
    """The least CPU time of each, one round after the other; one round to warm up."""
    times_ms: dict[str, list[float]] = {name: [] for name in calls}
    for turn in range(repeats + 1):
        for name, call in calls.items():
            start_s = time.process_time()
            call()
            if turn:
                times_ms[name].append((time.process_time() - start_s) * 1e3)
    return {name: min(each) for name, each in times_ms.items()}


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(prog="bench.vit_blocks", description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--shapes", nargs="+", default=SHAPES, metavar="WIDTH:ROWSxCOLUMNS:WINDOW")
    parser.add_argument("--out", type=Path, default=Path("out"))
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    measured = [measure(name, options.repeats) for name in options.shapes]
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "vit_blocks.json").write_text(json.dumps(measured, indent=1) + "\n", encoding="utf-8")
    names = list(measured[0]["ms"])
    lines = [
        (row["block"], *(f"{row['ms'][name]:.1f}" for name in names), f"{row['over padded']:.2f}") for row in measured
    ]
    print(f"one block, six images, CPU ms, one thread\n{text_table(('block', *names, 'padded / dense'), lines)}")
    print(f"load at the end {load_average()}; written to {options.out}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
