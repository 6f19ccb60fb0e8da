"""An outside opponent for `compress slim`: widths that Torch-Pruning chooses within the same latency budget.

python -m bench.slim_torch_pruning --model demo --data DIR --split S --engine torch --budget 0.6 --out SLIM
    [--latency-table FILE] [--batches 64]

SLIM is a folder of `compress slim`, whose scores and latency table are there already. Torch-Pruning, an optional
library (./run env/add.sh peers), accumulates gradients of the same loss on the same frames, ranks groups of channels by
Taylor importance over the whole encoder, and takes away the worst, multiples of the same step, in 200 small steps until
the table predicts that the budget is met. It chooses widths alone: it knows no blocks, no latency. What it chose is
written to SLIM/torch_pruning.json; `compress slim --widths SLIM/torch_pruning.json` cuts, tunes and judges it.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn
from tqdm import tqdm

from tggbc_ros import backends
from tggbc_ros.compress import layout
from tggbc_ros.compress.cutting import Cut, cut_shape
from tggbc_ros.compress.score import detection_losses
from tggbc_ros.compress.slim.context import Context
from tggbc_ros.compress.slim.settings import Settings
from tggbc_ros.compress.slim.widths import priced
from tggbc_ros.compress.slim.widths_file import write_chosen
from tggbc_ros.compress.splits import Where
from tggbc_ros.core.config import MODELS, model_config
from tggbc_ros.core.model import StreamPETR
from tggbc_ros.training.tasks import Net, TaskConfig
from tggbc_ros.training.weights import begin_from

NAME = "torch_pruning"
ROUNDS = 200
MOST_PRUNED = 0.9
"""Of a group's channels, so that none is left without."""


class Encoder(nn.Module):
    """Backbone and neck, as one module that Torch-Pruning can follow."""

    def __init__(self, detector: StreamPETR) -> None:
        super().__init__()
        self.backbone, self.neck = detector.backbone, detector.neck

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """[B, 3, H, W] -> [B, C, rows, columns]."""
        features: torch.Tensor = self.neck(self.backbone(images))
        return features


def main(arguments: Sequence[str] | None = None) -> int:
    """Choose, and write the file."""
    given = _parser().parse_args(arguments)
    started = time.perf_counter()
    context = Context(_settings(given))
    net = Net(context.model)
    begin_from(net, context.settings.checkpoint)
    _accumulate(net, context, given.batches)
    cut = chosen_by_torch_pruning(net.detector, context, given.budget)
    chosen = priced(context.choices(), cut, given.budget)
    path = context.settings.out / f"{NAME}.json"
    write_chosen(path, chosen, context.shape, {"method": NAME})
    print(
        f"{path}: {chosen.slim_us / 1e3:.2f} of {chosen.dense_us / 1e3:.2f} ms predicted, "
        f"{100 * chosen.kept_importance:.1f} % of MDP's importance kept, {time.perf_counter() - started:.0f} s"
    )
    return 0


def _accumulate(net: Net, context: Context, batches: int) -> None:
    """Gradients of the detection loss over the batches that MDP's scores are of, added up."""
    given = context.settings
    net.eval().requires_grad_(True)
    config = TaskConfig(batch=given.batch, bf16=False, seed=given.seed)
    for loss in tqdm(detection_losses(net, context.frames, config, batches, context.device), total=batches):
        if loss is not None and torch.isfinite(loss):
            loss.backward()


def chosen_by_torch_pruning(detector: StreamPETR, context: Context, budget: float) -> Cut:
    """The first cut on its way that the table predicts to be within the budget; raises ValueError if none is.

    detector: with gradients.
    """
    import torch_pruning

    table, shape = context.table(), context.shape
    most_ms = budget * table.predict(shape)
    encoder = Encoder(detector)
    pruner = torch_pruning.pruner.MetaPruner(
        encoder,
        torch.zeros(1, 3, *context.model.image_size),
        importance=torch_pruning.importance.GroupTaylorImportance(),
        global_pruning=True,
        pruning_ratio=MOST_PRUNED,
        max_pruning_ratio=MOST_PRUNED,
        iterative_steps=ROUNDS,
        round_to=context.settings.step,
        ignored_layers=[encoder.neck],
    )
    kept = {group: list(range(width)) for group, width in layout.widths(shape).items()}
    norms = {id(encoder.backbone.get_submodule(each.norm)): each.group for each in layout.layers(shape)}
    for _ in range(ROUNDS):
        for group in pruner.step(interactive=True):
            _forget(kept, norms, group)
            group.prune()
        cut = Cut({name: tuple(channels) for name, channels in kept.items()}, frozenset())
        if table.predict(cut_shape(shape, cut)) <= most_ms:
            return cut
    raise ValueError(f"Torch-Pruning leaves more than {budget:g} of the time with {MOST_PRUNED:g} of all channels gone")


def _forget(kept: dict[str, list[int]], norms: Mapping[int, str], group: Any) -> None:
    """Strike out what a group of Torch-Pruning takes away; its indices count what is still there."""
    for group_name in {norms[id(each.target.module)] for each, _ in group if id(each.target.module) in norms}:
        indices = next(rows for each, rows in group if norms.get(id(each.target.module)) == group_name)
        gone = {int(row) for row in indices}
        kept[group_name] = [channel for place, channel in enumerate(kept[group_name]) if place not in gone]


def _settings(given: argparse.Namespace) -> Settings:
    return Settings(
        model=given.model,
        checkpoint=backends.weights_file(model_config(given.model), given.checkpoint),
        train=Where(given.data, None, given.split),
        held_out=None,
        engine=given.engine,
        budget=given.budget,
        out=given.out,
        batches=given.batches,
        table=given.latency_table,
        step=given.channel_step,
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m bench.slim_torch_pruning", description=(__doc__ or "").splitlines()[0]
    )
    add = parser.add_argument
    add("--model", choices=list(MODELS), required=True)
    add("--checkpoint", type=Path, metavar="FILE")
    add("--data", type=Path, required=True, metavar="DIR")
    add("--split", required=True, metavar="NAME")
    add("--engine", choices=list(backends.BACKENDS), default="torch")
    add("--budget", type=float, required=True, metavar="SHARE")
    add("--out", type=Path, required=True, metavar="SLIM", help="folder of `compress slim`")
    add("--latency-table", type=Path, metavar="FILE")
    add("--batches", type=int, default=64, metavar="N")
    add("--channel-step", type=int, default=8, metavar="N")
    return parser


if __name__ == "__main__":
    sys.exit(main())
