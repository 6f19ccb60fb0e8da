"""Train StreamPETR on nuScenes-schema data, stage by stage.

Stages: `dense` (backbone, neck and the decoder's values on what every image cell shows), `head` (the whole head on
cached features of a resting backbone), `joint` (everything), and for a network that was cut `encoder` (backbone and
neck, to the features of the network --distil-from). Each begins from the folder of the one before (--begin-from). On
a CPU, two single-threaded processes: torchrun --nproc-per-node 2 -m tggbc_ros.tools.train …

Before `gates` may come any of them: it gives a vision transformer gates (docs/vit.md), and is `encoder` otherwise, to
the features of its teacher. A network with gates learns them in every stage that has its backbone learn.

`encoder` also teaches a backbone of another kind from nothing: --distil-model names the teacher's model, whose head it
then begins with.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from torch import nn
from tqdm import tqdm

from tggbc_ros.backends import as_shipped
from tggbc_ros.backends.torch_backend import find_device
from tggbc_ros.core.backbones.vit import ViT
from tggbc_ros.core.config import MODELS, ModelConfig, PruningConfig, model_config
from tggbc_ros.core.network_file import History
from tggbc_ros.training import initial, parallel
from tggbc_ros.training.denoise import DenoiseConfig
from tggbc_ros.training.distil import Teacher
from tggbc_ros.training.features import FEATURES_FILE, cache_features
from tggbc_ros.training.frames import FrameTable
from tggbc_ros.training.gating import GatingConfig, add_gates
from tggbc_ros.training.log import CsvLog
from tggbc_ros.training.loop import Loop, LoopConfig
from tggbc_ros.training.prepare import prepare
from tggbc_ros.training.schedule import KeepRamp
from tggbc_ros.training.score import Score, evaluate
from tggbc_ros.training.tasks import DenseTask, EncoderTask, Net, StreamTask, TaskConfig
from tggbc_ros.training.teachers import expect_same_world, take_head, teacher_from
from tggbc_ros.training.weights import WEIGHTS_FILE, begin_from, export, gate_at, network_at, note_gate, note_network

SCORES_FILE = "scores.csv"


@dataclass(frozen=True)
class Stage:
    """Defaults of a stage: learning rate, warm-up steps, and whether it has a backbone that learns."""

    rate: float
    warmup: int
    learns_backbone: bool


STAGES = {
    "dense": Stage(rate=2e-3, warmup=50, learns_backbone=True),
    "head": Stage(rate=8e-4, warmup=100, learns_backbone=False),
    "joint": Stage(rate=4e-4, warmup=100, learns_backbone=True),
    "encoder": Stage(rate=4e-3, warmup=100, learns_backbone=True),
    "gates": Stage(rate=1e-3, warmup=50, learns_backbone=True),
}
PARTS = ("gates", "backbone", "neck", "head")
"""What may be told to rest."""

DISTILLED = ("encoder", "gates", "joint")
"""Stages that may have a teacher."""
LIKE_TEACHER = ("encoder", "gates")
"""Those that learn from it alone."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; exit status 0, or 2 with one line that says what is wrong."""
    options = _parser().parse_args(arguments)
    try:
        train(options)
    except (ValueError, FileNotFoundError, ImportError, FloatingPointError) as error:
        print(f"train: {error}", file=sys.stderr)
        return 2
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tggbc_ros.tools.train", description=__doc__)
    add = parser.add_argument
    add("--data", type=Path, required=True, help="root of a nuScenes-schema data set")
    add("--version", metavar="NAME", help="which version, if there are several")
    add("--split", default="train")
    add("--val-split", help="scored at the end (and every --score-steps), by a quick centre-distance AP")
    add("--score-steps", type=int, default=0, help="score the averaged weights every so many steps, into scores.csv")
    add("--work", type=Path, required=True, help="folder of checkpoints, logs and prepared data")
    add("--model", default="demo", choices=MODELS)
    add("--stage", required=True, choices=STAGES)
    add("--begin-from", type=Path, help="a stage's folder, or a checkpoint of the detector")
    distil_help = "checkpoint of the network that this one was cut from, for `encoder` and `joint`: to become like it"
    add("--distil-from", type=Path, metavar="FILE", help=distil_help)
    add("--distil-model", metavar="NAME", choices=MODELS, help="model of that file [--model]")
    add("--resume", action="store_true", help="continue this stage's run in --work; --begin-from is then not needed")
    add("--steps", type=int, required=True)
    add("--stop-at", type=int, help="stop at this step; --resume continues to --steps")
    add("--batch", type=int, default=16)
    add("--rate", type=float, help="peak learning rate [by stage]")
    add("--backbone-rate", type=float, default=1.0, help="the backbone's share of it")
    add("--ema", type=float, default=0.99, help="decay of the averaged weights, which are what is kept; 0 for none")
    add("--dn-groups", type=int, default=3, help="noisy copies of every object")
    add("--dn-noise", type=float, default=2.0, help="metres")
    add("--guidance", type=float, default=0.2, help="weight of the attention guidance at the start")
    add("--prune-final-keep", type=float, default=1.0, help="train with tgGBC down to this keep ratio")
    add("--prune-begin", type=float, default=0.3, help="share of the run before keys are trimmed")
    add("--prune-end", type=float, default=0.7, help="share of the run from which the final ratio holds")
    add("--prune-layers", type=int, default=1)
    add("--prune-queries", type=int, default=175)
    targets_help = "share of tokens that each gate is to keep, first to last [SViT's: 0.7 to the power of the quarter]"
    add("--gate-targets", type=float, nargs="+", default=(), metavar="SHARE", help=targets_help)
    add("--gate-weight", type=float, default=4.0, help="weight of the loss for missing them")
    add("--gate-tau", type=float, default=1.0, help="temperature of the gates' decisions")
    add("--gate-per-image", action="store_true", help="every image is to keep as many, not all on average")
    add("--freeze", nargs="+", default=(), choices=PARTS, help="parts that rest though the stage trains them")
    add("--bf16", action=argparse.BooleanOptionalAction, default=True, help="autocast convolutions")
    add("--seed", type=int, default=0)
    add("--threads", type=int, help="CPU threads [torch's choice]")
    add("--device", default="auto")
    return parser


