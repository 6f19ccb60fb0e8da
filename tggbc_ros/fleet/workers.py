"""What a worker does: load the network once, then a bag or a scene at a time."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tggbc_ros.compress.splits import Where
from tggbc_ros.core.config import DecodeConfig, PruningConfig
from tggbc_ros.data.nuscenes.dataset import NuScenes
from tggbc_ros.evaluation.detect import Sweep
from tggbc_ros.evaluation.pass_file import as_data
from tggbc_ros.evaluation.passes import Split
from tggbc_ros.fleet.detections import BagResult, detect
from tggbc_ros.fleet.job import Engine
from tggbc_ros.ros.params import Settings


class BagWorker:
    """Bags -> what a node would publish of them. settings: the node's, for topics, frames and checks."""

    def __init__(self, engine: Engine, settings: Settings) -> None:
        self._engine, self._settings = engine, settings
        self._network = engine.load()

    def do(self, bag: Path) -> BagResult:
        """Raises BagError for a bag that will not do."""
        return detect(self._network, self._engine.backend, bag, self._settings, self._engine.keep_ratios)


class SceneWorker:
    """Scenes of a split -> passes over them, as `evaluation.pass_file` has them.

    sweeps: with the sets of images between the keyframes.
    """

    def __init__(self, engine: Engine, where: Where, sweeps: bool) -> None:
        self._engine, self._where, self._sweeps = engine, where, sweeps
        self._network = engine.load()
        self._dataset = NuScenes(where.root, where.version)

    def do(self, scene: str) -> list[dict[str, Any]]:
        """A pass for each keep ratio."""
        read = self._dataset.sweeps if self._sweeps else self._dataset.samples
        split = Split(self._where.split, {scene: tuple(read(scene))})
        ways = [PruningConfig(ratio) for ratio in self._engine.keep_ratios]
        passes = Sweep(self._network, ways, DecodeConfig()).run(split, lambda: None)
        for record, ratio in zip(passes, self._engine.keep_ratios, strict=True):
            frames = "sweeps" if self._sweeps else "keyframes"
            record.settings |= {"variant": f"keep_ratio={ratio:g}", "frames": frames}
        return [as_data(record) for record in passes]
