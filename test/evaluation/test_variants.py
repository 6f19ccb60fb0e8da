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


def test_numbers_may_be_written_in_other_ways() -> None:
    assert variant("keep_ratio=1e-1") == PruningConfig(0.1)
    whole = variant("keep_mode=budget latency_budget_ms=7").keep.budget_ms
    assert (whole, type(whole)) == (7.0, float)
    spaced = variant("prune_schedule=ratios prune_ratios=[0.7, 5e-1] keep_ratio=0.3")
    assert (spaced.ratios, spaced.keep_ratio) == ((0.7, 0.5), 0.3)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("keep=0.3", "variant holds 'keep=0.3', expected NAME=VALUE with one of keep_ratio, "),
        ("keep_ratio", "variant holds 'keep_ratio', expected NAME=VALUE"),
        ("keep_ratio=0", r"keep_ratio is 0\.0, expected"),
        ("carry_ratio=2", r"carry_ratio is 2\.0, expected"),
        ("keep_ratio=abc", "variant holds 'keep_ratio=abc', expected keep_ratio to be a number"),
        ("keep_ratio=true", "variant holds 'keep_ratio=true', expected keep_ratio to be a number"),
        ("keep_ratio=", "variant holds 'keep_ratio=', expected keep_ratio to be a number"),
        ("keep_ratio=nan", "keep_ratio is nan, expected"),
        (f"keep_ratio=1{'0' * 400}", "expected keep_ratio to be a number"),
        ("prune_layers=x", "variant holds 'prune_layers=x', expected prune_layers to be a whole number"),
        ("prune_layers=1.5", "variant holds 'prune_layers=1.5', expected prune_layers to be a whole number"),
        ("prune_queries=abc", "variant holds 'prune_queries=abc', expected prune_queries to be a whole number"),
        ("prune_reactivate=1", "variant holds 'prune_reactivate=1', expected prune_reactivate to be true or false"),
        ("keep_mode=1", "variant holds 'keep_mode=1', expected keep_mode to be a word"),
        ("prune_ratios=[0.5, 0.3", r"variant holds 'prune_ratios=\[0.5,', expected prune_ratios to be a list"),
        ("prune_ratios=0.5", "variant holds 'prune_ratios=0.5', expected prune_ratios to be a list of numbers"),
        ("prune_ratios=[0.5, x]", r"variant holds 'prune_ratios=\[0.5, x\]', expected prune_ratios to be a list"),
    ],
)
def test_what_is_wrong_is_said(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        variant(text)
