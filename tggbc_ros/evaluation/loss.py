"""What another engine, or fewer bits, costs by nuScenes' own evaluator: two networks on the same frames."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from tggbc_ros.core.config import CLASS_NAMES, DecodeConfig, PruningConfig
from tggbc_ros.core.detector import Network
from tggbc_ros.data.nuscenes.dataset import NuScenes
from tggbc_ros.evaluation.detect import Sweep
from tggbc_ros.evaluation.passes import Pass, Split, load_split
from tggbc_ros.evaluation.score import Evaluator, Score
from tggbc_ros.evaluation.submission import write_submission


@dataclass(frozen=True)
class Loss:
    """Scores of two networks at one keep ratio, on the same frames."""

    keep_ratio: float
    reference: Score
    tested: Score

    @property
    def mean_ap(self) -> float:
        """How much mAP the tested one lost; below 0 where it gained."""
        return self.reference.mean_ap - self.tested.mean_ap


@dataclass(frozen=True, eq=False)
class Ground:
    """A split to score on, read whole."""

    split: Split
    evaluator: Evaluator


def ground(root: Path, version: str | None, split: str, sweeps: bool = False) -> Ground:
    """sweeps: with the sets of images between the keyframes.

    Raises ValueError or FileNotFoundError naming what the data set lacks, ImportError without the devkit.
    """
    dataset = NuScenes(root, version)
    return Ground(load_split(dataset, split, sweeps), Evaluator(dataset.root, dataset.tables.name, split))


def losses(
    reference: Network, tested: Network, on: Ground, ratios: Sequence[float], done: Callable[[], object]
) -> list[Loss]:
    """One row a keep ratio. Each network keeps its own memory; ``done`` is called after each frame of either."""
    by_network = [_scores(network, on, ratios, done) for network in (reference, tested)]
    return [Loss(ratio, *scores) for ratio, *scores in zip(ratios, *by_network, strict=True)]


def _scores(network: Network, on: Ground, ratios: Sequence[float], done: Callable[[], object]) -> list[Score]:
    sweep = Sweep(network, [PruningConfig(ratio) for ratio in ratios], DecodeConfig())
    return [score(record, on) for record in sweep.run(on.split, done)]


def score(record: Pass, on: Ground) -> Score:
    """By nuScenes' evaluator; its files are thrown away."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "submission.json"
        write_submission(path, [sample.token for sample in on.split.samples()], record.detections, CLASS_NAMES)
        return on.evaluator.score(path, Path(folder))
