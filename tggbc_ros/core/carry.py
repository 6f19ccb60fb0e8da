"""Which keys the first decoder layer starts with: those that mattered in the frame before, and a share of the others.

Pure functions on `Carried`. The vehicle's motion between two frames is ignored: a key stands for an image cell, and
what mattered moves by few cells from frame to frame.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from tggbc_ros.core import pruning
from tggbc_ros.core.config import CarryConfig, PruningConfig
from tggbc_ros.core.types import NetworkOutput, Tokens


@dataclass(frozen=True, eq=False)
class Carried:
    """importance [B, T]: of every image cell, when it was last looked at, aged. frame: how many frames it has seen."""

    importance: torch.Tensor
    frame: int


def start_tokens(tokens: Tokens, carried: Carried | None, pruning_config: PruningConfig) -> Tokens:
    """The keys to start with; all of them in a first frame.

    Every ``carry.refresh``-th cell is among them, another set of cells each frame, so that each cell's turn
    comes and new objects enter; the rest are those of the highest importance. ``tokens`` may lack cells; shares
    are of all of them.
    """
    config = pruning_config.carry
    if carried is None or not config.active:
        return tokens
    cells = tokens.num_cells
    turn = torch.arange(cells, device=tokens.index.device) % config.refresh
    wanted = carried.importance.masked_fill(turn == carried.frame % config.refresh, torch.inf)
    count = max(pruning.keys_to_keep(cells, config.ratio), -(-cells // config.refresh))
    there = tokens.index.shape[1]
    if there < cells:
        wanted, count = wanted.gather(1, tokens.index), min(count, there)
    return pruning.select(tokens, pruning.most_important(wanted, count))


def after_frame(
    carried: Carried | None, output: NetworkOutput, num_cells: int, config: CarryConfig, chosen: bool = False
) -> Carried | None:
    """What the next frame gets: importance as the first trimming layer found it; None where none trimmed.

    Cells that it did not look at keep ``config.decay`` of theirs. What all cells hold together stays the same from
    frame to frame, or ageing would use up the range of numbers within an hour. chosen: keys are chosen before they are
    embedded (core/start.py), which needs this too.
    """
    if not (config.active or chosen) or not output.trims:
        return None
    trim = output.trims[min(output.trims)]
    if carried is None:
        nothing = trim.importance.new_zeros(trim.importance.shape[0], num_cells)
        if chosen:  # nothing is known of those that were left out: they pass for the least of the others
            nothing += trim.importance.amin(dim=1, keepdim=True)
        return Carried(nothing.scatter(1, trim.seen, trim.importance), frame=1)
    age = torch.full_like(carried.importance, config.decay).scatter(1, trim.seen, 1.0)
    aged = age * pruning.revise(carried.importance, trim.seen, trim.importance)
    return Carried(pruning.shares(aged) * carried.importance.sum(dim=1, keepdim=True), carried.frame + 1)
