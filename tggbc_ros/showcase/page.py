"""The report of a demo: one HTML page that holds its pictures and can be mailed alone."""

from __future__ import annotations

import base64
import html
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tggbc_ros.evaluation.results import Row

MIME = {".webp": "image/webp", ".png": "image/png"}

SCORE_COLUMNS = {
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

STYLE = """
:root { color-scheme: light; --ink: #1b1f24; --soft: #57606a; --line: #d8dee4; --accent: #0072b2; --plate: #f6f8fa; }
* { box-sizing: border-box; }
body { margin: 0; background: #fff; color: var(--ink); font: 16px/1.55 system-ui, "Segoe UI", Roboto, sans-serif; }
main { max-width: 1100px; margin: 0 auto; padding: 40px 24px 64px; }
h1 { font-size: 30px; line-height: 1.2; margin: 0 0 8px; }
h2 { font-size: 20px; margin: 44px 0 12px; padding-bottom: 6px; border-bottom: 1px solid var(--line); }
p.lead { color: var(--soft); margin: 0 0 24px; }
p.warning { background: #fff4e5; border-left: 4px solid #d55e00; padding: 10px 16px; }
.cards { display: flex; flex-wrap: wrap; gap: 14px; }
.card { flex: 1 1 190px; background: var(--plate); border: 1px solid var(--line); border-radius: 8px;
  padding: 14px 18px; }
.card b { display: block; font-size: 25px; color: var(--accent); font-variant-numeric: tabular-nums; }
.card span { color: var(--soft); font-size: 14px; }
figure { margin: 0; }
figure img { width: 100%; height: auto; display: block; border: 1px solid var(--line); border-radius: 8px; }
figcaption { color: var(--soft); font-size: 14px; margin-top: 8px; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-size: 14px; font-variant-numeric: tabular-nums; }
th, td { padding: 7px 8px; text-align: right; border-bottom: 1px solid var(--line); white-space: nowrap; }
th { color: var(--soft); font-weight: 600; }
th:first-child, td:first-child { text-align: left; }
table.facts th, table.facts td { text-align: left; white-space: normal; overflow-wrap: anywhere; }
table.facts th { width: 150px; }
pre { background: var(--plate); border: 1px solid var(--line); border-radius: 8px; padding: 14px 18px; overflow-x: auto;
  font-size: 13px; white-space: pre-wrap; }
a { color: var(--accent); }
"""


@dataclass(frozen=True)
class Figure:
    """A picture file, what it shows in a heading, and what to know about it."""

    path: Path
    heading: str
    caption: str


@dataclass(frozen=True)
class Report:
    """What the page says. rows: as `evaluation.results` has them, at least one, the largest keep ratio first.

    facts and commands: in order, name -> value and what it does -> command line. files: beside the page.
    """

    title: str
    lead: str
    warning: str
    rows: Sequence[Row]
    figures: Sequence[Figure]
    facts: Mapping[str, str]
    commands: Mapping[str, str]
    files: Mapping[str, str]


def write_page(report: Report, path: Path) -> None:
    """Write the page; pictures become part of it, ``files`` are linked by their names beside it."""
    body = [
        f"<h1>{_text(report.title)}</h1>",
        f'<p class="lead">{_text(report.lead)}</p>',
        f'<p class="warning">{_text(report.warning)}</p>' if report.warning else "",
        _cards(report.rows),
        *(_figure(figure) for figure in report.figures),
        "<h2>Scores by nuScenes' own evaluator</h2>",
        _table(SCORE_COLUMNS.values(), [[_cell(row, name) for name in SCORE_COLUMNS] for row in report.rows]),
        "<h2>Average precision by class</h2>",
        _class_table(report.rows),
        "<h2>What ran</h2>",
        _pairs(report.facts),
        "<h2>Do it again</h2>",
        "<pre>" + "\n\n".join(f"# {_text(what)}\n{_text(how)}" for what, how in report.commands.items()) + "</pre>",
        "<h2>Files</h2>",
        _links(report.files),
    ]
    head = (
        f'<meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>{_text(report.title)}</title>'
    )
    page = f'<!doctype html>\n<html lang="en"><head>{head}<style>{STYLE}</style></head>\n<body><main>\n'
    path.write_text(page + "\n".join(filter(None, body)) + "\n</main></body></html>\n", encoding="utf-8")


def number(value: float | int | None) -> str:
    """A figure as the page shows it; a dash where there is none."""
    if value is None:
        return "–"
    return str(value) if isinstance(value, int) else f"{value:.1f}" if abs(value) >= 10 else f"{value:.3f}"


def _cards(rows: Sequence[Row]) -> str:
    """The widest step of the sweep at a glance: what the smallest ratio costs and saves against the largest."""
    first, last = rows[0], rows[-1]
    cards = {
        f"keys of the last decoder layer, keep ratio {first['keep_ratio']:g} → {last['keep_ratio']:g}": "keys_kept",
        "mAP": "mAP",
        "NDS": "NDS",
        "decoder, median ms a frame": "decoder_ms",
    }
    shown = [
        f'<div class="card"><b>{number(first[column])} → {number(last[column])}</b><span>{_text(name)}</span></div>'
        for name, column in cards.items()
    ]
    return f'<div class="cards">{"".join(shown)}</div>'


def _figure(figure: Figure) -> str:
    data = base64.b64encode(figure.path.read_bytes()).decode("ascii")
    source = f"data:{MIME[figure.path.suffix]};base64,{data}"
    image = f'<a href="{_text(figure.path.name)}"><img src="{source}" alt="{_text(figure.heading)}"></a>'
    caption = f"<figcaption>{_text(figure.caption)}</figcaption>"
    return f"<h2>{_text(figure.heading)}</h2>\n<figure>{image}{caption}</figure>"


def _class_table(rows: Sequence[Row]) -> str:
    """A line for each class that the drive has, with its number of objects; a column for each ratio."""
    names = [name.removeprefix("objects_") for name in rows[0] if name.startswith("objects_") and rows[0][name]]
    heads = ["class", "objects", *(f"keep {row['keep_ratio']:g}" for row in rows)]
    lines = [
        [name.replace("_", " "), number(rows[0][f"objects_{name}"]), *(number(row[f"AP_{name}"]) for row in rows)]
        for name in names
    ]
    return _table(heads, lines)


def _cell(row: Row, column: str) -> str:
    return f"{row[column]:g}" if column == "keep_ratio" else number(row[column])


def _table(heads: Iterable[str], lines: Sequence[Sequence[str]]) -> str:
    head = "".join(f"<th>{_text(name)}</th>" for name in heads)
    body = "\n".join("<tr>" + "".join(f"<td>{_text(cell)}</td>" for cell in line) + "</tr>" for line in lines)
    return f'<div class="scroll"><table><thead><tr>{head}</tr></thead>\n<tbody>{body}</tbody></table></div>'


def _pairs(facts: Mapping[str, str]) -> str:
    lines = "\n".join(f"<tr><th>{_text(name)}</th><td>{_text(value)}</td></tr>" for name, value in facts.items())
    return f'<table class="facts">{lines}</table>'


def _links(files: Mapping[str, str]) -> str:
    lines = "\n".join(
        f'<tr><th><a href="{_text(name)}">{_text(name)}</a></th><td>{_text(what)}</td></tr>'
        for name, what in files.items()
    )
    return f'<table class="facts">{lines}</table>'


def _text(value: str) -> str:
    return html.escape(value, quote=True)
