"""Splits of data sets, as the commands that compress are given them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tggbc_ros.compress.progress_bar import bar
from tggbc_ros.core.config import ModelConfig
from tggbc_ros.data.nuscenes.dataset import NuScenes
from tggbc_ros.training.frames import FrameTable
from tggbc_ros.training.prepare import prepare


@dataclass(frozen=True)
class Where:
    """A split of a data set in nuScenes' v1.0 schema."""

    root: Path
    version: str | None
    split: str

    def expect_there(self) -> None:
        """Raise ValueError where it has no scene, or what `NuScenes` raises where there is no data set."""
        data = NuScenes(self.root, self.version)
        if not data.scene_names(self.split):
            raise ValueError(f"split {self.split!r} of {data.tables} has no scene")


def prepared(where: Where, model: ModelConfig, folder: Path) -> FrameTable:
    """Its frames as arrays, written to a folder the first time."""
    with bar(f"preparing {where.split}", "frame", hidden=folder.exists()) as shown:

        def advance(done: int, total: int) -> None:
            shown.total = total
            shown.update(done - shown.n)

        return prepare(where.root, where.split, model, folder, advance, where.version)
