"""Parts of a page that holds its pictures and can be mailed alone: style, tables, figures."""

from __future__ import annotations

import base64
import html
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

MIME = {".webp": "image/webp", ".png": "image/png", ".svg": "image/svg+xml"}

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


def page(title: str, body: Iterable[str]) -> str:
    """A whole document of a title and the parts of its body; empty ones are left out."""
    head = f'<meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>{text(title)}</title>'
    start = f'<!doctype html>\n<html lang="en"><head>{head}<style>{STYLE}</style></head>\n<body><main>\n'
    return start + "\n".join(filter(None, body)) + "\n</main></body></html>\n"


def cards(shown: Mapping[str, str]) -> str:
    """Numbers at a glance: what it is -> the number."""
    parts = [f'<div class="card"><b>{text(value)}</b><span>{text(name)}</span></div>' for name, value in shown.items()]
    return f'<div class="cards">{"".join(parts)}</div>'


def command_lines(given: Mapping[str, str]) -> str:
    """What it does -> the command line."""
    return "<pre>" + "\n\n".join(f"# {text(what)}\n{text(how)}" for what, how in given.items()) + "</pre>"


def number(value: float | int | None) -> str:
    """A figure as the page shows it; a dash where there is none."""
    if value is None:
        return "–"
    return str(value) if isinstance(value, int) else f"{value:.1f}" if abs(value) >= 10 else f"{value:.3f}"


def figure_part(figure: Figure) -> str:
    """A picture, inside of the page, with its heading and caption."""
    data = base64.b64encode(figure.path.read_bytes()).decode("ascii")
    source = f"data:{MIME[figure.path.suffix]};base64,{data}"
    image = f'<a href="{text(figure.path.name)}"><img src="{source}" alt="{text(figure.heading)}"></a>'
    caption = f"<figcaption>{text(figure.caption)}</figcaption>"
    return f"<h2>{text(figure.heading)}</h2>\n<figure>{image}{caption}</figure>"


def table(heads: Iterable[str], lines: Sequence[Sequence[str]]) -> str:
    """Cells below their headings."""
    head = "".join(f"<th>{text(name)}</th>" for name in heads)
    body = "\n".join("<tr>" + "".join(f"<td>{text(cell)}</td>" for cell in line) + "</tr>" for line in lines)
    return f'<div class="scroll"><table><thead><tr>{head}</tr></thead>\n<tbody>{body}</tbody></table></div>'


def pairs(facts: Mapping[str, str]) -> str:
    """Names and values."""
    lines = "\n".join(f"<tr><th>{text(name)}</th><td>{text(value)}</td></tr>" for name, value in facts.items())
    return f'<table class="facts">{lines}</table>'


def links(files: Mapping[str, str]) -> str:
    """Files beside the page -> what they are."""
    lines = "\n".join(
        f'<tr><th><a href="{text(name)}">{text(name)}</a></th><td>{text(what)}</td></tr>'
        for name, what in files.items()
    )
    return f'<table class="facts">{lines}</table>'


def text(value: str) -> str:
    """As HTML shows it, whatever is in it."""
    return html.escape(value, quote=True)
