"""Measure what key pruning saves and costs: decoder, work on keys before it, whole frames.

python -m bench [--quick] [--shapes 900x24000 ...] [--repeats N] [--device cuda] [--dtype float32 float16]

Writes OUT/bench.json, a list of decoder rows, and OUT/bench_more.json, the rest; prints tables. Ratios are of
medians within one run, whose repeats take turns.
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
from collections.abc import Sequence
from pathlib import Path

import torch
from tqdm import tqdm

from bench.before import measure_before
from bench.decoder import Row, Setting, measure_shape
from bench.engines import ENGINES
from bench.frames import measure_frames
from bench.measure import load_average
from bench.modes import KEEP_RATIOS, TRIMS, Mode, all_modes
from bench.shapes import SHAPES
from bench.table import before_table, decoder_table, frames_table, goals_table, together_table
from bench.with_embedding import measure_with_embedding
from tggbc_ros import backends
from tggbc_ros.backends.torch_backend import find_device
from tggbc_ros.core.config import MODELS

QUICK_SHAPES, QUICK_MODELS = ("428x4224", "900x6000"), ("demo",)
REPEATS, QUICK_REPEATS = 9, 3


@torch.inference_mode()
def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print, write."""
    options = _parser().parse_args(arguments)
    if options.threads:
        torch.set_num_threads(options.threads)
    try:
        device, modes = find_device(options.device), _modes(options)
    except ValueError as error:
        print(f"bench: {error}", file=sys.stderr)
        return 2
    options.out.mkdir(parents=True, exist_ok=True)
    machine = _machine(device)
    print(", ".join(f"{name} {value}" for name, value in machine.items()))
    rows = measure_decoders(options, modes, device)
    _write(options.out / "bench.json", rows)
    before = [measure_before(SHAPES[name], device, _repeats(options)) for name in _shapes(options)]
    print(f"{before_table(before)}\n")
    together = [
        row for name in _shapes(options) for row in measure_with_embedding(SHAPES[name], device, _repeats(options))
    ]
    print(f"{together_table(together)}\n")
    frames = measure_models(options, device)
    if frames:
        print(f"{frames_table(frames)}\n")
    machine["load at the end"] = load_average()
    _write(
        options.out / "bench_more.json",
        {"machine": machine, "before_decoder": before, "with_embedding": together, "frames": frames},
    )
    print(
        "\n".join(
            filter(
                None,
                [goals_table([*rows, *together]), f"load at the end {load_average()}", f"written to {options.out}"],
            )
        )
    )
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench", description=(__doc__ or "").splitlines()[0])
    add = parser.add_argument
    add("--out", type=Path, default=Path("out"), metavar="FOLDER")
    add("--quick", action="store_true", help="two small shapes, the demo model, few repeats, unless told otherwise")
    add("--shapes", nargs="+", choices=list(SHAPES), help="queries x keys (default all)")
    add("--models", nargs="*", choices=list(MODELS), help="of whole frames (default all)")
    add("--keep-ratios", nargs="+", type=float, default=KEEP_RATIOS, metavar="R")
    add("--trims", nargs="+", type=int, default=TRIMS, metavar="N", help="how many layers trim (the paper's n)")
    add("--repeats", type=_positive, metavar="N", help=f"of every figure (default {REPEATS}, quick {QUICK_REPEATS})")
    add("--threads", type=_positive, metavar="N", help="on a CPU (default torch's own)")
    add("--device", default="auto", help="cpu, cuda, cuda:1, …; auto is the first CUDA device, else the CPU")
    add("--dtype", nargs="+", choices=("float32", "float16", "bfloat16"), help="default float32; on CUDA float16 too")
    add("--engine", nargs="+", choices=list(ENGINES), help="default eager; on CUDA graphs too")
    return parser


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"is {number}, expected at least 1")
    return number


def measure_decoders(options: argparse.Namespace, modes: Sequence[Mode], device: torch.device) -> list[Row]:
    """All shapes, dtypes and engines, one after the other, each printed as soon as it is there."""
    cuda = device.type == "cuda"
    dtypes = options.dtype or (["float32", "float16"] if cuda else ["float32"])
    engines = options.engine or (["eager", "graphs"] if cuda else ["eager"])
    wanted = [(shape, dtype, engine) for dtype in dtypes for engine in engines for shape in _shapes(options)]
    rows: list[Row] = []
    for shape, dtype, engine in tqdm(wanted, desc="decoder", unit="shape", disable=None):
        setting = Setting(device, getattr(torch, dtype), engine, _repeats(options))
        measured = measure_shape(SHAPES[shape], modes, setting)
        tqdm.write(f"{decoder_table(measured)}\n")
        sys.stdout.flush()
        rows += measured
    return rows


def measure_models(options: argparse.Namespace, device: torch.device) -> list[Row]:
    """Whole frames of each model; where it has no weights they are random, which does not matter to a clock."""
    quick = QUICK_MODELS if options.quick else MODELS
    names = quick if options.models is None else options.models
    rows: list[Row] = []
    for name in tqdm(names, desc="frames", unit="model", disable=None):
        network = backends.load_network("torch", MODELS[name], None, str(device), allow_random_weights=True)
        rows += measure_frames(network, _repeats(options))
    return rows


def _modes(options: argparse.Namespace) -> list[Mode]:
    """Raises ValueError for shares and trims that a decoder of these shapes cannot follow."""
    modes = all_modes(options.keep_ratios, options.trims)
    for mode in modes:
        for name in _shapes(options):
            mode.pruning.check_layers(SHAPES[name].num_layers)
    return modes


def _shapes(options: argparse.Namespace) -> Sequence[str]:
    return options.shapes or (QUICK_SHAPES if options.quick else list(SHAPES))


def _repeats(options: argparse.Namespace) -> int:
    return options.repeats or (QUICK_REPEATS if options.quick else REPEATS)


def _machine(device: torch.device) -> dict[str, object]:
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else _cpu_name()
    threads = torch.get_num_threads()
    return {"device": name, "threads": threads, "torch": torch.__version__, "load at the start": load_average()}


def _cpu_name() -> str:
    """As Linux tells it, else the architecture alone."""
    listed = Path("/proc/cpuinfo")
    lines = listed.read_text(encoding="utf-8").splitlines() if listed.is_file() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return f"{names[0]} x {len(names)}" if names else platform.machine()


def _write(path: Path, content: object) -> None:
    path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
