"""How a call is run: as it is, as a CUDA graph, or compiled."""

from __future__ import annotations

from collections.abc import Callable

import torch

from bench.measure import Call

WARM_UP = 3


def eager(call: Call) -> Call:
    """Kernel by kernel, as Python asks for them."""
    return call


def graphed(call: Call) -> Call:
    """Recorded once as a CUDA graph, then replayed: no time goes into asking. CUDA alone."""
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(WARM_UP):
            call()
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        call()
    return graph.replay


def compiled(call: Call) -> Call:
    """By torch.compile, for this shape alone."""
    made: Call = torch.compile(call, dynamic=False)
    return made


ENGINES: dict[str, Callable[[Call], Call]] = {"eager": eager, "graphs": graphed, "compile": compiled}
