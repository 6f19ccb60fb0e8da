"""Two real processes train one network."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest
import torch
import torch.multiprocessing as mp
from two_processes import process

from tggbc_ros.training.parallel import Crew


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("parallel")
    mp.start_processes(process, (free_port(), path), nprocs=2, start_method="spawn")
    return path


def test_gradients_are_averaged_and_what_nobody_learns_stays_without(folder: Path) -> None:
    for rank in (0, 1):
        first, second, third = torch.load(folder / f"gradients_{rank}.pt")
        assert first.tolist() == [1.5, 3.0] and second.tolist() == [2.0, 0.0] and third is None


def test_both_end_with_the_same_weights_each_having_seen_its_half(folder: Path) -> None:
    (ours, our_streams), (theirs, their_streams) = (torch.load(folder / f"weights_{rank}.pt") for rank in (0, 1))
    assert our_streams == their_streams == 2
    for name, value in ours.items():
        assert torch.equal(value, theirs[name]), name


def test_only_the_first_logs_and_saves(folder: Path) -> None:
    assert sorted(path.name for path in (folder / "run_0").iterdir()) == ["last.pt", "log.csv"]
    assert not list((folder / "run_1").iterdir())


def test_shares_make_up_the_batch_and_one_alone_takes_all() -> None:
    frames = [3, 1, 4, 1, 5]
    assert Crew().share(frames) == frames
    assert Crew(0, 2).share(frames) == [3, 4, 5] and Crew(1, 2).share(frames) == [1, 1]
    with pytest.raises(ValueError, match="batch is 1, expected at least 2, the number of processes"):
        Crew(0, 2).share([7])
