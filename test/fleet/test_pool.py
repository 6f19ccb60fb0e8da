"""Workers on real Ray: killed ones are replaced and their tasks done again, failures stay those of one task."""

from __future__ import annotations

import os
import signal
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tggbc_ros.fleet.pool import ATTEMPTS, cluster, outcomes

pytest.importorskip("ray", reason="ray is optional: ./run env/add.sh fleet")
pytestmark = pytest.mark.timeout(240)


@pytest.fixture(scope="module")
def ray() -> Iterator[Any]:
    with cluster(None, workers=2, threads=1) as connected:
        yield connected


def worker() -> type:
    """Made here, so that Ray sends it along with the call."""

    class Worker:
        def __init__(self, log: Path, broken: bool = False) -> None:
            if broken:
                raise ValueError("weights of this worker are others")
            self.log = log

        def do(self, task: str) -> str:
            with self.log.open("a") as log:
                log.write(f"{task}\n")
            dies = {"dies once": 1, "dies": 10**9}.get(task, 0)
            if self.log.read_text().splitlines().count(task) <= dies:
                os.kill(os.getpid(), signal.SIGKILL)
            if task == "fails":
                raise ValueError("bag\nis bad")
            return task.upper()

    return Worker


def run(ray: Any, log: Path, names: list[str], broken: bool = False) -> dict[str, tuple[Any, str]]:
    found = list(outcomes(ray, worker(), (log, broken), [(name, name) for name in names], workers=2, threads=1))
    assert Counter(each.name for each in found) == Counter(names), "one outcome each"
    return {each.name: (each.result, each.error) for each in found}


def test_a_killed_worker_costs_no_task_and_a_failing_task_no_other(ray: Any, tmp_path: Path) -> None:
    names = ["a", "dies once", "b", "fails", "c", "d"]
    found = run(ray, tmp_path / "log", names)
    assert found.pop("fails") == (None, "bag is bad")
    assert found == {name: (name.upper(), "") for name in found}
    assert Counter((tmp_path / "log").read_text().splitlines()) == Counter([*names, "dies once"])


def test_a_task_that_kills_every_worker_is_given_up(ray: Any, tmp_path: Path) -> None:
    found = run(ray, tmp_path / "log", ["dies", "a", "b"])
    assert found == {"dies": (None, f"its worker died {ATTEMPTS} times"), "a": ("A", ""), "b": ("B", "")}
    assert (tmp_path / "log").read_text().splitlines().count("dies") == ATTEMPTS


def test_workers_that_cannot_begin_are_one_error(ray: Any, tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="no worker could begin: .*weights of this worker are others"):
        run(ray, tmp_path / "log", ["a", "b"], broken=True)
