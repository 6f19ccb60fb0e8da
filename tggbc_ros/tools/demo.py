"""The whole line at work: a drive becomes a bag, the bag goes through the node, what comes out is scored and shown.

One node process; the bag once per keep ratio, each ratio set live through the parameter service.
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
from tqdm import tqdm

from tggbc_ros.core.config import CLASS_NAMES, MODELS, model_config
from tggbc_ros.data.bags.sample_bag import BagWriter
from tggbc_ros.data.drive import dataset
from tggbc_ros.data.nuscenes.dataset import NuScenes
from tggbc_ros.drawing.palette import load_palette
from tggbc_ros.evaluation.passes import Pass, Split, load_split
from tggbc_ros.evaluation.plot import accuracy_plot
from tggbc_ros.evaluation.recorded import recorded_passes
from tggbc_ros.evaluation.results import Row, result_row, table, write_results
from tggbc_ros.evaluation.score import Evaluator
from tggbc_ros.evaluation.submission import write_submission
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
    FILM,
    KEYS,
    MARK,
    PAGE,
    PLOT,
    SCORES,
    SPLIT,
    Plan,
)
from tggbc_ros.showcase.report import demo_report, warning
from tggbc_ros.showcase.sweep import KeptPictures, sweep

KEEP_RATIOS = (1.0, 0.5, 0.3, 0.15)
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
    print("\n".join([table(rows), *filter(None, [warning(rows[0])]), f"open {plan.out / PAGE}"]))
    return 0


def demo(plan: Plan) -> list[Row]:
    """Drive -> bag -> node -> record -> scores -> pictures and page, all in the plan's folder; returns the scores."""
    clear(plan.out)
    split = make_drive(plan)
    write_bag(plan, split)
    kept = run_node(plan, len(list(split.samples())))
    passes = recorded_passes(split, [plan.out / DETECTIONS])
    rows = score(plan, split, passes)
    write_results(rows, plan.out)
    accuracy_plot(rows, plan.out / PLOT, f"{plan.model} on a drive of {plan.seconds:g} s, seed {plan.seed}")
    ratio, best = plan.keep_ratios[plan.shown], passes[plan.shown]
    draw(plan, shown_frames(list(split.samples()), best, kept[ratio], plan.show_score), rows)
    write_page(demo_report(plan, rows), plan.out / PAGE)
    return rows


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tggbc_ros.tools.demo", description=__doc__)
    add = parser.add_argument
    add("--out", type=Path, default=Path("out/demo"))
    add("--model", choices=list(MODELS), default="demo")
    add("--checkpoint", default="", metavar="FILE", help="weights; without, the model's own or else random ones")
    add("--seconds", type=float, default=20.0, metavar="S", help="length of the drive (default %(default)s)")
    add("--seed", type=int, default=SEED, help="of the drive (default %(default)s)")
    add("--keep-ratio", type=float, nargs="+", default=KEEP_RATIOS, metavar="R", help="shares of keys to keep")
    add("--show-score", type=float, default=0.3, metavar="S", help="least score of a drawn box (default %(default)s)")
    return parser


def _plan(options: argparse.Namespace) -> Plan:
    ratios = tuple(sorted(set(options.keep_ratio), reverse=True))
    return Plan(
        options.out, options.model, options.checkpoint, options.seed, options.seconds, ratios, options.show_score
    )


def clear(out: Path) -> None:
    """Make the folder, and remove what a demo, finished or not, has left in it; nothing else of the user's goes.

    Raises FileExistsError where something of such a name is not a demo's.
    """
    left = [out / name for name in (DRIVE, BAG, DETECTIONS, SCORES) if (out / name).exists()]
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


def run_node(plan: Plan, frames: int) -> dict[float, KeptPictures]:
    """Sweep the node over the bag, in a DDS domain of its own; pictures of kept keys by ratio."""
    choose_domain()
    rclpy.init()
    try:
        return sweep(plan.out / BAG, frames, plan.keep_ratios, plan.node_parameters(), plan.out)
    finally:
        rclpy.shutdown()


def score(plan: Plan, split: Split, passes: Sequence[Pass]) -> list[Row]:
    """One row per pass, by the official evaluator."""
    evaluator = Evaluator(plan.out / DRIVE, dataset.VERSION, split.name)
    tokens = [sample.token for sample in split.samples()]
    rows = []
    for record in passes:
        folder = plan.out / SCORES / f"keep_{record.keep_ratio:g}"
        write_submission(folder / "submission.json", tokens, record.detections, CLASS_NAMES)
        rows.append(result_row(record, evaluator.score(folder / "submission.json", folder)))
    return rows


def draw(plan: Plan, shown: Sequence[ShownFrame], rows: Sequence[Row]) -> None:
    """The films of one pass, and its key picture, of the frame with most objects; rows: the scores of all passes."""
    model, palette, ratio = model_config(plan.model), load_palette(CLASS_NAMES), plan.keep_ratios[plan.shown]
    bar = tqdm(shown, desc=FILM, unit="frame", disable=None)
    write_film((film_frame(frame, model, palette, rows, plan.shown) for frame in bar), plan.out / FILM)
    small = (banner.banner_frame(frame, model, palette, ratio) for frame in shown[-banner.FRAMES :])
    write_film(small, plan.out / BANNER, banner.QUALITY)
    fullest = max(shown, key=lambda frame: len(frame.truth))
    cv2.imwrite(str(plan.out / KEYS), key_picture(fullest, model, palette))


if __name__ == "__main__":
    sys.exit(main())
