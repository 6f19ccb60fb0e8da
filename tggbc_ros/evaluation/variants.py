"""Ways to prune, written as the node's parameters: "keep_ratio=0.3 prune_layers=3 prune_reactivate=true"."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import yaml

from tggbc_ros.core.config import CarryConfig, KeepConfig, PruningConfig, StartConfig

PRUNING = {
    "keep_ratio": "keep_ratio",
    "prune_schedule": "schedule",
    "prune_layers": "layers",
    "prune_ratios": "ratios",
    "prune_queries": "queries",
    "prune_reactivate": "reactivate",
    "token_rate": "token_rate",
}
KEEP = {"keep_mode": "mode", "keep_mass": "mass", "min_keep_ratio": "min_ratio", "max_keep_ratio": "max_ratio",
        "latency_budget_ms": "budget_ms", "latency_budget_of": "budget_of"}  # fmt: skip
CARRY = {"carry_ratio": "ratio", "carry_refresh": "refresh"}
START = {"start_ratio": "ratio", "gate_explore": "explore"}
"""Parameter of the node -> field of the configuration."""

DEFAULTS: dict[str, Any] = {
    name: getattr(config, field)
    for config, names in ((PruningConfig, PRUNING), (KeepConfig, KEEP), (CarryConfig, CARRY), (StartConfig, START))
    for name, field in names.items()
}
EXPECTED = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "a word",
    tuple: "a list of numbers such as [0.7, 0.5]",
}
PAIR = re.compile(r"(?:\[[^\]]*\]|\S)+")
"""Spaces part, but not those inside of brackets."""


def variant(text: str) -> PruningConfig:
    """The configuration that a line of name=value pairs describes; what it does not name is the default.

    Raises ValueError naming what is no parameter of pruning, or has a value it cannot have.
    """
    values: dict[str, Any] = {}
    for pair in PAIR.findall(text):
        name, found, value = pair.partition("=")
        if not found or name not in DEFAULTS:
            raise ValueError(f"variant holds {pair!r}, expected NAME=VALUE with one of {', '.join(DEFAULTS)}")
        default = DEFAULTS[name]
        try:
            values[name] = _like(default, yaml.safe_load(value))
        except (yaml.YAMLError, TypeError, ValueError, OverflowError) as error:
            raise ValueError(f"variant holds {pair!r}, expected {name} to be {EXPECTED[type(default)]}") from error
    keep, carry = KeepConfig(**_fields(values, KEEP)), CarryConfig(**_fields(values, CARRY))
    start = StartConfig(**_fields(values, START))
    return PruningConfig(**_fields(values, PRUNING), keep=keep, carry=carry, start=start)


def _like(default: Any, value: Any) -> Any:
    """The value with the default's type; raises TypeError or one of float's errors where it has another."""
    if isinstance(default, float):
        return _number(value)
    expected = list if isinstance(default, tuple) else type(default)
    if type(value) is not expected:
        raise TypeError(f"{value!r} is not {expected.__name__}")
    return tuple(map(_number, value)) if expected is list else value


def _number(value: Any) -> float:
    """Also of "1e-1", which is text to YAML."""
    if isinstance(value, bool):
        raise TypeError(f"{value} is not a number")
    return float(value)


def _fields(values: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
    return {field: values[name] for name, field in names.items() if name in values}
