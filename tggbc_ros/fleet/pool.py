"""Workers of a Ray cluster, each with a network of its own; a task whose worker dies is done again by another.

Placement, restarts and retries are Ray's. What is here hands an idle worker the next task.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

PATIENCE_S = 5.0
ATTEMPTS = 3
"""How often a task may take its worker down before it is given up."""


@dataclass(frozen=True)
class Outcome:
    """Of one task: its result, or why there is none, in one line."""

    name: str
    result: Any
    error: str = ""


@contextmanager
def cluster(address: str | None, workers: int, threads: int) -> Iterator[Any]:
    """Ray, connected: to the cluster of an address, or one of this machine alone that ends with the block.

    Raises ImportError where Ray is not installed, ConnectionError where there is no such cluster.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        import ray
    except ImportError as error:
        raise ImportError("a fleet needs the library ray: ./run env/add.sh fleet, or pip install ray") from error
    if address:
        _expect_there(address)
    own = {} if address else {"num_cpus": workers * threads, "include_dashboard": False}
    try:
        ray.init(address=address or "local", logging_level="ERROR", log_to_driver=False, **own)
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise ConnectionError(f"no Ray cluster at {address}: {' '.join(str(error).split())}") from error
    try:
        yield ray
    finally:
        ray.shutdown()


def _expect_there(address: str) -> None:
    """Ray itself would try for minutes."""
    host, _, port = address.rpartition(":")
    if not (host and port.isdigit()):
        return  # "auto" and the like are Ray's to resolve
    try:
        socket.create_connection((host, int(port)), PATIENCE_S).close()
    except (OSError, OverflowError) as error:
        raise ConnectionError(f"no Ray cluster at {address}: {error}") from error


def outcomes(
    ray: Any, kind: type[Any], given: tuple[Any, ...], tasks: Sequence[tuple[str, Any]], workers: int, threads: int
) -> Iterator[Outcome]:
    """The outcome of every task, as they come.

    kind: a worker's class, made of ``given``, whose method ``do`` takes a task and returns its result; what it raises
    is that task's failure and no other's. tasks: name and value of each. Raises RuntimeError where no worker can be
    made, for want of a checkpoint for example.
    """
    remote = ray.remote(num_cpus=threads, max_restarts=-1, max_task_retries=ATTEMPTS - 1)(kind)
    idle = [remote.remote(*given) for _ in range(min(workers, len(tasks)))]
    waiting, running = list(tasks), {}
    while waiting or running:
        while waiting and idle:
            name, task = waiting.pop(0)
            worker = idle.pop()
            running[worker.do.remote(task)] = name, worker
        (ready,), _ = ray.wait(list(running), num_returns=1)
        name, worker = running.pop(ready)
        try:
            outcome = Outcome(name, ray.get(ready))
        except ray.exceptions.RayTaskError as error:
            outcome = Outcome(name, None, _one_line(error.cause or error))
        except ray.exceptions.ActorDiedError as error:
            if "creation task" in str(error) or "__init__" in str(error):
                raise RuntimeError(f"no worker could begin: {_last_line(str(error))}") from error
            outcome = Outcome(name, None, f"its worker died {ATTEMPTS} times")
            worker = remote.remote(*given)
        except ray.exceptions.RayActorError:
            outcome = Outcome(name, None, f"its worker died {ATTEMPTS} times")
        idle.append(worker)
        yield outcome


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__


def _last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else text
