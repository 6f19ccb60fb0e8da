"""Which image cells get a key at all, chosen before anything of them is embedded: by the key gate, or by carry alone.

Of the keys that a frame starts with, a part goes round among all cells, another set each frame; the others are those
that are thought to matter most.
"""

from __future__ import annotations

import math

import torch

from tggbc_ros.core import pruning
from tggbc_ros.core.carry import Carried
from tggbc_ros.core.config import StartConfig
from tggbc_ros.core.key_gate import KeyGate, hints_of
from tggbc_ros.core.position import cell_features
from tggbc_ros.core.types import AlignedMemory, NetworkInput
from tggbc_ros.core.visible import Mask

GOLDEN = (math.sqrt(5.0) - 1.0) / 2.0


@torch.inference_mode()
def chosen_cells(
    gate: KeyGate | None,
    features: torch.Tensor,
    inputs: NetworkInput,
    memory: AlignedMemory | None,
    carried: Carried | None,
    config: StartConfig,
    frame: int,
    cells: Mask | None = None,
) -> torch.Tensor | None:
    """Cells [K] to start with, ascending; None for all: where nothing says which.

    features [1, N, C, rows, columns]. memory: what the frame reads, None without a past. frame: how many came before.
    cells: [N, rows, columns], those that may be looked at; others are never chosen. Raises FloatingPointError where the
    features hold NaN, and ValueError for a gate of another rig.
    """
    if gate is not None:
        gate.expect(features.shape[1])
        score = gate(cell_features(features), hints_of(gate.model, inputs, memory, carried))
    elif carried is not None:
        score = carried.importance
    else:
        return None
    return best_and_next(score[0], config, frame, cells)


def best_and_next(score: torch.Tensor, config: StartConfig, frame: int, cells: Mask | None = None) -> torch.Tensor:
    """The cells of the highest score [T], and those whose turn it is; arguments as in `chosen_cells`."""
    total = len(score)
    count = pruning.keys_to_keep(total, config.ratio)
    first, step = turn(total, count, config.explore, frame)
    wanted = score.clone()
    wanted[first::step] = torch.inf
    if cells is not None and not cells.all():
        seen = torch.from_numpy(cells).flatten().to(score.device)
        if len(seen) != total:
            raise ValueError(f"cells have shape {cells.shape}, expected as many as the network has: {total}")
        wanted.masked_fill_(~seen, -torch.inf)
        count = min(count, int(cells.sum()))
    return pruning.most_important(wanted[None], count)[0]


def turn(total: int, count: int, explore: float, frame: int) -> tuple[int, int]:
    """Whose turn it is in a frame: the first cell of ``total``, and how far it is to the next, and so on.

    Every cell has its turn once in as many frames as the distance is. Frames that follow each other are far apart in
    this order, so that of any few neighbours one has its turn soon.
    """
    period = -(-total // max(1, int(explore * count)))
    stride = max(1, round(GOLDEN * period))
    while math.gcd(stride, period) > 1:
        stride += 1
    return frame * stride % period, period
