"""Cutting: the small network answers as the masked one does, whatever is dropped and whatever that leaves behind."""

from __future__ import annotations

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch
from tiny_model import TINY
from torch import nn

from tggbc_ros.compress import layout
from tggbc_ros.compress.cutting import Cut, cut_shape
from tggbc_ros.compress.surgery import cut_network, masked_network
from tggbc_ros.core.backbones.leftovers import BorderedConv2d
from tggbc_ros.core.config import ModelConfig
from tggbc_ros.core.folding import fold_norms
from tggbc_ros.core.model import StreamPETR
from tggbc_ros.core.shape import ResNetShape, Stage, VoVNetShape, resnet, vovnet

MODELS = {
    "basic": replace(TINY, backbone="resnet18", shape=resnet("basic", (2, 2, 2, 3), width=8)),
    "bottleneck": replace(TINY, backbone="resnet50", shape=resnet("bottleneck", (2, 3, 2, 2), width=8)),
    "vovnet": replace(
        TINY,
        backbone="vovnet99",
        shape=VoVNetShape(
            (6, 7, 8),
            (
                Stage(12, ((5, 6, 7, 5, 6),)),
                Stage(14, ((6, 6, 6),) * 2),
                Stage(16, ((7,),) * 3),
                Stage(18, ((5, 5),) * 2),
            ),
        ),
    ),
}


pytestmark = pytest.mark.usefixtures("one_thread")


def network(model: ModelConfig, seed: int = 0) -> StreamPETR:
    """In float64, with norms of their own, in which some channels are dead and say a constant."""
    torch.manual_seed(seed)
    module = StreamPETR(model).eval().requires_grad_(False)
    for each in module.modules():
        if isinstance(each, nn.BatchNorm2d):
            nn.init.normal_(each.weight, 1.0, 0.3)
            nn.init.normal_(each.bias, 0.1, 0.5)
            nn.init.normal_(each.running_mean, 0.0, 0.3)
            nn.init.uniform_(each.running_var, 0.5, 2.0)
            each.weight[::3] = 0.0
    return module.double()


def random_cut(module: StreamPETR, rng: np.random.Generator, constants: bool, drop: float = 0.5) -> Cut:
    shape = module.backbone.shape
    kept = {
        group: sorted(rng.choice(width, rng.integers(1, width + 1), replace=False).tolist())
        for group, width in layout.widths(shape).items()
        if rng.random() < 0.8
    }
    gone = frozenset(block for block in layout.droppable(shape) if rng.random() < drop)
    return Cut(kept, gone, constants)


def error(one: StreamPETR, other: StreamPETR, size: tuple[int, int] = (48, 64)) -> float:
    """The largest difference, as a share of the largest feature."""
    images = torch.randn(1, 2, 3, *size, dtype=next(one.parameters()).dtype)
    with torch.inference_mode():
        wanted, found = one.encode(images), other.encode(images)
    assert torch.isfinite(wanted).all() and wanted.std() > 0
    return float((found - wanted).abs().max() / wanted.abs().max())


@pytest.mark.parametrize("constants", [False, True], ids=["nothing left", "constants left"])
@pytest.mark.parametrize("name", MODELS)
def test_small_is_masked(name: str, constants: bool) -> None:
    rng, whole = np.random.default_rng(1), network(MODELS[name])
    for _ in range(4):
        cut = random_cut(whole, rng, constants)
        small, masked = cut_network(whole, cut), masked_network(whole, cut)
        assert small.model.shape == cut_shape(whole.backbone.shape, cut) == small.backbone.shape
        assert error(masked, small) < 1e-12
        assert error(masked, small, (37, 59)) < 1e-12
        assert error(masked.float(), small.float()) < 1e-5


@pytest.mark.parametrize("name", MODELS)
def test_a_mask_changes_the_answer_and_constants_are_not_nothing(name: str) -> None:
    """Else the test above would prove nothing."""
    whole = network(MODELS[name])
    cut = random_cut(whole, np.random.default_rng(2), constants=True)
    left, nothing = masked_network(whole, cut), masked_network(whole, replace(cut, constants=False))
    assert error(whole, left) > 1e-3 and error(left, nothing) > 1e-3


@pytest.mark.parametrize("name", MODELS)
def test_every_block_that_may_go_can_go_alone_and_with_all_others(name: str) -> None:
    whole = network(MODELS[name])
    blocks = layout.droppable(whole.backbone.shape)
    for number, gone in enumerate((*({block} for block in blocks), set(blocks))):
        for constants in (False, True) if len(gone) > 1 else (number % 2 == 0,):
            cut = Cut(gone=frozenset(gone), constants=constants)
            small = cut_network(whole, cut)
            assert error(masked_network(whole, cut), small) < 1e-12
            assert not set(layout.droppable(small.backbone.shape)) & gone


@pytest.mark.parametrize("constants", [False, True], ids=["nothing left", "constants left"])
@pytest.mark.parametrize("name", MODELS)
def test_what_was_cut_can_be_cut_again(name: str, constants: bool) -> None:
    rng, module = np.random.default_rng(3), network(MODELS[name])
    for _ in range(3):
        cut = random_cut(module, rng, constants, drop=0.3)
        masked = masked_network(module, cut)
        module = cut_network(module, cut)
        assert error(masked, module) < 1e-12


