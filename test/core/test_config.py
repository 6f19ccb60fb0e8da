"""Bad values are refused with the field's name, its value and what was expected."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from tggbc_ros.core.config import R50_704, VOV_800, DecodeConfig, MemoryConfig, PruningConfig, model_config


@pytest.mark.parametrize("ratio", [0.0, -0.1, 1.0001, math.nan, math.inf])
def test_keep_ratio_outside_its_range_is_refused(ratio: float) -> None:
    with pytest.raises(ValueError, match=r"keep_ratio is .*expected a number in \(0, 1\]"):
        PruningConfig(keep_ratio=ratio)


def test_other_bad_values_are_refused() -> None:
    with pytest.raises(ValueError, match="prune_layers is 0"):
        PruningConfig(layers=0)
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
