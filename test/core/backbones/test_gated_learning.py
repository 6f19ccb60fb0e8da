"""Gates that learn: what they make of an image is what inference makes of it, were its gates to decide so."""

from __future__ import annotations

import pytest
import torch

from tggbc_ros.core.backbones import gated_learning
from tggbc_ros.core.backbones.vit import ViT, ViTShape
from tggbc_ros.core.backbones.windows import cut

SHAPE = ViTShape(16, 3, 2, window=3, global_window=5, global_blocks=(1,))
IMAGES = torch.randn(2, 3, 80, 112, generator=torch.Generator().manual_seed(3))  # 5 x 7 cells: windows of four sizes


def gated(bias: tuple[float, float] = (0.0, 0.0)) -> ViT:
    torch.manual_seed(0)
    backbone = ViT(SHAPE).double().train()
    backbone.add_gates((1, 2))
    with torch.no_grad():
        for weight in backbone.parameters():
            weight.add_(0.3 * torch.randn_like(weight))
        for gate in backbone.gates.values():
            gate.mlp.fc2.bias.copy_(torch.tensor(bias))
    return backbone.double()


def learn(backbone: ViT, seed: int = 0) -> tuple[torch.Tensor, list[torch.Tensor]]:
    (found,), decisions = gated_learning.learn(backbone, IMAGES.double(), torch.Generator().manual_seed(seed))
    return found, decisions


def test_the_map_is_inferences_for_the_same_decisions() -> None:
    backbone = gated()
    found, decisions = learn(backbone)
    assert [each.shape for each in decisions] == [(2, 35), (2, 35)]
    assert all(0.2 < float(each.mean()) < 0.8 for each in decisions)
    masks = dict(zip((1, 2), decisions, strict=True))
    x = backbone.embed(IMAGES.double())
    for index, windows in enumerate(backbone.windows(x)):
        keep = masks[index].view(2, 5, 7) > 0.5 if index in masks else None
        x = backbone.run_block(index, x, windows, keep)
    assert torch.allclose(found, x.permute(0, 3, 1, 2), atol=1e-9)


def test_open_gates_are_the_dense_network() -> None:
    backbone = gated(bias=(50.0, -50.0))
    found, decisions = learn(backbone)
    backbone.add_gates(())
    assert all(bool((each == 1.0).all()) for each in decisions)
    assert torch.allclose(found, backbone(IMAGES.double())[0], atol=1e-9)


def test_gates_learn_and_noise_is_the_seeds() -> None:
    backbone = gated()
    found, decisions = learn(backbone)
    again, _ = learn(backbone)
    other, _ = learn(backbone, seed=1)
    assert torch.equal(found, again) and not torch.allclose(found, other)
    found.sum().backward()
    for gate in backbone.gates.values():
        assert gate.mlp.fc1.weight.grad is not None and float(gate.mlp.fc1.weight.grad.abs().max()) > 0.0
    assert all(each.requires_grad for each in decisions)


def test_closed_gates_leave_numbers() -> None:
    """No key in any window, and none beyond the map's edge in some: a softmax over nothing would be NaN."""
    backbone = gated(bias=(-50.0, 50.0))
    found, decisions = learn(backbone)
    found.sum().backward()
    assert all(bool((each == 0.0).all()) for each in decisions)
    assert all(bool(torch.isfinite(weight.grad).all()) for weight in backbone.parameters() if weight.grad is not None)


@pytest.mark.parametrize("side", [3, 5])
def test_what_is_no_key_has_no_say(side: int) -> None:
    attention = ViT(SHAPE).blocks[0].attn.double()
    x = torch.randn(1, 5, 7, 16, dtype=torch.float64)
    keep = torch.rand(1, 5, 7) < 0.6
    places = gated_learning.Masked(cut(x, side, SHAPE.head_dims), keep)
    changed = torch.where(keep[..., None], x, torch.randn_like(x))
    before, after = attention(x, places), attention(changed, places)
    assert torch.allclose(before[keep], after[keep], atol=1e-12)
    assert not torch.allclose(attention(x, places.windows)[keep], before[keep], atol=1e-6)
