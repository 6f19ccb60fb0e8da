"""Fixtures of the training tests: a hand-made world, and a fixed random state."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch

sys.path.insert(0, str(Path(__file__).parent))

from squares_world import make_table  # noqa: E402

from tggbc_ros.training.frames import FrameTable  # noqa: E402


@pytest.fixture(scope="session")
def table() -> FrameTable:
    """Four scenes of three frames."""
    return make_table(scenes=4, length=3)


@pytest.fixture(autouse=True)
def seed() -> None:
    """Every test starts from the same random state."""
    torch.manual_seed(0)