def train(options: argparse.Namespace) -> None:
    """One stage: prepare data, train, write the averaged weights, score them if asked."""
    _expect_teacher(options)
    if options.threads:
        torch.set_num_threads(options.threads)
    crew = parallel.join()
    device, stage, folder = find_device(options.device), STAGES[options.stage], options.work / options.stage
    model, history = _look_up(options)
    validation = None
    if crew.leads:
        _table(options, options.split, model)  # the others read what it prepares
        validation = _validation(options, model)
    crew.wait()
    table = _table(options, options.split, model)
    folder.mkdir(parents=True, exist_ok=True)
    if crew.leads:
        note_network(model, history, folder)
        if not options.resume:
            note_gate(gate_at(options.begin_from) if options.begin_from else {}, folder)
    teacher = _teacher(options, table, model, device, crew)
    net = _network(options, table, model)
    if teacher is not None and options.stage == "encoder" and _source(options) is None:
        take_head(net.detector, teacher.detector)
    if options.stage == "gates":
        add_gates(net.detector.backbone)
    net = net.to(device, memory_format=torch.channels_last)
    task = _task(options, net, table, device, crew, teacher)
    loop = Loop(task, _loop_config(options, stage), folder, _trained(net, options), crew)
    if options.resume:
        loop.resume()
    scorer = None
    if validation is not None and options.score_steps:
        scorer = _scorer(loop, options, validation, device)
    loop.run(options.stop_at, scorer)
    if crew.leads:
        _export(loop, folder, history)
    if validation is not None:
        _say_scores(loop.average.module, options, validation, device)
    parallel.leave(crew)


