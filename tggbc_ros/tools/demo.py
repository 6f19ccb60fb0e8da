"""The whole line at work: a drive becomes a bag, the bag goes through the node, what comes out is scored and shown.

Two nodes, one after the other: the dense network, and the one that was made of it to be faster. Each gets the bag once
per keep ratio, which is set live through the parameter service.
"""

from __future__ import annotations

import argparse
import shutil
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import NoReturn

import cv2
import rclpy
import torch
from tqdm import tqdm

from tggbc_ros import backends
from tggbc_ros.core.config import CLASS_NAMES, MODELS, model_config
from tggbc_ros.data.bags.sample_bag import BagWriter
from tggbc_ros.data.drive import dataset
from tggbc_ros.data.nuscenes.dataset import NuScenes
from tggbc_ros.drawing.palette import load_palette
from tggbc_ros.evaluation.judge import score_pass
from tggbc_ros.evaluation.passes import Pass, Split, load_split
from tggbc_ros.evaluation.plot import accuracy_plot
from tggbc_ros.evaluation.recorded import recorded_passes
from tggbc_ros.evaluation.results import Row, table, write_results
from tggbc_ros.evaluation.score import Evaluator
from tggbc_ros.ros.bags.bag_recorder import RecordError
from tggbc_ros.ros.client import ClientError, choose_domain
from tggbc_ros.showcase import banner
from tggbc_ros.showcase.film import film_frame, write_film
from tggbc_ros.showcase.frames import ShownFrame, shown_frames
from tggbc_ros.showcase.keys import key_picture
from tggbc_ros.showcase.page import write_page
from tggbc_ros.showcase.plan import (
    BAG,
    BANNER,
    DETECTIONS,
    DRIVE,
    FASTER,
    FILM,
    KEYS,
    LOGS,
    MARK,
    PAGE,
    PLOT,
    SCORES,
    SPLIT,
    Network,
    Plan,
)
from tggbc_ros.showcase.report import demo_report, gain, warning
from tggbc_ros.showcase.sweep import KeptPictures, sweep

KEEP_RATIOS = (1.0, 0.3, 0.15)
NONE = "none"
SEED = 2026
"""Of no drive that the demo model was trained on."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the demo; exit status 1 and one line on standard error if it fails."""
    options = _parser().parse_args(arguments)
    try:
        plan = _plan(options)
        rows = demo(plan)
    except (ClientError, RecordError, OSError, ValueError, ImportError) as error:
        print(f"demo: {error}", file=sys.stderr)
        return 1
    for network in plan.networks:
        print(f"{network.name}\n{table([row for row in rows if row['network'] == network.name])}\n")
    print("\n".join([gain(rows[0], rows[plan.shown]), *filter(None, [warning(rows[0])]), f"open {plan.out / PAGE}"]))
    return 0


def demo(plan: Plan) -> list[Row]:
    """Drive -> bag -> node -> record -> scores -> pictures and page, all in the plan's folder; returns the scores."""
    clear(plan.out)
    split = make_drive(plan)
    write_bag(plan, split)
    kept = run_nodes(plan, len(list(split.samples())))
    passes = [each for network in plan.networks for each in recorded_passes(split, [record_of(plan, network)])]
    rows = score(plan, split, passes)
    write_results(rows, plan.out)
    names = ", ".join(network.name for network in plan.networks)
    accuracy_plot(rows, plan.out / PLOT, f"{names} on a drive of {plan.seconds:g} s, seed {plan.seed}")
    draw(plan, shown_frames(list(split.samples()), passes[plan.shown], kept[plan.shown], plan.show_score), rows)
    write_page(demo_report(plan, rows), plan.out / PAGE)
    return rows


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tggbc_ros.tools.demo", description=__doc__)
    add = parser.add_argument
    add("--out", type=Path, default=Path("out/demo"))
    add("--model", choices=list(MODELS), default="demo")
    add("--checkpoint", default="", metavar="FILE", help="weights; without, the model's own or else random ones")
    add("--faster", metavar="MODEL", help="shown beside it; default demo_slim where the model is demo, or none")
    add("--faster-checkpoint", default="", metavar="FILE", help="weights of that one")
    faster_backend = "openvino_int8, or torch where there is a GPU"
    add("--faster-backend", choices=list(backends.BACKENDS), help=f"what runs that one (default {faster_backend})")
    add("--seconds", type=float, default=20.0, metavar="S", help="length of the drive (default %(default)s)")
    add("--seed", type=int, default=SEED, help="of the drive (default %(default)s)")
    add("--keep-ratio", type=float, nargs="+", default=KEEP_RATIOS, metavar="R", help="shares of keys to keep")
    add("--show-score", type=float, default=0.3, metavar="S", help="least score of a drawn box (default %(default)s)")
    return parser


