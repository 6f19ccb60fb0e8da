"""Passes over a split -> submissions, official scores, the table of results and its plot, all in one folder."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tggbc_ros.core.config import CLASS_NAMES
from tggbc_ros.evaluation.passes import Pass, Split
from tggbc_ros.evaluation.plot import accuracy_plot, variants_plot
from tggbc_ros.evaluation.results import Row, are_variants, result_row, write_results
from tggbc_ros.evaluation.score import Evaluator
from tggbc_ros.evaluation.submission import write_submission

PLOT = "accuracy.png"


def judge(passes: Sequence[Pass], split: Split, evaluator: Evaluator, tables: str, out: Path) -> list[Row]:
    """Score every pass and write what came of it; the rows. tables: name of the data set's version, for the plot."""
    rows = [
        score_pass(record, split, evaluator, out / name) for record, name in zip(passes, _names(passes), strict=True)
    ]
    write_results(rows, out)
    title = f"{tables}, split {split.name}: {passes[0].settings.get('model', '')}".rstrip(": ")
    draw = variants_plot if are_variants(rows) else accuracy_plot
    draw(rows, out / PLOT, title)
    return rows


def score_pass(record: Pass, split: Split, evaluator: Evaluator, folder: Path) -> Row:
    """Official scores of one pass; its submission and the evaluator's details go to the folder."""
    submission = folder / "submission.json"
    write_submission(submission, [sample.token for sample in split.samples()], record.detections, CLASS_NAMES)
    return result_row(record, evaluator.score(submission, folder))


def _names(passes: Sequence[Pass]) -> list[str]:
    """A folder for each pass, by its ratio; several passes of one ratio are numbered."""
    names: list[str] = []
    for record in passes:
        name = "all" if record.keep_ratio is None else f"keep_{record.keep_ratio:g}"
        taken = sum(other == name or other.startswith(f"{name}_") for other in names)
        names.append(f"{name}_{taken + 1}" if taken else name)
    return names
