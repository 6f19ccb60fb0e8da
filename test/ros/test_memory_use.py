"""memory_use: the process's own memory, and CUDA's where there is some."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest
import torch

from tggbc_ros.ros.memory_use import STATM, memory_use_mb

PATIENCE_S = 5.0
"""The kernel may count pages late, so that many cores need not share a counter; proc(5)."""


@pytest.mark.skipif(not STATM.exists(), reason="no /proc on this system")
def test_what_is_allocated_shows() -> None:
    before = memory_use_mb("cpu")
    assert set(before) == {"rss_mb"}
    held = np.ones(100_000_000, np.uint8)
    deadline_s = time.monotonic() + PATIENCE_S
    while (grown := memory_use_mb("cpu")["rss_mb"] - before["rss_mb"]) < 80 and time.monotonic() < deadline_s:
        time.sleep(0.05)
    assert grown == pytest.approx(held.nbytes / 1e6, abs=20), Path("/proc/self/smaps_rollup").read_text()


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_a_tensor_on_the_device_shows() -> None:
    before = memory_use_mb("cuda:0")["cuda_allocated_mb"]
    held = torch.ones(25_000_000, device="cuda:0")
    use = memory_use_mb("cuda:0")
    assert use["cuda_allocated_mb"] - before == pytest.approx(held.nbytes / 1e6, abs=5)
    assert use["cuda_peak_mb"] >= use["cuda_allocated_mb"] <= use["cuda_reserved_mb"]