@pytest.mark.parametrize("name", MODELS)
def test_folding_after_the_cut_changes_nothing(name: str) -> None:
    whole = network(MODELS[name])
    small = cut_network(whole, random_cut(whole, np.random.default_rng(4), constants=True))
    assert any(each.border.any() for each in small.modules() if isinstance(each, BorderedConv2d))
    folded = copy.deepcopy(small)
    fold_norms(folded.backbone)
    assert not any(isinstance(each, nn.BatchNorm2d) for each in folded.modules())
    assert error(small, folded) < 1e-12


def test_the_network_stays_as_it_was_and_the_rest_is_copied() -> None:
    whole = network(MODELS["basic"])
    before = copy.deepcopy(whole.state_dict())
    small = cut_network(whole, Cut({"layer3": [0, 3, 5]}, frozenset({"layer2.1"})))
    masked_network(whole, Cut({"layer3": [0, 3, 5]}))
    assert all(torch.equal(before[name], value) for name, value in whole.state_dict().items())
    assert all(torch.equal(value, before[f"head.{name}"]) for name, value in small.head.state_dict().items())
    assert small.neck.lateral[0].weight.shape[1] == 3 and not small.training


def test_cutting_nothing_is_the_network_itself() -> None:
    whole = network(replace(TINY, backbone="resnet18"))
    same = cut_network(whole, Cut())
    assert same.model == whole.model
    assert all(torch.equal(value, same.state_dict()[name]) for name, value in whole.state_dict().items())


@pytest.mark.parametrize(
    ("cut", "message"),
    [
        (Cut({"layer9": [0]}), "group 'layer9' is not one that can be cut"),
        (Cut(gone=frozenset({"layer1.7"})), "block 'layer1.7' is not one that can be cut"),
        (Cut({"layer1": []}), "kept channels of layer1 are none, expected one or more of 0 to 31, ascending"),
        (Cut({"layer1": [0, 32]}), "kept channels of layer1 are 0, 32"),
        (Cut({"layer1": [-1]}), "kept channels of layer1 are -1"),
        (Cut({"layer1": [2, 2]}), "kept channels of layer1 are 2, 2"),
        (Cut({"layer1": [3, 1]}), "kept channels of layer1 are 3, 1"),
    ],
)
def test_a_cut_that_cannot_be_is_named(cut: Cut, message: str) -> None:
    for act in (cut_network, masked_network):
        with pytest.raises(ValueError, match=message):
            act(network(MODELS["bottleneck"]), cut)


def test_a_vovnets_first_blocks_folded_norms_and_forgotten_constants_are_refused() -> None:
    with pytest.raises(ValueError, match="block 'stage3.block1' is not one that can be cut"):
        cut_network(network(MODELS["vovnet"]), Cut(gone=frozenset({"stage3.block1"})))
    whole = network(MODELS["basic"])
    small = cut_network(whole, Cut({"layer1": [1, 2]}, constants=True))
    with pytest.raises(ValueError, match="constants is False, but the network holds constants"):
        cut_network(small, Cut())
    fold_norms(whole.backbone)
    with pytest.raises(ValueError, match="bn1 is a Identity, expected a batch norm: cut before norms are folded"):
        cut_network(whole, Cut())


@pytest.mark.parametrize(
    "shape", [resnet("basic", (1, 2, 1, 1)), resnet("bottleneck", (1, 2, 1, 1)), vovnet((1, 2, 1, 1))]
)
def test_the_layout_names_every_convolution_norm_and_width(shape: ResNetShape | VoVNetShape) -> None:
    name = {"basic": "resnet18", "bottleneck": "resnet50"}.get(getattr(shape, "block", ""), "vovnet99")
    with torch.device("meta"):
        backbone = StreamPETR(replace(TINY, backbone=name, shape=shape)).backbone
    widths = layout.widths(shape)
    convolutions = {key for key, each in backbone.named_modules() if isinstance(each, nn.Conv2d) and ".ese." not in key}
    assert {layer.name for layer in layout.layers(shape)} == convolutions
    for layer in layout.layers(shape):
        convolution, norm = backbone.get_submodule(layer.name), backbone.get_submodule(layer.norm)
        assert isinstance(norm, nn.BatchNorm2d) and norm.num_features == convolution.out_channels == widths[layer.group]
        assert convolution.in_channels == (sum(widths[group] for group in layer.reads) or 3)
        assert (convolution.kernel_size[0], convolution.stride[0]) == (layer.kernel, layer.stride)
    assert widths.keys() == {layer.group for layer in layout.layers(shape)}
    assert {layer.block for layer in layout.layers(shape)} - {""} == set(layout.droppable(shape))
    assert tuple(widths[group] for group in layout.out_groups(shape)) == shape.out_channels


def test_a_published_resnet_has_its_37_groups() -> None:
    shape = resnet("bottleneck", (3, 4, 6, 3))
    assert len(layout.layers(shape)) == 53 and len(layout.members(shape)) == 37
    assert [len(layout.members(shape)[f"layer{stage}"]) for stage in (1, 2, 3, 4)] == [4, 5, 7, 4]
