"""What the fused decoder is compared with computes the same."""

from __future__ import annotations

import pytest
import torch

from bench.modes import Mode
from bench.workload import Workload, make_workload
from tggbc_ros.core.config import ModelConfig, PruningConfig


@pytest.fixture(scope="module")
def work(tiny: ModelConfig) -> Workload:
    return make_workload(tiny, torch.device("cpu"), torch.float32)


@pytest.mark.parametrize("pruning", [PruningConfig(), PruningConfig(0.25), PruningConfig(0.3, layers=3, queries=9)])
@torch.inference_mode()
def test_outputs_and_keys_are_those_of_the_fused_decoder(work: Workload, pruning: PruningConfig) -> None:
    fused, explicit = (work.decode(Mode("", pruning, explicit)) for explicit in (False, True))
    assert explicit.num_keys == fused.num_keys
    torch.testing.assert_close(explicit.logits, fused.logits, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(explicit.codes, fused.codes, atol=1e-3, rtol=1e-4)
