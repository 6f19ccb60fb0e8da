"""Backbone and neck against the original network, and the neck's own arithmetic."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from tggbc_ros.core.model import StreamPETR
from tggbc_ros.core.neck import CPFPN

TOLERANCE = 1e-4  # the original's own float32 noise is 1.2e-5


@pytest.mark.parametrize(("case", "name"), [("public_C", "r50_704"), ("public_E", "vov_800")])
def test_features_equal_the_original_network(
    case: str, name: str, golden_dir: Path, formula_network: Callable[[str], StreamPETR]
) -> None:
    golden = np.load(golden_dir / f"{case}.npz")
    images = [key for key in golden.files if key.endswith(".in.img")]
    assert len(images) >= 2
    for key in images:
        expected = golden[key.replace(".in.img", ".out.img_feats")]
        with torch.inference_mode():
            features = formula_network(name).encode(torch.from_numpy(golden[key]))
        assert features.shape == expected.shape
        assert np.abs(features.numpy() - expected).max() < TOLERANCE, key


def test_upper_map_is_repeated_to_the_exact_size_of_the_lower() -> None:
    """11 columns over 6: nearest neighbour takes upper column floor(c * 6 / 11)."""
    neck = CPFPN((3, 4), 5)
    with torch.no_grad():
        neck.lateral[0].weight.zero_()
        neck.output.weight.zero_()
        neck.output.weight[range(5), range(5), 1, 1] = 1.0
        lower, upper = torch.randn(2, 3, 4, 11), torch.randn(2, 4, 2, 6)
        merged = neck((lower, upper))
        lateral = neck.lateral[1](upper)
    rows, columns = np.arange(4) * 2 // 4, np.arange(11) * 6 // 11
    expected = lateral[:, :, rows][:, :, :, columns] + neck.lateral[0].bias[:, None, None]
    torch.testing.assert_close(merged, expected + neck.output.bias[:, None, None], rtol=1e-6, atol=1e-6)


def test_lower_map_counts_and_borders_are_padded_with_zeros() -> None:
    neck = CPFPN((2, 2), 3)
    with torch.no_grad():
        for layer in (*neck.lateral, neck.output):
            layer.weight.fill_(1.0)
            layer.bias.zero_()
        features = neck((torch.ones(1, 2, 4, 4), torch.full((1, 2, 2, 2), 3.0)))
    # every merged cell is 2 * 1 + 2 * 3 = 8, summed over 3 channels and the 3x3 cells that exist
    assert features[0, 0, 1, 1].item() == pytest.approx(8 * 3 * 9)
    assert features[0, 0, 0, 0].item() == pytest.approx(8 * 3 * 4)
