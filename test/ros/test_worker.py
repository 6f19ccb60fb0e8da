"""worker: the newest item is processed, every other one is discarded with its cause."""

from __future__ import annotations

import threading
import time

import pytest

from tggbc_ros.ros.worker import NewestWorker


class Bench:
    """A worker whose processing waits for permission."""

    def __init__(self) -> None:
        self.done: list[int] = []
        self.discarded: list[tuple[int, str]] = []
        self.begun, self.permit = threading.Semaphore(0), threading.Semaphore(0)
        self.worker: NewestWorker[int] = NewestWorker(
            "bench", self._process, lambda item, cause: self.discarded.append((item, cause))
        )
        self.worker.start()

    def _process(self, item: int) -> None:
        self.begun.release()
        assert self.permit.acquire(timeout=20)
        if item < 0:
            raise ValueError("as asked")
        self.done.append(item)


def test_newest_is_processed_and_older_ones_are_superseded() -> None:
    bench = Bench()
    bench.worker.offer(1)
    assert bench.begun.acquire(timeout=20)
    for item in (2, 3, 4):
        bench.worker.offer(item)
    bench.permit.release(2)
    assert bench.begun.acquire(timeout=20)
    assert bench.worker.stop(timeout_s=20)
    assert bench.done == [1, 4]
    assert bench.discarded == [(2, "superseded"), (3, "superseded")]


def test_stop_discards_what_waits_and_what_still_comes() -> None:
    bench = Bench()
    bench.worker.offer(1)
    assert bench.begun.acquire(timeout=20)
    bench.worker.offer(2)
    assert not bench.worker.stop(timeout_s=0.0)
    bench.worker.offer(3)
    bench.permit.release()
    assert bench.worker.stop(timeout_s=20)
    assert bench.done == [1]
    assert bench.discarded == [(2, "stopped"), (3, "stopped")]


def test_it_is_idle_until_something_is_offered_and_again_when_it_is_done() -> None:
    bench = Bench()
    assert bench.worker.is_idle
    bench.worker.offer(1)
    assert not bench.worker.is_idle
    assert bench.begun.acquire(timeout=20)
    assert not bench.worker.is_idle
    bench.permit.release()
    deadline_s = time.monotonic() + 20
    while not bench.worker.is_idle:
        assert time.monotonic() < deadline_s
        time.sleep(0.001)
    assert bench.done == [1]
    assert bench.worker.stop(timeout_s=20)


def test_withdraw_names_its_own_cause() -> None:
    bench = Bench()
    bench.worker.offer(1)
    assert bench.begun.acquire(timeout=20)
    bench.worker.offer(2)
    bench.worker.withdraw("time_jump")
    bench.worker.withdraw("time_jump")
    bench.permit.release()
    assert bench.worker.stop(timeout_s=20)
    assert bench.discarded == [(2, "time_jump")]


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_an_error_ends_the_thread_and_shows() -> None:
    bench = Bench()
    bench.permit.release()
    assert bench.worker.is_alive()
    bench.worker.offer(-1)
    assert bench.worker.stop(timeout_s=20)
    assert bench.done == []
    assert not bench.worker.is_alive()
