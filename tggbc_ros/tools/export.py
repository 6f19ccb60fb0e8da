"""Export a network to ONNX, and verify that a backend gives the boxes that PyTorch gives in float32.

python -m tggbc_ros.tools.export --model NAME [--checkpoint FILE] --out DIR [--precision fp16]
python -m tggbc_ros.tools.export --model NAME --out DIR --precision int8 --calibrate-bag BAG…
python -m tggbc_ros.tools.export verify --backend onnxruntime --model NAME [--checkpoint FILE_OR_DIR] [--json FILE]
python -m tggbc_ros.tools.export layers --model NAME --checkpoint DIR

DIR then serves as the parameter checkpoint of a backend that runs exports. int8 learns the ranges of the encoder's
numbers from images, which need no labels: of a data set (--calibrate-data, --calibrate-split) or of bags. Verifying
plays a synthetic drive with temporal memory through both, changing the keep ratio on the way; with --data, nuScenes'
evaluator scores both on the same frames, too. The exit status is 1 where a number is out of tolerance, 2 where it
cannot be done. layers tells of an export in int8 what each layer costs in accuracy and takes in time.
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
from tqdm import tqdm

from tggbc_ros import backends
from tggbc_ros.backends.exported import find_export
from tggbc_ros.compress.images import of_bags, of_split
from tggbc_ros.core.config import MODELS, ModelConfig, model_config
from tggbc_ros.core.detector import Network
from tggbc_ros.core.preprocess import preprocess
from tggbc_ros.core.types import CameraFrame
from tggbc_ros.data.drive.config import DriveConfig
from tggbc_ros.data.drive.frames import render_scene
from tggbc_ros.evaluation.loss import Loss, ground, losses
from tggbc_ros.evaluation.parity import Row, compare, keep_ratios
from tggbc_ros.export.cache import cached_export
from tggbc_ros.export.calibration import FRAMES
from tggbc_ros.export.exporter import Quantise, export, quantise_on
from tggbc_ros.export.graphs import PRECISIONS
from tggbc_ros.export.layers import cost_table, layer_costs
from tggbc_ros.export.quantisation import expect_quantisable
from tggbc_ros.export.quantisation import require_library as require_nncf
from tggbc_ros.ros.param_file import from_file
from tggbc_ros.ros.params import Settings

FRAME_PERIOD_S = 0.5
KEEP_RATIOS = (1.0, 0.5, 0.3, 0.1)
MAX_LOSS = 0.005
"""In mAP, absolute; what 16 drives of 16 frames can tell from noise."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    command, parser = COMMANDS.get(given[0] if given else "", (make, _parser))
    options = parser().parse_args(given if command is make else given[1:])
    try:
        return command(options)
    except (ValueError, OSError, ImportError, RuntimeError, FloatingPointError) as error:
        print(f"export: {' '.join(str(error).split())}", file=sys.stderr)
        return 2


def make(options: argparse.Namespace) -> int:
    """Export."""
    model = model_config(options.model)
    checkpoint = backends.choose_weights(model, options.checkpoint, options.allow_random_weights)
    quantise = _quantise(options, model) if options.precision == "int8" else None
    manifest = export(model, checkpoint, options.out, options.precision, quantise=quantise)
    size_mib = sum(path.stat().st_size for path in options.out.iterdir()) / 2**20
    print(f"{options.out}: {len(manifest.graphs)} graphs, {size_mib:.0f} MiB, weights {manifest.weights}")
    return 0


def _quantise(options: argparse.Namespace, model: ModelConfig) -> Quantise:
    """Read the images to calibrate on, before anything is exported."""
    expect_quantisable(model)
    require_nncf()
    with tqdm(total=options.frames, unit="frame", desc="reading images", disable=None) as bar:
        if options.calibrate_bag:
            settings = from_file(options.params) if options.params else Settings()
            found = of_bags(options.calibrate_bag, settings, model, options.frames, options.seed, bar.update)
        elif options.calibrate_data and options.calibrate_split:
            place = options.calibrate_data, options.calibrate_version, options.calibrate_split
            found = of_split(*place, model, options.frames, options.seed, bar.update)
        else:
            raise ValueError("int8 needs --calibrate-data DIR --calibrate-split NAME, or --calibrate-bag BAG")
    return quantise_on(*found)


