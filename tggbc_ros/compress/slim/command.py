"""``tools.compress slim``: its arguments, its stages one after another, and what it says at the end."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from tggbc_ros import backends
from tggbc_ros.compress.latency.plan import SMALL_STEP, USUAL_STEP, usual_step
from tggbc_ros.compress.slim.context import Context
from tggbc_ros.compress.slim.encoders import needs_int8
from tggbc_ros.compress.slim.finding import cutting, measuring, scoring, solving
from tggbc_ros.compress.slim.finishing import control, exporting, scoring_on, timing, tuning
from tggbc_ros.compress.slim.ledger import Job, Ledger
from tggbc_ros.compress.slim.networks import shape_of
from tggbc_ros.compress.slim.report import reporting
from tggbc_ros.compress.slim.settings import STAGES, Settings
from tggbc_ros.compress.slim.widths import METHODS
from tggbc_ros.compress.splits import Where
from tggbc_ros.compress.tuning import Tuning
from tggbc_ros.core.config import MODELS, model_config


def register(jobs: Any) -> None:
    """Add the job to those of `tools.compress`."""
    parser = jobs.add_parser("slim", help="fewer channels and blocks in the image encoder, within a latency budget")
    add = parser.add_argument
    add("--model", choices=list(MODELS), required=True)
    add("--checkpoint", type=Path, metavar="FILE", help="weights of the dense network; model demo has its own")
    add("--data", type=Path, required=True, metavar="DIR", help="data set in nuScenes' v1.0 schema")
    add("--version", metavar="NAME", help="which version, if there are several")
    add("--split", required=True, metavar="NAME", help="what channels are scored, and networks tuned on")
    add("--val-split", metavar="NAME", help="held-out frames for the official scores; without, times alone are judged")
    add("--val-data", type=Path, metavar="DIR", help="where that split is, if not in --data")
    add("--out", type=Path, required=True, metavar="DIR", help="for all that is made; the next call goes on there")
    add("--engine", choices=list(backends.BACKENDS), default="torch", help="what will run it (%(default)s)")
    add("--budget", type=float, required=True, metavar="SHARE", help="of the dense encoder's time, neck included")
    choice = parser.add_mutually_exclusive_group().add_argument
    choice("--method", choices=METHODS, default="mdp", help="who chooses (%(default)s, which is exact)")
    choice("--widths", type=Path, metavar="FILE", help="a choice made elsewhere, as widths.json has it, in its place")
    add("--steps", type=int, default=0, metavar="N", help="of tuning the encoder alone (%(default)s)")
    add("--joint-steps", type=int, default=0, metavar="N", help="of tuning everything, the control too (%(default)s)")
    add("--skip", nargs="+", choices=STAGES, default=[], metavar="STAGE", help="go on with what lies there instead")
    add("--stop-after", choices=STAGES, default=STAGES[-1], metavar="STAGE", help=f"one of {', '.join(STAGES)}")
    add("--seed", type=int, default=0)
    add("--device", default="auto", help="that scores and tunes: cpu, cuda, cuda:1 or auto (%(default)s)")
    add("--threads", type=int, metavar="N", help="on a CPU (default torch's own)")
    more = parser.add_argument_group("more of each stage").add_argument
    more("--latency-table", type=Path, metavar="FILE", help="measure: one that `compress latency` made")
    more("--foreign-table", action="store_true", help="measure: take it even if it is of another machine or engine")
    more("--encoders", type=int, default=20, metavar="N", help="measure: whole ones to fit to (%(default)s)")
    more("--batches", type=int, default=64, metavar="N", help="score: so many (%(default)s)")
    more("--batch", type=int, default=4, metavar="N", help="score: of so many frames (%(default)s)")
    step_help = f"solve: channels that come and go together ({USUAL_STEP}; of small backbones {SMALL_STEP})"
    more("--channel-step", type=int, metavar="N", help=step_help)
    more("--stem", choices=("kept", "free"), default="kept", help="solve: a stem with a group of its own (%(default)s)")
    more("--gap", type=float, default=0.0, metavar="SHARE", help="solve: good enough; default 0, a proof")
    more("--seconds", type=float, default=150.0, metavar="S", help="solve: time limit (%(default)g)")
    more("--tune-batch", type=int, default=Tuning.batch, metavar="N", help="tune: frames of a step (%(default)s)")
    more("--rate", type=float, default=Tuning.rate, help="tune: learning rate of the encoder's steps (%(default)g)")
    more("--joint-rate", type=float, default=Tuning.joint_rate, help="tune: that of the joint ones (%(default)g)")
    more("--norm-frames", type=int, default=64, metavar="N", help="norms are estimated on, untuned (%(default)s)")
    more("--judge", choices=list(backends.BACKENDS), default="torch", help="evaluate: scores' backend (%(default)s)")
    more("--repeats", type=int, default=30, metavar="N", help="evaluate: of each encoder's time (%(default)s)")
    parser.set_defaults(run=run)


def run(given: argparse.Namespace) -> None:
    """Every stage that is not done yet; prints a line for each, and the time that each took."""
    if given.threads:
        torch.set_num_threads(given.threads)
    settings = _settings(given)
    context = Context(settings)
    context.expect_all_there()
    with Ledger(settings.out, lambda line: print(line, flush=True)) as ledger:
        stages = _stages(context, ledger)
        for stage in STAGES[: STAGES.index(settings.stop_after) + 1]:
            stages[stage]()
        print(times(ledger))


def _settings(given: argparse.Namespace) -> Settings:
    model = model_config(given.model)
    checkpoint = backends.weights_file(model, given.checkpoint)
    held = Where(given.val_data or given.data, None if given.val_data else given.version, given.val_split)
    skipped = frozenset(given.skip)
    step = usual_step(shape_of(model, checkpoint))
    return Settings(
        model=given.model,
        checkpoint=checkpoint,
        train=Where(given.data, given.version, given.split),
        held_out=held if given.val_split else None,
        engine=given.engine,
        budget=given.budget,
        out=given.out,
        method=given.method,
        widths=given.widths,
        step=given.channel_step or step,
        keep_stem=given.stem == "kept",
        batches=given.batches,
        batch=given.batch,
        tuning=0 if "tune" in skipped else given.steps,
        joint=0 if "tune" in skipped else given.joint_steps,
        tune_batch=given.tune_batch,
        rate=given.rate,
        joint_rate=given.joint_rate,
        seed=given.seed,
        gap=given.gap,
        seconds=given.seconds,
        norm_frames=given.norm_frames,
        repeats=given.repeats,
        threads=torch.get_num_threads(),
        device=given.device,
        foreign_table=given.foreign_table,
        table=given.latency_table,
        table_step=step,
        encoders=given.encoders,
        judge=given.judge,
        stop_after=given.stop_after,
        skip=skipped - {"tune"},
    )


def _stages(context: Context, ledger: Ledger) -> dict[str, Callable[[], None]]:
    given = context.settings

    def one(stage: str, make: Callable[[Context], Job]) -> Callable[[], None]:
        def do() -> None:
            job = make(context)
            if stage in given.skip:
                ledger.take(job)
            else:
                ledger.make(job)

        return do

    def measure() -> None:
        if given.table is None:
            one("measure", measuring)()
        context.table()  # so that one that does not fit is refused before anything rests on it

    def tune() -> None:
        ledger.make(tuning(context))
        if given.joint:
            ledger.make(control(context))

    return {
        "measure": measure,
        "score": one("score", scoring),
        "solve": one("solve", solving),
        "cut": one("cut", cutting),
        "tune": tune,
        "evaluate": lambda: None if "evaluate" in given.skip else _evaluate(context, ledger),
        "report": lambda: None if "report" in given.skip else _report(context, ledger),
    }


def _evaluate(context: Context, ledger: Ledger) -> None:
    given, places = context.settings, context.places
    judged = {"dense": (given.checkpoint, places.dense_folder), given.name: (places.slim, places.run)}
    if given.joint:
        judged[places.control_folder.name] = places.control, places.control_folder
    timed = ("dense", given.name) if needs_int8(given.engine) else ()
    for who, (weights, folder) in judged.items():
        if who in timed or (given.held_out and needs_int8(given.judge)):
            ledger.make(exporting(context, who, weights, folder))
    ledger.make(timing(context))
    if given.held_out is None:
        print("evaluate: no --val-split, so accuracy is not judged")
        return
    for who, (weights, folder) in judged.items():
        ledger.make(scoring_on(context, who, weights, folder, given.held_out, given.judge))


def _report(context: Context, ledger: Ledger) -> None:
    ledger.make(reporting(context, ledger))


def times(ledger: Ledger) -> str:
    """What each job took in all, and their sum."""
    width = max(map(len, ledger.seconds), default=0)
    lines = [f"{name.ljust(width)} {seconds:8.1f} s" for name, seconds in ledger.seconds.items()]
    return "\n".join([*lines, f"{'all'.ljust(width)} {sum(ledger.seconds.values()):8.1f} s"])
