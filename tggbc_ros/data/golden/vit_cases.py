"""Recorded runs of vision transformers, computed anew: EVA-02 with its neck, and EVA-02 with gates."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch

from tggbc_ros.core.backbones.vit import ViT, ViTShape
from tggbc_ros.core.neck import CPFPN
from tggbc_ros.core.official_keys import official_name
from tggbc_ros.data.golden.cases import AnyArray, GoldenFile
from tggbc_ros.data.golden.checks import Check, largest_difference
from tggbc_ros.data.golden.pyramid import Pyramid
from tggbc_ros.data.golden.svit_stack import check_stack
from tggbc_ros.data.golden.vit_weights import vit_input, vit_weights

MAPS = 2e-4  # values up to 13; the original's float32 noise is 1.8e-5
WEIGHT = "weights."
INPUTS = ("in.", WEIGHT)


def check_vit(golden: GoldenFile) -> tuple[list[Check], list[str]]:
    """Every check of a file of one of the kinds in `CHECKS`, and the recorded outputs that nothing is computed for.

    Raises ValueError naming the file where it asks for a network that there is none of.
    """
    checks = list(CHECKS[golden.kind](golden))
    known = {check.output.partition(" ")[0] for check in checks}
    outputs = (name for name in golden.arrays if ".in." not in name and not name.startswith(INPUTS))
    return checks, sorted(name for name in outputs if name not in known and not _is_given(name))


def _is_given(name: str) -> bool:
    """Noise and projections that a run was given are no outputs."""
    return ".gumbel." in name or name == "train.proj"


@torch.inference_mode()
def check_backbone(golden: GoldenFile) -> Iterator[Check]:
    """EVA-02 and the neck, on each of the file's images."""
    backbone, neck, pyramid = vit_network(golden), _neck(golden), _pyramid(golden)
    for case in golden.meta["cases"]:
        images = torch.from_numpy(_images(golden, case["image"], case["seed"], f"{case['name']}.in.image"))
        tokens = backbone.embed(images)
        computed = {"mid.patch": backbone.patch_embed(images), "mid.pos": backbone.position(*tokens.shape[1:3])}
        passed = [after for _, after in _blocks(backbone, tokens)]
        for index, after in enumerate(passed):
            computed |= {f"mid.block.{index}": after, f"mid.block.{index}.row0": after[:, :1]}
        last = passed[-1].permute(0, 3, 1, 2)
        features = neck((last,))
        computed |= {"out.last": last, "out.neck0": features, "mid.neck1": features[..., ::2, ::2]}
        computed |= {f"out.pyramid.{place}": scaled for place, scaled in enumerate(pyramid(last) if pyramid else [])}
        yield from _check(golden, {f"{case['name']}.{name}": value for name, value in computed.items()})


@torch.inference_mode()
def check_gated(golden: GoldenFile) -> Iterator[Check]:
    """EVA-02 with gates before some blocks, and the same network without."""
    meta, backbone = golden.meta, vit_network(golden, golden.meta["gated"])
    computed: dict[str, torch.Tensor] = {}
    images = torch.from_numpy(_images(golden, meta["image"], meta["seed"], "in.image"))
    (computed["dense.last"],) = vit_network(golden)(images)
    for index, (keep, after) in enumerate(_blocks(backbone, backbone.embed(images))):
        computed |= {f"block.{index}": after, "out.last": after.permute(0, 3, 1, 2)}
        if keep is not None:
            computed[f"keep.{index}"] = keep
    yield from _check(golden, computed)


def refuse_toc3d(golden: GoldenFile) -> Iterator[Check]:
    """ToC3D's router is another network."""
    raise ValueError(f"{golden.path} is a run of ToC3D's router, which is not built here")


CHECKS: Mapping[str, Callable[[GoldenFile], Iterator[Check]]] = {
    "vit": check_backbone,
    "gated_vit": check_gated,
    "svit": check_stack,
    "toc3d": refuse_toc3d,
}


