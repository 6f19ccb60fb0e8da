"""Config files of StreamPETR's and tgGBC's own plugins (mmdet3d 1.0.0rc6) -> config files for this one.

Whatever has no counterpart here and changes results raises or is listed; nothing is dropped in silence.
"""

from __future__ import annotations

import dataclasses
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tggbc_ros.core.config import ModelConfig, model_config
from tggbc_ros.mmdet3d_plugin.old_files import OldConfigError, Section, read_old_config
from tggbc_ros.training.losses import LossConfig

CAMERAS = 6
BASES = {"ResNet": "r50_704", "VoVNetCP": "vov_800"}
BACKBONES = {
    "ResNet": 'dict(\n        type="mmdet.ResNet",\n        depth=50,\n        out_indices=(2, 3),\n'
    '        norm_cfg=dict(type="BN", requires_grad=False),\n        norm_eval=True,\n        style="pytorch",\n    )',
    "VoVNetCP": 'dict(type="VoVNet", blocks=(1, 3, 9, 3), norm_eval=True)',
}
NECK_CHANNELS = {"ResNet": [1024, 2048], "VoVNetCP": [768, 1024]}


@dataclass(frozen=True)
class Converted:
    """text: of the new config. left_out: what of the old one has no counterpart, one line each."""

    text: str
    left_out: tuple[str, ...]


@dataclass(frozen=True)
class Parts:
    """What the new config says, as the values of its assignments."""

    network: dict[str, Any]
    model: ModelConfig
    backbone: str
    detector: dict[str, Any]
    fit: dict[str, Any]
    rotate: tuple[float, ...]
    hook: dict[str, Any] | None


def convert_config(path: Path, out: Path, shipped: Path) -> Converted:
    """The new config's text, to be written to ``out``; ``shipped``: the folder with nuscenes.py.

    Raises OldConfigError naming what cannot be read, or what this network cannot do.
    """
    if not (shipped / "nuscenes.py").is_file():
        raise OldConfigError(f"no {shipped / 'nuscenes.py'}: --base must name the folder config/mmdet3d of tggbc_ros")
    root = Section("config", read_old_config(path))
    model = root.section("model")
    model.expect("type", "Petr3D")
    parts = _parts(root, model)
    base = os.path.relpath(shipped / "nuscenes.py", out.parent)
    text = "\n".join([_head(path.name, base), _model_text(parts), _data_text(root, parts), _schedule_text(root)])
    return Converted(text, tuple(_left_out(root, model)))


def _parts(root: Section, model: Section) -> Parts:
    backbone = model.section("img_backbone")
    kind = backbone.need("type")
    if kind not in BASES:
        raise OldConfigError(f"model.img_backbone.type is {kind!r}, expected one of {', '.join(BASES)}")
    size, expected = ("depth", 50) if kind == "ResNet" else ("spec_name", "V-99-eSE")
    backbone.expect(size, expected)
    neck = model.section("img_neck")
    neck.expect("type", "CPFPN")
    head = model.section("pts_bbox_head")
    head.expect("type", "StreamPETRHead")
    aug = root.section("ida_aug_conf")
    fields = _network_fields(root, head, aug)
    network, shape = _changes(BASES[kind], fields)
    decoder = _decoder(head)
    detector = {
        "pruning": _pruning(decoder, shape),
        "decode": _decode(head.section("bbox_coder")),
        "losses": _losses(head),
        "denoise": {"groups": head.take("scalar", 10), "positive": head.take("split", 0.75)},
    }
    fit = {"resize_range": tuple(aug.need("resize_lim")), "flip_ratio": 0.5 if aug.take("rand_flip") else 0.0}
    return Parts(network, shape, kind, detector, fit, _rotation(root), _hook(root))


