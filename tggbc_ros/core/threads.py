"""Who may compute on how many threads: OpenMP's, which PyTorch shares its loops out to, are worth a rule.

Every thread that meets a parallel loop gets helpers of its own. While a process has no more of them than the CPU has
cores, helpers that are done spin for some milliseconds, so that the next loop finds them awake; a small decoder takes
nearly half as long for it. Beyond that they fall asleep at once. So one thread has helpers, the one that steps. An
inference engine has threads of its own, which spinning helpers would take the cores from: beside one, torch gets none.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager, nullcontext
from threading import Barrier

import torch


def open_workers(count: int, name: str) -> ThreadPoolExecutor:
    """Threads that work side by side, each without helpers; whoever opens them shuts them down."""
    pool, all_there = ThreadPoolExecutor(count, thread_name_prefix=name), Barrier(count)

    def begin() -> None:
        torch.get_num_threads()  # a thread's first question sets its number to everybody's; ours has to come after
        torch.set_num_threads(1)
        all_there.wait()  # a thread that ended sooner would be given the next one's turn

    with without_helpers():  # the number is the thread's own, but also what later threads and MKL begin with
        for each in [pool.submit(begin) for _ in range(count)]:
            each.result()
    return pool


def beside(own_threads: bool) -> AbstractContextManager[None]:
    """In which torch computes next to an engine: without helpers where it brings threads of its own."""
    return without_helpers() if own_threads else nullcontext()


@contextmanager
def without_helpers() -> Iterator[None]:
    """Torch computes on the calling thread alone meanwhile."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
