"""Which image cells the decoder may look at: missing cameras and the vehicle's own body are left out of the keys.

One boolean a cell (`CameraFrame.cells`), applied once, as a choice of tokens before the first decoder layer. A key
that is left out costs nothing from there on. Shares such as keep_ratio stay shares of all cells.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch

from tggbc_ros.core import pruning
from tggbc_ros.core.types import Tokens

Mask = npt.NDArray[np.bool_]


def visible_tokens(tokens: Tokens, cells: Mask | None) -> Tokens:
    """The tokens of the cells [N, rows, columns] that may be looked at; the very same where all may.

    Tokens that were chosen (`start.chosen_cells`) are among these cells already. Raises ValueError where the cells are
    not those of the tokens.
    """
    if cells is None or cells.all():
        return tokens
    if cells.size != tokens.num_cells:
        raise ValueError(f"cells have shape {cells.shape}, expected as many as the network has: {tokens.num_cells}")
    if tokens.index.shape[1] < tokens.num_cells:
        return tokens
    places = torch.from_numpy(np.flatnonzero(cells)).to(tokens.index.device)
    return pruning.select(tokens, places.expand(tokens.index.shape[0], -1))


def comes_into_sight(before: Mask | None, now: Mask | None) -> bool:
    """Whether a cell may be looked at now that could not be ``before``; None: all cells may."""
    if before is None or now is before:
        return False
    return bool((~before).any() if now is None else (now & ~before).any())
