"""Ways to prune, written as the node's parameters: "keep_ratio=0.3 prune_layers=3 prune_reactivate=true"."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import yaml

from tggbc_ros.core.config import CarryConfig, KeepConfig, PruningConfig

PRUNING = {
    "keep_ratio": "keep_ratio",
    "prune_schedule": "schedule",
    "prune_layers": "layers",
    "prune_ratios": "ratios",
    "prune_queries": "queries",
    "prune_reactivate": "reactivate",
}
KEEP = {"keep_mode": "mode", "keep_mass": "mass", "min_keep_ratio": "min_ratio", "max_keep_ratio": "max_ratio",
        "latency_budget_ms": "budget_ms", "latency_budget_of": "budget_of"}  # fmt: skip
CARRY = {"carry_ratio": "ratio", "carry_refresh": "refresh"}
"""Parameter of the node -> field of the configuration."""


def variant(text: str) -> PruningConfig:
    """The configuration that a line of name=value pairs describes; what it does not name is the default.

    Raises ValueError naming what is no parameter of pruning, or has a value it cannot have.
    """
    values: dict[str, Any] = {}
    for pair in text.split():
        name, found, value = pair.partition("=")
        if not found or name not in {**PRUNING, **KEEP, **CARRY}:
            known = ", ".join((*PRUNING, *KEEP, *CARRY))
            raise ValueError(f"variant holds {pair!r}, expected NAME=VALUE with one of {known}")
        parsed = yaml.safe_load(value)
        values[name] = tuple(parsed) if isinstance(parsed, list) else parsed
    keep, carry = KeepConfig(**_fields(values, KEEP)), CarryConfig(**_fields(values, CARRY))
    return PruningConfig(**_fields(values, PRUNING), keep=keep, carry=carry)


def _fields(values: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
    return {field: values[name] for name, field in names.items() if name in values}
