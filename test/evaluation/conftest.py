"""Fixtures of the evaluation tests: a tiny data set with an object of every class in every sample."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[1] / "data")]

from ten_classes import SPLIT, write_ten_classes  # noqa: E402

from tggbc_ros.data.nuscenes.dataset import NuScenes  # noqa: E402
from tggbc_ros.evaluation.passes import Split, load_split  # noqa: E402


@pytest.fixture(autouse=True)
def every_test_on_one_thread(one_thread: None) -> None:
    """See `one_thread`."""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A fresh copy that a test may break."""
    return write_ten_classes(tmp_path / "data")


@pytest.fixture
def split(root: Path) -> Split:
    """All scenes of it."""
    return load_split(NuScenes(root), SPLIT)
