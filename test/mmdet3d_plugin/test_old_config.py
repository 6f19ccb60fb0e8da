"""A config of the old plugins becomes one that builds here, with the same numbers; what is lost is named."""

from __future__ import annotations

from pathlib import Path

import pytest
from mmdet3d.registry import HOOKS, TRANSFORMS
from mmengine.config import Config
from old_plugin_config import OLD_CONFIG
from tiny_setup import CONFIGS

from tggbc_ros.mmdet3d_plugin.old_config import convert_config
from tggbc_ros.mmdet3d_plugin.old_files import OldConfigError, read_old_config
from tggbc_ros.mmdet3d_plugin.parts import network_config
from tggbc_ros.tools import convert_mmdet3d

EPOCH_ITERS = 28130 // 4


@pytest.fixture
def old(tmp_path: Path) -> Path:
    path = tmp_path / "old.py"
    path.write_text(OLD_CONFIG)
    return path


def test_the_new_config_has_the_old_numbers(old: Path, tmp_path: Path) -> None:
    new = tmp_path / "configs" / "new.py"
    assert convert_mmdet3d.main(["config", str(old), str(new)]) == 0
    config = Config.fromfile(new)
    network = dict(config.model.head)
    assert network.pop("type") == "StreamPETRHead"
    model = network_config(network.pop("base"), network)
    assert (model.image_size, model.num_queries, model.num_propagated) == ((640, 1600), 600, 256)
    assert (model.color_order, model.mean[0]) == ("bgr", 103.53)
    assert config.model.pruning == {"keep_ratio": 1 - 21000 / 24000, "layers": 1, "queries": 175}
    assert config.model.losses == {"class_weight": 3.0}
    assert config.model.denoise == {"groups": 10, "positive": 0.75}
    assert config.optim_wrapper.optimizer == {"type": "AdamW", "lr": 1.5e-4, "weight_decay": 0.01}
    assert config.optim_wrapper.paramwise_cfg.custom_keys.backbone.lr_mult == 0.1
    assert config.train_cfg.max_iters == 30 * EPOCH_ITERS
    assert config.param_scheduler[1].T_max == 30 * EPOCH_ITERS - 500
    assert config.train_dataloader.batch_sampler.type == "StreamBatchSampler"
    assert config.val_evaluator.type == "NuScenesMetric"
    hook = HOOKS.build(config.custom_hooks[1])
    assert (hook.warmup_iters, hook.heating_iters, hook.r) == (3 * EPOCH_ITERS, 6 * EPOCH_ITERS, 21000)
    fit = next(step for step in config.train_dataloader.dataset.pipeline if step.type == "FitCameraImages")
    step = TRANSFORMS.build(fit)
    assert (step.network.image_size, step.resize_range, step.flip_ratio) == ((640, 1600), (0.94, 1.25), 0.5)


def test_a_backbone_that_learned_as_fast_as_the_rest_still_does(old: Path, tmp_path: Path) -> None:
    assert "lr_mult=0.1" in OLD_CONFIG
    old.write_text(OLD_CONFIG.replace("lr_mult=0.1", ""))
    (tmp_path / "new.py").write_text(convert_config(old, tmp_path / "new.py", CONFIGS).text)
    assert Config.fromfile(tmp_path / "new.py").optim_wrapper.paramwise_cfg.custom_keys.backbone == {}


def test_a_dense_config_with_a_resnet(old: Path, tmp_path: Path) -> None:
    text = OLD_CONFIG.replace(
        'img_backbone=dict(type="VoVNetCP", spec_name="V-99-eSE", norm_eval=True)',
        'img_backbone=dict(type="ResNet", depth=50, init_cfg=dict(type="Pretrained", checkpoint="x.pth"))',
    )
    old.write_text(text.replace('strategy="gbc",', "").replace('type="GBCHook"', 'type="OtherHook"'))
    converted = convert_config(old, tmp_path / "new.py", CONFIGS)
    (tmp_path / "new.py").write_text(converted.text)
    config = Config.fromfile(tmp_path / "new.py")
    assert (config.model.backbone.type, config.model.backbone.depth) == ("mmdet.ResNet", 50)
    assert config.model.neck.in_channels == [1024, 2048]
    assert config.model.head.base == "r50_704"
    assert config.model.pruning.keep_ratio == 1.0
    assert config.custom_hooks == [{"type": "ClassOrderHook"}]
    lost = "\n".join(converted.left_out)
    assert "custom_hooks OtherHook" in lost and "img_backbone.init_cfg" in lost


def test_what_is_lost_is_named(old: Path, tmp_path: Path) -> None:
    lost = "\n".join(convert_config(old, tmp_path / "new.py", CONFIGS).left_out)
    for name in (
        "img_roi_head",
        "use_grid_mask",
        "scale_ratio_range",
        "seq_split_num",
        "Fp16",
        "noise_scale",
        "load_from",
    ):
        assert name in lost


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        ("topk_proposals=256", "topk_proposals=128", "topk_proposals is 128, expected 256"),
        ('type="Petr3D"', 'type="RepDETR3D"', "model.type is 'RepDETR3D', expected 'Petr3D'"),
        ('"VoVNetCP"', '"EVA02"', "expected one of ResNet, VoVNetCP"),
        ("r=21000,\n                n", "r=24000,\n                n", "r is 24000, expected 0 to 23999"),
        ("match_with_velo=False", "match_with_velo=True", "match_with_velo is True, expected False"),
        ("plugin = True", "import os", "old.py:3: expected NAME = VALUE, got 'import os'"),
        ("plugin = True", "plugin = open('x')", "cannot read .* without running it"),
        ("num_query=600,", "", "model.pts_bbox_head has no num_query"),
    ],
)
def test_what_cannot_be_had_is_refused(old: Path, tmp_path: Path, before: str, after: str, message: str) -> None:
    assert before in OLD_CONFIG
    old.write_text(OLD_CONFIG.replace(before, after, 1))
    with pytest.raises(OldConfigError, match=message):
        convert_config(old, tmp_path / "new.py", CONFIGS)


def test_a_base_config_that_is_there_comes_first(old: Path, tmp_path: Path) -> None:
    child = tmp_path / "child.py"
    child.write_text('_base_ = "old.py"\nmodel = dict(pts_bbox_head=dict(num_query=644))\n')
    head = read_old_config(child)["model"]["pts_bbox_head"]
    assert (head["num_query"], head["memory_len"]) == (644, 1024)


def test_the_tool_says_in_one_line_what_is_wrong(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert convert_mmdet3d.main(["config", str(tmp_path / "none.py"), str(tmp_path / "new.py")]) == 2
    assert capsys.readouterr().err == f"convert_mmdet3d: no config {tmp_path / 'none.py'}\n"
