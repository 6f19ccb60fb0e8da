"""Fixtures of the data tests: a tiny data set in nuScenes' schema."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from tiny_nuscenes import write_tiny_nuscenes  # noqa: E402


@pytest.fixture
def tiny_root(tmp_path: Path) -> Path:
    """A fresh copy that a test may break."""
    return write_tiny_nuscenes(tmp_path / "tiny")