def layers(options: argparse.Namespace) -> int:
    """Print of each layer of an encoder in int8 what it costs and takes."""
    model = model_config(options.model)
    folder, manifest = find_export(model, options.checkpoint, "int8")
    weights = backends.choose_weights(model, options.weights, manifest.weights == "RANDOM")
    plain, float_manifest = cached_export(model, weights)
    if float_manifest.weights_sha256 != manifest.weights_sha256:
        found = f"{manifest.weights}, but the float32 export would be of {float_manifest.weights}"
        raise ValueError(f"{folder} holds {found}: give --weights")
    frames = _drive(model, options.frames, options.seed)
    images = [preprocess(frame, model, "cpu").images[0].numpy() for frame in frames]
    quantised = folder / manifest.graphs["encoder"].file
    costs = layer_costs(plain / float_manifest.graphs["encoder"].file, quantised, images)
    print("\n".join(cost_table(costs)))
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
    scored = _evaluate(options, reference, tested) if options.data else []
    lost = [loss for loss in scored if loss.mean_ap > options.max_loss]
    return 1 if lost or not all(row.passed for row in rows) else 0


def _evaluate(options: argparse.Namespace, reference: Network, tested: Network) -> list[Loss]:
    """Score both networks on the same frames, print what the tested one lost."""
    on = ground(options.data, options.version, options.split)
    frames = 2 * sum(map(len, on.split.scenes.values()))
    with tqdm(total=frames, unit="frame", desc="evaluating both", disable=None) as bar:
        found = losses(reference, tested, on, tuple(dict.fromkeys(options.keep_ratio)), bar.update)
    print(f"{'keep ratio':>10} {'mAP torch':>10} {'backend':>8} {'loss':>8} {'NDS torch':>10} {'backend':>8}")
    for loss in found:
        verdict = "ok" if loss.mean_ap <= options.max_loss else f"FAIL: more than {options.max_loss:g}"
        scores = f"{loss.reference.mean_ap:10.4f} {loss.tested.mean_ap:8.4f} {loss.mean_ap:8.4f}"
        print(f"{loss.keep_ratio:10g} {scores} {loss.reference.nds:10.4f} {loss.tested.nds:8.4f}  {verdict}")
    return found


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
    add = parser.add_argument_group("with --precision int8: images to learn the ranges from").add_argument
    add("--calibrate-data", type=Path, metavar="DIR", help="data set in nuScenes' v1.0 schema; labels are not read")
    add("--calibrate-version", metavar="NAME", help="which version, if there are several")
    add("--calibrate-split", metavar="NAME", help="its split; not the one that is scored")
    add("--calibrate-bag", type=Path, nargs="+", metavar="BAG", help="bags instead")
    add("--params", type=Path, metavar="FILE", help="the node's parameter file: camera names and topics of the bags")
    add("--frames", type=int, default=FRAMES, help="sets of images, spread over scenes and time (%(default)s)")
    add("--seed", type=int, default=0, help="which of them")
    return parser


def _layers_parser() -> argparse.ArgumentParser:
    parser = _new_parser(" layers")
    add = parser.add_argument
    add("--checkpoint", type=Path, required=True, metavar="DIR", help="export in int8")
    add("--weights", type=Path, metavar="FILE", help="what it was made from, where that is not the model's own")
    add("--frames", type=int, default=4, help="of a synthetic drive (%(default)s)")
    add("--seed", type=int, default=0, help="of the drive")
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
    add = parser.add_argument_group("by nuScenes' evaluator, too").add_argument
    add("--data", type=Path, metavar="DIR", help="data set in nuScenes' v1.0 schema")
    add("--version", metavar="NAME", help="which version, if there are several")
    add("--split", metavar="NAME", help="its split")
    add("--max-loss", type=float, default=MAX_LOSS, metavar="MAP", help="mAP that may be lost (%(default)s)")
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


COMMANDS = {"verify": (verify, _verify_parser), "layers": (layers, _layers_parser)}


if __name__ == "__main__":
    sys.exit(main())
