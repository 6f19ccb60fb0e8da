"""Passes and scores as rows: a JSON list, a CSV file, a table to read."""

from __future__ import annotations

import csv
import json
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tggbc_ros.evaluation.passes import Pass
from tggbc_ros.evaluation.score import Score

Row = dict[str, Any]

COSTS = ("keys_kept", "tokens", "encode_ms", "decoder_ms", "frame_ms")
SHOWN = ("keep_ratio", "mAP", "NDS", "mATE", "mASE", "mAOE", "mAVE", "mAAE", *COSTS)


def result_row(record: Pass, score: Score) -> Row:
    """One row. Times are medians in ms.

    tokens: the mean share of image tokens that passed the encoder's gated blocks; 1 where nothing is gated.
    keys_total, keys_kept and keys_mean are what the first decoder layer saw, the last one, and all on average.
    AP_<class> is an average precision, objects_<class> how many objects of ground truth it rests on.
    """
    keys = [int(statistics.median_low(layer)) for layer in zip(*record.keys, strict=True)]
    return {
        "keep_ratio": record.keep_ratio,
        "mAP": score.mean_ap,
        "NDS": score.nds,
        **score.tp_errors,
        "keys_total": keys[0] if keys else None,
        "keys_kept": keys[-1] if keys else None,
        "keys": keys,
        "keys_mean": statistics.fmean(map(statistics.fmean, record.keys)) if record.keys else None,
        "tokens": statistics.fmean(record.token_rates) if record.token_rates else None,
        "encode_ms": _median(record.encode_ms),
        "decoder_ms": _median(record.decoder_ms),
        "frame_ms": _median(record.frame_ms),
        "latency_ms": _median(record.latency_ms),
        "samples": len(record.detections),
        **record.settings,
        **{f"AP_{name}": value for name, value in score.class_ap.items()},
        **{f"objects_{name}": count for name, count in score.ground_truth.items()},
        "notes": "; ".join(f"{count} {cause}" for cause, count in record.notes.items() if count),
    }


def write_results(rows: Sequence[Row], folder: Path) -> None:
    """results.json, a list of rows, and results.csv with the same columns."""
    folder.mkdir(parents=True, exist_ok=True)
    text = json.dumps(list(rows), indent=1, allow_nan=False)
    (folder / "results.json").write_text(text + "\n", encoding="utf-8")
    with (folder / "results.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(dict.fromkeys(name for row in rows for name in row)))
        writer.writeheader()
        writer.writerows(rows)


def are_variants(rows: Sequence[Row]) -> bool:
    """Whether the rows differ in more than their keep ratio."""
    pairs = [row["variant"].split() for row in rows if "variant" in row]
    return any(len(each) != 1 or not each[0].startswith("keep_ratio=") for each in pairs)


def table(rows: Sequence[Row]) -> str:
    """The main columns, average precision by class, and what readers must know: what is missing or left out."""
    classes = [name.removeprefix("AP_") for name in rows[0] if name.startswith("AP_")]
    shown = (*SHOWN, "keys_mean", "variant") if are_variants(rows) else SHOWN
    lines = _aligned([shown, *([_cell(row[name]) for name in shown] for row in rows)])
    cells = [[_cell(row["keep_ratio"]), *(_cell(row[f"AP_{name}"]) for name in classes)] for row in rows]
    lines += ["", "average precision", *_aligned([["keep_ratio", *classes], *cells])]
    absent = [name for name in classes if not rows[0][f"objects_{name}"]]
    if absent:
        lines.append(f"no ground truth of {', '.join(absent)}: AP 0 and errors of 1 there, by the official rule")
    lines += [f"keep_ratio {_cell(row['keep_ratio'])}: {row['notes']}" for row in rows if row["notes"]]
    return "\n".join(lines)


def _aligned(cells: Sequence[Sequence[str]]) -> list[str]:
    """Lines of right-aligned columns."""
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return ["  ".join(cell.rjust(width) for cell, width in zip(line, widths, strict=True)) for line in cells]


def _median(values: Sequence[float]) -> float | None:
    return statistics.median(values) if values else None


def _cell(value: float | int | str | None) -> str:
    if value is None:
        return "-"
    if isinstance(value, str):
        return value
    return str(value) if isinstance(value, int) else f"{value:.4g}" if value >= 10 else f"{value:.3f}"
