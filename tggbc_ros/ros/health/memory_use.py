"""How much memory this process holds, on the host and on its CUDA device."""

from __future__ import annotations

import gc
import os
from pathlib import Path

import torch

MEGABYTE = 1e6
STATM = Path("/proc/self/statm")
"""Sizes in pages, the second of them resident; proc(5)."""


def memory_use_mb(device: str) -> dict[str, float]:
    """Megabytes (1e6 bytes) by name: rss_mb of the process, where /proc says it; with CUDA what torch holds there.

    cuda_allocated_mb is in tensors, cuda_peak_mb the most that ever was, cuda_reserved_mb taken from the device.
    """
    use = {}
    if STATM.exists():
        use["rss_mb"] = int(STATM.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / MEGABYTE
    if device.startswith("cuda"):
        use["cuda_allocated_mb"] = torch.cuda.memory_allocated(device) / MEGABYTE
        use["cuda_peak_mb"] = torch.cuda.max_memory_allocated(device) / MEGABYTE
        use["cuda_reserved_mb"] = torch.cuda.memory_reserved(device) / MEGABYTE
    return use


def give_back() -> None:
    """Free what nothing refers to any more, and let go of what torch still holds of CUDA devices for itself.

    What stays are the tables that images are resized and normalised by: 0.1 MB an image size, at most 64 of them.
    """
    gc.collect()  # the parts of a node refer to one another
    if torch.cuda.is_initialized():
        torch.cuda.empty_cache()