def _export(loop: Loop, folder: Path, history: History) -> None:
    gate = gate_at(folder)
    export(loop.average.module.detector, folder / WEIGHTS_FILE, history, gate)
    if gate:
        print(f"{folder / WEIGHTS_FILE} has the key gate of before the training: fit one anew, tools.compress keygate")


def _task(
    options: argparse.Namespace,
    net: Net,
    table: FrameTable,
    device: torch.device,
    crew: parallel.Crew,
    teacher: Teacher | None,
) -> DenseTask | EncoderTask | StreamTask:
    config, features = _task_config(options), None
    if options.stage == "head":
        path = options.work / options.stage / FEATURES_FILE
        features = cache_features(net.eval(), table, device, options.bf16, path, crew)
    net.train()
    if options.stage == "dense":
        return DenseTask(net, table, config, device)
    if options.stage in LIKE_TEACHER:
        assert teacher is not None  # _expect_teacher raises else
        return EncoderTask(net, table, config, device, teacher)
    return StreamTask(net, table, config, device, features, teacher)


def _expect_teacher(options: argparse.Namespace) -> None:
    """Raise ValueError where a stage lacks a teacher, or has no use for the one it is given."""
    given, stage = options.distil_from, options.stage
    if stage in LIKE_TEACHER and given is None:
        raise ValueError(f"stage {stage} has nothing to learn from, expected --distil-from FILE")
    if given is not None and stage not in DISTILLED:
        stages = ", ".join(DISTILLED)
        raise ValueError(f"distil_from is {given}, but stage {stage} has no teacher, expected one of {stages}")


def _teacher(
    options: argparse.Namespace, table: FrameTable, model: ModelConfig, device: torch.device, crew: parallel.Crew
) -> Teacher | None:
    """What --distil-from names. Its features of all frames are computed once, where the run sees them all."""
    if options.distil_from is None:
        return None
    teacher = model_config(options.distil_model or options.model)
    expect_same_world(model, teacher)
    seen = options.steps * options.batch
    make = partial(teacher_from, teacher, options.distil_from, table, seen, options.work, device, options.bf16)
    if crew.leads:
        found = make()
    crew.wait()
    return found if crew.leads else make()  # the others read what it has computed


def _say_scores(net: Net, options: argparse.Namespace, table: FrameTable, device: torch.device) -> None:
    for keep_ratio in sorted({1.0, options.prune_final_keep}, reverse=True):
        score = _score(net, options, table, device, keep_ratio)
        classes = " ".join(f"{name} {value:.3f}" for name, value in score.by_class.items())
        print(f"keep {keep_ratio:g}: AP {score.mean_ap:.4f}, velocity {score.velocity_error_mps:.2f} m/s; {classes}")


def _validation(options: argparse.Namespace, model: ModelConfig) -> FrameTable | None:
    """What the run is scored on; None where it is not: without --val-split, and in `dense`, which makes no boxes."""
    if not options.val_split or options.stage == "dense":
        return None
    return _table(options, options.val_split, model)


def _table(options: argparse.Namespace, split: str, model: ModelConfig) -> FrameTable:
    height, width = model.image_size
    folder = options.work / f"prepared_{split}_{width}x{height}"
    with tqdm(desc=f"preparing {split}", unit="frame", disable=folder.exists()) as bar:
        return prepare(options.data, split, model, folder, _advance(bar), options.version)


def _advance(bar: tqdm) -> Callable[[int, int], None]:
    def advance(done: int, total: int) -> None:
        bar.total = total
        bar.update(done - bar.n)

    return advance


def _network(options: argparse.Namespace, table: FrameTable, model: ModelConfig) -> Net:
    torch.manual_seed(options.seed)
    net = Net(model)
    initial.start(net.detector, table, options.seed)
    # A resumed run too, although `Loop.resume` follows: before that, `head` caches the features of this backbone,
    # which rests there, so that it is the same in the average, which `begin_from` reads, and in the network.
    source = _source(options)
    if source is not None:
        begin_from(net, source)
    return net


