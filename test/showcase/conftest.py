"""A short drive in the demo model's world, read back as a split."""

from __future__ import annotations

import pytest

from tggbc_ros.data.drive import dataset
from tggbc_ros.data.nuscenes.dataset import NuScenes
from tggbc_ros.evaluation.passes import Split, load_split
from tggbc_ros.showcase.plan import SPLIT, Network, Plan


@pytest.fixture(scope="session")
def split(tmp_path_factory: pytest.TempPathFactory) -> Split:
    """Four frames, two seconds."""
    root = tmp_path_factory.mktemp("drive")
    config = Plan(root, (Network("dense", "demo"),), seed=5, seconds=2.0, keep_ratios=(1.0,), show_score=0.3).drive
    tables = dataset.write_scene(root, 5, 0, config, progress=lambda: None)
    dataset.write_tables(root, dataset.VERSION, SPLIT, [tables])
    return load_split(NuScenes(root), SPLIT)
