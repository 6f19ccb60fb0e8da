"""What gates are asked for: SViT's rates by default, given ones, and words where they do not fit."""

from __future__ import annotations

import pytest
import torch

from tggbc_ros.core.backbones import build_backbone
from tggbc_ros.core.backbones.vit import ViT, ViTShape
from tggbc_ros.core.gates import even_targets
from tggbc_ros.training.gating import GatingConfig, add_gates, gate_losses, targets_of


def backbone(depth: int = 8) -> ViT:
    made = ViT(ViTShape(16, depth, 2, window=4, global_window=8, global_blocks=(1,)))
    add_gates(made)
    return made


def test_svits_rates_by_quarters() -> None:
    assert even_targets(12) == pytest.approx({**dict.fromkeys((3, 4, 5), 0.7), **dict.fromkeys((6, 7, 8), 0.49),
                                              **dict.fromkeys((9, 10, 11), 0.343)})  # fmt: skip
    assert targets_of(backbone(), GatingConfig()) == pytest.approx((0.7, 0.7, 0.49, 0.49, 0.343, 0.343))


def test_new_gates_are_all_but_open_and_old_ones_stay() -> None:
    made = backbone()
    gates = made.gates
    assert list(gates) == ["2", "3", "4", "5", "6", "7"]
    share = gates["2"](torch.randn(500, 16))[:, 0].exp()
    assert 0.8 < float(share.mean()) < 0.95
    add_gates(made)
    assert made.gates is gates


def test_the_loss_has_its_weight_and_the_share_no_gradient() -> None:
    made = backbone(4)
    decisions = [torch.tensor([[1.0, 1.0, 0.0, 0.0]], requires_grad=True) for _ in range(3)]
    losses = gate_losses(decisions, made, GatingConfig((0.5, 0.4, 0.3), weight=4.0))
    assert float(losses["rate"].detach()) == pytest.approx(4 * (0.0 + 0.01 + 0.04) / 3)
    assert losses["rate"].requires_grad and not losses["tokens"].requires_grad
    assert float(losses["tokens"]) == 0.5
    assert gate_losses([], made, GatingConfig()) == {}


def test_what_does_not_fit_is_said() -> None:
    with pytest.raises(ValueError, match="gate_targets has 2 shares, expected 6"):
        targets_of(backbone(), GatingConfig((0.5, 0.5)))
    with pytest.raises(ValueError, match=r"gate_targets has 0\.0"):
        GatingConfig((0.0,))
    with pytest.raises(ValueError, match=r"gate_tau is 0\.0"):
        GatingConfig(tau=0.0)
    with pytest.raises(ValueError, match="needs a vision transformer, and the backbone is a ResNet"):
        add_gates(build_backbone("resnet18_half"))
    with pytest.raises(ValueError, match="has no gates"):
        targets_of(build_backbone("eva02_demo"), GatingConfig())