def _network_fields(root: Section, head: Section, aug: Section) -> dict[str, Any]:
    """Fields of `core.config.ModelConfig` as the old config has them."""
    head.expect("LID", True)
    head.expect("with_ego_pos", True, default=True)
    head.expect("match_with_velo", False, default=True)
    head.expect("in_channels", 256)
    propagated = head.need("num_propagated")
    head.expect("topk_proposals", propagated)
    layers = head.section("transformer").section("decoder").section("transformerlayers")
    norm = root.section("img_norm_cfg")
    return {
        "image_size": tuple(aug.need("final_dim")),
        "color_order": "rgb" if norm.need("to_rgb") else "bgr",
        "mean": tuple(norm.need("mean")),
        "std": tuple(norm.need("std")),
        "num_queries": head.need("num_query"),
        "num_propagated": propagated,
        "memory_length": head.need("memory_len"),
        "class_names": tuple(root.need("class_names")),
        "num_heads": layers.need("attn_cfgs")[0]["num_heads"],
        "ffn_dims": layers.need("feedforward_channels"),
        "num_layers": head.section("transformer").section("decoder").need("num_layers"),
        "pc_range": tuple(root.need("point_cloud_range")),
        "position_range": tuple(head.need("position_range")),
    }


def _changes(base: str, fields: dict[str, Any]) -> tuple[dict[str, Any], ModelConfig]:
    """What the new config says of the network, base and what differs from it; and the network itself."""
    shipped = model_config(base)
    changes = {name: value for name, value in fields.items() if getattr(shipped, name) != value}
    return {"base": base, **changes}, dataclasses.replace(shipped, **changes)


def _decoder(head: Section) -> Section:
    return head.section("transformer").section("decoder")


def _pruning(decoder: Section, model: ModelConfig) -> dict[str, Any]:
    """tgGBC's r, n, k as shares of all keys."""
    rows, columns = model.feature_size
    keys, removed = CAMERAS * rows * columns, decoder.take("r", 0) if decoder.take("strategy") == "gbc" else 0
    if not 0 <= removed < keys:
        raise OldConfigError(f"{decoder.name}.r is {removed}, expected 0 to {keys - 1}: there are {keys} keys")
    return {
        "keep_ratio": 1.0 - removed / keys,
        "layers": max(1, decoder.take("n", 1)),
        "queries": max(0, decoder.take("k", 175)),
    }


def _decode(coder: Section) -> dict[str, Any]:
    coder.expect("type", "NMSFreeCoder")
    threshold = coder.take("score_threshold")
    return {
        "max_boxes": coder.take("max_num", 300),
        "center_range": tuple(coder.need("post_center_range")),
        "score_threshold": 0.0 if threshold is None else threshold,
    }


def _losses(head: Section) -> dict[str, Any]:
    shipped, focal = LossConfig(), head.section("loss_cls")
    focal.expect("type", "FocalLoss")
    found = {
        "class_weight": focal.take("loss_weight", shipped.class_weight),
        "focal_alpha": focal.take("alpha", shipped.focal_alpha),
        "focal_gamma": focal.take("gamma", shipped.focal_gamma),
        "box_weight": head.section("loss_bbox").take("loss_weight", shipped.box_weight),
        "code_weights": tuple(head.take("code_weights", shipped.code_weights)),
    }
    return {name: value for name, value in found.items() if getattr(shipped, name) != value}


def _rotation(root: Section) -> tuple[float, ...]:
    steps = [step for step in root.take("train_pipeline", []) if step.get("type") == "GlobalRotScaleTransImage"]
    return tuple(steps[0]["rot_range"]) if steps else (0.0, 0.0)


def _hook(root: Section) -> dict[str, Any] | None:
    """tgGBC's GBCHook as ours; other hooks are for the list of what is left out."""
    for hook in root.values.get("custom_hooks", []):
        if hook.get("type") == "GBCHook":
            given = Section("custom_hooks GBCHook", hook)
            names = ("warmup_iters", "heating_iters", "r", "n", "k")
            return {"type": "KeyPruningHook"} | {name: given.need(name) for name in names}
    return None


def _head(name: str, base: str) -> str:
    told = f'"""Converted from {name} by tggbc_ros.tools.convert_mmdet3d."""'
    return f"{told}\n\n_base_ = [{Path(base).as_posix()!r}]\n"


def _model_text(parts: Parts) -> str:
    model = parts.model
    detector = "\n".join(f"    {name}={value!r}," for name, value in parts.detector.items() if value)
    hook = f'custom_hooks = [dict(type="ClassOrderHook"), {parts.hook!r}]\n' if parts.hook else ""
    return f"""network = {parts.network!r}
model = dict(
    type="StreamPETR",
    data_preprocessor=dict(
        type="Det3DDataPreprocessor",
        mean={list(model.mean)!r},
        std={list(model.std)!r},
        bgr_to_rgb={model.color_order == "rgb"},
        pad_size_divisor=32,
    ),
    backbone={BACKBONES[parts.backbone]},
    neck=dict(type="CPFPN", in_channels={NECK_CHANNELS[parts.backbone]}),
    head=dict(type="StreamPETRHead", **network),
{detector}
)
{hook}"""


