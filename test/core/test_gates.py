"""SViT's gates: how they decide and learn, and what they never do. That they equal the original: the golden tool."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tggbc_ros.core.gates import Gate, blend, gumbel_like, kept, kept_above, likeliest, rate_loss, sampled


def log_probability(*margins: float) -> torch.Tensor:
    """One image whose tokens lean to being kept by so much."""
    margin = torch.tensor([margins])
    return torch.stack([margin / 2, -margin / 2], dim=-1)


def test_the_likelier_wins_and_a_tie_skips() -> None:
    assert kept(log_probability(0.1, -0.1, 0.0, 5.0)).tolist() == [[True, False, False, True]]


def test_an_image_that_no_gate_wants_keeps_its_likeliest_token() -> None:
    probability = torch.cat([log_probability(-3.0, -1.0, -2.0), log_probability(1.0, -1.0, -1.0)])
    assert kept(probability).tolist() == [[False, True, False], [True, False, False]]


def test_a_gate_that_says_nan_keeps() -> None:
    assert kept(log_probability(math.nan, -1.0, 1.0)).tolist() == [[True, False, True]]
    assert kept(torch.full((1, 4, 2), math.nan)).all()


@settings(max_examples=50, deadline=None)
@given(st.lists(st.floats(width=32), min_size=1, max_size=9))
def test_no_image_is_ever_left_empty(margins: list[float]) -> None:
    assert kept(log_probability(*margins)).any()


def test_a_gate_is_deterministic_and_judges_each_token_alone() -> None:
    torch.manual_seed(0)
    gate, x = Gate(16), torch.randn(2, 5, 16)
    probability = gate(x)
    torch.testing.assert_close(probability.exp().sum(-1), torch.ones(2, 5))
    torch.testing.assert_close(gate(x[:, 3:4]), probability[:, 3:4])


def test_training_decides_by_the_noise_and_learns_from_the_softmax() -> None:
    probability = log_probability(0.0, 0.0).requires_grad_()
    noise = torch.tensor([[[1.0, 0.0], [0.0, 2.0]]])
    decision = sampled(probability, noise, tau=1.0)
    torch.testing.assert_close(decision, torch.tensor([[1.0, 0.0]]))
    decision[0, 0].backward()
    soft = 1 / (1 + math.exp(-1.0))
    assert probability.grad is not None
    assert probability.grad[0, 0].tolist() == pytest.approx([soft * (1 - soft), -soft * (1 - soft)])


def test_a_gate_learns_from_both_products() -> None:
    decision = torch.tensor([[1.0, 0.0]], requires_grad=True)
    passed, x = torch.tensor([[[5.0], [6.0]]]), torch.tensor([[[2.0], [3.0]]])
    blended = blend(decision, passed, x)
    assert blended.flatten().tolist() == [5.0, 3.0]
    blended.sum().backward()
    assert decision.grad is not None and decision.grad.tolist() == [[3.0, 3.0]]


def test_the_rate_is_asked_of_the_batch_or_of_each_image() -> None:
    decision = torch.tensor([[1.0, 1.0], [0.0, 0.0]])
    assert rate_loss([decision], [0.5]).item() == 0.0
    assert rate_loss([decision], [0.5], per_image=True).item() == pytest.approx(0.25)
    assert rate_loss([decision, decision], [0.5, 0.7]).item() == pytest.approx(0.02)
    with pytest.raises(ValueError):
        rate_loss([decision], [0.5, 0.5])


def test_gumbel_noise_has_its_mean() -> None:
    torch.manual_seed(0)
    assert gumbel_like(torch.zeros(100_000)).mean().item() == pytest.approx(0.5772, abs=0.02)


def test_a_gate_that_is_sure_of_nothing_keeps_its_rate_and_the_likeliest() -> None:
    """By the likelier answer it would keep none."""
    noise = torch.Generator().manual_seed(0)
    margin = 0.2 * torch.randn(4, 50, generator=noise) - 0.65  # 34 of 100 on average
    keep = likeliest(margin, 0.0)
    assert int(keep.sum()) == round(float(torch.sigmoid(margin).sum())) and not kept_above(margin).flatten().sum() > 20
    assert float(margin[keep].min()) >= float(margin[~keep].max())
    assert 150 < int(likeliest(margin, 2.0).sum()) < 170
    assert bool(likeliest(margin, 50.0).all())


def test_a_gate_that_is_sure_keeps_what_it_wants() -> None:
    margin = torch.where(torch.arange(40).view(2, 20) % 3 == 0, 30.0, -30.0)
    assert torch.equal(likeliest(margin, 0.0), margin > 0)


def test_the_likeliest_leave_no_image_empty_and_keep_nan() -> None:
    margin = torch.tensor([[5.0, 4.0, 3.0, 6.0], [-50.0, -60.0, -50.5, float("nan")], [-70.0, -60.0, -80.0, -90.0]])
    assert likeliest(margin, 0.0).tolist() == [[True] * 4, [False] * 3 + [True], [False, True, False, False]]
