"""The stages that find a small network: measure, score, solve, cut."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import torch

from tggbc_ros.compress.latency.measure import measured
from tggbc_ros.compress.progress_bar import bar
from tggbc_ros.compress.score import score_split
from tggbc_ros.compress.slim.context import Context
from tggbc_ros.compress.slim.ledger import Job
from tggbc_ros.compress.slim.networks import write_cut
from tggbc_ros.compress.slim.scores_file import MeasuredOn, write_scores
from tggbc_ros.compress.slim.widths import MDP, choose, priced
from tggbc_ros.compress.slim.widths_file import read_chosen, read_cut, write_chosen
from tggbc_ros.compress.splits import Where
from tggbc_ros.core.checkpoint import sha256
from tggbc_ros.training.tasks import Net, TaskConfig
from tggbc_ros.training.weights import begin_from


def measuring(context: Context) -> Job:
    """A table of how long every layer takes."""
    given, path = context.settings, context.places.latency

    def work() -> str:
        table = measured(
            context.model,
            given.engine,
            path,
            given.table_step,
            None,
            given.cameras,
            given.device,
            encoders=given.encoders,
        )
        entries = sum(int(np.isfinite(grid.us).sum()) for grid in table.grids.values())
        return f"{entries} layers on {given.engine}; dense encoder {table.predict(context.shape):.1f} ms predicted"

    def scrap() -> None:
        for old in (path, path.with_name(f"{path.name}.partial")):
            old.unlink(missing_ok=True)

    depends = {"setting": context.setting.data(), "step": given.table_step, "encoders": given.encoders}
    return Job("measure", depends, {}, (path,), work, scrap)


def scoring(context: Context) -> Job:
    """The importance of every channel."""
    given, path = context.settings, context.places.scores
    partial = path.with_name(f"{path.name}.partial")
    depends = {"model": given.model, **place(given.train), "batches": given.batches, "batch": given.batch}
    depends |= {"seed": given.seed}

    def work() -> str:
        frames = context.frames
        torch.manual_seed(given.seed)
        net = Net(context.model)
        begin_from(net, given.checkpoint)
        config = TaskConfig(batch=given.batch, bf16=False, seed=given.seed)
        with bar("scoring", "batch", given.batches) as shown:
            device = context.device
            scores = score_split(net.to(device), frames, config, given.batches, device, shown.update, partial)
        on = MeasuredOn(
            given.model, context.weights, str(given.train.root), given.train.split, len(frames), given.batch, given.seed
        )
        write_scores(path, scores, on)
        passed = f"{scores.without_objects} without an object and {scores.not_finite} with NaN passed over"
        return f"{scores.batches} batches of {given.batch} frames counted, {passed}"

    def scrap() -> None:
        partial.unlink(missing_ok=True)

    return Job("score", depends, {"checkpoint": given.checkpoint}, (path,), work, scrap)


def solving(context: Context) -> Job:
    """Which widths, which blocks."""
    given, places = context.settings, context.places
    depends: dict[str, Any] = {"method": given.chosen_by}
    depends |= {name: getattr(given, name) for name in ("budget", "step", "keep_stem", "foreign_table")}
    if given.method == MDP and not given.widths:
        depends |= {"gap": given.gap, "seconds": given.seconds}

    def work() -> str:
        if given.widths:
            chosen = priced(context.choices(), read_cut(given.widths, context.shape), given.budget)
        else:
            chosen = choose(context.choices(), given.method, given.budget, given.gap, given.seconds)
        about = _about(context) | {"latency_table": sha256(places.latency), "scores": sha256(places.scores)}
        write_chosen(places.widths, chosen, context.shape, about)
        proof = "" if chosen.gap is None else ", proven the best" if chosen.gap == 0 else f", gap {chosen.gap:.1g}"
        return (
            f"{chosen.slim_us / 1e3:.1f} of {chosen.dense_us / 1e3:.1f} ms predicted "
            f"({chosen.slim_us / chosen.dense_us:.3f}), {100 * chosen.kept_importance:.1f} % of the importance kept, "
            f"{len(chosen.cut.gone)} blocks gone{proof}; {chosen.seconds:.1f} s"
        )

    reads = {"checkpoint": given.checkpoint, "latency table": places.latency, "scores": places.scores}
    if given.widths:
        reads["widths"] = given.widths
    return Job(f"{given.name}/solve", depends, reads, (places.widths,), work)


def cutting(context: Context) -> Job:
    """The small network, as it falls out of the large one."""
    given, places = context.settings, context.places

    def work() -> str:
        chosen, said = read_chosen(places.widths, context.shape)
        names = ("method", "budget", "engine", "machine", "latency_table", "scores", "dense_us", "slim_us", "gap")
        step = {"step": "cut", **{name: said.get(name) for name in names}, "cut_from": context.weights}
        small = write_cut(context.model, given.checkpoint, chosen.cut, places.cut, step)
        parameters = sum(value.numel() for value in small.parameters())
        return f"{places.cut.stat().st_size / 2**20:.1f} MiB, {parameters / 1e6:.2f} million parameters"

    reads = {"checkpoint": given.checkpoint, "widths": places.widths}
    return Job(f"{given.name}/cut", {}, reads, (places.cut,), work)


def place(where: Where) -> dict[str, str | None]:
    """A split as plain values."""
    return {"data": str(where.root.resolve()), "version": where.version, "split": where.split}


def _about(context: Context) -> dict[str, Any]:
    given, setting = context.settings, context.table().setting
    said = {name: getattr(given, name) for name in ("model", "step", "keep_stem")} | {"method": given.chosen_by}
    said |= {name: getattr(setting, name) for name in ("engine", "machine", "device", "threads", "cameras")}
    return said | {"weights": context.weights, "shape_before": dataclasses.asdict(context.shape)}
