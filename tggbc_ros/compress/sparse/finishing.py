"""The stages that make a sparse network good and judge it: tune, its control, evaluate."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

from tggbc_ros.compress.progress_bar import bar, each
from tggbc_ros.compress.slim.finding import place
from tggbc_ros.compress.slim.finishing import ACCURACY, SCORES
from tggbc_ros.compress.slim.judging import Held
from tggbc_ros.compress.slim.ledger import Job, write_json
from tggbc_ros.compress.sparse.context import Context
from tggbc_ros.compress.sparse.writing import write
from tggbc_ros.compress.splits import Where
from tggbc_ros.compress.tuning import TUNING_FILE, Tuning, tune
from tggbc_ros.core.checkpoint import build_network
from tggbc_ros.core.network_file import history_of


def tuning(context: Context) -> Job:
    """The sparse network: tuned with its zeros kept, or as it was pruned."""
    given, places = context.settings, context.places
    name = f"{given.name}/tune"
    if given.tuned:
        recipe = replace(_recipe(context), keep_zeros=True)
        return _tuning(context, name, places.pruned, places.tuning, places.sparse, recipe)

    def work() -> str:
        shutil.copyfile(places.pruned, places.sparse)
        return "not tuned"

    return Job(name, {"tuning": 0}, {"network": places.pruned}, (places.sparse,), work)


def control(context: Context) -> Job:
    """The dense network, tuned by the same joint steps on the same frames; its features are its own already."""
    places, begin = context.places, context.settings.checkpoint
    folder = places.control_folder
    return _tuning(context, folder.name, begin, folder / "tuning", places.control, replace(_recipe(context), steps=0))


def _tuning(context: Context, name: str, begin: Path, folder: Path, out: Path, recipe: Tuning) -> Job:
    given = context.settings

    def work() -> str:
        dense, shared = given.checkpoint, context.places.features
        weights = tune(context.model, dense, begin, context.frames, recipe, folder, context.device, shared)
        write(build_network(context.model, weights)[0], out, history_of(weights), dense)
        return f"{recipe.steps} steps of the encoder alone, {recipe.joint} of everything"

    def scrap() -> None:
        if (folder / TUNING_FILE).is_file():
            shutil.rmtree(folder)

    reads = {"dense network": given.checkpoint, "network": begin}
    return Job(name, {**place(given.train), **recipe.data()}, reads, (out,), work, scrap)


def _recipe(context: Context) -> Tuning:
    given = context.settings
    return Tuning(
        given.tuning, given.tune_batch, given.seed, given.rate, joint=given.joint, joint_rate=given.joint_rate
    )


def scoring_on(context: Context, who: str, weights: Path, folder: Path, held: Where) -> Job:
    """Official scores of a network on held-out frames."""
    given, path = context.settings, folder / "accuracy.json"

    def work() -> str:
        out = Held.out(held.root, held.version, held.split)
        with bar(f"{who} on {held.split}", "frame", len(out)) as shown:
            row = out.score(context.model, weights, given.device, folder, each(shown), given.judge)
        found = {name: row[name] for name in SCORES}
        found |= {name: value for name, value in row.items() if name.startswith(("AP_", "objects_"))}
        write_json(path, {"format": ACCURACY, "backend": given.judge, **place(held), **found})
        return f"mAP {row['mAP']:.4f}, NDS {row['NDS']:.4f} on {row['samples']} frames"

    depends = {**place(held), "backend": given.judge}
    return Job(f"{who}/accuracy", depends, {"network": weights}, (path,), work)
