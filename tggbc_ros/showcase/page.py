"""The report of a demo: one HTML page that holds its pictures and can be mailed alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tggbc_ros.drawing.page_parts import (
    Figure,
    cards,
    command_lines,
    figure_part,
    links,
    number,
    page,
    pairs,
    table,
    text,
)
from tggbc_ros.evaluation.results import Row

SCORE_COLUMNS = {
    "network": "network",
    "keep_ratio": "keep ratio",
    "keys_kept": "keys left",
    "mAP": "mAP",
    "NDS": "NDS",
    "mATE": "mATE (m)",
    "mASE": "mASE",
    "mAOE": "mAOE (rad)",
    "mAVE": "mAVE (m/s)",
    "mAAE": "mAAE",
    "decoder_ms": "decoder (ms)",
    "frame_ms": "frame (ms)",
    "latency_ms": "latency (ms)",
}
"""Column of a results row -> its heading on the page."""


@dataclass(frozen=True)
class Report:
    """What the page says.

    rows: as `evaluation.results` has them, each with its ``network``; the first is the dense one's with all keys.
    shown: which of them is compared with it at a glance.
    facts and commands: in order, name -> value and what it does -> command line. files: beside the page.
    """

    title: str
    lead: str
    warning: str
    rows: Sequence[Row]
    shown: int
    figures: Sequence[Figure]
    facts: Mapping[str, str]
    commands: Mapping[str, str]
    files: Mapping[str, str]


def write_page(report: Report, path: Path) -> None:
    """Write the page; pictures become part of it, ``files`` are linked by their names beside it."""
    body = [
        f"<h1>{text(report.title)}</h1>",
        f'<p class="lead">{text(report.lead)}</p>',
        f'<p class="warning">{text(report.warning)}</p>' if report.warning else "",
        _cards(report.rows[0], report.rows[report.shown]),
        *(figure_part(figure) for figure in report.figures),
        "<h2>Scores by nuScenes' own evaluator</h2>",
        table(SCORE_COLUMNS.values(), [[_cell(row, name) for name in SCORE_COLUMNS] for row in report.rows]),
        "<h2>Average precision by class</h2>",
        _class_table(report.rows),
        "<h2>What ran</h2>",
        pairs(report.facts),
        "<h2>Do it again</h2>",
        command_lines(report.commands),
        "<h2>Files</h2>",
        links(report.files),
    ]
    path.write_text(page(report.title, body), encoding="utf-8")


def _cards(dense: Row, shown: Row) -> str:
    """At a glance what the one pass saves against the other, and what it costs."""
    names = {
        "whole frame, median ms": "frame_ms",
        "mAP": "mAP",
        "NDS": "NDS",
        "decoder, median ms": "decoder_ms",
        f"keys of the last decoder layer, keep ratio {dense['keep_ratio']:g} → {shown['keep_ratio']:g}": "keys_kept",
    }
    return cards({name: f"{number(dense[column])} → {number(shown[column])}" for name, column in names.items()})


def _class_table(rows: Sequence[Row]) -> str:
    """A line for each class that the drive has, with its number of objects; a column for each ratio."""
    names = [name.removeprefix("objects_") for name in rows[0] if name.startswith("objects_") and rows[0][name]]
    heads = ["class", "objects", *(f"{row['network']}, keep {row['keep_ratio']:g}" for row in rows)]
    lines = [
        [name.replace("_", " "), number(rows[0][f"objects_{name}"]), *(number(row[f"AP_{name}"]) for row in rows)]
        for name in names
    ]
    return table(heads, lines)


def _cell(row: Row, column: str) -> str:
    if column == "network":
        return str(row[column])
    return f"{row[column]:g}" if column == "keep_ratio" else number(row[column])
