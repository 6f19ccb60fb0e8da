"""What may be pruned, and that the matrix times what it is said to be applied to is what came out."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from squares_world import TINY, make_table
from torch import nn

from tggbc_ros.compress.sparse.folded import folded, unfold_into
from tggbc_ros.compress.sparse.layers import Passed, find_layers, tapped
from tggbc_ros.compress.sparse.recording import Replay, record
from tggbc_ros.core.backbones.leftovers import BorderedConv2d
from tggbc_ros.core.config import ModelConfig, model_config
from tggbc_ros.core.gates import Gate
from tggbc_ros.core.model import StreamPETR
from tggbc_ros.core.shape import resnet

DEEP = replace(TINY, backbone="resnet50", shape=resnet("bottleneck", (1, 1, 1, 1), width=8))

pytestmark = pytest.mark.usefixtures("one_thread")


def network() -> StreamPETR:
    torch.manual_seed(0)
    module = StreamPETR(TINY).eval().requires_grad_(False)
    for each in module.modules():
        if isinstance(each, nn.BatchNorm2d):
            nn.init.uniform_(each.running_var, 0.5, 2.0)
            nn.init.normal_(each.running_mean)
            nn.init.normal_(each.weight)
    return module


def test_all_matrices_of_a_network_are_found_and_all_else_is_given_a_reason() -> None:
    module = network()
    found = find_layers(module)
    names = [layer.name for layer in found.pruned]
    attentions = 2 * TINY.num_layers
    assert len(set(names)) == len(names) and sum("in_proj" in name for name in names) == 3 * attentions
    matrices = {layer.parameter for layer in found.pruned}
    assert matrices | found.left_alone.keys() == {name for name, _ in module.named_parameters()}
    assert not matrices & found.left_alone.keys()
    sizes = {name: parameter.numel() for name, parameter in module.named_parameters()}
    assert sum(layer.size for layer in found.pruned) == sum(sizes[name] for name in matrices)
    assert "places" in found.left_alone["head.queries.reference_points"]
    assert "shifts or scales" in found.left_alone["backbone.bn1.weight"]


def test_gates_and_grouped_convolutions_are_left_alone() -> None:
    module = nn.ModuleDict(
        {"gate": Gate(8), "grouped": nn.Conv2d(4, 4, 3, groups=2), "border": BorderedConv2d(3, 4, 3)}
    )
    found = find_layers(module)
    assert [layer.name for layer in found.pruned] == ["border.weight"]
    assert found.left_alone["gate.mlp.fc1.weight"].startswith("decides")
    assert found.left_alone["grouped.weight"].startswith("a convolution in groups")
    assert found.left_alone["border.border"].startswith("is added")


@pytest.mark.parametrize("model", [TINY, DEEP])
def test_every_layer_is_its_matrix_times_what_it_was_given(model: ModelConfig) -> None:
    torch.manual_seed(0)
    module = folded(StreamPETR(model))
    layers = find_layers(module).pruned
    parameters = dict(module.named_parameters())
    subject = Replay(module, record(module, make_table(1, 2), 2))
    heard: dict[str, int] = {}

    def check(passed: Passed) -> None:
        layer = passed.layer
        x = passed.inputs(torch.arange(passed.positions))
        wanted = x @ layer.of(parameters).T + (layer.bias_of(parameters) if layer.bias else 0.0)
        torch.testing.assert_close(passed.by_output(passed.result), wanted, rtol=1e-4, atol=1e-4)
        heard[layer.name] = heard.get(layer.name, 0) + 1

    order: list[str] = []
    with tapped(module, layers, check, lambda passed: order.append(passed.layer.name)):
        dense = subject.answers(1)
    assert heard.keys() == {layer.name for layer in layers} == set(order)
    assert heard["head.queries.ego_pose_pe.reduce.weight"] == 2 and heard["neck.output.weight"] == 1
    assert torch.equal(subject.answers(1), dense)  # and nothing listens any more
    assert not any("project" in vars(each) for each in module.modules())


def test_folding_and_unfolding_leave_a_network_as_it_was() -> None:
    module = network()
    changed, back = folded(module), network()
    for parameter in back.parameters():
        if parameter.ndim > 1:
            parameter.zero_()
    unfold_into(back, changed)
    images = make_table(1, 1).batch([0], TINY, torch.device("cpu")).inputs.images
    torch.testing.assert_close(back.encode(images), module.encode(images), rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(changed.encode(images), module.encode(images), rtol=1e-3, atol=1e-4)


def test_zeros_and_biases_of_a_folded_network_come_through_its_norms() -> None:
    module = network()
    module.backbone.bn1.weight[0] = 0.0
    changed = folded(module)
    parameters = dict(changed.named_parameters())
    layer = find_layers(changed).pruned[0]
    changed.backbone.conv1.weight[:, 1] = 0.0
    layer.bias_of(parameters).add_(0.25)
    unfold_into(module, changed)
    assert bool((module.backbone.conv1.weight[:, 1] == 0).all())
    assert bool((module.backbone.conv1.weight[1:, 0] != 0).all())
    images = make_table(1, 1).batch([0], TINY, torch.device("cpu")).inputs.images
    torch.testing.assert_close(module.encode(images), changed.encode(images), rtol=1e-3, atol=1e-4)


def test_a_vision_transformer_is_matrices_too() -> None:
    with torch.device("meta"):
        module = StreamPETR(model_config("demo_vit"))
    found = find_layers(module)
    parts = [name for layer in found.pruned if (name := layer.name).startswith("backbone.blocks.0.")]
    assert [name.removeprefix("backbone.blocks.0.") for name in parts] == [
        "attn.k_proj.weight", "attn.proj.weight", "mlp.w1.weight", "mlp.w2.weight", "mlp.w3.weight",
    ]  # fmt: skip
    assert found.left_alone["backbone.blocks.0.attn.q_proj.weight"].startswith("is read by its attention")
