"""The accuracy of pruning as a picture: scores against what is kept, and against what it costs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from tggbc_ros.drawing.palette import load_palette
from tggbc_ros.evaluation.results import Row

SCORES = {"NDS": "o", "mAP": "s"}
"""Score -> marker; its colour is the palette's."""
LINES = ("-", "--", ":", "-.")
"""Of the networks, in their order."""
TIMES = {"decoder_ms": "decoder time per frame", "frame_ms": "time of a whole frame"}


def accuracy_plot(rows: Sequence[Row], path: Path, title: str) -> bool:
    """Write a PNG: mAP and NDS against keep ratio and against time. Rows without a ratio are left out.

    The time is the decoder's; where the rows are of several networks (``network``), each has curves of its own, and the
    time is the whole frame's. Whether there was anything to draw.
    """
    drawn = sorted((row for row in rows if row["keep_ratio"] is not None), key=lambda row: float(row["keep_ratio"]))
    if not drawn:
        return False
    figure = Figure(figsize=(10, 4.2), dpi=120, layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True)
    networks = list(dict.fromkeys(str(row.get("network", "")) for row in rows))
    time = "frame_ms" if len(networks) > 1 else "decoder_ms"
    for name, line in zip(networks, LINES, strict=False):
        own = [row for row in drawn if str(row.get("network", "")) == name]
        _curves(left, own, "keep_ratio", "keep ratio (share of keys left)", name, line)
        _curves(right, own, time, f"{TIMES[time]}, median (ms)", name, line)
    for index, row in enumerate(sorted(drawn, key=lambda row: float(row[time]))):
        score, offset = (("NDS", 7), ("mAP", -16))[index % 2]  # neighbours in time must not cover each other
        place = row[time], row[score]
        right.annotate(
            f"{row['keep_ratio']:g}", place, (0, offset), textcoords="offset points", ha="center", fontsize=9
        )
    left.set_ylabel("score by nuScenes' evaluator")
    left.set_ylim(0.0, 1.2 * max(0.01, *(float(row[score]) for row in drawn for score in SCORES)))
    left.set_xlim(0.0, 1.05)
    right.margins(x=0.15)
    right.set_xlim(left=0.0 if len(networks) > 1 else None)
    left.legend(loc="lower right", frameon=False)
    right.set_title("numbers: keep ratio", loc="right", fontsize=9, color="0.4")
    _save(figure, path, title)
    return True


def variants_plot(rows: Sequence[Row], path: Path, title: str) -> None:
    """Write a PNG: mAP of each way to prune against the keys that a layer saw on average, and against decoder time.

    Points are numbered as the rows are; what the numbers stand for is listed beside them.
    """
    figure = Figure(figsize=(12, 0.7 + max(4.0, 0.21 * len(rows))), dpi=100, layout="constrained")
    keys, times, names = figure.subplots(1, 3, width_ratios=(3, 3, 3.2))
    _numbered(keys, rows, "keys_mean", "keys a layer saw, mean")
    _numbered(times, rows, "decoder_ms", "decoder time per frame, median (ms)")
    keys.set_ylabel("mAP by nuScenes' evaluator")
    names.set_axis_off()
    listed = "\n".join(f"{number:>2}  {row['variant']}" for number, row in enumerate(rows, start=1))
    names.text(0.0, 1.0, listed, va="top", family="monospace", fontsize=7.5, linespacing=1.6)
    _save(figure, path, title)


def _numbered(axes: Axes, rows: Sequence[Row], column: str, label: str) -> None:
    color = _color("mAP")
    axes.scatter([row[column] for row in rows], [row["mAP"] for row in rows], s=16, color=color, zorder=3)
    for number, row in enumerate(rows, start=1):
        axes.annotate(f"{number}", (row[column], row["mAP"]), (4, 3), textcoords="offset points", fontsize=8)
    axes.margins(0.1)
    _style(axes, label)


def _curves(axes: Axes, rows: Sequence[Row], column: str, label: str, name: str, line: str) -> None:
    for score, marker in SCORES.items():
        look = {"color": _color(score), "marker": marker, "linestyle": line, "label": f"{score} {name}".strip()}
        axes.plot([row[column] for row in rows], [row[score] for row in rows], **look)
    _style(axes, label)


def _style(axes: Axes, label: str) -> None:
    axes.set_xlabel(label)
    axes.grid(visible=True, alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)


def _color(score: str) -> tuple[float, float, float]:
    """The palette's, as Matplotlib takes it: red, green, blue of 0 to 1."""
    blue, green, red = load_palette(()).curves[score]
    return red / 255, green / 255, blue / 255


def _save(figure: Figure, path: Path, title: str) -> None:
    figure.suptitle(title, x=0.01, ha="left", fontweight="bold")
    path.parent.mkdir(parents=True, exist_ok=True)
    FigureCanvasAgg(figure)
    figure.savefig(path)
