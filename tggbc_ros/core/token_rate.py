"""How many image tokens a vision transformer's gates let through: a threshold that follows a rate from frame to frame.

At 0 each gate keeps as many tokens as it was trained to keep, the likeliest ones (`gates.likeliest`). One shift for all
gates leaves it to them which image, and which block, needs more: the rate is that of all gated blocks and cameras
together, and a frame may have more than the one before.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Protocol, runtime_checkable

import torch

from tggbc_ros.core.config import PruningConfig
from tggbc_ros.core.gates import Decisions

SETTLE = 0.2
"""How much of the way to what would have held the rate in the last frame the threshold goes, frame by frame."""

MOST, NEAR = 32.0, 1e-3
"""The greatest shift, and how near to the right one is near enough, in log-probability."""


@runtime_checkable
class Gated(Protocol):
    """A network whose image encoder can leave out tokens. gated_blocks: how many blocks have a gate; maybe none."""

    @property
    def gated_blocks(self) -> int:
        """How many blocks have a gate."""

    def encode_gated(self, images: torch.Tensor, shift: float) -> tuple[torch.Tensor, Decisions]:
        """Normalised images [1, N, 3, H, W] -> features as of ``encode``, and what the gates decided.

        shift: added to every margin, for the count of tokens that a gate keeps.
        """


@dataclass(frozen=True)
class Threshold:
    """shift: of the margins. rate: which it is to hold. settled: whether a frame has told how to."""

    rate: float
    shift: float = 0.0
    settled: bool = False


def threshold_for(before: Threshold | None, rate: float) -> Threshold | None:
    """The threshold of the next frame; None where all tokens are to pass.

    The first one is what the gates were trained for; a new rate is gone to at once by what the last frame told.
    """
    if rate >= 1.0:
        return None
    if before is None:
        return Threshold(rate)
    return before if before.rate == rate else replace(before, rate=rate, settled=False)


def after_frame(threshold: Threshold, decisions: Decisions) -> Threshold:
    """The threshold after a frame, whose margins tell which one would have held the rate."""
    margins = decisions.margin.flatten().float()
    margins = margins[torch.isfinite(margins)]
    if not len(margins):
        return threshold
    wanted = _shift_for(margins, threshold.rate)
    step = SETTLE if threshold.settled else 1.0
    return replace(threshold, shift=threshold.shift + step * (wanted - threshold.shift), settled=True)


def expect_gates(network: object, pruning: PruningConfig) -> None:
    """Raise ValueError where fewer tokens are asked for of a network that has nothing to choose them by."""
    if pruning.token_rate < 1.0 and not (isinstance(network, Gated) and network.gated_blocks):
        raise ValueError(
            f"token_rate is {pruning.token_rate}, expected 1.0: the network has no gates that could leave tokens out"
        )


def _shift_for(margins: torch.Tensor, rate: float) -> float:
    """By bisection: with how much added to them, this share of the tokens would be kept on average."""
    low, high = -MOST, MOST
    while high - low > NEAR:
        middle = (low + high) / 2.0
        if float(torch.sigmoid(margins + middle).mean()) < rate:
            low = middle
        else:
            high = middle
    return (low + high) / 2.0
