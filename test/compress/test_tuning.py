"""Tuning on a hand-made world: it goes on where it was stopped, writes what it did, and mixes no two runs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from squares_world import TINY, make_table

from tggbc_ros.compress.cutting import Cut
from tggbc_ros.compress.surgery import cut_network
from tggbc_ros.compress.tuning import ENCODER, JOINT, Tuning, tune
from tggbc_ros.core.checkpoint import CheckpointError, build_network, read_state_dict
from tggbc_ros.core.model import StreamPETR
from tggbc_ros.core.network_file import history_of
from tggbc_ros.training.loop import LOG_FILE, Loop
from tggbc_ros.training.weights import export

CPU = torch.device("cpu")
TABLE = make_table(scenes=4, length=3)
TUNING = Tuning(steps=8, batch=2, joint=3, joint_batch=2, bf16=False)


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
    assert [step[name] for name in ("step", "steps", "joint", "seed", "frames")] == ["tune", 8, 3, 0, 12]
    one, other = (build_network(TINY, path)[0] for path in (slim, tuned))
    assert one.backbone.shape == other.backbone.shape
    for name in ("backbone.conv1.weight", "head.cls_branch.0.weight"):
        assert not torch.equal(one.state_dict()[name], other.state_dict()[name]), name
    assert steps_logged(tmp_path / ENCODER) == 8 and steps_logged(tmp_path / JOINT) == 3
    assert tune(TINY, dense, slim, TABLE, TUNING, tmp_path, CPU) == tuned


def steps_logged(folder: Path) -> int:
    last = (folder / LOG_FILE).read_text().splitlines()[-1]
    return int(last.partition(",")[0]) + 1


def test_alone_the_encoder_learns_and_the_rest_stays(files: tuple[Path, Path], tmp_path: Path) -> None:
    dense, slim = files
    tuned = tune(TINY, dense, slim, TABLE, replace(TUNING, joint=0), tmp_path, CPU)
    one, other = read_state_dict(slim), read_state_dict(tuned)
    changed = {name.partition(".")[0] for name in one if not torch.equal(one[name], other[name])}
    assert changed == {"backbone", "neck"}


def test_the_control_has_its_features_and_shares_the_rest(files: tuple[Path, Path], tmp_path: Path) -> None:
    dense, slim = files
    for name, begin in (("slim", slim), ("control", dense)):
        tune(TINY, dense, begin, TABLE, TUNING, tmp_path / name, CPU, shared=tmp_path)
    assert not (tmp_path / "control" / ENCODER).exists() and steps_logged(tmp_path / "control" / JOINT) == 3
    assert len(list(tmp_path.glob("features_*.npy"))) == 1


@pytest.mark.parametrize("part", [ENCODER, JOINT])
def test_what_was_stopped_goes_on_to_the_bit(
    files: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, part: str
) -> None:
    dense, slim = files
    whole = tune(TINY, dense, slim, TABLE, TUNING, tmp_path / "whole", CPU)
    run = Loop.run
    with monkeypatch.context() as patch:
        patch.setattr(Loop, "run", lambda loop: stop_in(part, run, loop))
        with pytest.raises(KeyboardInterrupt):
            tune(TINY, dense, slim, TABLE, TUNING, tmp_path / "cut", CPU)
    torch.rand(3)
    again = tune(TINY, dense, slim, TABLE, TUNING, tmp_path / "cut", CPU)
    one, other = read_state_dict(whole), read_state_dict(again)
    assert one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def stop_in(part: str, run: Callable[..., None], loop: Loop) -> None:
    stop = loop.folder.name == part
    run(loop, 2 if stop else None)
    if stop:
        raise KeyboardInterrupt


def test_a_folder_of_another_run_is_refused(files: tuple[Path, Path], tmp_path: Path) -> None:
    dense, slim = files
    tune(TINY, dense, slim, TABLE, TUNING, tmp_path, CPU)
    with pytest.raises(ValueError, match="holds a tuning whose begin is "):
        tune(TINY, dense, dense, TABLE, TUNING, tmp_path, CPU)
    with pytest.raises(ValueError, match="whose joint is 3, expected 5"):
        tune(TINY, dense, slim, TABLE, replace(TUNING, joint=5), tmp_path, CPU)
    with pytest.raises(ValueError, match="whose frames is "):
        tune(TINY, dense, slim, make_table(scenes=4, length=3, seed=1), TUNING, tmp_path, CPU)


def test_a_dense_network_of_another_model_is_refused(files: tuple[Path, Path], tmp_path: Path) -> None:
    stranger = tmp_path / "stranger.safetensors"
    export(StreamPETR(replace(TINY, embed_dims=64)), stranger)
    with pytest.raises(CheckpointError, match="stranger.safetensors does not fit"):
        tune(TINY, stranger, files[1], TABLE, TUNING, tmp_path / "run", CPU)


def test_settings_that_cannot_be_are_named() -> None:
    with pytest.raises(ValueError, match="joint is -1, expected at least 0"):
        Tuning(steps=1, joint=-1)
