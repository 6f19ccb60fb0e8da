"""The pictures of the report, as SVG: what is left of each layer, the curves, accuracy against what is left."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from tggbc_ros.compress.slim.pictures import AFTER, CONTROL, DENSE, name_layers, save, style
from tggbc_ros.compress.sparse.curves_file import Found
from tggbc_ros.compress.sparse.levels import SPARSITIES

COLORS = {"dm3d": "#0072b2", "lamp": "#e69f00", "erk": "#009e73", "magnitude": "#cc79a7", "uniform": "#d55e00"}
MARKERS = {"dm3d": "o", "lamp": "s", "erk": "^", "magnitude": "v", "uniform": "D"}
PARTS = {"backbone": "#0072b2", "neck": "#e69f00", "head": "#009e73"}
INCH_A_LAYER = 0.17
LEAST_SHOWN = 1e-6

Row = Mapping[str, Any]


def layers_picture(path: Path, kept: Mapping[str, int], sizes: Mapping[str, int]) -> None:
    """Share of the weights that each layer keeps."""
    figure = Figure(figsize=(max(9.0, 1.2 + INCH_A_LAYER * len(kept)), 5.2), layout="constrained")
    axes = figure.subplots()
    axes.bar(range(len(kept)), [kept[name] / sizes[name] for name in kept], width=0.86, color=AFTER)
    name_layers(axes, [name.removesuffix(".weight").replace(".in_proj_weight", "") for name in kept])
    axes.set_ylabel("share of weights kept")
    axes.set_ylim(0, 1)
    axes.set_xlim(-0.7, len(kept) - 0.3)
    save(figure, path)


def curves_picture(path: Path, found: Found) -> None:
    """Distortion of every layer against its sparsity: predicted, and beside it measured against predicted."""
    figure = Figure(figsize=(11, 4.6), layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=(3, 2))
    rows = found.measured or found.predicted
    for name, row in zip(found.names, rows, strict=True):
        part = name.partition(".")[0]
        shown = [max(value, LEAST_SHOWN) for value in row[1:]]
        left.plot(SPARSITIES[1:], shown, color=PARTS.get(part, "0.5"), linewidth=0.8, alpha=0.6)
    for part, color in PARTS.items():
        left.plot([], [], color=color, label=part)
    left.legend(frameon=False, loc="upper left")
    left.set_yscale("log")
    style(left, "share of zeros in the layer", f"distortion, {'measured' if found.measured else 'predicted'} (m²)")
    _agreement(right, found)
    save(figure, path)


def _agreement(axes: Axes, found: Found) -> None:
    style(axes, "predicted (m²)", "measured (m²)")
    if not found.measured:
        axes.text(0.5, 0.5, "not measured", transform=axes.transAxes, ha="center", color="0.5")
        return
    for name, mine, other in zip(found.names, found.predicted, found.measured, strict=True):
        pairs = [(max(x, LEAST_SHOWN), max(y, LEAST_SHOWN)) for x, y in zip(mine[1:], other[1:], strict=True)]
        axes.plot(
            *zip(*pairs, strict=True), ".", color=PARTS.get(name.partition(".")[0], "0.5"), markersize=3, alpha=0.6
        )
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.axline((1.0, 1.0), slope=1, color="0.6", linewidth=1, zorder=1)
    axes.set_title(f"rank correlation {found.agreement:.3f}", loc="right", fontsize=9, color="0.4")


def runs_picture(path: Path, rows: Sequence[Row], references: Mapping[str, float]) -> None:
    """Accuracy of all runs against the weights and the multiply-adds that are left."""
    figure = Figure(figsize=(11, 4.6), layout="constrained")
    judged = [row for row in rows if row["mAP"] is not None]
    for axes, across, words in zip(
        figure.subplots(1, 2, sharey=True),
        ("weights", "macs"),
        ("share of weights left", "share of multiply-adds left"),
        strict=True,
    ):
        for name, value in references.items():
            color = DENSE if name == "dense" else CONTROL
            axes.axhline(value, color=color, linewidth=1, linestyle=(0, (4, 3)), label=name, zorder=1)
        for method, color in COLORS.items():
            for repair, line in (("obs", "-"), ("none", ":")):
                mine = [row for row in judged if row["method"] == method and row["repair"] == repair]
                mine = sorted((row for row in mine if not row["tuned"]), key=lambda row: float(row[across]))
                shown = [row[across] for row in mine], [row["mAP"] for row in mine]
                label = method if repair == "obs" else f"{method}, no repair"
                if mine:
                    axes.plot(*shown, line, color=color, marker=MARKERS[method], markersize=4, label=label)
            tuned = [row for row in judged if row["method"] == method and row["tuned"]]
            if tuned:
                shown = [row[across] for row in tuned], [row["mAP"] for row in tuned]
                axes.plot(*shown, "*", color=color, markersize=10, label=f"{method}, tuned")
        style(axes, words, "mAP by nuScenes' evaluator" if across == "weights" else "")
        axes.set_xlim(0, 1.02)
    handles, labels = axes.get_legend_handles_labels()
    if handles:
        axes.legend(handles, labels, frameon=False, loc="lower right")
    save(figure, path)
