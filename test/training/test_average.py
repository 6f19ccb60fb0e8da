"""The averaged weights follow the trained ones."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from tggbc_ros.training.average import Average


def test_follows_slowly_later_and_quickly_at_first() -> None:
    module = nn.Linear(1, 1, bias=False)
    nn.init.zeros_(module.weight)
    average = Average(module, decay=0.9)
    nn.init.ones_(module.weight)
    average.follow(module)
    assert torch.allclose(average.module.weight, torch.tensor(1 - 2 / 11))
    average.updates = 1000
    average.module.weight.zero_()
    average.follow(module)
    assert torch.allclose(average.module.weight, torch.tensor(0.1))


def test_decay_zero_is_the_module_itself_and_buffers_are_copied() -> None:
    module = nn.BatchNorm1d(2)
    average = Average(module, decay=0.0)
    module(torch.randn(8, 2) + 5.0)
    nn.init.constant_(module.weight, 3.0)
    average.follow(module)
    assert torch.equal(average.module.weight, module.weight)
    assert torch.equal(average.module.running_mean, module.running_mean)


def test_bad_decay_is_refused() -> None:
    with pytest.raises(ValueError, match="ema decay is 1.0"):
        Average(nn.Linear(1, 1), 1.0)
