"""Tuning on a hand-made world: it goes on where it was stopped, writes what it did, and mixes no two runs."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from squares_world import TINY, make_table

from tggbc_ros.compress.cutting import Cut
from tggbc_ros.compress.surgery import cut_network
from tggbc_ros.compress.tuning import Tuning, tune
from tggbc_ros.core.checkpoint import build_network, read_state_dict
from tggbc_ros.core.model import StreamPETR
from tggbc_ros.core.network_file import history_of
from tggbc_ros.training.loop import Loop
from tggbc_ros.training.weights import export

CPU = torch.device("cpu")
TABLE = make_table(scenes=4, length=3)
TUNING = Tuning(steps=4, batch=2, bf16=False)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A dense network, and one cut from it."""
    folder = tmp_path_factory.mktemp("networks")
    torch.manual_seed(0)
    network = StreamPETR(TINY)
    export(network, folder / "dense.safetensors")
    cut = Cut({"layer2.0.conv1": range(20)}, gone=frozenset({"layer1.1"}))
    export(cut_network(network, cut), folder / "slim.safetensors", [{"step": "cut"}])
    return folder / "dense.safetensors", folder / "slim.safetensors"


def test_a_cut_network_is_tuned_and_its_file_tells(files: tuple[Path, Path], tmp_path: Path) -> None:
    dense, slim = files
    tuned = tune(TINY, dense, slim, TABLE, TUNING, tmp_path, CPU)
    cut, step = history_of(tuned)
    assert cut == {"step": "cut"}
    assert (step["step"], step["steps"], step["seed"], step["frames"]) == ("tune", 4, 0, 12)
    one, other = (build_network(TINY, path)[0] for path in (slim, tuned))
    assert one.backbone.shape == other.backbone.shape
    assert not torch.equal(one.backbone.conv1.weight, other.backbone.conv1.weight)
    again = tune(TINY, dense, slim, TABLE, TUNING, tmp_path, CPU)
    assert again == tuned


def test_what_was_stopped_goes_on_to_the_bit(
    files: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dense, slim = files
    whole = tune(TINY, dense, slim, TABLE, TUNING, tmp_path / "whole", CPU)
    run = Loop.run
    with monkeypatch.context() as patch:
        patch.setattr(Loop, "run", lambda loop: stop_after(run, loop, 2))
        with pytest.raises(KeyboardInterrupt):
            tune(TINY, dense, slim, TABLE, TUNING, tmp_path / "cut", CPU)
    torch.rand(3)
    again = tune(TINY, dense, slim, TABLE, TUNING, tmp_path / "cut", CPU)
    one, other = read_state_dict(whole), read_state_dict(again)
    assert one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def stop_after(run: object, loop: Loop, step: int) -> None:
    assert callable(run)
    run(loop, step)
    raise KeyboardInterrupt


def test_a_folder_of_another_run_is_refused(files: tuple[Path, Path], tmp_path: Path) -> None:
    dense, slim = files
    tune(TINY, dense, slim, TABLE, TUNING, tmp_path, CPU)
    with pytest.raises(ValueError, match="holds a tuning whose begin is "):
        tune(TINY, dense, dense, TABLE, TUNING, tmp_path, CPU)
    with pytest.raises(ValueError, match="whose steps is 4, expected 5"):
        tune(TINY, dense, slim, TABLE, Tuning(steps=5, batch=2, bf16=False), tmp_path, CPU)
