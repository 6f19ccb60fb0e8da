"""Official nuScenes scores, one row per keep ratio: of a model, of a recorded node, or of the ground truth itself."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from tqdm import tqdm

from tggbc_ros import backends
from tggbc_ros.core.config import (
    JPEG_DECODES,
    MODELS,
    RESIZE_FILTERS,
    DecodeConfig,
    MemoryConfig,
    PreprocessConfig,
    PruningConfig,
    model_config,
)
from tggbc_ros.core.start import expect_rig
from tggbc_ros.data.nuscenes.dataset import NuScenes
from tggbc_ros.evaluation.detect import Sweep
from tggbc_ros.evaluation.judge import PLOT, judge
from tggbc_ros.evaluation.passes import Pass, Split, at_newest_images, ground_truth_pass, load_split
from tggbc_ros.evaluation.recorded import BOXES_TOPIC, REPORT_TOPIC, recorded_passes
from tggbc_ros.evaluation.results import Row, table
from tggbc_ros.evaluation.score import Evaluator
from tggbc_ros.evaluation.variants import variant

KEEP_RATIOS = (1.0, 0.7, 0.5, 0.3, 0.2, 0.1)


def evaluate(given: argparse.Namespace) -> list[Row]:
    """Detect, write one submission per pass, score them, write the table and the plot; the rows."""
    dataset = NuScenes(given.data, given.version)
    split = load_split(dataset, given.split, sweeps=given.sweeps and given.model is not None)
    evaluator = Evaluator(dataset.root, dataset.tables.name, given.split)
    return judge(_passes(given, split), split, evaluator, dataset.tables.name, given.out)


def _passes(given: argparse.Namespace, split: Split) -> list[Pass]:
    if given.ground_truth:
        return [ground_truth_pass(split)]
    if given.bag:
        return recorded_passes(split, given.bag, given.boxes_topic, given.report_topic)
    prunings = _prunings(given)
    network = backends.load_network(
        given.backend, model_config(given.model), given.checkpoint, given.device, given.allow_random_weights
    )
    cameras = len(next(split.samples()).cameras)
    for way in prunings.values():
        expect_rig(network.gate, way, cameras, f"split {given.split!r}")
    ways, decode = list(prunings.values()), DecodeConfig(max_boxes=given.max_boxes)
    memory = MemoryConfig(interval_s=given.memory_interval_s)
    images, reduced = PreprocessConfig(given.resize), given.jpeg_decode == "reduced"
    sweep = Sweep(network, ways, decode, given.reset_memory_every_frame, memory, images, reduced)
    total = sum(map(len, split.scenes.values()))
    with tqdm(total=total, unit="frame", desc=f"{given.model}, {len(prunings)} ways to prune", disable=None) as bar:
        passes = sweep.run(at_newest_images(split) if given.node_reference else split, bar.update)
    for record, name in zip(passes, prunings, strict=True):
        record.settings |= {"variant": name, "frames": "sweeps" if given.sweeps else "keyframes"}
    return passes


def _prunings(given: argparse.Namespace) -> dict[str, PruningConfig]:
    """Ways to prune by name."""
    if given.variant:
        return {text: variant(text) for text in given.variant}
    return {
        f"keep_ratio={ratio:g}": PruningConfig(ratio, given.prune_layers, given.prune_queries)
        for ratio in given.keep_ratio
    }


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("python -m tggbc_ros.tools.evaluate", description=__doc__)
    add = parser.add_argument
    add("--data", type=Path, required=True, metavar="DIR", help="data set in nuScenes' v1.0 schema")
    add("--version", metavar="NAME", help="which version, if there are several")
    add("--split", required=True, metavar="NAME", help="official, or one of the version's splits.json")
    add("--out", type=Path, required=True, metavar="DIR", help=f"for results.json, results.csv, {PLOT}, submissions")
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--model", choices=list(MODELS), help="run this model over the split")
    source.add_argument("--bag", type=Path, nargs="+", metavar="BAG", help="score what a node published, as recorded")
    source.add_argument("--ground-truth", action="store_true", help="score the annotations: what perfect boxes get")
    model = parser.add_argument_group("with --model")
    add = model.add_argument
    add("--checkpoint", type=Path, metavar="FILE")
    add("--allow-random-weights", action="store_true", help="run without a checkpoint; the scores mean nothing")
    add("--backend", choices=list(backends.BACKENDS), default="torch")
    add("--device", default="auto", help="cpu, cuda, cuda:1 or auto (default)")
    add("--keep-ratio", type=float, nargs="+", default=list(KEEP_RATIOS), metavar="R", help="share of the keys to keep")
    add("--prune-layers", type=int, default=PruningConfig.layers, metavar="N")
    add("--prune-queries", type=int, default=PruningConfig.queries, metavar="K")
    variant_help = "ways to prune instead, each as the node's parameters: 'keep_ratio=0.3 prune_layers=3'"
    add("--variant", nargs="+", metavar="'NAME=VALUE …'", help=variant_help)
    add("--max-boxes", type=int, default=DecodeConfig.max_boxes, metavar="N", help="per sample (default %(default)s)")
    add("--reset-memory-every-frame", action="store_true", help="see what temporal memory is worth")
    sweeps_help = "run over every set of images (12 Hz), as a node does; only the keyframes are scored"
    add("--sweeps", action="store_true", help=sweeps_help)
    interval_help = "age of the memory that a frame goes on from (default %(default)g, as in training; 0: the last)"
    add("--memory-interval-s", type=float, default=MemoryConfig.interval_s, metavar="S", help=interval_help)
    jpeg_help = "how JPEGs are decoded, as the node's parameter (default %(default)s)"
    add("--jpeg-decode", choices=JPEG_DECODES, default="full", help=jpeg_help)
    resize_help = "filter to the network's size, as the node's parameter (default %(default)s)"
    add("--resize", choices=RESIZE_FILTERS, default=PreprocessConfig.resize, help=resize_help)
    reference_help = "take the newest image's time and pose for a set's, as the node does, to compare with its bags"
    add("--node-reference", action="store_true", help=reference_help)
    bag = parser.add_argument_group("with --bag")
    bag.add_argument("--boxes-topic", default=BOXES_TOPIC, metavar="TOPIC")
    bag.add_argument("--report-topic", default=REPORT_TOPIC, metavar="TOPIC", help="tells keep ratios and times")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Evaluate; exit status 1 and one line on standard error if it fails."""
    given = _parser().parse_args(arguments)
    try:
        rows = evaluate(given)
    except (OSError, ValueError, ImportError, FloatingPointError) as error:
        print(f"evaluate: {' '.join(str(error).split())}", file=sys.stderr)
        return 1
    print(table(rows))
    print(f"written to {given.out}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
