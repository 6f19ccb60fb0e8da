"""Importance: the recorded numbers of MDP, from recorded gradients; ranks, steps and curves."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from golden_net import GROUPS, NORMS
from hypothesis import given
from hypothesis import strategies as st

from tggbc_ros.compress import importance
from tggbc_ros.compress.importance import best, curve, order, share_out, totals


@pytest.fixture(scope="module")
def golden(request: pytest.FixtureRequest) -> dict[str, np.ndarray]:
    folder: Path = request.getfixturevalue("golden_dir")
    with np.load(folder / "compress" / "public_mdp_importance.npz") as arrays:
        return dict(arrays)


def recorded_scores(golden: dict[str, np.ndarray], batch: int) -> dict[str, np.ndarray]:
    return {
        layer: golden[f"state.{norm}.weight"] * golden[f"gamma_grad{batch}.{layer}"]
        + golden[f"state.{norm}.bias"] * golden[f"beta_grad{batch}.{layer}"]
        for layer, norm in NORMS.items()
    }


def test_recorded_gradients_give_the_recorded_importance(golden: dict[str, np.ndarray]) -> None:
    batches = [share_out(recorded_scores(golden, batch), GROUPS) for batch in range(3)]
    mean = {layer: np.mean([each[layer] for each in batches], axis=0) for layer in NORMS}
    for layer, found in mean.items():
        np.testing.assert_allclose(found, golden[f"importance.{layer}"], rtol=0, atol=1e-16)
    for number, (group, total) in enumerate(totals(mean, GROUPS).items()):
        np.testing.assert_allclose(total, golden[f"group{number}.total"], rtol=0, atol=1e-16)
        ranks = order(total)
        assert ranks.tolist() == golden[f"group{number}.order"].tolist()
        for layer in GROUPS[group]:
            found = curve(mean[layer], ranks, int(golden[f"group{number}.step"]))
            np.testing.assert_allclose(found, golden[f"curve.{layer}"], rtol=0, atol=1e-16)


def test_signs_cancel_within_a_group_before_the_size_is_taken() -> None:
    shares = share_out({"a": np.array([3.0, 1.0, 0.0]), "b": np.array([-1.0, -1.0, 0.0])}, {"g": ["a", "b"]})
    assert shares["a"].tolist() == [1.5, 0.0, 0.0] and shares["b"].tolist() == [0.5, 0.0, 0.0]


@given(st.lists(st.floats(0, 1e3), min_size=1, max_size=20), st.integers(1, 24))
def test_a_curve_rises_from_nothing_to_everything_by_the_best_channels(values: list[float], step: int) -> None:
    given_ = np.array(values)
    steps = curve(given_, order(given_), step)
    assert steps[0] == 0.0 and np.isclose(steps[-1], given_.sum())
    assert len(steps) == -(-len(values) // step) + 1
    for index, kept in enumerate(steps[:-1]):
        channels = best(given_, index * step)
        assert np.isclose(given_[channels].sum(), kept) and channels == sorted(channels)


def test_a_step_is_a_channel_at_least() -> None:
    with pytest.raises(ValueError, match="step is 0, expected at least 1 channel"):
        curve(np.ones(3), np.arange(3), 0)


def test_equal_channels_keep_their_order() -> None:
    assert importance.order(np.array([1.0, 0.0, 1.0, 0.0])).tolist() == [1, 3, 0, 2]
    assert best(np.array([1.0, 0.0, 1.0, 0.0]), 3) == [0, 2, 3]
