"""Exponential moving average of a network's weights."""

from __future__ import annotations

import copy

import torch
from torch import nn


class Average:
    """``module`` follows another one: after every step a share 1 - decay of the way to it.

    Early in a run, where the average would still be the random start, decay is (1 + n) / (10 + n).
    """

    def __init__(self, module: nn.Module, decay: float) -> None:
        if not 0.0 <= decay < 1.0:
            raise ValueError(f"ema decay is {decay!r}, expected a number in [0, 1)")
        self.module = copy.deepcopy(module).eval().requires_grad_(False)
        self.decay = decay
        self.updates = 0

    @torch.no_grad()
    def follow(self, module: nn.Module) -> None:
        """Move towards ``module``; buffers (BatchNorm statistics) are taken over as they are."""
        self.updates += 1
        decay = min(self.decay, (1 + self.updates) / (10 + self.updates))
        ours, theirs = list(self.module.parameters()), [each.detach() for each in module.parameters()]
        torch._foreach_lerp_(ours, theirs, 1.0 - decay)
        for mine, other in zip(self.module.buffers(), module.buffers(), strict=True):
            mine.copy_(other)
