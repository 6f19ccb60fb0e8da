"""Bad values are refused with the field's name, its value and what was expected."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from tggbc_ros.core.config import (
    R50_704,
    VOV_800,
    CarryConfig,
    DecodeConfig,
    KeepConfig,
    MemoryConfig,
    PruningConfig,
    model_config,
)


@pytest.mark.parametrize("ratio", [0.0, -0.1, 1.0001, math.nan, math.inf])
def test_keep_ratio_outside_its_range_is_refused(ratio: float) -> None:
    with pytest.raises(ValueError, match=r"keep_ratio is .*expected a number in \(0, 1\]"):
        PruningConfig(keep_ratio=ratio)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"layers": 0}, "prune_layers is 0, expected at least 1"),
        ({"schedule": "twice"}, "prune_schedule is 'twice', expected one of once, gradual, ratios"),
        ({"schedule": "ratios"}, r"prune_ratios is \[\], expected one share or more for prune_schedule ratios"),
        ({"ratios": (0.5, 0.6)}, r"prune_ratios is \[0.5, 0.6\], expected shares in \(0, 1\], none larger than"),
        ({"ratios": (0.5, 0.0)}, r"prune_ratios is \[0.5, 0.0\], expected shares"),
        ({"ratios": (math.nan, 0.5)}, r"prune_ratios is \[nan, 0.5\], expected shares"),
        (
            {"keep_ratio": 0.5, "ratios": (0.8, 0.4), "schedule": "ratios"},
            "keep_ratio is 0.5, expected at most 0.4, the last of prune_ratios",
        ),
        (
            {"ratios": (0.8,), "schedule": "ratios", "keep": KeepConfig("mass")},
            "keep_mode is 'mass', expected fixed or budget with prune_schedule ratios",
        ),
        ({"reactivate": True}, "prune_reactivate is True, expected False where keys are trimmed only once"),
        (
            {"reactivate": True, "layers": 3, "schedule": "once"},
            "prune_reactivate is True, expected False where keys are trimmed only once",
        ),
        ({"keep_ratio": 0.6, "carry": CarryConfig(0.5)}, "keep_ratio is 0.6, expected less than carry_ratio, 0.5"),
        (
            {"keep": KeepConfig("budget", max_ratio=0.5), "carry": CarryConfig(0.5)},
            "max_keep_ratio is 0.5, expected less than carry_ratio, 0.5",
        ),
        (
            {"keep": KeepConfig("mass", min_ratio=0.3), "carry": CarryConfig(0.3)},
            "min_keep_ratio is 0.3, expected less than carry_ratio, 0.3",
        ),
    ],
)
def test_bad_pruning_is_refused(given: dict, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        PruningConfig(**given)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"mode": "auto"}, "keep_mode is 'auto', expected one of fixed, mass, budget"),
        ({"mass": 0.0}, r"keep_mass is 0.0, expected a number in \(0, 1\]"),
        ({"mass": 1.5}, "keep_mass is 1.5"),
        ({"min_ratio": 0.0}, "min_keep_ratio is 0.0"),
        ({"max_ratio": math.nan}, "max_keep_ratio is nan"),
        ({"min_ratio": 0.5, "max_ratio": 0.4}, "max_keep_ratio is 0.4, expected at least min_keep_ratio, 0.5"),
        ({"budget_ms": 0.0}, "latency_budget_ms is 0.0, expected a positive number of milliseconds"),
        ({"budget_ms": -3.0}, "latency_budget_ms is -3.0"),
        ({"budget_ms": math.inf}, "latency_budget_ms is inf"),
        ({"budget_of": "encoder"}, "latency_budget_of is 'encoder', expected one of decoder, frame"),
    ],
)
def test_bad_keep_rules_are_refused(given: dict, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        KeepConfig(**given)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"ratio": 0.0}, "carry_ratio is 0.0"),
        ({"ratio": 0.5, "refresh": 0}, "carry_refresh is 0, expected at least 1 frame"),
        ({"ratio": 0.25, "refresh": 4}, "carry_refresh is 4, expected more than 1 / carry_ratio, 4 frames"),
        ({"decay": 1.1}, "carry_decay is 1.1"),
    ],
)
def test_bad_carrying_is_refused(given: dict, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        CarryConfig(**given)


def test_what_a_mode_does_not_look_at_may_be_anything_valid() -> None:
    """So that one live parameter after the other can be changed, in some order."""
    PruningConfig(1.0, layers=5, ratios=(0.5,), schedule="once")
    PruningConfig(1.0, ratios=(0.5,), schedule="ratios", keep=KeepConfig("budget"))
    PruningConfig(1.0, carry=CarryConfig(0.5), keep=KeepConfig("mass"))
    assert not CarryConfig(1.0, refresh=1).active


def test_other_bad_values_are_refused() -> None:
    with pytest.raises(ValueError, match="max_gap_s is -1.0, expected a positive number"):
        MemoryConfig(max_gap_s=-1.0)
    with pytest.raises(ValueError, match="score_threshold is 1.5"):
        DecodeConfig(score_threshold=1.5)
    with pytest.raises(ValueError, match="color_order is 'grb'"):
        replace(R50_704, color_order="grb")
    with pytest.raises(ValueError, match="num_propagated is 513"):
        replace(R50_704, num_propagated=513)


def test_an_unknown_model_names_the_known_ones() -> None:
    with pytest.raises(ValueError, match="model is 'r50', expected one of r50_704, vov_800"):
        model_config("r50")


def test_shipped_models_have_the_papers_sizes() -> None:
    assert (R50_704.total_queries, R50_704.feature_size) == (428, (16, 44))
    assert (VOV_800.total_queries, VOV_800.feature_size) == (900, (20, 50))
