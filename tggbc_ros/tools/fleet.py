"""A thousand bags, or all scenes of a split, on the cores of a machine or a Ray cluster; goes on where it stopped."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from tqdm import tqdm

from tggbc_ros import backends
from tggbc_ros.compress.splits import Where
from tggbc_ros.compress.values import read_object, replace_text
from tggbc_ros.core.checkpoint import sha256
from tggbc_ros.core.config import MODELS, model_config
from tggbc_ros.data.nuscenes.dataset import NuScenes
from tggbc_ros.evaluation.judge import judge
from tggbc_ros.evaluation.pass_file import from_data, joined
from tggbc_ros.evaluation.passes import load_split
from tggbc_ros.evaluation.results import table
from tggbc_ros.evaluation.score import Evaluator
from tggbc_ros.fleet.job import Engine, names_of, print_of
from tggbc_ros.fleet.pool import Outcome, cluster, outcomes
from tggbc_ros.fleet.store import held, is_done, join_tables, keep
from tggbc_ros.fleet.workers import BagWorker, SceneWorker
from tggbc_ros.ros.param_file import from_file
from tggbc_ros.ros.params import Settings

SCENES = "scenes"


def detect(given: argparse.Namespace) -> int:
    """Boxes and reports of every bag, and one table of all; how many bags failed."""
    settings, engine = from_file(given.params) if given.params else Settings(), _engine(given)
    names, failed = names_of(given.bags), {}
    said = {"job": "detect", **engine.said(), "params": sha256(given.params) if given.params else None}
    with held(given.out, said):
        prints: dict[str, dict[str, Any]] = {}
        for name, bag in zip(names, given.bags, strict=True):
            try:
                prints[name] = print_of(bag)
            except OSError as error:
                failed[name] = f"cannot be read: {error}"
        open_ones = [(name, bag.resolve()) for name, bag in zip(names, given.bags, strict=True) if name in prints]
        open_ones = [(name, bag) for name, bag in open_ones if not is_done(given.out / name, prints[name])]
        _say_done(len(names) - len(failed) - len(open_ones), len(names), "bags")
        for outcome in _run(given, BagWorker, (engine, settings), open_ones, "bag"):
            if outcome.error:
                failed[outcome.name] = outcome.error
            else:
                keep(given.out / outcome.name, prints[outcome.name], outcome.result)
        good = [name for name in names if name not in failed]
        count = join_tables(given.out, [given.out / name for name in good])
        _say_failed(given.out, failed)
        print(f"{len(good)} of {len(names)} bags, {count} boxes; written to {given.out}")
    return len(failed)


def evaluate(given: argparse.Namespace) -> int:
    """Official scores of a split, as `tools.evaluate` writes them; how many scenes failed."""
    engine = _engine(given)
    where = Where(given.data.resolve(), given.version, given.split)
    dataset = NuScenes(given.data, given.version)
    split = load_split(dataset, given.split, sweeps=given.sweeps)
    evaluator = Evaluator(dataset.root, dataset.tables.name, given.split)
    said = {"job": "evaluate", **engine.said(), "data": str(where.root), "split": where.split, "sweeps": given.sweeps}
    failed: dict[str, str] = {}
    with held(given.out, said):
        files = {scene: given.out / SCENES / f"{scene}.json" for scene in split.scenes}
        tasks = [(scene, scene) for scene, file in files.items() if not file.is_file()]
        _say_done(len(files) - len(tasks), len(files), "scenes")
        for outcome in _run(given, SceneWorker, (engine, where, given.sweeps), tasks, "scene"):
            if outcome.error:
                failed[outcome.name] = outcome.error
            else:
                replace_text(files[outcome.name], json.dumps({"passes": outcome.result}))
        _say_failed(given.out, failed)
        if failed:
            print(f"{len(failed)} of {len(files)} scenes are missing: nothing is scored")
            return len(failed)
        found = [[from_data(each) for each in read_object(file)["passes"]] for file in files.values()]
        passes = [joined(parts) for parts in zip(*found, strict=True)]
        rows = judge(passes, split, evaluator, dataset.tables.name, given.out)
    print(table(rows))
    print(f"written to {given.out}")
    return 0


def _run(
    given: argparse.Namespace, kind: type[Any], made_of: tuple[Any, ...], tasks: Sequence[tuple[str, Any]], unit: str
) -> Iterable[Outcome]:
    if not tasks:
        return
    with cluster(given.address, given.workers, given.threads) as ray:
        done = outcomes(ray, kind, made_of, tasks, given.workers, given.threads)
        yield from tqdm(done, total=len(tasks), unit=unit, desc=given.model, disable=None)


def _engine(given: argparse.Namespace) -> Engine:
    checkpoint = given.checkpoint.resolve() if given.checkpoint else None
    weights = sha256(backends.weights_file(model_config(given.model), checkpoint))
    ratios = tuple(given.keep_ratio)
    return Engine(given.model, checkpoint, weights, given.backend, given.device, given.threads, ratios)


def _say_done(done: int, total: int, what: str) -> None:
    if done:
        print(f"{done} of {total} {what} were done before", flush=True)


def _say_failed(out: Path, failed: dict[str, str]) -> None:
    """A line for each on standard error, and all in a file, which is of the last call."""
    replace_text(out / "failed.json", json.dumps(failed, indent=1) + "\n")
    for name, error in failed.items():
        print(f"fleet: {name}: {error}", file=sys.stderr)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("python -m tggbc_ros.tools.fleet", description=__doc__)
    jobs = parser.add_subparsers(dest="job", required=True)
    bags = jobs.add_parser("detect", help="boxes of bags: a bag and a table of results for each, one table of all")
    bags.add_argument("--bags", type=Path, nargs="+", required=True, metavar="BAG")
    bags.add_argument("--params", type=Path, metavar="FILE", help="the node's parameter file, for topics and frames")
    bags.set_defaults(run=detect)
    scenes = jobs.add_parser("evaluate", help="official scores of a split, as tools.evaluate has them")
    scenes.add_argument("--data", type=Path, required=True, metavar="DIR", help="data set in nuScenes' v1.0 schema")
    scenes.add_argument("--version", metavar="NAME", help="which version, if there are several")
    scenes.add_argument("--split", required=True, metavar="NAME")
    scenes.add_argument("--sweeps", action="store_true", help="run over every set of images (12 Hz)")
    scenes.set_defaults(run=evaluate)
    cores = os.cpu_count() or 1
    for each in (bags, scenes):
        add = each.add_argument
        add("--model", choices=list(MODELS), required=True)
        add("--checkpoint", type=Path, metavar="FILE", help="weights, at this path on every worker")
        add("--backend", choices=list(backends.BACKENDS), default="torch")
        add("--device", default="auto", help="cpu, cuda, cuda:1 or auto (default)")
        add("--keep-ratio", type=float, nargs="+", default=[1.0], metavar="R", help="shares of the keys to keep")
        add("--workers", type=int, default=cores, metavar="W", help="networks side by side (default %(default)s)")
        add("--threads", type=int, default=1, metavar="N", help="of each worker, on a CPU (default %(default)s)")
        add("--address", metavar="HOST:PORT", help="of a Ray cluster; without, this machine alone")
        add("--out", type=Path, required=True, metavar="DIR", help="for the results; the next call goes on there")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit status 1 where something failed, with a line on standard error for each bag or scene, or for all."""
    given = _parser().parse_args(arguments)
    try:
        if given.workers < 1:
            raise ValueError(f"workers is {given.workers}, expected at least 1")
        return 1 if given.run(given) else 0
    except (OSError, ValueError, ImportError, RuntimeError) as error:
        print(f"fleet: {' '.join(str(error).split())}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("fleet: stopped; the same call goes on", file=sys.stderr)
        return 130


if __name__ == "__main__":
    raise SystemExit(main())
