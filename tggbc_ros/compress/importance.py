"""MDP's importance of channels (arXiv 2406.12079): from first-order scores of layers to curves that a solver reads.

The removal of channel i behind a batch norm of scale g and shift b changes the loss by s_i = g_i dL/dg_i + b_i dL/db_i
to first order. Layers whose outputs meet in an addition lose the channel together, so a group's score is the size of
their sum. Because a block may vanish while its group stays, it is shared out to layers by the sizes of their own s_i.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]
Groups = Mapping[str, Sequence[str]]
"""Group -> the layers whose outputs meet in it."""


def share_out(scores: Mapping[str, Array], groups: Groups) -> dict[str, Array]:
    """First-order scores [C] of each layer in one batch -> the importance [C] of each layer."""
    shares: dict[str, Array] = {}
    for layers in groups.values():
        stacked = np.stack([scores[layer] for layer in layers])
        sizes = np.abs(stacked)
        total = sizes.sum(axis=0)
        whole = np.abs(stacked.sum(axis=0))
        shares.update(zip(layers, whole * sizes / np.where(total == 0.0, 1.0, total), strict=True))
    return shares


def totals(importance: Mapping[str, Array], groups: Groups) -> dict[str, Array]:
    """The importance [C] of each group's channels: the sum over its layers."""
    return {group: np.sum([importance[layer] for layer in layers], axis=0) for group, layers in groups.items()}


def order(total: Array) -> npt.NDArray[np.int64]:
    """A group's channels from the least important on; equal ones in their own order."""
    return np.argsort(total, kind="stable").astype(np.int64)


def best(total: Array, width: int) -> list[int]:
    """The ``width`` most important channels of a group, ascending."""
    return sorted(order(total)[len(total) - width :].tolist())


def curve(importance: Array, ranks: npt.NDArray[np.int64], step: int) -> Array:
    """[K + 1], what a layer keeps of its importance where its group keeps the best 0, 1, ... K steps of channels.

    ranks: the group's `order`. Where its width is no multiple of ``step``, the last step is smaller.
    """
    if step < 1:
        raise ValueError(f"step is {step}, expected at least 1 channel")
    falling = np.concatenate([[0.0], np.cumsum(importance[ranks[::-1]])])
    kept: Array = falling[[*range(0, len(importance), step), len(importance)]]
    return kept
