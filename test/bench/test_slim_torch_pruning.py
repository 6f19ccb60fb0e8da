"""Torch-Pruning as an opponent: its choice is a cut within the budget, and names the channels that it really kept."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from made_latency import made_table
from tiny_model import TINY

from bench.slim_torch_pruning import Encoder, chosen_by_torch_pruning
from tggbc_ros.compress import layout
from tggbc_ros.compress.cutting import cut_shape
from tggbc_ros.core.checkpoint import build_network
from tggbc_ros.core.shape import resnet

pytest.importorskip("torch_pruning", reason="torch-pruning is optional: ./run env/add.sh peers")

SMALL = replace(TINY, backbone="resnet18", shape=resnet("basic", (1, 2, 1, 1), width=16))


def test_it_chooses_within_the_budget_and_says_which_channels_it_kept() -> None:
    torch.manual_seed(0)
    detector = build_network(SMALL, None)[0]
    encoder = Encoder(detector).eval().requires_grad_(True)
    encoder(torch.randn(2, 3, *SMALL.image_size)).square().sum().backward()
    before = {each.name: _norm(detector, each).weight.detach().clone() for each in layout.layers(SMALL.shape)}
    for each in layout.layers(SMALL.shape):  # so that every channel can be told by its scale
        _norm(detector, each).weight.data = torch.arange(1.0, 1.0 + len(before[each.name]))
    table = made_table(SMALL)
    settings = SimpleNamespace(step=4)
    context = SimpleNamespace(table=lambda: table, shape=SMALL.shape, model=SMALL, settings=settings)
    cut = chosen_by_torch_pruning(detector, context, 0.7)
    assert table.predict(cut_shape(SMALL.shape, cut)) <= 0.7 * table.predict(SMALL.shape)
    assert any(len(cut.kept[each]) < width for each, width in layout.widths(SMALL.shape).items())
    for each in layout.layers(SMALL.shape):
        assert _norm(detector, each).weight.tolist() == [1.0 + channel for channel in cut.kept[each.group]]


def test_a_budget_that_it_cannot_reach_is_refused() -> None:
    detector = build_network(SMALL, None)[0]
    encoder = Encoder(detector).eval().requires_grad_(True)
    encoder(torch.randn(1, 3, *SMALL.image_size)).square().sum().backward()
    table = made_table(SMALL)
    context = SimpleNamespace(table=lambda: table, shape=SMALL.shape, model=SMALL, settings=SimpleNamespace(step=4))
    with pytest.raises(ValueError, match=r"leaves more than 0.001 of the time with 0.9 of all channels gone"):
        chosen_by_torch_pruning(detector, context, 0.001)


def _norm(detector, layer):
    return detector.backbone.get_submodule(layer.norm)
