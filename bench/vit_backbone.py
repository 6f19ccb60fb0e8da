"""Measure whole vision transformers: as published, without the padding's work, and with gates that keep ever less.

python -m bench.vit_backbone [--models vit_l_800 demo_vit] [--threads 2] [--repeats 3] [--out DIR]

Random weights, six images. Gates stand before the blocks of the last three quarters and are asked; which tokens then
pass is not theirs to say but a scattered choice, different in each image, of SViT's rates: 0.7, 0.49, 0.343.
"all open" is what asking costs. CPU time of all threads, and wall time, the best of the repeats, which take turns.
Writes OUT/vit_backbone.json and prints a table.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

import torch

from bench.measure import load_average
from bench.padded_windows import padded_block
from bench.table import text_table
from tggbc_ros.core.backbones import build_backbone
from tggbc_ros.core.backbones.vit import Block, ViT
from tggbc_ros.core.config import model_config
from tggbc_ros.core.gates import even_targets

IMAGES = 6
MODELS = ("vit_l_800", "demo_vit")
Row = dict[str, object]


@torch.inference_mode()
def measure(name: str, repeats: int, warm_up: bool = True) -> Row:
    """Milliseconds of each way through the backbone of a model."""
    model = model_config(name)
    torch.manual_seed(0)
    backbone = build_backbone(model.backbone)
    if not isinstance(backbone, ViT):
        raise ValueError(f"model is {name!r}, expected one with a vision transformer")
    backbone.eval().add_gates(even_targets(backbone.shape.depth))
    images = torch.randn(IMAGES, 3, *model.image_size)
    calls: dict[str, Callable[[], object]] = {
        "published": partial(as_published, backbone, images),
        "dense": partial(backbone.decide, images, math.inf),
        "all open": partial(at_rates, backbone, images, dict.fromkeys(even_targets(backbone.shape.depth), 1.0)),
        "gated": partial(at_rates, backbone, images, even_targets(backbone.shape.depth)),
    }
    times = best_ms(calls, repeats, warm_up)
    return {"model": name, "threads": torch.get_num_threads(), "wall_ms": times[0], "cpu_ms": times[1]}


def as_published(backbone: ViT, images: torch.Tensor) -> torch.Tensor:
    """The last tokens, where all slots of padded windows are computed."""
    x = backbone.embed(images)
    for index, block in enumerate(backbone.blocks):
        assert isinstance(block, Block)
        x = padded_block(block, x, backbone.shape.side(index) or x.shape[1], backbone.shape)
    return x


def at_rates(backbone: ViT, images: torch.Tensor, rates: Mapping[int, float]) -> torch.Tensor:
    """The last tokens, where each gate is asked, and then this share of each image's tokens passes its block."""
    x = backbone.embed(images)
    for index, windows in enumerate(backbone.windows(x)):
        keep = backbone.keep(index, x)
        if keep is not None:
            keep = scattered(keep, rates[index])
        x = backbone.run_block(index, x, windows, keep)
    return x


def scattered(like: torch.Tensor, rate: float) -> torch.Tensor:
    """[B, H, W], true for this share of each image's cells, other ones in each image."""
    tokens = like[0].numel()
    place = torch.arange(tokens) * 7919 % tokens  # each once: 7919 is prime
    chosen = (place + torch.arange(len(like))[:, None]) % tokens < math.ceil(rate * tokens)
    return chosen.view_as(like)


def best_ms(
    calls: Mapping[str, Callable[[], object]], repeats: int, warm_up: bool
) -> tuple[dict[str, float], dict[str, float]]:
    """Least wall time and least CPU time of each, one round after the other; maybe one round to warm up."""
    wall: dict[str, list[float]] = {name: [] for name in calls}
    cpu: dict[str, list[float]] = {name: [] for name in calls}
    for turn in range(repeats + warm_up):
        for name, call in calls.items():
            start_s, cpu_s = time.perf_counter(), time.process_time()
            call()
            if turn >= warm_up:
                wall[name].append((time.perf_counter() - start_s) * 1e3)
                cpu[name].append((time.process_time() - cpu_s) * 1e3)
    return {name: min(each) for name, each in wall.items()}, {name: min(each) for name, each in cpu.items()}


def lines_of(row: Row) -> list[tuple[str, ...]]:
    """A model's two lines of the table, wall and CPU time, with the ratios that matter."""
    lines = []
    for kind in ("wall_ms", "cpu_ms"):
        ms = row[kind]
        assert isinstance(ms, dict)
        ratios = ms["published"] / ms["dense"], ms["all open"] / ms["dense"], ms["dense"] / ms["gated"]
        cells = (*(f"{each:.1f}" for each in ms.values()), *(f"{each:.2f}" for each in ratios))
        lines.append((f"{row['model']} {kind}", *cells, f"{ms['published'] / ms['gated']:.2f}"))
    return lines


HEAD = ("", "published", "dense", "all open", "gated", "publ./dense", "open/dense", "dense/gated", "publ./gated")


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(prog="bench.vit_backbone", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--models", nargs="+", default=MODELS)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--no-warm-up", action="store_true", help="for networks that take minutes")
    parser.add_argument("--out", type=Path, default=Path("out"))
    options = parser.parse_args(arguments)
    torch.set_num_threads(options.threads)
    rows = [measure(name, options.repeats, not options.no_warm_up) for name in options.models]
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "vit_backbone.json").write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
    print(f"whole backbone, six images, ms, {options.threads} threads")
    print(text_table(HEAD, [line for row in rows for line in lines_of(row)]))
    print(f"load at the end {load_average()}; written to {options.out}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