def _source(options: argparse.Namespace) -> Path | None:
    """The folder or file that the network comes from, if it does not begin at random."""
    folder: Path = options.work / options.stage
    return folder if options.resume else options.begin_from


def _look_up(options: argparse.Namespace) -> tuple[ModelConfig, History]:
    """What the network looks like, and what was done to it, this stage included if something was."""
    model, source = model_config(options.model), _source(options)
    if source is None:
        return as_shipped(model), ()
    model, history = network_at(model, source)
    if history and not options.resume:
        step = {"step": "tune", "stage": options.stage, "steps": options.steps, "data": options.split}
        history = (*history, step)
    return model, history


def _trained(net: Net, options: argparse.Namespace) -> dict[str, nn.Module]:
    """The parts of the network that a stage trains, without those that are to rest.

    Gates come before the backbone that they are in: a part that comes first has its weights for itself.
    """
    detector, stage = net.detector, options.stage
    gates = {"gates": detector.backbone.gates} if isinstance(detector.backbone, ViT) else {}
    images = {**gates, "backbone": detector.backbone, "neck": detector.neck}
    parts: dict[str, nn.Module] = {"head": detector.head, **({} if stage == "head" else images)}
    if stage in LIKE_TEACHER:
        parts = images
    for name in set(options.freeze) & parts.keys():
        parts[name].requires_grad_(False)
    if "backbone" in options.freeze and "gates" not in options.freeze and "gates" in parts:
        parts["gates"].requires_grad_(True)
    trained = {name: part for name, part in parts.items() if name not in options.freeze}
    if not any(weight.requires_grad for part in trained.values() for weight in part.parameters()):
        raise ValueError(f"freeze is {' '.join(options.freeze)}, and leaves nothing of stage {stage} to learn")
    return trained if stage in LIKE_TEACHER else {"dense": net.dense, **trained}


def _task_config(options: argparse.Namespace) -> TaskConfig:
    return TaskConfig(
        batch=options.batch,
        bf16=options.bf16,
        guidance=options.guidance,
        seed=options.seed,
        prune_layers=options.prune_layers,
        prune_queries=options.prune_queries,
        denoise=DenoiseConfig(groups=options.dn_groups, noise_m=options.dn_noise),
        ramp=KeepRamp(options.prune_final_keep, options.prune_begin, options.prune_end),
        gating=GatingConfig(tuple(options.gate_targets), options.gate_weight, options.gate_tau, options.gate_per_image),
    )


def _loop_config(options: argparse.Namespace, stage: Stage) -> LoopConfig:
    return LoopConfig(
        steps=options.steps,
        rate=options.rate or stage.rate,
        backbone_rate=options.backbone_rate,
        warmup=min(stage.warmup, max(1, options.steps // 5)),
        ema=options.ema,
    )


def _score(net: Net, options: argparse.Namespace, table: FrameTable, device: torch.device, keep_ratio: float) -> Score:
    pruning = PruningConfig(keep_ratio, options.prune_layers, options.prune_queries)
    return evaluate(net, table, device, pruning, bf16=options.bf16)


def _scorer(loop: Loop, options: argparse.Namespace, table: FrameTable, device: torch.device) -> Callable[[int], None]:
    """What scores the run every --score-steps, without pruning."""
    log = CsvLog(loop.folder / SCORES_FILE, loop.step + 1)

    def score(step: int) -> None:
        if step % options.score_steps == 0:
            result = _score(loop.average.module, options, table, device, keep_ratio=1.0)
            summary = {"step": step, "ap": result.mean_ap, "velocity_error_mps": result.velocity_error_mps}
            log.write({**summary, **result.by_class})

    return score


if __name__ == "__main__":
    sys.exit(main())
