"""Where the milliseconds of a small frame go: by stage, by what the decoder calls, and what surrounds a decode.

python -m bench.frame_parts [--model demo] [--backends torch openvino_int8 ...] [--keep 1.0 0.3] [--frames N]

One decode is timed inside of its frame, then again with the same tokens: in a loop, behind 64 MiB that empty the
caches, behind the image encoder, behind a pause in which all threads fall asleep, while another thread has helpers of
OpenMP's too, and on one thread. Medians, ms.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Event, Thread
from typing import Any
from unittest import mock

import torch

from bench.backends import PAUSE_S, load
from bench.frames import raw_frame
from bench.measure import Call, load_average, median, timed_ms
from bench.table import text_table
from tggbc_ros import backends
from tggbc_ros.backends.exported import ExportedNetwork
from tggbc_ros.core import pruning as scoring
from tggbc_ros.core.config import MODELS, PruningConfig
from tggbc_ros.core.detector import Detector, Network
from tggbc_ros.core.threads import beside

WARM_UP = 3
COLD_BYTES = 64 << 20
CPU = torch.device("cpu")
PARALLEL = 1 << 20
"""Numbers enough for torch to share a loop over them out."""
SCORING = ("confident_queries", "key_importance", "most_important", "select")
"""What a trim is made of; `pruning.trim` is all of it."""

Times = dict[str, list[float]]


@dataclass(frozen=True, eq=False)
class Parts:
    """Times of each frame, ms. calls: of one decode's parts; decodes: the last frame's, in other surroundings."""

    stages: Times
    calls: Times
    decodes: Times


def measure_parts(network: Network, pruning: PruningConfig, frames: int) -> Parts:
    """Frames through a detector, then its last decode again and again."""
    detector, stages, given = Detector(network, pruning), defaultdict(list), []
    decode = network.decode

    def observed(*arguments: Any) -> Any:
        given[:] = arguments
        return decode(*arguments)

    with mock.patch.object(network, "decode", observed):
        for number in range(frames + WARM_UP):
            for stage, spent_ms in detector.step(raw_frame(network.model, number))[1].stage_ms.items():
                stages[stage].append(spent_ms)
    with _clocked(network) as calls:
        for number in range(frames + WARM_UP):
            detector.step(raw_frame(network.model, number))
    with beside(network.own_threads):  # as in a frame
        decodes = {"in the frame": stages["decode"], **_again(network, lambda: decode(*given), frames)}
    return Parts(*({name: each[WARM_UP:] for name, each in times.items()} for times in (stages, calls, decodes)))


def _again(network: Network, call: Call, frames: int) -> Times:
    junk, images = torch.zeros(COLD_BYTES, dtype=torch.uint8), torch.randn(1, 6, 3, *network.model.image_size)
    before: dict[str, Call] = {
        "in a loop": lambda: None,
        "cold caches": lambda: junk.add_(1),
        "behind the encoder": lambda: network.encode(images),
        "behind a pause": lambda: time.sleep(PAUSE_S),
    }
    times = {name: [_timed(call, first) for _ in range(frames + WARM_UP)] for name, first in before.items()}
    with _helpers_elsewhere():
        times["beside another thread's helpers"] = [_timed(call, lambda: None) for _ in range(frames + WARM_UP)]
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # an engine keeps those that it was loaded with
    times["torch on one thread"] = [_timed(call, lambda: None) for _ in range(frames + WARM_UP)]
    torch.set_num_threads(threads)
    return times


@contextmanager
def _helpers_elsewhere() -> Iterator[None]:
    """Another thread that shares out loops of torch's, and stays: what core/threads.py is there to prevent."""
    work, stay = torch.zeros(PARALLEL), Event()

    def share_out() -> None:
        torch.set_num_threads(os.cpu_count() or 1)
        work.add_(1)
        stay.wait()

    threads, thread = torch.get_num_threads(), Thread(target=share_out)
    thread.start()
    time.sleep(PAUSE_S)
    torch.set_num_threads(threads)
    try:
        yield
    finally:
        stay.set()
        thread.join()


def _timed(call: Call, first: Call) -> float:
    first()
    return timed_ms(call, CPU)


@contextmanager
def _clocked(network: Network) -> Iterator[Times]:
    """Times of the graphs of an export, and of what a trim calls."""
    times: Times = defaultdict(list)

    def clocked(name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def run(*given: Any) -> Any:
            start = time.perf_counter()
            result = call(*given)
            times[name].append((time.perf_counter() - start) * 1e3)
            return result

        return run

    with mock.patch.multiple(scoring, **{name: clocked(name, getattr(scoring, name)) for name in (*SCORING, "trim")}):
        if not isinstance(network, ExportedNetwork):  # torch's layers are calls of each other, no graphs
            yield times
            return
        graphs = {name: clocked(name, run) for name, run in network.graphs.items()}
        layers = [clocked(f"layer{index}", layer) for index, layer in enumerate(network._layers)]
        with mock.patch.object(network, "graphs", graphs), mock.patch.object(network, "_layers", layers):
            yield times


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print."""
    options = _parser().parse_args(arguments)
    if options.threads:
        torch.set_num_threads(options.threads)
    model = MODELS[options.model]
    weights = backends.choose_weights(model, None, allow_random_weights=True)
    for name in options.backends:
        network = load(name, model, weights, "cpu")
        for keep in options.keep:
            parts = measure_parts(network, PruningConfig(keep, queries=options.queries), options.frames)
            print(f"\n{model.name}, {name}, keep ratio {keep:g}")
            for title, times in (("stage", parts.stages), ("of decode", parts.calls), ("decode", parts.decodes)):
                print(text_table((title, "ms", "a frame"), _lines(times, options.frames)))
    print(f"\n{torch.get_num_threads()} threads, load at the end {load_average()}")
    return 0


def _lines(times: Times, frames: int) -> list[tuple[str, ...]]:
    return [(name, f"{median(each):.2f}", f"{len(each) / frames:.0f} x") for name, each in times.items() if each]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench.frame_parts", description=(__doc__ or "").splitlines()[0])
    add = parser.add_argument
    add("--model", choices=list(MODELS), default="demo")
    add("--backends", nargs="+", choices=list(backends.BACKENDS), default=["torch", "onnxruntime", "openvino_int8"])
    add("--keep", nargs="+", type=float, default=[1.0, 0.3], metavar="RATIO")
    add("--queries", type=int, default=PruningConfig.queries, metavar="K", help="at most so many vote (%(default)s)")
    add("--frames", type=int, default=40, metavar="N")
    add("--threads", type=int, metavar="N", help="on a CPU (default torch's own)")
    return parser


if __name__ == "__main__":
    sys.exit(main())
