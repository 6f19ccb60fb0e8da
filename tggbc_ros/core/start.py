"""Which image cells get a key at all, chosen before anything of them is embedded: by the key gate, or by carry alone.

Of the keys that a frame starts with, a part goes round among all cells, another set each frame; the others are those
that are thought to matter most. And of every region, which is a block of a camera's cells, at least one cell starts in
any ``carry_refresh`` frames in a row, whatever is thought of it and however few keys are asked for.
"""

from __future__ import annotations

import math
from functools import lru_cache

import torch

from tggbc_ros.core import pruning
from tggbc_ros.core.carry import Carried
from tggbc_ros.core.config import PruningConfig
from tggbc_ros.core.key_gate import KeyGate, hints_of
from tggbc_ros.core.position import cell_features
from tggbc_ros.core.types import AlignedMemory, NetworkInput
from tggbc_ros.core.visible import Mask

GOLDEN = (math.sqrt(5.0) - 1.0) / 2.0
REGION = 4
"""Cells a side of a region; those at the right and lower edge of a camera are what is left."""

Shape = tuple[int, int, int]
"""Cameras, rows and columns of the cells."""


def expect_rig(gate: KeyGate | None, config: PruningConfig, cameras: int, whose: str) -> None:
    """Raise ValueError where a gate would choose keys of a rig with another number of cameras than it knows.

    To be asked as soon as the rig is known: `chosen_cells` would raise it only at the first frame.
    """
    if gate is not None and config.start.active:
        gate.expect(cameras, whose)


@torch.inference_mode()
def chosen_cells(
    gate: KeyGate | None,
    features: torch.Tensor,
    inputs: NetworkInput,
    memory: AlignedMemory | None,
    carried: Carried | None,
    config: PruningConfig,
    frame: int,
    cells: Mask | None = None,
) -> torch.Tensor | None:
    """Cells [K] to start with, ascending; None for all: where nothing says which.

    features [1, N, C, rows, columns]. memory: what the frame reads, None without a past. frame: how many came before.
    cells: [N, rows, columns], those that may be looked at; others are never chosen. Raises FloatingPointError where the
    features hold NaN, and ValueError for a gate of another rig.
    """
    _, cameras, _, rows, columns = features.shape
    if gate is not None:
        gate.expect(cameras)
        score = gate(cell_features(features), hints_of(gate.model, inputs, memory, carried))
    elif carried is not None:
        score = carried.importance
    else:
        return None
    return best_and_next(score[0], (cameras, rows, columns), config, frame, cells)


def best_and_next(
    score: torch.Tensor, shape: Shape, config: PruningConfig, frame: int, cells: Mask | None = None
) -> torch.Tensor:
    """The cells of the highest score [T], those whose turn it is, and one of each region whose turn it is.

    As many as the smaller of ``start_ratio`` and ``carry_ratio`` says, but no fewer than the regions need. Arguments as
    in `chosen_cells`; shape: T is its product.
    """
    total = len(score)
    count = pruning.keys_to_keep(total, min(config.start.ratio, config.carry.ratio))
    first, step = turn(total, count, config.start.explore, frame)
    wanted = score.clone()
    wanted[first::step] = torch.finfo(score.dtype).max
    due = regions(shape, str(score.device))[frame % config.carry.refresh :: config.carry.refresh]
    if cells is not None and not cells.all():
        seen = torch.from_numpy(cells).flatten().to(score.device)
        if len(seen) != total:
            raise ValueError(f"cells have shape {cells.shape}, expected as many as the network has: {total}")
        wanted.masked_fill_(~seen, -torch.inf)
        due = due[seen[due].any(dim=1)]
        count = min(count, int(cells.sum()))
    best = due.gather(1, wanted[due].argmax(dim=1, keepdim=True))[:, 0]
    wanted[best] = torch.inf
    return pruning.most_important(wanted[None], max(count, len(best)))[0]


@lru_cache(maxsize=8)
def regions(shape: Shape, device: str) -> torch.Tensor:
    """The cells [R, REGION²] of every region, camera by camera, row by row; of a smaller one some are named twice."""
    cameras, rows, columns = shape
    cell = torch.arange(cameras * rows * columns, device=device).view(shape)
    down, right = (torch.arange(-(-side // REGION) * REGION).clamp_max(side - 1) for side in (rows, columns))
    blocks = cell[:, down][:, :, right].unflatten(2, (-1, REGION)).unflatten(1, (-1, REGION))
    found: torch.Tensor = blocks.transpose(2, 3).reshape(-1, REGION**2)
    return found


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
