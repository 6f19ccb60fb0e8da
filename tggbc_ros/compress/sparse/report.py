"""The report of a folder of sparse networks: a page that holds its pictures, and the same as JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tggbc_ros.compress.slim.ledger import Job, Ledger, read_json, write_json
from tggbc_ros.compress.slim.outcome import accuracy_of
from tggbc_ros.compress.sparse.context import Context
from tggbc_ros.compress.sparse.finding import KEPT
from tggbc_ros.compress.sparse.layers import find_layers
from tggbc_ros.compress.sparse.pictures import curves_picture, layers_picture, runs_picture
from tggbc_ros.core.network_file import history_of
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

FORMAT = "tggbc_ros sparse report 1"
COLUMNS = {
    "run": "run",
    "weights": "weights left",
    "macs": "multiply-adds left",
    "bytes": "bytes left",
    "summed": "distortion, added up",
    "joint": "distortion, all in all",
    "mAP": "mAP",
    "mAP_change": "against dense",
    "NDS": "NDS",
}


def reporting(context: Context, ledger: Ledger) -> Job:
    """The page and report.json, of all runs of the same dense network."""
    places, given = context.places, context.settings
    dense = accuracy_of(ledger, "dense", given.checkpoint, places.dense_folder)
    rows, left_out = _rows(context, ledger, dense)
    control = accuracy_of(ledger, places.control_folder.name, places.control, places.control_folder)
    references = {"dense": float(dense["mAP"])} if dense else {}
    references |= {"control": float(control["mAP"])} if control and given.joint else {}
    depends = {"runs": rows, "left_out": left_out, "references": references, "shown": given.name}

    def work() -> str:
        seconds = {name: round(value, 1) for name, value in ledger.seconds.items()}
        write_json(places.report.with_suffix(".json"), {"format": FORMAT, **depends, "seconds": seconds})
        body = _body(context, rows, left_out, references, seconds)
        places.report.write_text(page("Sparse network", body), encoding="utf-8")
        return f"{len(rows)} runs; open {places.report}"

    return Job("report", depends, {}, (places.report, places.report.with_suffix(".json")), work)


def _rows(context: Context, ledger: Ledger, dense: Mapping[str, Any] | None) -> tuple[list[dict[str, Any]], list[str]]:
    found, left_out = [], []
    for kept in sorted((context.places.out / "runs").glob("*/kept.json")):
        folder = kept.parent
        said = read_json(kept, KEPT)
        if said.get("weights") != context.weights:
            left_out.append(f"{folder.name} is of another dense network")
        elif not ledger.holds(f"{folder.name}/tune", {"network": folder / "pruned.safetensors"}):
            left_out.append(f"{folder.name} is not finished")
        else:
            found.append(_row(folder, said, ledger, dense))
    return found, left_out


def _row(folder: Path, said: Mapping[str, Any], ledger: Ledger, dense: Mapping[str, Any] | None) -> dict[str, Any]:
    file = folder / "sparse.safetensors"
    history = history_of(file)
    step = next(each for each in reversed(history) if each.get("step") == "sparse")
    accuracy = accuracy_of(ledger, folder.name, file, folder)
    found = accuracy["mAP"] if accuracy else None
    return {
        "run": folder.name,
        **{name: said[name] for name in ("method", "target", "of")},
        "order": step["order"],
        "repair": step["repair"],
        **said["left"],
        "summed": said["summed"],
        "joint": step["joint"],
        "tuned": any(each.get("step") == "tune" for each in history[history.index(step) :]),
        "file_bytes": file.stat().st_size,
        "mAP": found,
        "NDS": accuracy["NDS"] if accuracy else None,
        "mAP_change": found - dense["mAP"] if found is not None and dense else None,
    }


def _body(
    context: Context,
    rows: Sequence[Mapping[str, Any]],
    left_out: Sequence[str],
    references: Mapping[str, float],
    seconds: Mapping[str, float],
) -> list[str]:
    given = context.settings
    row = next((each for each in rows if each["run"] == given.name), None)
    reasons: dict[str, int] = {}
    for reason in find_layers(context.dense).left_alone.values():
        reasons[reason] = reasons.get(reason, 0) + 1
    return [
        "<h1>A sparse network</h1>",
        f'<p class="lead">{text(_lead(row))}</p>' if row else "",
        f'<p class="warning">{text("Left out: " + "; ".join(left_out))}</p>' if left_out else "",
        cards(_glance(row, references)) if row else "",
        *map(figure_part, _figures(context, row, rows, references)),
        "<h2>All runs</h2>",
        table(COLUMNS.values(), [[_cell(each, name) for name in COLUMNS] for each in rows]),
        "<h2>Left alone</h2>",
        pairs({f"{count} tensors": reason for reason, count in reasons.items()}),
        "<h2>How long it took</h2>",
        pairs({name: f"{value:.1f} s" for name, value in seconds.items()}),
        "<h2>Use it</h2>",
        command_lines(_commands(given.model, row)) if row else "",
        "<h2>Files</h2>",
        links(_files(context, row)),
    ]


def _lead(row: Mapping[str, Any]) -> str:
    how = "re-solved against its own inputs" if row["repair"] == "obs" else "left as it was"
    tuned = "then tuned with its zeros kept" if row["tuned"] else "no gradient training"
    return f"{row['method']} within {row['target']:g} of the {row['of']}; what is left of each layer is {how}; {tuned}."


def _glance(row: Mapping[str, Any], references: Mapping[str, float]) -> dict[str, str]:
    found = {
        "of the weights left": number(row["weights"]),
        "of the multiply-adds left": number(row["macs"]),
        "MB on disk": f"{row['file_bytes'] / 1e6:.2f}",
    }
    if row["mAP"] is not None and "dense" in references:
        found["mAP, dense → sparse"] = f"{references['dense']:.4f} → {row['mAP']:.4f}"
    return found


def _figures(
    context: Context,
    row: Mapping[str, Any] | None,
    rows: Sequence[Mapping[str, Any]],
    references: Mapping[str, float],
) -> list[Figure]:
    places = context.places
    folder = places.out / "pictures"
    runs_picture(folder / "runs.svg", rows, references)
    found = [Figure(folder / "runs.svg", "Accuracy against what is left", "Official mAP on held-out frames.")]
    if row:
        said = read_json(places.kept, KEPT)
        path = folder / f"layers_{row['run']}.svg"
        layers_picture(path, said["kept"], said["sizes"])
        caption = "In the order in which they are defined; an attention's three projections are three layers."
        found.append(Figure(path, f"What each layer keeps: {row['run']}", caption))
    if places.curves.is_file():
        path = folder / f"{places.curves.stem}.svg"
        curves_picture(path, context.found())
        caption = "Every line is a layer pruned alone; every point on the right a layer at one sparsity."
        found.append(Figure(path, "What sparsity does to the detections", caption))
    return found


def _cell(row: Mapping[str, Any], column: str) -> str:
    value = row[column]
    if column == "run":
        return str(value)
    if value is None:
        return "–"
    if column == "mAP_change":
        return f"{value:+.4f}"
    return f"{value:.4f}" if column in ("mAP", "NDS", "summed", "joint") else number(value)


def _commands(model: str, row: Mapping[str, Any]) -> dict[str, str]:
    file = f"runs/{row['run']}/sparse.safetensors"
    return {
        "the node": f"ros2 launch tggbc_ros detect.launch.py model:={model} checkpoint:={file}",
        "score it again": f"./run python -m tggbc_ros.tools.evaluate --model {model} --checkpoint {file} --data DIR "
        "--split NAME --out out/again",
    }


def _files(context: Context, row: Mapping[str, Any] | None) -> dict[str, str]:
    files = {
        "report.json": "all runs, as data",
        "sparse.json": "what was made, of what, and how long it took",
        context.places.curves.name: "the curves, which compress.allocation solves, too",
    }
    if row:
        files |= {
            f"runs/{row['run']}/kept.json": "weights that each layer keeps",
            f"runs/{row['run']}/pruned.safetensors": "the network as it was pruned and repaired",
            f"runs/{row['run']}/sparse.safetensors": "the network that came out; its metadata has its history",
        }
    return files
