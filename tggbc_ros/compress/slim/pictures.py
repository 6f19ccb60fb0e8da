"""The pictures of the report, as SVG: widths, latency by layer, accuracy against time."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from tggbc_ros.compress import layout
from tggbc_ros.compress.cutting import cut_shape
from tggbc_ros.compress.slim.outcome import Row
from tggbc_ros.compress.slim.widths import Chosen
from tggbc_ros.core.shape import Shape

BEFORE, AFTER, GONE = "#c9d3dd", "#0072b2", "#d55e00"
COLORS = {"mdp": "#0072b2", "halp": "#e69f00", "greedy": "#009e73", "uniform": "#cc79a7"}
MARKERS = {"mdp": "o", "halp": "s", "greedy": "^", "uniform": "D"}
DENSE, CONTROL = "#1b1f24", "#7f8790"
INCH_A_LAYER = 0.2


def widths_picture(path: Path, shape: Shape, chosen: Chosen) -> None:
    """Channels that each layer puts out, before and after, and what is gone."""
    before, after = layout.widths(shape), layout.widths(cut_shape(shape, chosen.cut))
    layers = layout.layers(shape)
    figure, axes = _wide(len(layers))
    whole = [before[layer.group] for layer in layers]
    left = [0 if layer.block in chosen.cut.gone else after[layer.group] for layer in layers]
    _bars(axes, whole, left, [layer.block in chosen.cut.gone for layer in layers])
    name_layers(axes, [layer.name for layer in layers])
    axes.set_ylabel("channels put out")
    save(figure, path)


def latency_picture(path: Path, chosen: Chosen) -> None:
    """Predicted time of each layer, before and after, and of what no choice touches."""
    names = [*chosen.layers, "rest"]
    before = [each[0] / 1e3 for each in chosen.layers.values()] + [chosen.rest_us / 1e3]
    after = [each[1] / 1e3 for each in chosen.layers.values()] + [chosen.rest_us / 1e3]
    gone = [one > 0 and other == 0 for one, other in zip(before, after, strict=True)]
    figure, axes = _wide(len(names))
    _bars(axes, before, after, gone)
    name_layers(axes, names)
    axes.set_ylabel("predicted time (ms)")
    save(figure, path)


def runs_picture(path: Path, rows: Sequence[Row], references: Mapping[str, float]) -> None:
    """Accuracy against measured time, where there is any, and predicted against measured time, of all runs.

    references: mAP of the dense network, and of its control.
    """
    judged = [row for row in rows if row["mAP"] is not None and row["share"] is not None]
    timed = [row for row in rows if row["share"] is not None]
    figure = Figure(figsize=(11, 4.4), layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=(3, 2))
    _accuracy(left, judged, references)
    _times(right, timed)
    save(figure, path)


def _accuracy(axes: Axes, rows: Sequence[Row], references: Mapping[str, float]) -> None:
    for name, value in references.items():
        color = DENSE if name == "dense" else CONTROL
        axes.axhline(value, color=color, linewidth=1, linestyle=(0, (4, 3)), zorder=1)
        axes.plot([1.0], [value], marker="*", markersize=11, color=color, linestyle="none", label=name, zorder=3)
    _by_method(axes, rows, "share", "mAP")
    for row in rows:
        place = row["share"], row["mAP"]
        axes.annotate(f"{row['budget']:g}", place, (0, 8), textcoords="offset points", ha="center", fontsize=8)
    low, high = axes.get_ylim()
    axes.set_ylim(max(0.0, low - 0.08 * (high - low)), high + 0.12 * (high - low))
    axes.set_xlim(0.0, 1.08 * max([1.0, *(row["share"] for row in rows)]))
    if rows or references:
        axes.legend(frameon=False, loc="lower left", bbox_to_anchor=(-0.02, 1.0), ncols=6, columnspacing=1.2)
    else:
        axes.text(0.5, 0.5, "not judged", transform=axes.transAxes, ha="center", color="0.5")
    style(axes, "encoder time, share of the dense one (measured)", "mAP by nuScenes' evaluator")
    axes.set_title("numbers: budget", loc="right", fontsize=9, color="0.4")


def _times(axes: Axes, rows: Sequence[Row]) -> None:
    _by_method(axes, rows, "predicted_share", "share", joined=False)
    most = max([1.0, *(value for row in rows for value in (row["predicted_share"], row["share"]))])
    ends = [0.0, 1.08 * most]
    axes.plot(ends, ends, color="0.6", linewidth=1, zorder=1)
    axes.fill_between(
        ends, [0.95 * each for each in ends], [1.05 * each for each in ends], color="0.6", alpha=0.15, lw=0
    )
    axes.set_xlim(*ends)
    axes.set_ylim(*ends)
    axes.set_aspect("equal")
    style(axes, "predicted share of the dense time", "measured share")
    axes.set_title("band: 5 %", loc="right", fontsize=9, color="0.4")


def _by_method(axes: Axes, rows: Sequence[Row], across: str, up: str, joined: bool = True) -> None:
    for method, color in COLORS.items():
        mine = sorted((row for row in rows if row["method"] == method), key=lambda row: float(row[across]))
        if mine:
            axes.plot(
                [row[across] for row in mine],
                [row[up] for row in mine],
                color=color,
                marker=MARKERS[method],
                linestyle="-" if joined else "none",
                linewidth=1.2,
                label=method,
                zorder=4,
            )


def _wide(layers: int) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(max(9.0, 1.2 + INCH_A_LAYER * layers), 4.2), layout="constrained")
    axes = figure.subplots()
    return figure, axes


def _bars(axes: Axes, before: Sequence[float], after: Sequence[float], gone: Sequence[bool]) -> None:
    places = range(len(before))
    colors = [GONE if each else BEFORE for each in gone]
    axes.bar(places, before, width=0.86, color=colors, alpha=0.45 if any(gone) else 1.0)
    axes.bar(places, before, width=0.86, color=BEFORE, zorder=0)
    axes.bar(places, after, width=0.86, color=AFTER)
    shown = [Patch(color=BEFORE, label="before"), Patch(color=AFTER, label="after")]
    shown += [Patch(color=GONE, alpha=0.45, label="gone with its block")] if any(gone) else []
    axes.legend(handles=shown, frameon=False, loc="upper left", ncols=3)
    axes.set_ylim(0, 1.18 * max(before))
    axes.set_xlim(-0.7, len(before) - 0.3)


def name_layers(axes: Axes, names: Sequence[str]) -> None:
    """Names below, and a line wherever another stage begins."""
    axes.set_xticks(range(len(names)), names, rotation=90, fontsize=7)
    for place in range(1, len(names)):
        if names[place].partition(".")[0] != names[place - 1].partition(".")[0]:
            axes.axvline(place - 0.5, color="0.85", linewidth=0.8, zorder=-1)
    axes.grid(visible=True, axis="y", alpha=0.25)
    axes.tick_params(axis="x", length=0)
    axes.spines[["top", "right"]].set_visible(False)


def style(axes: Axes, across: str, up: str) -> None:
    """What the axes show; a grid, no frame."""
    axes.set_xlabel(across)
    axes.set_ylabel(up)
    axes.grid(visible=True, alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)


def save(figure: Figure, path: Path) -> None:
    """Text stays text; nothing in the file depends on when it was made."""
    FigureCanvasAgg(figure)
    written = io.BytesIO()
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": path.name}):
        figure.savefig(written, format="svg", metadata={"Date": None})
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(written.getvalue())
