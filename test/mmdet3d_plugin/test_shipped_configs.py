"""The shipped configs build: networks with the node's parameters, pipelines, hooks, schedules."""

from __future__ import annotations

import pytest
import torch
from mmdet3d.registry import HOOKS, MODELS, TRANSFORMS
from mmengine.config import Config
from tiny_setup import CONFIGS

from tggbc_ros.core.config import model_config
from tggbc_ros.core.model import StreamPETR

NETWORKS = {"streampetr_r50_704": "r50_704", "streampetr_vov_800": "vov_800", "streampetr_vov_800_pruned": "vov_800"}


def test_every_config_is_tested() -> None:
    assert {path.stem for path in CONFIGS.glob("*.py")} == {"nuscenes", *NETWORKS}


@pytest.mark.parametrize("name", NETWORKS)
def test_the_network_is_the_nodes(name: str) -> None:
    config = Config.fromfile(CONFIGS / f"{name}.py")
    with torch.device("meta"):
        wanted = StreamPETR(model_config(NETWORKS[name])).state_dict()
    model = MODELS.build(config.model)
    found = model.state_dict()
    assert {key: value.shape for key, value in found.items()} == {key: value.shape for key, value in wanted.items()}
    assert model.model == model_config(NETWORKS[name])
    model.train()
    norms = [module for module in model.backbone.modules() if isinstance(module, torch.nn.BatchNorm2d)]
    assert norms and not any(module.training for module in norms)


@pytest.mark.parametrize("name", NETWORKS)
def test_pipelines_and_schedule_fit_together(name: str) -> None:
    config = Config.fromfile(CONFIGS / f"{name}.py")
    for loader in (config.train_dataloader, config.val_dataloader, config.test_dataloader):
        steps = [TRANSFORMS.build(step) for step in loader.dataset.pipeline]
        fit = next(step for step in steps if type(step).__name__ == "FitCameraImages")
        assert fit.network == model_config(NETWORKS[name])
    epochs = 60 if "r50" in name else 24
    assert config.train_cfg.max_iters == epochs * (28130 // 16) == config.param_scheduler[1].end
    assert tuple(config.train_dataloader.dataset.metainfo.classes) == model_config(NETWORKS[name]).class_names


def test_the_pruned_config_prunes() -> None:
    config = Config.fromfile(CONFIGS / "streampetr_vov_800_pruned.py")
    hook = HOOKS.build(config.custom_hooks[1])
    assert (hook.warmup_iters, hook.heating_iters) == (3 * 1758, 6 * 1758)
    assert hook.removed(10**6, 5250) == 5250
    assert config.model.pruning.keep_ratio == hook.keep_ratio == 0.125
