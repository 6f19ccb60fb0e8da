"""nuscenes-devkit's own evaluator on a submission; all that knows the devkit is in this file."""

from __future__ import annotations

import contextlib
import io
import json
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from tggbc_ros.core.config import CLASS_NAMES

CONFIG = "detection_cvpr_2019"
TP_ERRORS = {"trans_err": "mATE", "scale_err": "mASE", "orient_err": "mAOE", "vel_err": "mAVE", "attr_err": "mAAE"}
"""The devkit's names of the true positive errors -> the benchmark's."""

DEVKIT_ONLY_TABLES = ("attribute", "visibility", "log", "map")
"""Tables that the devkit reads and our own reader, which checks the others, does not."""

FAR_BOX = {
    "translation": [1e7, 1e7, 0.0],
    "size": [1.0, 1.0, 1.0],
    "rotation": [1.0, 0.0, 0.0, 0.0],
    "velocity": [0.0, 0.0],
    "detection_name": "car",
    "detection_score": 0.0,
    "attribute_name": "vehicle.parked",
}


@dataclass(frozen=True)
class Score:
    """Official scores. tp_errors: mATE (m), mASE (1 - IoU), mAOE (rad), mAVE (m/s), mAAE (1 - accuracy).

    class_ap: by class. ground_truth: by class, how many objects of the split the evaluator counted; a class
    without any has AP 0 and errors of 1 by the official rule, and all means are over ten classes.
    """

    mean_ap: float
    nds: float
    tp_errors: Mapping[str, float]
    class_ap: Mapping[str, float]
    ground_truth: Mapping[str, int]


class Evaluator:
    """Scores submissions on one split. Making one loads the data set's tables into the devkit.

    root, version: as the devkit has them. split: an official one, or a name in the version's splits.json.
    Raises ValueError naming file and record for tables that the devkit cannot use, ImportError without a devkit.
    """

    def __init__(self, root: Path, version: str, split: str) -> None:
        self._split = split
        self._tables = root / version
        for name in DEVKIT_ONLY_TABLES:
            _check_table(self._tables / f"{name}.json")
        with _devkit_errors(f"{self._tables} as a nuScenes data set"):
            self._nusc = import_devkit().NuScenes(version=version, dataroot=str(root), verbose=False)
        self._check_attributes()

    def score(self, submission: Path, out: Path) -> Score:
        """Score a submission; the devkit's metrics_summary.json and metrics_details.json go to ``out``."""
        devkit = import_devkit()
        out.mkdir(parents=True, exist_ok=True)
        with _devkit_errors(f"{submission} on split {self._split!r} of {self._tables}"):
            path = str(_with_some_box(submission, out))
            config = devkit.config_factory(CONFIG)
            evaluation = devkit.NuScenesEval(self._nusc, config, path, self._split, str(out), verbose=False)
            summary = evaluation.main(plot_examples=0, render_curves=False)
            (out / "plots").rmdir()  # the devkit makes it for curves that nobody asked for
        return _score(summary, Counter(box.detection_name for box in evaluation.gt_boxes.all))

    def _check_attributes(self) -> None:
        """The devkit looks attributes up without a word on whose they are; at most one is allowed."""
        known = {row["token"] for row in self._nusc.attribute}
        for row in self._nusc.sample_annotation:
            tokens = row.get("attribute_tokens")
            if not isinstance(tokens, list) or len(tokens) > 1 or not known.issuperset(tokens):
                path = self._tables / "sample_annotation.json"
                expected = "expected at most one of attribute.json"
                raise ValueError(f"{path}: record {row['token']} has attribute_tokens {tokens!r}, {expected}")


class Devkit(NamedTuple):
    """What is used of nuscenes-devkit."""

    NuScenes: Any
    NuScenesEval: Any
    config_factory: Any


def import_devkit() -> Devkit:
    """The devkit; raises ImportError that says how to install it."""
    try:
        from nuscenes import NuScenes
        from nuscenes.eval.common.config import config_factory
        from nuscenes.eval.detection.evaluate import NuScenesEval
    except ImportError as error:
        hint = "pip install --no-deps nuscenes-devkit==1.2.0; pip install cachetools pyquaternion scikit-learn shapely"
        raise ImportError(f"the official evaluator is missing ({error}): {hint}") from error
    return Devkit(NuScenes, NuScenesEval, config_factory)


@contextlib.contextmanager
def _devkit_errors(what: str) -> Iterator[None]:
    """Keep the devkit's prints to itself and turn what it raises for bad data into ValueError."""
    try:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            yield
    except KeyError as error:
        raise ValueError(f"nuscenes-devkit cannot use {what}: no record or field {error}") from error
    except (AssertionError, OSError, TypeError, IndexError, ValueError) as error:
        raise ValueError(f"nuscenes-devkit cannot use {what}: {type(error).__name__}: {error}") from error


def _check_table(path: Path) -> None:
    if not path.is_file():
        raise FileNotFoundError(f"table {path} does not exist")
    try:
        rows = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"table {path} is not JSON: {error}") from error
    if not isinstance(rows, list) or not all(isinstance(row, dict) and "token" in row for row in rows):
        raise ValueError(f"table {path} is not a list of records with tokens")


def _with_some_box(submission: Path, out: Path) -> Path:
    """The submission, or where it holds no box at all a copy with one that the evaluator filters out as too far.

    The devkit refuses a submission without boxes; a detector that finds nothing deserves its score of zero.
    """
    content = json.loads(submission.read_text(encoding="utf-8"))
    if any(content["results"].values()):
        return submission
    token = next(iter(content["results"]))
    content["results"][token] = [FAR_BOX | {"sample_token": token}]
    path = out / "submission_without_boxes.json"
    path.write_text(json.dumps(content), encoding="utf-8")
    return path


def _score(summary: Mapping[str, Any], ground_truth: Counter[str]) -> Score:
    return Score(
        mean_ap=float(summary["mean_ap"]),
        nds=float(summary["nd_score"]),
        tp_errors={name: float(summary["tp_errors"][key]) for key, name in TP_ERRORS.items()},
        class_ap={name: float(summary["mean_dist_aps"][name]) for name in CLASS_NAMES},
        ground_truth={name: ground_truth[name] for name in CLASS_NAMES},
    )