def _data_text(root: Section, parts: Parts) -> str:
    data = root.section("data")
    batch, workers = data.take("samples_per_gpu", 1), data.take("workers_per_gpu", 4)
    classes = f"metainfo=dict(classes={tuple(parts.model.class_names)!r})"
    return f"""rotate = dict(type="RotateLidarFrame", angle_range={parts.rotate!r})
fit_train = dict(type="FitCameraImages", **{parts.fit!r}, **network)
train_pipeline = [_base_.load_images, _base_.load_boxes, rotate, fit_train, _base_.pack_train]
test_pipeline = [_base_.load_images, dict(type="FitCameraImages", **network), _base_.pack_test]
train_dataloader = dict(
    batch_size={batch},
    num_workers={workers},
    dataset=dict(pipeline=train_pipeline, {classes}),
)
val_dataloader = dict(dataset=dict(pipeline=test_pipeline, {classes}))
test_dataloader = val_dataloader
"""


def _schedule_text(root: Section) -> str:
    optimizer, rates, runner = root.section("optimizer"), root.section("lr_config"), root.section("runner")
    rates.expect("policy", "CosineAnnealing")
    runner.expect("type", "IterBasedRunner")
    steps, warmup = runner.need("max_iters"), rates.take("warmup_iters", 0)
    checkpoints, keys = root.section("checkpoint_config"), optimizer.section("paramwise_cfg").section("custom_keys")
    adam = {name: optimizer.need(name) for name in ("type", "lr", "weight_decay")}
    start, least = rates.take("warmup_ratio", 0.1), rates.take("min_lr_ratio", 0.0)
    every, kept = checkpoints.take("interval", steps), checkpoints.take("max_keep_ckpts", -1)
    return f"""optim_wrapper = dict(
    _delete_=True,
    type="OptimWrapper",
    optimizer={adam!r},
    paramwise_cfg=dict(custom_keys=dict(backbone={keys.take("img_backbone", {})!r})),
    clip_grad={root.section("optimizer_config").take("grad_clip")!r},
)
param_scheduler = [
    dict(type="LinearLR", start_factor={start!r}, begin=0, end={warmup}, by_epoch=False),
    dict(
        type="CosineAnnealingLR",
        eta_min_ratio={least!r},
        begin={warmup},
        end={steps},
        T_max={steps - warmup},
        by_epoch=False,
    ),
]
val_interval = {root.section("evaluation").take("interval", steps)}
train_cfg = dict(type="IterBasedTrainLoop", max_iters={steps}, val_interval=val_interval)
default_hooks = dict(
    checkpoint=dict(type="CheckpointHook", interval={every}, by_epoch=False, max_keep_ckpts={kept}),
)
"""


def _left_out(root: Section, model: Section) -> list[str]:
    """Lines that name what the new config does not have."""
    lines = [f"{name}: no counterpart" for name in (*model.unused(), *root.section("ida_aug_conf").unused())]
    if root.section("optimizer_config").take("type") == "Fp16OptimizerHook":
        lines.append("optimizer_config.type Fp16OptimizerHook: training is in float32")
    for step in root.take("train_pipeline", []):
        if step.get("type") == "GlobalRotScaleTransImage" and set(step.get("scale_ratio_range", [1])) != {1}:
            lines.append("train_pipeline GlobalRotScaleTransImage.scale_ratio_range: scenes are not scaled")
    for hook in root.take("custom_hooks", []):
        if hook.get("type") != "GBCHook":
            lines.append(f"custom_hooks {hook.get('type')}: no counterpart")
    if root.take("load_from"):
        lines.append(f"load_from {root.take('load_from')}: convert that checkpoint, then name the result")
    data = root.section("data")
    if data.take("train", {}).get("seq_split_num", 1) != 1:
        lines.append("data.train.seq_split_num: streams play whole scenes")
    lines.append(
        "data.train, data.val, data.test ann_file: mmdet3d 1.4 has info files of another form; write them anew"
    )
    return lines
