"""The stages that make a small network good and judge it: tune, its control, evaluate."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from tggbc_ros.compress.progress_bar import bar, each
from tggbc_ros.compress.slim.context import Context
from tggbc_ros.compress.slim.encoders import encoder, export_int8, needs_int8
from tggbc_ros.compress.slim.finding import place
from tggbc_ros.compress.slim.judging import Held, interleaved_ms, summary
from tggbc_ros.compress.slim.ledger import Job, write_json
from tggbc_ros.compress.slim.networks import FRAMES_AT_ONCE, norm_frames, with_new_norms, write
from tggbc_ros.compress.splits import Where
from tggbc_ros.compress.tuning import TUNING_FILE, Tuning, tune
from tggbc_ros.core.checkpoint import build_network
from tggbc_ros.core.network_file import history_of
from tggbc_ros.export.manifest import FILE_NAME

EXPORT = "int8"
ACCURACY = "tggbc_ros accuracy 1"
TIMES = "tggbc_ros encoder times 1"
SCORES = ("mAP", "NDS", "mATE", "mASE", "mAOE", "mAVE", "mAAE", "samples", "weights")


def tuning(context: Context) -> Job:
    """The slim network: tuned, or with norms that know what they see."""
    given, places = context.settings, context.places
    name, reads = f"{given.name}/tune", {"network": places.cut}
    if given.tuned:
        return _tuning(context, name, places.cut, places.tuning, places.slim, _recipe(context))

    def work() -> str:
        rows = norm_frames(context.frames, given.norm_frames, given.seed)
        with bar("norms", "batch", -(-len(rows) // FRAMES_AT_ONCE)) as shown:
            with_new_norms(context.model, places.cut, context.frames, rows, places.slim, each(shown))
        return f"not tuned; norms estimated anew on {len(rows)} frames"

    depends = {"tuning": 0, **place(given.train), "norm_frames": given.norm_frames, "seed": given.seed}
    return Job(name, depends, reads, (places.slim,), work)


def control(context: Context) -> Job:
    """The dense network, tuned by the same joint steps on the same frames."""
    places, begin = context.places, context.settings.checkpoint
    recipe = replace(_recipe(context), steps=0)  # its features are its own already
    folder = places.control_folder
    return _tuning(context, folder.name, begin, folder / "tuning", places.control, recipe)


def _tuning(context: Context, name: str, begin: Path, folder: Path, out: Path, recipe: Tuning) -> Job:
    given = context.settings
    depends = {**place(given.train), **recipe.data()}

    def work() -> str:
        dense = given.checkpoint
        shared = context.places.features
        weights = tune(context.model, dense, begin, context.frames, recipe, folder, context.device, shared)
        write(build_network(context.model, weights)[0], out, history_of(weights), dense)
        return f"{recipe.steps} steps of the encoder alone, {recipe.joint} of everything"

    def scrap() -> None:
        if (folder / TUNING_FILE).is_file():
            shutil.rmtree(folder)

    reads = {"dense network": given.checkpoint, "network": begin}
    return Job(name, depends, reads, (out,), work, scrap)


def _recipe(context: Context) -> Tuning:
    given = context.settings
    return Tuning(
        given.tuning, given.tune_batch, given.seed, given.rate, joint=given.joint, joint_rate=given.joint_rate
    )


def scoring_on(context: Context, who: str, weights: Path, folder: Path, held: Where, backend: str) -> Job:
    """Official scores of a network on held-out frames; of its export where the backend runs no other."""
    path = folder / "accuracy.json"
    export = folder / EXPORT if needs_int8(backend) else None

    def work() -> str:
        out = Held.out(held.root, held.version, held.split)
        with bar(f"{who} on {held.split}", "frame", len(out)) as shown:
            row = out.score(context.model, export or weights, context.settings.device, folder, each(shown), backend)
        found = {name: row[name] for name in SCORES}
        found |= {name: value for name, value in row.items() if name.startswith(("AP_", "objects_"))}
        write_json(path, {"format": ACCURACY, "backend": backend, **place(held), **found})
        return f"mAP {row['mAP']:.4f}, NDS {row['NDS']:.4f} on {row['samples']} frames"

    depends = {**place(held), "backend": backend}
    return Job(f"{who}/accuracy", depends, {"network": export / FILE_NAME if export else weights}, (path,), work)


def exporting(context: Context, name: str, weights: Path, folder: Path) -> Job:
    """An export with an encoder in int8, which an engine of int8 runs; folder: what it lies in."""
    out = folder / EXPORT

    def work() -> str:
        export_int8(context, weights, out)
        return f"encoder in int8, {out}"

    def scrap() -> None:
        if (out / FILE_NAME).is_file():
            shutil.rmtree(out)

    depends = {**place(context.settings.train), "seed": context.settings.seed}
    return Job(f"{name}/{EXPORT}", depends, {"network": weights}, (out / FILE_NAME,), work, scrap)


def timing(context: Context) -> Job:
    """Encoders of the dense and of the slim network in turns, on the engine."""
    given, places = context.settings, context.places
    path = places.run / "times.json"
    files = {"dense": given.checkpoint, "slim": places.slim}
    run = files
    if needs_int8(given.engine):
        run = {"dense": places.dense_folder / EXPORT, "slim": places.run / EXPORT}

    def work() -> str:
        found = summary(_times(context, run))
        dense, slim = found["dense"]["median_ms"], found["slim"]["median_ms"]
        write_json(path, {"format": TIMES, "setting": context.setting.data(), **found, "share": slim / dense})
        return f"{dense:.1f} -> {slim:.1f} ms on {given.engine}: {dense / slim:.2f} times as fast"

    depends: dict[str, Any] = {"setting": context.setting.data(), "repeats": given.repeats}
    return Job(f"{given.name}/time", depends, files, (path,), work)


def _times(context: Context, run: Mapping[str, Path]) -> dict[str, list[float]]:
    given = context.settings
    torch.manual_seed(0)
    images = torch.randn(1, given.cameras, 3, *context.model.image_size)
    encoders = {name: encoder(context, weights, images) for name, weights in run.items()}
    with bar("timing encoders", "turn", given.repeats) as shown:
        return interleaved_ms(encoders, given.repeats, each(shown))
