"""The embeddings, against their formulas."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from tggbc_ros.core import layers


def test_logit_is_bounded_and_inverts() -> None:
    inside = torch.tensor([0.1, 0.5, 0.9])
    torch.testing.assert_close(layers.logit(inside).sigmoid(), inside)
    assert layers.logit(torch.tensor([-3.0, 0.0, 1.0, 7.0])).tolist() == pytest.approx(
        [-11.5129, -11.5129, 11.5129, 11.5129], abs=1e-3
    )


def test_sine_embedding_is_the_formula() -> None:
    value, features = 0.37, 8
    got = layers.sine_embedding(torch.tensor([value], dtype=torch.float64), features)[0]
    for i in range(features):
        phase = value * 2 * math.pi / 10000 ** (2 * (i // 2) / features)
        assert got[i].item() == pytest.approx(math.sin(phase) if i % 2 == 0 else math.cos(phase))


def test_points_are_embedded_in_the_order_y_x_z() -> None:
    point = torch.tensor([[0.1, 0.2, 0.3]])
    got = layers.point_embedding(point, 16)
    expected = torch.cat([layers.sine_embedding(point[:, axis], 16) for axis in (1, 0, 2)], dim=-1)
    assert torch.equal(got, expected)


def test_fourier_embedding_is_the_formula() -> None:
    got = layers.fourier_embedding(torch.tensor([[0.3, -1.2]], dtype=torch.float64))[0].numpy()
    expected = np.concatenate([wave(np.array([0.3, -1.2]) * 2**k) for k in range(6) for wave in (np.sin, np.cos)])
    np.testing.assert_allclose(got, expected)


def test_modulated_norm_of_zeros_is_its_shift() -> None:
    torch.manual_seed(0)
    norm, condition = layers.ModulatedLayerNorm(3, 8), torch.randn(2, 5, 3)
    torch.testing.assert_close(norm(torch.zeros(2, 5, 8), condition), norm.beta(norm.reduce(condition).relu()))
