"""Times and memory of calls."""

from __future__ import annotations

import gc
import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from torch.profiler import ProfilerActivity, profile

Call = Callable[[], object]


def synchronize(device: torch.device) -> None:
    """Wait until the device has done what it was asked; a CPU always has."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def timed_ms(call: Call, device: torch.device) -> float:
    """Wall time of one call."""
    synchronize(device)
    start = time.perf_counter()
    call()
    synchronize(device)
    return (time.perf_counter() - start) * 1e3


def interleaved_ms(calls: Mapping[str, Call], repeats: int, device: torch.device) -> dict[str, list[float]]:
    """Times of each call, one round after the other, so that a change of load hits all alike. One round to warm up."""
    for call in calls.values():
        call()
    times: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(repeats):
        for name, call in calls.items():
            times[name].append(timed_ms(call, device))
    return times


def load_average() -> str:
    """Processes that wanted to run, averaged over 1, 5 and 15 minutes."""
    return " ".join(f"{each:.1f}" for each in os.getloadavg())


def median(values: list[float]) -> float:
    """Their median."""
    return float(statistics.median(values))


def peak_extra_mb(call: Call, device: torch.device) -> float:
    """Most memory that the call held at once beyond what there was before it, MiB, its result included.

    On CUDA as the caching allocator counts it; on a CPU from the profiler's record of every allocation by
    torch, inside fused kernels too, but without what a math library keeps for itself.
    """
    gc.collect()
    if device.type != "cuda":
        return _peak_of_cpu(call) / 2**20
    synchronize(device)
    torch.cuda.reset_peak_memory_stats(device)
    before = torch.cuda.memory_allocated(device)
    call()
    synchronize(device)
    return (torch.cuda.max_memory_allocated(device) - before) / 2**20


def _peak_of_cpu(call: Call) -> int:
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        call()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "trace.json"
        profiler.export_chrome_trace(str(path))
        events = json.loads(path.read_text(encoding="utf-8"))["traceEvents"]
    changes = sorted((event["ts"], event["args"]["Bytes"]) for event in events if event["name"] == "[memory]")
    held = peak = 0
    for _, change in changes:
        held += change
        peak = max(peak, held)
    return peak
