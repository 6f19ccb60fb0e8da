"""Make the files that a model ships with, from tuned weights: key gate fitted, encoder in int8 calibrated.

python -m tggbc_ros.tools.ship --model M --checkpoint FILE --data DIR --split F --calibrate-data DIR --calibrate-split C

Both are made of unlabelled frames, anew and of these weights: what came with them, or lay there before, is replaced.
Either file appears only once both are whole.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from tggbc_ros.backends import SHIPPED_WEIGHTS
from tggbc_ros.export.cache import quantised_encoder


def ship(given: argparse.Namespace) -> list[Path]:
    """Make both files and put them in their place; raises ValueError where one of the two tools refuses."""
    weights = (given.out or SHIPPED_WEIGHTS[given.model].parent) / SHIPPED_WEIGHTS[given.model].name
    weights.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".shipping-", dir=weights.parent) as folder:
        made = Path(folder) / weights.name
        place = ["--data", given.data, "--split", given.split, "--out", made]
        _run("compress", "keygate", "--model", given.model, "--checkpoint", given.checkpoint, *place)
        images = ["--calibrate-data", given.calibrate_data, "--calibrate-split", given.calibrate_split]
        onnx = Path(folder) / "onnx"
        given_int8 = ["--model", given.model, "--checkpoint", made, "--precision", "int8", *images, "--out", onnx]
        _run("export", *given_int8)
        shutil.copyfile(onnx / "encoder_int8.onnx", quantised_encoder(made))
        ready = [made, quantised_encoder(made)]
        for file in ready:
            os.replace(file, weights.parent / file.name)
    return [weights.parent / file.name for file in ready]


def _run(tool: str, *arguments: object) -> None:
    """One of our programs; it has said itself what went wrong."""
    command = [sys.executable, "-m", f"tggbc_ros.tools.{tool}", *map(str, arguments)]
    if subprocess.run(command, check=False).returncode:
        raise ValueError(f"{tool} has failed, and nothing was shipped")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("python -m tggbc_ros.tools.ship", description=(__doc__ or "").splitlines()[0])
    add = parser.add_argument
    add("--model", choices=list(SHIPPED_WEIGHTS), required=True)
    add("--checkpoint", type=Path, required=True, metavar="FILE", help="tuned weights, of any shape")
    add("--data", type=Path, required=True, metavar="DIR", help="frames for the key gate; no label is read")
    add("--split", required=True, metavar="NAME")
    add("--calibrate-data", type=Path, required=True, metavar="DIR", help="images for int8")
    add("--calibrate-split", required=True, metavar="NAME")
    add("--out", type=Path, metavar="DIR", help="instead of the package's own folder of weights")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit status 1 and one line on standard error where it fails."""
    given = _parser().parse_args(arguments)
    try:
        files = ship(given)
    except (OSError, ValueError) as error:
        print(f"ship: {' '.join(str(error).split())}", file=sys.stderr)
        return 1
    print(f"{', '.join(map(str, files))}: {sum(file.stat().st_size for file in files) / 1e6:.2f} MB together")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
