"""bench/ is not installed: it is found from the repository's root alone."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import pytest

from tggbc_ros.core.config import R50_704, ModelConfig

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))


@pytest.fixture(scope="session")
def tiny() -> ModelConfig:
    """28 queries, 144 keys."""
    return replace(
        R50_704,
        name="tiny",
        backbone="resnet18",
        image_size=(64, 96),
        num_queries=20,
        num_propagated=8,
        memory_length=24,
        embed_dims=32,
        num_heads=4,
        ffn_dims=64,
    )
