"""``tools.compress sparse``: its arguments, its stages one after another, and what it says at the end."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from tggbc_ros import backends
from tggbc_ros.compress.slim.command import times
from tggbc_ros.compress.slim.ledger import Job, Ledger
from tggbc_ros.compress.sparse.choice import COUNTED, METHODS
from tggbc_ros.compress.sparse.context import Context
from tggbc_ros.compress.sparse.distortion import CONFIDENCE
from tggbc_ros.compress.sparse.finding import curving, pruning, solving
from tggbc_ros.compress.sparse.finishing import control, scoring_on, tuning
from tggbc_ros.compress.sparse.pruning import ORDERS, REPAIRS
from tggbc_ros.compress.sparse.report import reporting
from tggbc_ros.compress.sparse.settings import CURVES, LATENCY, STAGES, Settings
from tggbc_ros.compress.splits import Where
from tggbc_ros.compress.tuning import Tuning
from tggbc_ros.core.config import MODELS, model_config

KIND = "sparse"


def register(jobs: Any) -> None:
    """Add the job to those of `tools.compress`."""
    parser = jobs.add_parser(KIND, help="single weights to zero, where that distorts the detections least")
    add = parser.add_argument
    add("--model", choices=list(MODELS), required=True)
    add("--checkpoint", type=Path, metavar="FILE", help="weights of the dense network; model demo has its own")
    add("--data", type=Path, required=True, metavar="DIR", help="data set in nuScenes' v1.0 schema")
    add("--version", metavar="NAME", help="which version, if there are several")
    add("--split", required=True, metavar="NAME", help="what is calibrated and tuned on: of the training data")
    add("--val-split", metavar="NAME", help="held-out frames for the official scores")
    add("--val-data", type=Path, metavar="DIR", help="where that split is, if not in --data")
    add("--out", type=Path, required=True, metavar="DIR", help="for all that is made; the next call goes on there")
    target_help = "that is kept of the layers' weights, or of --of; several make several networks"
    add("--target", type=float, nargs="+", required=True, metavar="SHARE", help=target_help)
    add("--of", choices=(*COUNTED, LATENCY), default="weights", help="what the target is a share of (%(default)s)")
    method_help = "who shares it out among layers (dm3d, which is exact); several make several networks"
    add("--method", choices=METHODS, nargs="+", default=["dm3d"], help=method_help)
    add("--curves", choices=CURVES, default="predicted", help="by curvature, or measured, slower (%(default)s)")
    add("--order", choices=ORDERS, default="obs", help="which weights of a layer go first (%(default)s)")
    add("--repair", choices=REPAIRS, default="obs", help="re-solve what is left of each layer (%(default)s)")
    add("--steps", type=int, default=0, metavar="N", help="of tuning the encoder alone, zeros kept (%(default)s)")
    add("--joint-steps", type=int, default=0, metavar="N", help="of tuning everything, the control too (%(default)s)")
    add("--skip", nargs="+", choices=STAGES, default=[], metavar="STAGE", help="go on with what lies there instead")
    add("--stop-after", choices=STAGES, default=STAGES[-1], metavar="STAGE", help=f"one of {', '.join(STAGES)}")
    add("--seed", type=int, default=0)
    add("--device", default="cpu", help="that tunes and judges: cpu, cuda, cuda:1 or auto (%(default)s)")
    add("--threads", type=int, metavar="N", help="on a CPU (default torch's own)")
    more = parser.add_argument_group("more of each stage").add_argument
    more(
        "--frames",
        type=int,
        default=Settings.frames,
        metavar="N",
        help="calibration frames, whole scenes (%(default)s)",
    )
    more("--passes", type=int, default=Settings.passes, metavar="N", help="curves: backward, a frame (%(default)s)")
    more("--places", type=int, default=Settings.places, metavar="N", help="of a layer looked at, a frame (%(default)s)")
    more("--probed", type=int, default=Settings.probed, metavar="N", help="curves: frames measured on (%(default)s)")
    weight_help = "curves: square metres that a whole probability is worth (%(default)g)"
    more("--confidence", type=float, default=CONFIDENCE, metavar="M2", help=weight_help)
    more("--tune-batch", type=int, default=Tuning.batch, metavar="N", help="tune: frames of a step (%(default)s)")
    more("--rate", type=float, default=Tuning.rate, help="tune: learning rate of the encoder's steps (%(default)g)")
    more("--joint-rate", type=float, default=Tuning.joint_rate, help="tune: that of the joint ones (%(default)g)")
    more("--judge", choices=list(backends.BACKENDS), default="torch", help="evaluate: scores' backend (%(default)s)")
    parser.set_defaults(run=run)


def run(given: argparse.Namespace) -> None:
    """Every stage that is not done yet; prints a line for each, and the time that each took."""
    if given.threads:
        torch.set_num_threads(given.threads)
    runs = [_settings(given, target, method) for target in given.target for method in given.method]
    context = Context(runs[0])
    context.expect_all_there()
    with Ledger(given.out, lambda line: print(line, flush=True), KIND) as ledger:
        for settings in runs:
            context = context.also(settings)
            stages = _stages(context, ledger)
            for stage in STAGES[: STAGES.index(settings.stop_after) + 1]:
                stages[stage]()
        print(times(ledger))


def _settings(given: argparse.Namespace, target: float, method: str) -> Settings:
    model = model_config(given.model)
    checkpoint = backends.weights_file(model, given.checkpoint)
    held = Where(given.val_data or given.data, None if given.val_data else given.version, given.val_split)
    skipped = frozenset(given.skip)
    return Settings(
        model=given.model,
        checkpoint=checkpoint,
        train=Where(given.data, given.version, given.split),
        held_out=held if given.val_split else None,
        target=target,
        counted=given.of,
        out=given.out,
        method=method,
        curves=given.curves,
        order=given.order,
        repair=given.repair,
        frames=given.frames,
        passes=given.passes,
        probed=given.probed,
        places=given.places,
        confidence=given.confidence,
        tuning=0 if "tune" in skipped else given.steps,
        joint=0 if "tune" in skipped else given.joint_steps,
        tune_batch=given.tune_batch,
        rate=given.rate,
        joint_rate=given.joint_rate,
        seed=given.seed,
        device=given.device,
        judge=given.judge,
        stop_after=given.stop_after,
        skip=skipped - {"tune"},
    )


def _stages(context: Context, ledger: Ledger) -> dict[str, Callable[[], None]]:
    given = context.settings

    def one(stage: str, make: Callable[[Context], Job]) -> Callable[[], None]:
        return lambda: ledger.take(make(context)) if stage in given.skip else ledger.make(make(context))

    def tune() -> None:
        ledger.make(tuning(context))
        if given.joint:
            ledger.make(control(context))

    return {
        "curves": one("curves", curving),
        "solve": one("solve", solving),
        "prune": one("prune", pruning),
        "tune": tune,
        "evaluate": lambda: None if "evaluate" in given.skip else _evaluate(context, ledger),
        "report": lambda: None if "report" in given.skip else ledger.make(reporting(context, ledger)),
    }


def _evaluate(context: Context, ledger: Ledger) -> None:
    given, places = context.settings, context.places
    if given.held_out is None:
        print("evaluate: no --val-split, so accuracy is not judged")
        return
    judged = {"dense": (given.checkpoint, places.dense_folder), given.name: (places.sparse, places.run)}
    if given.joint:
        judged[places.control_folder.name] = places.control, places.control_folder
    for who, (weights, folder) in judged.items():
        ledger.make(scoring_on(context, who, weights, folder, given.held_out))
