"""Loss values against hand-computed ones."""

from __future__ import annotations

import math

import torch

from tggbc_ros.training.losses import LossConfig, code_loss, focal_loss


def test_focal_loss_of_one_positive_and_one_negative_entry() -> None:
    logits = torch.tensor([[0.0, math.log(3.0)]])  # probabilities 1/2 and 3/4
    expected = 0.25 * 0.5**2 * math.log(2) + 0.75 * 0.75**2 * -math.log(0.25)
    assert math.isclose(float(focal_loss(logits, torch.tensor([0]), LossConfig())), expected, rel_tol=1e-6)


def test_background_punishes_every_class_and_minus_one_none() -> None:
    logits = torch.zeros(3, 2)
    one = 0.75 * 0.25 * math.log(2)
    assert math.isclose(float(focal_loss(logits, torch.tensor([2, 2, -1]), LossConfig())), 4 * one, rel_tol=1e-6)


def test_focal_loss_of_nothing_is_zero_and_has_a_gradient() -> None:
    logits = torch.zeros(2, 3, requires_grad=True)
    loss = focal_loss(logits, torch.full((2,), -1), LossConfig())
    loss.backward()
    assert float(loss.detach()) == 0.0 and torch.equal(logits.grad, torch.zeros(2, 3))


def test_code_loss_weighs_entries_and_leaves_out_unknown_ones() -> None:
    codes, wanted = torch.tensor([[1.0, 2.0, 3.0]]), torch.tensor([[0.0, float("nan"), 5.0]])
    assert float(code_loss(codes, wanted, (2.0, 100.0, 0.5))) == 2.0 * 1.0 + 0.5 * 2.0


def test_unknown_entry_sends_no_gradient() -> None:
    codes = torch.ones(1, 2, requires_grad=True)
    code_loss(codes, torch.tensor([[float("nan"), 0.0]]), (1.0, 1.0)).backward()
    assert codes.grad.tolist() == [[0.0, 1.0]]
