"""A backbone that was cut, told by a config or by a checkpoint: the node's boxes, training, and the way back."""

from __future__ import annotations

import copy
import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from mmdet3d.registry import MODELS
from mmengine.config import Config
from mmengine.runner import Runner
from tiny_setup import CONFIGS, NETWORK, TinySetup, model_config, node_boxes

from tggbc_ros.compress.cutting import Cut
from tggbc_ros.compress.layout import widths
from tggbc_ros.compress.surgery import cut_network
from tggbc_ros.core import config as core_config
from tggbc_ros.core.checkpoint import CheckpointError, build_network, to_official
from tggbc_ros.core.config import PruningConfig
from tggbc_ros.core.model import StreamPETR
from tggbc_ros.core.network_file import history_of, write_network
from tggbc_ros.mmdet3d_plugin.parts import network_config
from tggbc_ros.tools import convert_mmdet3d


@pytest.fixture
def slim(tiny: TinySetup) -> StreamPETR:
    """Half of the channels, a block less, constants left."""
    whole = StreamPETR(tiny.network).eval()
    kept = {group: range(width // 2) for group, width in widths(whole.backbone.shape).items()}
    return cut_network(whole, Cut(kept, frozenset({"layer3.1"}), constants=True))


@pytest.fixture
def file(slim: StreamPETR, tmp_path: Path) -> Path:
    path = tmp_path / "slim.safetensors"
    write_network(slim.state_dict(), path, slim.model.shape, [{"step": "cut"}])
    return path


def slim_config(shape: object, **changes: Any) -> dict[str, Any]:
    parts = ("Backbone", "Neck", "Head")
    each = {part.lower(): {"type": f"StreamPETR{part}", **NETWORK, "shape": shape} for part in parts}
    return model_config(**each, **changes)


def test_the_checkpoint_tells_the_shape_and_boxes_are_the_nodes(
    tiny: TinySetup, slim: StreamPETR, file: Path, tmp_path: Path
) -> None:
    model = MODELS.build(slim_config(str(file), checkpoint=str(file)))
    assert model.model == slim.model
    model.eval()
    expected = node_boxes(tiny, slim, PruningConfig(keep_ratio=0.5))
    model.pruning = PruningConfig(keep_ratio=0.5)
    frames = list(Runner.build_dataloader(tiny.config(tmp_path).test_dataloader))
    for frame, boxes in zip(frames, expected, strict=True):
        found = model.test_step(frame)[0].pred_instances_3d
        np.testing.assert_allclose(found.scores_3d, boxes.score, atol=2e-5)


def test_a_config_tells_the_shape_and_it_trains(tiny: TinySetup, slim: StreamPETR, tmp_path: Path) -> None:
    config = tiny.config(tmp_path)
    config.model = Config({"model": slim_config(dataclasses.asdict(slim.model.shape))}).model
    config.train_cfg.max_iters = config.train_cfg.val_interval = 2
    runner = Runner.from_cfg(config)
    assert runner.model.model == slim.model
    before = copy.deepcopy(runner.model.backbone.state_dict())
    runner.train()
    after = runner.model.backbone.state_dict()
    assert not torch.equal(before["conv1.weight"], after["conv1.weight"])
    assert torch.equal(before["bn1.running_mean"], after["bn1.running_mean"]), "norms rest, as in StreamPETR's training"


def test_a_backbone_of_another_shape_is_refused_in_one_line(file: Path) -> None:
    dense = model_config(head={"type": "StreamPETRHead", **NETWORK, "shape": str(file)})
    with pytest.raises(ValueError, match="backbone is a ResNet of another shape than the head's network: give Stream"):
        MODELS.build(dense)
    with pytest.raises(
        CheckpointError, match=r"slim\.safetensors has a backbone that was cut: give StreamPETRBackbone"
    ):
        MODELS.build(model_config(checkpoint=str(file)))
    for shape, said in (("none.pth", "shape is 'none.pth', expected"), ({"family": "resnet"}, "expected block, const")):
        with pytest.raises(ValueError, match=said):
            network_config("demo", {"shape": shape})
    with pytest.raises(ValueError, match="backbone is 'eva02_demo', expected one of resnet18"):
        MODELS.build({"type": "StreamPETRBackbone", "base": "demo_vit"})


@pytest.mark.parametrize("name", ["streampetr_r50_704", "streampetr_vov_800"])
def test_parts_of_the_usual_shape_are_the_shipped_configs(name: str) -> None:
    config = Config.fromfile(CONFIGS / f"{name}.py")
    with torch.device("meta"):
        for part in ("Backbone", "Neck"):
            built, shipped = (
                MODELS.build(each).state_dict()
                for each in ({"type": f"StreamPETR{part}", **config.network}, config.model[part.lower()])
            )
            assert {key: value.shape for key, value in built.items()} == {k: v.shape for k, v in shipped.items()}


def test_weights_go_to_mmengine_and_back(
    tiny: TinySetup, slim: StreamPETR, file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(core_config.MODELS, "demo", tiny.network)
    convert = ["checkpoint", "--model", "demo"]
    new, back = file.with_name("new.pth"), file.with_name("back.safetensors")
    assert convert_mmdet3d.main([*convert, str(file), str(new)]) == 0
    assert f"a config needs shape={str(file)!r}" in capsys.readouterr().out
    assert convert_mmdet3d.main([*convert, str(new), str(back)]) == 2, "such a file does not tell its shape"
    assert convert_mmdet3d.main([*convert, str(new), str(back), "--shape-of", str(file)]) == 0
    found, _ = build_network(tiny.network, back)
    assert found.model == slim.model and history_of(back) == ({"step": "cut"},)
    assert torch.equal(found.backbone.conv1.weight, slim.backbone.conv1.weight.half().float())


def test_official_names_of_a_slim_network_load_too(slim: StreamPETR, file: Path) -> None:
    torch.save(to_official(slim), file.with_name("official.pth"))
    model = MODELS.build(slim_config(str(file), checkpoint=str(file.with_name("official.pth"))))
    assert torch.equal(model.backbone.conv1.weight, slim.backbone.conv1.weight)
