"""memory_use: the process's own memory, and CUDA's where there is some."""

from __future__ import annotations

import mmap

import pytest
import torch

from tggbc_ros.ros.health.memory_use import STATM, memory_use_mb

HELD_BYTES = 100_000_000


@pytest.mark.skipif(not STATM.exists(), reason="no /proc on this system")
def test_what_is_allocated_shows() -> None:
    before = memory_use_mb("cpu")
    assert set(before) == {"rss_mb"}
    # Straight from the kernel: malloc may hand out again what the process freed but still holds, and nothing grows.
    with mmap.mmap(-1, HELD_BYTES) as held:
        for page in range(0, HELD_BYTES, mmap.PAGESIZE):
            held[page] = 1
        grown = memory_use_mb("cpu")["rss_mb"] - before["rss_mb"]
    assert grown == pytest.approx(HELD_BYTES / 1e6, abs=5)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_a_tensor_on_the_device_shows() -> None:
    before = memory_use_mb("cuda:0")["cuda_allocated_mb"]
    held = torch.ones(25_000_000, device="cuda:0")
    use = memory_use_mb("cuda:0")
    assert use["cuda_allocated_mb"] - before == pytest.approx(held.nbytes / 1e6, abs=5)
    assert use["cuda_peak_mb"] >= use["cuda_allocated_mb"] <= use["cuda_reserved_mb"]
