"""Ways to prune, written as the node's parameters."""

from __future__ import annotations

import pytest

from tggbc_ros.core.config import CarryConfig, KeepConfig, PruningConfig
from tggbc_ros.evaluation.variants import CARRY, KEEP, PRUNING, variant
from tggbc_ros.ros.params import Settings


def test_names_are_the_nodes_parameters_and_mean_the_same() -> None:
    settings = Settings(
        keep_ratio=0.3, prune_layers=2, prune_reactivate=True, keep_mode="budget", latency_budget_ms=7.0
    )
    text = "keep_ratio=0.3 prune_layers=2 prune_reactivate=true keep_mode=budget latency_budget_ms=7.0"
    assert variant(text) == settings.pruning()
    assert all(hasattr(settings, name) for name in (*PRUNING, *KEEP, *CARRY))


def test_what_is_not_named_is_the_default() -> None:
    assert variant("keep_ratio=1.0") == PruningConfig()
    mass = variant("keep_mode=mass keep_mass=0.8 carry_ratio=0.5")
    assert mass == PruningConfig(keep=KeepConfig(mode="mass", mass=0.8), carry=CarryConfig(0.5))
    listed = variant("prune_schedule=ratios prune_ratios=[0.7,0.5] keep_ratio=0.3")
    assert listed.ratios == (0.7, 0.5)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("keep=0.3", "variant holds 'keep=0.3', expected NAME=VALUE with one of keep_ratio, "),
        ("keep_ratio", "variant holds 'keep_ratio', expected NAME=VALUE"),
        ("keep_ratio=0", "keep_ratio is 0, expected"),
        ("carry_ratio=2", "carry_ratio is 2, expected"),
    ],
)
def test_what_is_wrong_is_said(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        variant(text)
