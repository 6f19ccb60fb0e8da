"""Results as text."""

from __future__ import annotations

from collections.abc import Sequence

from bench.before import PARTS
from bench.decoder import Row
from bench.goals import compared


def decoder_table(rows: Sequence[Row]) -> str:
    """One line a row, all of one device, dtype and engine; the limit is that of the multiply-adds, over dense."""
    header = ("shape", "mode", "decoder ms", "over SDPA", "limit", "over explicit", "scoring ms", "of dense", "peak MB")
    lines = [
        (
            row["shape"],
            row["label"],
            _number(row["decoder_ms"], 1),
            _number(row["ratio_to_dense_sdpa"], 2),
            _number(row["multiply_add_limit"], 2),
            _number(row["ratio_to_dense_explicit"], 2),
            _number(row["scoring_ms"], 1),
            _percent(row["scoring_share_of_dense"]),
            _number(row["peak_extra_mb"], 1),
        )
        for row in rows
    ]
    where = ", ".join(str(rows[0][name]) for name in ("device", "dtype", "engine"))
    return f"decoder, {where}\n{text_table(header, lines)}"


def before_table(rows: Sequence[Row]) -> str:
    """Milliseconds of the work on keys before the decoder: as a whole, with kept rays, and its parts."""
    header = ("shape", "all anew", "kept rays", *(part.replace("_", " ") for part in PARTS))
    names = ("all", "kept_rays", *PARTS)
    lines = [(row["shape"], *(_number(row[f"{name}_ms"], 1) for name in names)) for row in rows]
    return f"before the decoder, ms, float32\n{text_table(header, lines)}"


def together_table(rows: Sequence[Row]) -> str:
    """Embedding and decoder together, over the dense ones with the same rays."""
    header = ("shape", "way", "start", "embed ms", "embed + decoder ms", "over dense")
    lines = [
        (
            row["shape"],
            row["label"],
            f"{row['start_ratio']:g}",
            _number(row["embed_ms"], 1),
            _number(row["embed_and_decoder_ms"], 1),
            _number(row["ratio_with_embed"], 2),
        )
        for row in rows
    ]
    return f"embedding and decoder, float32\n{text_table(header, lines)}"


def frames_table(rows: Sequence[Row]) -> str:
    """Milliseconds by stage of `Detector.step`; the cameras stand still, so that rays are kept."""
    stages = _stages(rows[0])
    header = ("model", "keep", *stages, "frame")
    lines = [
        (
            row["model"],
            f"{row['keep_ratio']:g}",
            *(_number(each, 1) for each in _stages(row).values()),
            _number(row["frame_ms"], 1),
        )
        for row in rows
    ]
    return f"whole frames, ms, float32, standing still\n{text_table(header, lines)}"


def _stages(row: Row) -> dict[str, float]:
    stages = row["stage_ms"]
    if not isinstance(stages, dict):
        raise TypeError(f"stage_ms is {stages!r}, expected times by stage")
    return stages


def goals_table(rows: Sequence[Row]) -> str:
    """Every goal that these rows can be held to; empty without one."""
    header = ("goal", "", "bound", "measured", "")
    lines = [
        (
            f"{goal.shape} {goal.label}, {goal.device} {goal.dtype} {row['engine']}",
            goal.field,
            f"{'<=' if goal.most else '>='} {goal.bound:g}",
            _number(row[goal.field], 3),
            "" if goal.reached(row) else "MISSED",
        )
        for goal, row in compared(rows)
    ]
    return f"goals\n{text_table(header, lines)}" if lines else ""


def _number(value: object, digits: int) -> str:
    return "-" if value is None else f"{value:.{digits}f}"


def _percent(value: object) -> str:
    return "-" if value is None else f"{value:.1%}"


def text_table(header: Sequence[object], lines: Sequence[Sequence[object]]) -> str:
    """Columns as wide as they need; the first two to the left, numbers to the right."""
    cells = [[str(cell) for cell in line] for line in (header, *lines)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if place < 2 else cell.rjust(width)
            for place, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in cells
    )
