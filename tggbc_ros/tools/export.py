"""Export a network to ONNX, and verify that a backend gives the boxes that PyTorch gives in float32.

python -m tggbc_ros.tools.export --model NAME [--checkpoint FILE] --out DIR [--precision fp16]
python -m tggbc_ros.tools.export verify --backend onnxruntime --model NAME [--checkpoint FILE_OR_DIR] [--json FILE]

DIR then serves as the parameter checkpoint of a backend that runs exports. Verifying plays a synthetic drive with
temporal memory through both, changing the keep ratio on the way; the exit status is 1 where a number is out of
tolerance, 2 where it cannot be done.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import median

import torch

from tggbc_ros import backends
from tggbc_ros.core.config import MODELS, ModelConfig, model_config
from tggbc_ros.core.types import CameraFrame
from tggbc_ros.data.drive.config import DriveConfig
from tggbc_ros.data.drive.frames import render_scene
from tggbc_ros.evaluation.parity import Row, compare, keep_ratios
from tggbc_ros.export.exporter import export
from tggbc_ros.export.graphs import PRECISIONS

FRAME_PERIOD_S = 0.5
KEEP_RATIOS = (1.0, 0.5, 0.3, 0.1)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    verifying = given[:1] == ["verify"]
    try:
        return verify(_verify_parser().parse_args(given[1:])) if verifying else make(_parser().parse_args(given))
    except (ValueError, OSError, ImportError, RuntimeError, FloatingPointError) as error:
        print(f"export: {' '.join(str(error).split())}", file=sys.stderr)
        return 2


def make(options: argparse.Namespace) -> int:
    """Export."""
    model = model_config(options.model)
    checkpoint = backends.choose_weights(model, options.checkpoint, options.allow_random_weights)
    manifest = export(model, checkpoint, options.out, options.precision)
    size_mib = sum(path.stat().st_size for path in options.out.iterdir()) / 2**20
    print(f"{options.out}: {len(manifest.graphs)} graphs, {size_mib:.0f} MiB, weights {manifest.weights}")
    return 0


def verify(options: argparse.Namespace) -> int:
    """Compare, print the worst of each output and the times, write all rows."""
    model = model_config(options.model)
    folder = options.checkpoint if options.checkpoint and options.checkpoint.is_dir() else None
    weights = options.weights or (None if folder else options.checkpoint)
    random = options.allow_random_weights
    tested = backends.load_network(options.backend, model, options.checkpoint, options.device, random)
    reference = backends.load_network("torch", model, weights, str(tested.device), random)
    if folder and tested.weights != reference.weights.rpartition("only: ")[2]:
        raise ValueError(f"{folder} holds {tested.weights}, but PyTorch would run {reference.weights}: give --weights")
    ratios = keep_ratios(options.keep_ratio, options.frames)
    rows = list(compare(reference, tested, _drive(model, options.frames, options.seed), ratios, tested.precision))
    if options.json:
        options.json.write_text(json.dumps([_record(row) for row in rows], indent=1) + "\n", encoding="utf-8")
    print(f"{model.name}, {tested.weights}, {options.backend} on {tested.device}, {torch.get_num_threads()} threads")
    print("\n".join(_summary(rows)))
    return 0 if all(row.passed for row in rows) else 1


def _drive(model: ModelConfig, frames: int, seed: int) -> Iterator[CameraFrame]:
    """Keyframes of a synthetic drive, as wide as the network's images."""
    height, width = model.image_size
    size = width, max(height, width * 9 // 16)
    config = DriveConfig(duration_s=frames * FRAME_PERIOD_S, image_size=size, supersample=1)
    return (made.frame for made in render_scene(seed, config))


def _record(row: Row) -> dict[str, object]:
    """A row as JSON has it; ``pass`` is a word of Python's."""
    record = dataclasses.asdict(row)
    record["pass"] = record.pop("passed")
    return record


def _summary(rows: Sequence[Row]) -> Iterator[str]:
    """A table: the worst frame of each output at each keep ratio, and the medians of the times."""
    yield f"{'keep ratio':>10} {'output':<15} {'max abs error':>13} {'tolerance':>10}  {'':4} frame"
    worst: dict[tuple[float, str], Row] = {}
    for row in rows:
        known = worst.setdefault((row.keep_ratio, row.output), row)
        if (known.passed, -known.max_abs_error) > (row.passed, -row.max_abs_error):
            worst[row.keep_ratio, row.output] = row
    for row in worst.values():
        verdict = "ok" if row.passed else "FAIL"
        error = f"{row.max_abs_error:13.2e} {row.tolerance:10.1e}"
        yield f"{row.keep_ratio:10g} {row.output:<15} {error}  {verdict:4} {row.frame}"
    yield f"{'keep ratio':>10} {'backend ms':>10} {'torch ms':>10} {'ratio':>6}   medians, the first frame left out"
    for ratio in dict.fromkeys(row.keep_ratio for row in rows):
        times = {row.frame: (row.backend_ms, row.torch_ms) for row in rows if row.keep_ratio == ratio and row.frame}
        if times:
            backend_ms, torch_ms = (median(column) for column in zip(*times.values(), strict=True))
            yield f"{ratio:10g} {backend_ms:10.1f} {torch_ms:10.1f} {torch_ms / backend_ms:6.2f}"


def _parser() -> argparse.ArgumentParser:
    parser = _new_parser("")
    add = parser.add_argument
    add("--out", type=Path, required=True, metavar="DIR", help="folder to make")
    add("--precision", choices=PRECISIONS, default="fp32", help="of the encoder; the head stays fp32 (%(default)s)")
    add("--checkpoint", type=Path, metavar="FILE", help="weights; without, the model's own")
    return parser


def _verify_parser() -> argparse.ArgumentParser:
    parser = _new_parser(" verify")
    add = parser.add_argument
    add("--backend", choices=[name for name in backends.BACKENDS if name != "torch"], required=True)
    add("--checkpoint", type=Path, metavar="FILE_OR_DIR", help="weights, or an export; without, the model's own")
    add("--weights", type=Path, metavar="FILE", help="what an export was made from, where it is not the model's own")
    add("--device", default="auto", help="as the parameter device (%(default)s)")
    add("--frames", type=int, default=20)
    add("--keep-ratio", type=float, nargs="+", default=KEEP_RATIOS, metavar="SHARE", help="in turn, over the frames")
    add("--seed", type=int, default=0, help="of the drive")
    add("--json", type=Path, metavar="FILE", help="all rows")
    return parser


def _new_parser(command: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=f"python -m tggbc_ros.tools.export{command}",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--model", choices=list(MODELS), default="demo")
    parser.add_argument("--allow-random-weights", action="store_true", help="do without weights, to try it")
    return parser


if __name__ == "__main__":
    sys.exit(main())