def vit_network(golden: GoldenFile, gated: Sequence[int] = ()) -> ViT:
    """The file's EVA-02 with formula weights; gates before the blocks ``gated``."""
    backbone = ViT(_shape(golden)).eval().requires_grad_(False)
    backbone.add_gates(gated)
    names = {key: official_name(f"backbone.{key}") for key in backbone.state_dict()}
    _load(backbone, names, golden)
    return backbone


def _shape(golden: GoldenFile) -> ViTShape:
    """What the constructor's arguments ask for; raises ValueError for what there is no shape for."""
    cfg: Mapping[str, Any] = golden.meta["cfg"]
    depth, side = cfg["depth"], cfg["img_size"] // cfg["patch_size"]
    shape = ViTShape(
        width=cfg["embed_dim"],
        depth=depth,
        heads=cfg["num_heads"],
        window=cfg["window_size"],
        global_window=cfg["global_window_size"],
        global_blocks=tuple(block for block in range(depth) if block not in cfg["window_block_indexes"]),
        mlp_norm=any(".ffn_ln." in key for key in golden.meta.get("keys", {".ffn_ln.": ()})),
        patch=cfg["patch_size"],
    )
    expected = {"global_window_size": (0, side), "qkv_bias": (True,), "in_chans": (3,)}
    unlike = [f"{name} {cfg[name]}" for name, known in expected.items() if cfg[name] not in known]
    if int(shape.width * cfg["mlp_ratio"]) != shape.hidden:
        unlike.append(f"mlp_ratio {cfg['mlp_ratio']}")
    if unlike:
        raise ValueError(f"{golden.path} has {', '.join(unlike)}, of which there is no EVA-02 here")
    return shape


def _neck(golden: GoldenFile) -> CPFPN:
    neck = CPFPN((golden.meta["cfg"]["embed_dim"],), golden.meta["neck_out"]).eval().requires_grad_(False)
    _load(neck, {key: official_name(f"neck.{key}") for key in neck.state_dict()}, golden)
    return neck


def _pyramid(golden: GoldenFile) -> Pyramid | None:
    """RepDETR3D's, where the case has it."""
    cfg = golden.meta["cfg"].get("sim_fpn")
    if cfg is None:
        return None
    pyramid = Pyramid(cfg["in_channels"], cfg["out_channels"], cfg["scale_factors"]).eval().requires_grad_(False)
    _load(pyramid, {key: f"img_backbone.adapter.{key}" for key in pyramid.state_dict()}, golden)
    return pyramid


def _load(module: torch.nn.Module, names: Mapping[str, str], golden: GoldenFile) -> None:
    """Formula weights by official names, or what the file has in their place."""
    own = module.state_dict()
    shapes = {names[key]: tuple(value.shape) for key, value in own.items()}
    weights: dict[str, AnyArray] = {**vit_weights(shapes, golden.meta["salt"])}
    weights |= {name.removeprefix(WEIGHT): array for name, array in golden.arrays.items() if name.startswith(WEIGHT)}
    module.load_state_dict({key: torch.from_numpy(weights[names[key]]) for key in own})


def _images(golden: GoldenFile, shape: list[int], seed: int, recorded: str) -> AnyArray:
    """As recorded, else by formula."""
    if recorded in golden.arrays:
        return golden.arrays[recorded]
    return vit_input("eva.image", tuple(shape), seed)


def _blocks(backbone: ViT, tokens: torch.Tensor) -> Iterator[tuple[torch.Tensor | None, torch.Tensor]]:
    """Of each block, the tokens that pass it (None for all) and the map after it."""
    for index, windows in enumerate(backbone.windows(tokens)):
        keep = backbone.keep(index, tokens)
        tokens = backbone.run_block(index, tokens, windows, keep)
        yield keep, tokens


def _check(golden: GoldenFile, computed: Mapping[str, torch.Tensor]) -> Iterator[Check]:
    """What was recorded of what was computed; masks must be equal."""
    for name, value in computed.items():
        if name in golden.arrays:
            recorded = golden.arrays[name]
            tolerance = 0.0 if recorded.dtype == np.bool_ else MAPS
            yield Check(name, largest_difference(value.numpy(), recorded), tolerance)
