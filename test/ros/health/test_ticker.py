"""ticker: even times on a thread of its own, until it is stopped or fails."""

from __future__ import annotations

import threading
import time

import pytest

from tggbc_ros.ros.health.ticker import Ticker


def test_it_calls_at_even_times_until_it_is_stopped() -> None:
    times_s: list[float] = []
    enough = threading.Event()

    def tick() -> None:
        times_s.append(time.monotonic())
        if len(times_s) == 6:
            enough.set()

    ticker = Ticker("even", 0.05, tick)
    started_s = time.monotonic()
    ticker.start()
    assert enough.wait(20)
    assert ticker.is_alive()
    assert ticker.stop(timeout_s=20)
    count = len(times_s)
    time.sleep(0.2)
    assert len(times_s) == count
    assert times_s[0] >= started_s + 0.05  # first after one period
    assert times_s[5] >= started_s + 0.3 - 0.001  # no call makes up for a late one


def test_a_call_that_takes_longer_than_the_period_is_not_made_up_for() -> None:
    calls = threading.Semaphore(0)

    def tick() -> None:
        calls.release()
        time.sleep(0.2)

    ticker = Ticker("slow", 0.01, tick)
    ticker.start()
    started_s = time.monotonic()
    for _ in range(4):
        assert calls.acquire(timeout=20)
    assert time.monotonic() - started_s >= 0.59
    assert ticker.stop(timeout_s=20)


def test_a_stop_waits_no_longer_than_asked() -> None:
    begun, gate = threading.Event(), threading.Event()

    def tick() -> None:
        begun.set()
        gate.wait(20)

    ticker = Ticker("stuck", 0.01, tick)
    ticker.start()
    assert begun.wait(20)
    assert not ticker.stop(timeout_s=0.05)
    gate.set()
    assert ticker.stop(timeout_s=20)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_an_error_ends_the_thread_and_shows() -> None:
    def tick() -> None:
        raise ValueError("as asked")

    ticker = Ticker("broken", 0.01, tick)
    ticker.start()
    deadline_s = time.monotonic() + 20
    while ticker.is_alive():
        assert time.monotonic() < deadline_s
        time.sleep(0.001)
