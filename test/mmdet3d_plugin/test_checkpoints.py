"""Weights by StreamPETR's names, mmengine's and the node's end up in the same network."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch
from mmdet3d.registry import MODELS
from mmengine.logging import HistoryBuffer
from mmengine.runner import load_checkpoint
from tiny_setup import TinySetup, model_config

from tggbc_ros.core import config as core_config
from tggbc_ros.core.checkpoint import CheckpointError, to_official
from tggbc_ros.core.model import StreamPETR
from tggbc_ros.mmdet3d_plugin.checkpoints import history_method, read_backbone, read_weights, write_mmengine
from tggbc_ros.tools import convert_mmdet3d


@pytest.fixture
def official(tiny: TinySetup, tmp_path: Path) -> tuple[Path, StreamPETR]:
    """A checkpoint as StreamPETR's training writes it, 2D head and log of NumPy numbers included."""
    module = StreamPETR(tiny.network)
    state = {**to_official(module), "img_roi_head.cls.weight": torch.zeros(3)}
    torch.save({"meta": {"epoch": 24}, "state_dict": state}, tmp_path / "official.pth")
    return tmp_path / "official.pth", module


def same(found: dict[str, torch.Tensor], wanted: dict[str, torch.Tensor]) -> bool:
    return found.keys() == wanted.keys() and all(torch.equal(found[name], wanted[name]) for name in wanted)


def test_the_detector_takes_an_official_checkpoint(official: tuple[Path, StreamPETR]) -> None:
    path, module = official
    model = MODELS.build(model_config(checkpoint=str(path)))
    assert same(model.state_dict(), module.state_dict())
    model.init_weights()  # must not undo it
    assert same(model.state_dict(), module.state_dict())


def test_a_checkpoint_that_does_not_fit_is_refused(official: tuple[Path, StreamPETR]) -> None:
    config = model_config(checkpoint=str(official[0]))
    config["head"]["num_queries"] = 17
    with pytest.raises(CheckpointError, match="reference_points"):
        MODELS.build(config)


def test_a_converted_checkpoint_goes_into_mmengine_and_back(
    official: tuple[Path, StreamPETR], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, module = official
    monkeypatch.setitem(core_config.MODELS, "demo", module.model)
    new, node = tmp_path / "new.pth", tmp_path / "node.safetensors"
    assert convert_mmdet3d.main(["checkpoint", str(path), str(new), "--model", "demo"]) == 0
    model = MODELS.build(model_config() | {"head": {"type": "StreamPETRHead", "base": "demo"}})
    load_checkpoint(model, str(new), strict=True)
    assert same(model.state_dict(), module.state_dict())
    assert convert_mmdet3d.main(["checkpoint", str(new), str(node), "--model", "demo"]) == 0
    assert same(read_weights(node, module.model).state_dict(), {k: half(v) for k, v in module.state_dict().items()})


def half(value: torch.Tensor) -> torch.Tensor:
    return value.half().float() if value.is_floating_point() else value


@pytest.mark.parametrize(("backbone", "prefix"), [("vovnet99", "img_backbone."), ("resnet18_half", "")])
def test_a_backbone_alone_is_renamed(tiny: TinySetup, tmp_path: Path, backbone: str, prefix: str) -> None:
    model = dataclasses.replace(tiny.network, backbone=backbone)
    module = StreamPETR(model)
    state = {k: v for k, v in to_official(module).items() if k.startswith("img_backbone.")}
    torch.save({prefix + k.removeprefix("img_backbone."): v for k, v in state.items()}, tmp_path / "v.pth")
    found = read_backbone(tmp_path / "v.pth", model)
    wanted = {k: v for k, v in module.state_dict().items() if k.startswith("backbone.") and "num_batches" not in k}
    assert same(found, wanted)


def test_a_backbone_of_another_kind_is_refused(tiny: TinySetup, tmp_path: Path) -> None:
    torch.save(to_official(StreamPETR(tiny.network)), tmp_path / "r18.pth")
    model = dataclasses.replace(tiny.network, backbone="resnet50")
    with pytest.raises(CheckpointError, match=r"has .* under img_backbone\..*, expected"):
        read_backbone(tmp_path / "r18.pth", model)


def test_a_log_may_ask_for_nothing_but_its_methods() -> None:
    assert history_method(HistoryBuffer, "mean") is HistoryBuffer.mean
    for owner, name in ((Path, "home"), (HistoryBuffer, "__init__"), (HistoryBuffer([1], [1]), "mean")):
        with pytest.raises(CheckpointError, match="a checkpoint asks for"):
            history_method(owner, name)


def test_the_file_says_what_it_is(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="is a .pth file"):
        write_mmengine({}, tmp_path / "x.bin")
