"""Which times bench.frame_parts takes, on a small network."""

from __future__ import annotations

import pytest
import torch
from tiny_model import SMALL

from bench import frame_parts
from tggbc_ros.backends.torch_backend import TorchNetwork
from tggbc_ros.core.config import PruningConfig


@pytest.mark.parametrize(("keep_ratio", "trims"), [(1.0, 0), (0.3, 1)])
def test_each_part_has_a_time_of_each_frame(keep_ratio: float, trims: int) -> None:
    threads = torch.get_num_threads()
    parts = frame_parts.measure_parts(TorchNetwork.load(SMALL, None, "cpu"), PruningConfig(keep_ratio), frames=2)
    assert torch.get_num_threads() == threads
    assert {len(each) for each in parts.stages.values()} == {2}
    assert list(parts.decodes) == [
        "in the frame",
        "in a loop",
        "cold caches",
        "behind the encoder",
        "behind a pause",
        "beside another thread's helpers",
        "torch on one thread",
    ]
    assert ("trim" in parts.calls) == bool(trims)
    assert all(
        each > 0 for times in (parts.stages, parts.calls, parts.decodes) for row in times.values() for each in row
    )
