"""What the CPU can do that decides which precision is worth while."""

from __future__ import annotations

from pathlib import Path

DOT_PRODUCTS = {"avx512_vnni", "avx_vnni", "amx_int8", "asimddp", "i8mm"}
"""Names, in /proc/cpuinfo, of instructions that multiply and add integers of eight bits at once."""


def dot_products(cpuinfo: Path = Path("/proc/cpuinfo")) -> set[str] | None:
    """Which of `DOT_PRODUCTS` the CPU has; None where the system does not say."""
    try:
        lines = cpuinfo.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return None
    told = [line.partition(":")[2].split() for line in lines if line.lower().startswith(("flags", "features"))]
    return DOT_PRODUCTS & set(told[0]) if told else None