def _plan(options: argparse.Namespace) -> Plan:
    ratios = tuple(sorted(set(options.keep_ratio), reverse=True))
    return Plan(options.out, _networks(options), options.seed, options.seconds, ratios, options.show_score)


def _networks(options: argparse.Namespace) -> tuple[Network, ...]:
    """The one that was asked for, and the faster one, if there is one."""
    dense = Network(options.model, options.model, options.checkpoint)
    own = FASTER.get(options.model, NONE) if not options.checkpoint else NONE
    model = options.faster or (options.model if options.faster_checkpoint else own)
    if model == NONE:
        return (dense,)
    backend = options.faster_backend or ("torch" if torch.cuda.is_available() else "openvino_int8")
    name = f"{model} on {backend}" if model != options.model or backend != dense.backend else "faster"
    return dense, Network(name, model_config(model).name, options.faster_checkpoint, backend)


def clear(out: Path) -> None:
    """Make the folder, and remove what a demo, finished or not, has left in it; nothing else of the user's goes.

    Raises FileExistsError where something of such a name is not a demo's.
    """
    left = [out / name for name in (DRIVE, BAG, DETECTIONS, LOGS, SCORES) if (out / name).exists()]
    if left and not (out / MARK).exists():
        unknown = f"{left[0]} exists, and no {MARK} beside it says that a demo made it"
        raise FileExistsError(f"{unknown}: move it away, or choose another --out")
    out.mkdir(parents=True, exist_ok=True)
    (out / MARK).touch()
    for folder in left:
        shutil.rmtree(folder)


def make_drive(plan: Plan) -> Split:
    """Render the drive as a nuScenes data set, and read it back."""
    root, config = plan.out / DRIVE, plan.drive
    with tqdm(total=config.samples, desc=DRIVE, unit="frame", disable=None) as bar:
        tables = dataset.write_scene(root, plan.seed, 0, config, partial(_advance, bar))
    dataset.write_tables(root, dataset.VERSION, SPLIT, [tables])
    return load_split(NuScenes(root), SPLIT)


def _advance(bar: tqdm[NoReturn]) -> None:
    bar.update()


def write_bag(plan: Plan, split: Split) -> None:
    """The drive as a rosbag2."""
    with BagWriter(plan.out / BAG) as bag:
        for sample in split.samples():
            bag.write(sample)


def run_nodes(plan: Plan, frames: int) -> list[KeptPictures]:
    """Sweep a node of each network over the bag, in a DDS domain of their own; pictures of kept keys of each pass."""
    choose_domain()
    rclpy.init()
    try:
        kept = []
        for network in plan.networks:
            print(network.name, flush=True)
            logs = plan.out / LOGS / folder_name(network)
            parameters = network.node_parameters()
            found = sweep(plan.out / BAG, frames, plan.keep_ratios, parameters, record_of(plan, network), logs)
            kept += [found[ratio] for ratio in plan.keep_ratios]
        return kept
    finally:
        rclpy.shutdown()


def record_of(plan: Plan, network: Network) -> Path:
    """The bag of what a network's node published."""
    return plan.out / DETECTIONS / folder_name(network)


def folder_name(network: Network) -> str:
    """A network's name as files have it."""
    return network.name.replace(" ", "_")


def score(plan: Plan, split: Split, passes: Sequence[Pass]) -> list[Row]:
    """One row per pass, by the official evaluator; ``network`` is its network's name."""
    evaluator = Evaluator(plan.out / DRIVE, dataset.VERSION, split.name)
    rows = []
    for (network, ratio), record in zip(plan.passes(), passes, strict=True):
        folder = plan.out / SCORES / folder_name(network) / f"keep_{ratio:g}"
        rows.append({"network": network.name, **score_pass(record, split, evaluator, folder)})
    return rows


def draw(plan: Plan, shown: Sequence[ShownFrame], rows: Sequence[Row]) -> None:
    """The films of one pass, and its key picture, of the frame with most objects; rows: the scores of all passes."""
    network, ratio = list(plan.passes())[plan.shown]
    model, palette = model_config(network.model), load_palette(CLASS_NAMES)
    bar = tqdm(shown, desc=FILM, unit="frame", disable=None)
    write_film((film_frame(frame, model, palette, rows, plan.shown) for frame in bar), plan.out / FILM)
    small = (banner.banner_frame(frame, model, palette, ratio) for frame in shown[-banner.FRAMES :])
    write_film(small, plan.out / BANNER, banner.QUALITY)
    fullest = max(shown, key=lambda frame: len(frame.truth))
    cv2.imwrite(str(plan.out / KEYS), key_picture(fullest, model, palette))


if __name__ == "__main__":
    sys.exit(main())
