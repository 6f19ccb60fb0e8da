"""Checkpoints with a vision transformer: published keys, rotary tables, ToC3D's router, gates, a start from one."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tiny_model import TINY

from tggbc_ros.core import backbones
from tggbc_ros.core.backbones.vit import SHAPES, ViT, ViTShape
from tggbc_ros.core.checkpoint import CheckpointError, load_into, to_official
from tggbc_ros.core.config import MODELS
from tggbc_ros.core.model import StreamPETR
from tggbc_ros.core.vit_checkpoint import PYRAMID, ROUTER, load_backbone, rotary_tables

SHAPE = ViTShape(16, 3, 2, window=2, global_window=4, global_blocks=(2,))
MODEL = replace(TINY, name="tiny_vit", backbone="tiny_vit", image_size=(64, 96))
ROUTER_KEY = "img_backbone.score_predictor.0.in_conv.0.weight"
Network = Callable[[int], StreamPETR]


@pytest.fixture
def network(monkeypatch: pytest.MonkeyPatch) -> Network:
    monkeypatch.setitem(backbones.BACKBONES, "tiny_vit", lambda: ViT(SHAPE))

    def build(seed: int) -> StreamPETR:
        torch.manual_seed(seed)
        return StreamPETR(MODEL)

    return build


def same_weights(a: StreamPETR, b: StreamPETR) -> bool:
    ours, theirs = a.state_dict(), b.state_dict()
    return ours.keys() == theirs.keys() and all(torch.equal(ours[key], theirs[key]) for key in ours)


def published(folder: Path, name: str) -> dict[str, list[int]]:
    listed = json.loads((folder / "vit" / f"state_dict_{name}.json").read_text())["inference"]
    return {key: entry["shape"] for key, entry in listed.items()}


@pytest.fixture(scope="module")
def large() -> dict[str, list[int]]:
    """Keys and shapes of vit_l_800, without its 1.2 GB."""
    with torch.device("meta"):
        module = StreamPETR(MODELS["vit_l_800"])
    return {key: list(value.shape) for key, value in to_official(module).items()}


def test_keys_and_shapes_are_the_published_ones(golden_dir: Path, large: dict[str, list[int]]) -> None:
    assert large == published(golden_dir, "vit_l_800")


def test_toc3d_has_the_same_backbone_and_its_router(golden_dir: Path, large: dict[str, list[int]]) -> None:
    theirs = published(golden_dir, "toc3d_backbone")
    ours = {key: shape for key, shape in large.items() if key.startswith("img_backbone.")}
    assert {key: shape for key, shape in theirs.items() if not ROUTER.fullmatch(key)} == ours
    assert len(theirs) - len(ours) == 109


def test_repdetr3d_has_the_same_backbone_and_a_pyramid(golden_dir: Path, large: dict[str, list[int]]) -> None:
    theirs = published(golden_dir, "repdetr3d_eva02_backbone")
    ours = {key: shape for key, shape in large.items() if key.startswith("img_backbone.")}
    assert {key: shape for key, shape in theirs.items() if not PYRAMID.fullmatch(key)} == ours


def test_an_official_state_dict_goes_there_and_back(network: Network) -> None:
    source, target = network(1), network(2)
    load_into(target, to_official(source))
    assert same_weights(source, target)
    load_into(target, network(3).state_dict())
    assert same_weights(target, network(3))


@pytest.mark.parametrize("precision", [torch.float16, torch.bfloat16])
def test_tables_of_half_precision_are_ours(precision: torch.dtype, network: Network) -> None:
    state = {key: value.to(precision) for key, value in to_official(network(1)).items()}
    load_into(network(2), state)


def test_tables_need_not_be_there_and_those_of_another_size_are_passed_over(
    network: Network, caplog: pytest.LogCaptureFixture
) -> None:
    source, target = network(1), network(2)
    state = to_official(source)
    del state["img_backbone.rope_win.freqs_cos"]
    state["img_backbone.rope_glb.freqs_cos"] = torch.zeros(25, 8)
    with caplog.at_level(logging.INFO):
        load_into(target, state, "checkpoint x.pth")
    assert same_weights(source, target)
    assert "checkpoint x.pth: 1 rotary tables of another size are passed over" in caplog.text


def refusal(state: dict[str, torch.Tensor], target: StreamPETR) -> str:
    """What `load_into` says; the module must be as it was."""
    before = {key: value.clone() for key, value in target.state_dict().items()}
    with pytest.raises(CheckpointError) as caught:
        load_into(target, state, source="checkpoint x.pth")
    after = target.state_dict()
    assert before.keys() == after.keys() and all(torch.equal(before[key], after[key]) for key in before)
    return str(caught.value)


@pytest.mark.parametrize("value", [0.5, float("nan")])
def test_tables_of_our_size_must_be_ours(value: float, network: Network) -> None:
    state = to_official(network(1))
    state["img_backbone.blocks.2.attn.rope.freqs_sin"] = torch.full((16, 8), value)
    message = refusal(state, network(2))
    assert "1 rotary tables unlike those of its shape: img_backbone.blocks.2.attn.rope.freqs_sin first" in message


def test_tables_of_integers_are_a_refusal_and_no_crash(network: Network) -> None:
    state = to_official(network(1))
    state["img_backbone.rope_win.freqs_cos"] = torch.zeros(4, 8, dtype=torch.int64)
    assert "rope_win.freqs_cos first" in refusal(state, network(2))


def test_a_router_is_named_and_not_used(network: Network, caplog: pytest.LogCaptureFixture) -> None:
    source, target = network(1), network(2)
    state = to_official(source)
    state |= {ROUTER_KEY: torch.ones(16), "img_backbone.rope_win_acc.freqs_cos": torch.zeros(4, 8)}
    load_into(target, state, "checkpoint x.pth")
    assert same_weights(source, target)
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert "checkpoint x.pth: 2 tensors of ToC3D's router (img_backbone.score_predictor" in record.getMessage()
    assert "trained with it" in record.getMessage()


def test_what_only_looks_like_a_router_or_a_table_is_refused(network: Network) -> None:
    for key in (
        "img_backbone.score_predictors.0.weight",
        "img_backbone.rope.freqs_cos",
        "img_backbone.adapter.simfp_2.0.bias",
    ):
        assert f"1 unexpected: {key}" in refusal(to_official(network(1)) | {key: torch.ones(3)}, network(2))


def test_a_network_without_a_transformer_takes_no_router(network: Network) -> None:
    convolutions = StreamPETR(TINY)
    assert rotary_tables(convolutions.backbone, TINY.image_size) == {}
    state = to_official(convolutions) | {ROUTER_KEY: torch.ones(16)}
    assert f"1 unexpected: {ROUTER_KEY}" in refusal(state, convolutions)


class TestGates:
    @pytest.mark.parametrize("names", ["official", "own"])
    def test_travel_with_the_weights(self, names: str, network: Network) -> None:
        source, target = network(1), network(2)
        source.backbone.add_gates([1, 2])
        state = to_official(source) if names == "official" else source.state_dict()
        assert ("gates.selective_modules.1.mlp.fc1.weight" in state) == (names == "official")
        load_into(target, state)
        assert list(target.backbone.gates) == ["1", "2"]
        assert same_weights(source, target)

    def test_a_dense_checkpoint_makes_a_dense_network(self, network: Network) -> None:
        target = network(2)
        target.backbone.add_gates([0])
        load_into(target, to_official(network(1)))
        assert not target.backbone.gates and same_weights(target, network(1))

    def test_of_another_depth_are_refused(self, network: Network) -> None:
        source, target = network(1), network(2)
        source.backbone.add_gates([2])
        state = to_official(source)
        for key in [key for key in state if key.startswith("gates.")]:
            state[key.replace(".2.", ".3.")] = state.pop(key)
        assert "6 unexpected: gates.selective_modules.3.norm.weight" in refusal(state, target)

    def test_that_lack_a_part_or_are_of_another_width_are_refused(self, network: Network) -> None:
        source, target = network(1), network(2)
        source.backbone.add_gates([1])
        state = to_official(source)
        del state["gates.selective_modules.1.norm.bias"]
        state["gates.selective_modules.1.mlp.fc1.weight"] = torch.zeros(8, 32)
        message = refusal(state, target)
        assert "1 missing: gates.selective_modules.1.norm.bias" in message
        assert "1 mis-shaped: gates.selective_modules.1.mlp.fc1.weight (8, 32) (expected (4, 16))" in message

    def test_with_nan_are_refused(self, network: Network) -> None:
        source = network(1)
        source.backbone.add_gates([1])
        state = to_official(source)
        state["gates.selective_modules.1.mlp.fc2.bias"] = torch.tensor([float("nan"), 0.0])
        assert "1 with NaN or infinity: gates.selective_modules.1.mlp.fc2.bias" in refusal(state, network(2))


class TestBackboneToStartFrom:
    @pytest.mark.parametrize("prefix", ["img_backbone.", ""])
    def test_what_else_the_file_has_is_named(self, prefix: str) -> None:
        torch.manual_seed(0)
        source, target = ViT(SHAPE), ViT(SHAPE)
        state = {f"{prefix}{key}": value for key, value in source.state_dict().items()}
        state |= {f"{prefix}adapter.simfp_2.0.bias": torch.ones(8)}
        if prefix:
            state |= rotary_tables(source, (64, 96)) | {
                "pts_bbox_head.cls.weight": torch.ones(2),
                ROUTER_KEY: torch.ones(16),
            }
        unused = load_backbone(target, state, (64, 96), "file x.pth")
        assert all(torch.equal(target.state_dict()[key], value) for key, value in source.state_dict().items())
        also = ["pts_bbox_head.cls.weight", ROUTER_KEY] if prefix else []
        assert unused == ["img_backbone.adapter.simfp_2.0.bias", *also]

    @pytest.mark.parametrize(
        ("change", "expected"),
        [
            ({"blocks.1.mlp.w1.bias": torch.zeros(3)}, r"blocks\.1\.mlp\.w1\.bias is \(3,\), expected \(42,\)"),
            ({"norm.weight": None, "blocks.0.norm1.weight": None}, r"blocks\.0\.norm1\.weight is nothing"),
            ({"pos_embed": torch.full((1, 197, 16), float("inf"))}, "pos_embed has NaN or infinity"),
        ],
    )
    def test_one_that_does_not_fit_is_refused(self, change: dict[str, torch.Tensor | None], expected: str) -> None:
        source, target = ViT(SHAPE), ViT(SHAPE)
        target.add_gates([1])
        before = {key: value.clone() for key, value in target.state_dict().items()}
        state = {key: value for key, value in (source.state_dict() | change).items() if value is not None}
        with pytest.raises(ValueError, match=rf"file x\.pth does not fit the backbone: img_backbone\.{expected}"):
            load_backbone(target, state, (64, 96), "file x.pth")
        after = target.state_dict()
        assert before.keys() == after.keys() and all(torch.equal(before[key], after[key]) for key in before)


def test_the_large_models_tables_are_of_its_windows(large: dict[str, list[int]]) -> None:
    assert large["img_backbone.rope_win.freqs_cos"] == [SHAPES["eva02_l"].window ** 2, 64]
    assert large["img_backbone.rope_glb.freqs_cos"] == [400, 64]
