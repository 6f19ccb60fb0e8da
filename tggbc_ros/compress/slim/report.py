"""The report of a folder of slim networks: a page that holds its pictures, and the same as JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tggbc_ros.compress.slim.context import Context
from tggbc_ros.compress.slim.ledger import Job, Ledger, write_json
from tggbc_ros.compress.slim.outcome import Outcome, Row, accuracy_of, outcomes
from tggbc_ros.compress.slim.pictures import latency_picture, runs_picture, widths_picture
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

FORMAT = "tggbc_ros slim report 1"
COLUMNS = {
    "run": "run",
    "predicted_share": "predicted share",
    "share": "measured share",
    "measured_ms": "encoder (ms)",
    "times": "times as fast",
    "kept_importance": "importance kept",
    "gone": "blocks gone",
    "tuning_steps": "steps, encoder",
    "joint_steps": "joint",
    "mAP": "mAP",
    "mAP_change": "mAP, against",
    "NDS": "NDS",
}


def reporting(context: Context, ledger: Ledger) -> Job:
    """The page and report.json, of all runs that rest on the same network, table and scores."""
    places = context.places
    found, left_out = outcomes(places, context.shape, context.weights, ledger)
    dense = accuracy_of(ledger, "dense", context.settings.checkpoint, places.dense_folder)
    rows = [each.row(dense) for each in found]
    facts = _facts(context, found)
    depends = {"runs": rows, "left_out": left_out, "dense": dense, "shown": context.settings.name, "facts": facts}

    def work() -> str:
        seconds = {name: round(each, 1) for name, each in ledger.seconds.items()}
        content = {"format": FORMAT, "runs": rows, "left_out": left_out, "dense": dense, "facts": facts}
        write_json(places.report.with_suffix(".json"), {**content, "seconds": seconds})
        shown = next((each for each in found if each.name == context.settings.name), None)
        references = _references(found, dense)
        figures = _figures(context, shown, rows, references) if shown else []
        body = _body(shown, rows, left_out, figures, facts, seconds)
        places.report.write_text(page("Slim network", body), encoding="utf-8")
        return f"{len(rows)} runs; open {places.report}"

    return Job("report", depends, {}, (places.report, places.report.with_suffix(".json")), work)


def _body(
    shown: Outcome | None,
    rows: Sequence[Row],
    left_out: Sequence[str],
    figures: Sequence[Figure],
    facts: Mapping[str, str],
    seconds: Mapping[str, float],
) -> list[str]:
    row = next((each for each in rows if shown and each["run"] == shown.name), None)
    return [
        "<h1>A slim image encoder</h1>",
        f'<p class="lead">{text(_lead(row))}</p>' if row else "",
        f'<p class="warning">{text("Left out: " + "; ".join(left_out))}</p>' if left_out else "",
        cards(_glance(row)) if row else "",
        *map(figure_part, figures),
        "<h2>All runs</h2>",
        table(COLUMNS.values(), [[_cell(each, name) for name in COLUMNS] for each in rows]),
        f"<p>{text(_legend(rows))}</p>",
        "<h2>What ran</h2>",
        pairs(facts),
        "<h2>How long it took</h2>",
        pairs({name: f"{each:.1f} s" for name, each in seconds.items()}),
        "<h2>Use it</h2>",
        command_lines(_commands(facts, shown)) if shown else "",
        "<h2>Files</h2>",
        links(_files(shown)),
    ]


def _lead(row: Row) -> str:
    claim = f"{row['method']} at budget {row['budget']:g} of the dense encoder's time, neck included."
    if row["joint_steps"]:
        steps = f"{row['tuning_steps']} steps of its encoder alone and {row['joint_steps']} of everything"
        return f"{claim} Tuned for {steps}; the control is the dense network after the same {row['joint_steps']}."
    if row["tuning_steps"]:
        return f"{claim} Its encoder was tuned for {row['tuning_steps']} steps on the dense network's features."
    return f"{claim} Not tuned: norms alone were estimated anew, so accuracy shows what was cut, not what can be had."


def _glance(row: Row) -> dict[str, str]:
    found = {"predicted share of the dense encoder's time": number(row["predicted_share"])}
    if row["share"] is not None:
        found["encoder, median ms of six cameras"] = f"{number(row['dense_ms'])} → {number(row['measured_ms'])}"
        found["times as fast, measured in turns"] = f"{1 / row['share']:.2f}"
    if row["mAP_against"] is not None and row["mAP"] is not None:
        found[f"mAP, {row['against']} → slim"] = f"{number(row['mAP_against'])} → {number(row['mAP'])}"
    return found


def _figures(context: Context, shown: Outcome, rows: Sequence[Row], references: Mapping[str, float]) -> list[Figure]:
    folder = context.places.out / "pictures"
    names = {name: folder / f"{name}_{shown.name}.svg" for name in ("widths", "latency")}
    widths_picture(names["widths"], context.shape, shown.chosen)
    latency_picture(names["latency"], shown.chosen)
    runs_picture(folder / "runs.svg", rows, references)
    gone = ", ".join(sorted(shown.chosen.cut.gone)) or "none"
    return [
        Figure(folder / "runs.svg", "Accuracy against time", _runs_caption(rows)),
        Figure(
            names["widths"],
            f"Widths before and after: {shown.name}",
            f"Channels that each convolution puts out, in the order in which an image passes. Blocks gone: {gone}.",
        ),
        Figure(
            names["latency"],
            "Where the time goes",
            "Predicted time of each layer with what follows it, calibrated to whole encoders; the neck's laterals read "
            "the last two trunks, and no choice touches the rest.",
        ),
    ]


def _runs_caption(rows: Sequence[Row]) -> str:
    judged = any(row["mAP"] is not None for row in rows)
    words = "Left: official mAP on held-out frames. " if judged else "Left: nothing, as no held-out split was given. "
    return words + "Right: what the latency table promised, and what whole encoders took, dense and slim in turns."


def _references(found: Sequence[Outcome], dense: dict[str, Any] | None) -> dict[str, float]:
    shown = {"dense": float(dense["mAP"])} if dense else {}
    controls = {f"control, {each.joint} steps": float(each.control["mAP"]) for each in found if each.control}
    return shown | controls


def _legend(rows: Sequence[Row]) -> str:
    against = sorted({row["against"] for row in rows if row["against"]})
    words = {"control": "the control", "dense": "the dense network, where nothing was tuned that it could learn from"}
    return f"mAP, against: the difference to {' and '.join(words[each] for each in against)}." if against else ""


def _cell(row: Row, column: str) -> str:
    if column == "run":
        return str(row["run"])
    if column == "gone":
        return str(len(row["blocks_gone"]))
    if column == "times":
        return number(1 / row["share"] if row["share"] else None)
    if column == "mAP_change":
        return "–" if row[column] is None else f"{row[column]:+.4f}"
    if column in ("mAP", "NDS"):
        return "–" if row[column] is None else f"{row[column]:.4f}"
    return number(row[column])


def _facts(context: Context, found: Sequence[Outcome]) -> dict[str, str]:
    given = context.settings
    said = next((each.said for each in found if each.name == given.name), {})
    facts = {"model": given.model, "dense weights": f"{given.checkpoint.name} sha256:{context.weights[:16]}"}
    if said:
        facts["latency table"] = f"{said['engine']} on {said['machine']}, {said['threads']} threads"
        facts["latency table"] += f", {said['cameras']} cameras; sha256:{said['latency_table'][:16]}"
        facts["scores"] = f"{given.train.split} of {given.train.root.name}, sha256:{said['scores'][:16]}"
        facts["channels at a time"] = str(said["step"])
    if given.held_out:
        facts["judged on"] = f"{given.held_out.split} of {given.held_out.root.name}, by backend {given.judge}"
    return facts


def _commands(facts: Mapping[str, str], shown: Outcome) -> dict[str, str]:
    file = f"runs/{shown.name}/slim.safetensors"
    model = facts["model"]
    return {
        "the node": f"ros2 launch tggbc_ros detect.launch.py model:={model} checkpoint:={file}",
        "score it again": f"./run python -m tggbc_ros.tools.evaluate --model {model} --checkpoint {file} --data DIR "
        "--split NAME --out out/again",
    }


def _files(shown: Outcome | None) -> dict[str, str]:
    files = {
        "report.json": "all runs, as data",
        "slim.json": "what was made, of what, and how long it took",
        "latency.json": "the latency table, where it was measured here",
        "scores.json": "the importance of every channel",
    }
    if shown:
        files |= {
            f"runs/{shown.name}/widths.json": "what was chosen: shape, channels, blocks, time of each layer",
            f"runs/{shown.name}/cut.safetensors": "the network as it was cut",
            f"runs/{shown.name}/slim.safetensors": "the network that came out; its metadata has shape and history",
            f"runs/{shown.name}/times.json": "encoder times",
            f"runs/{shown.name}/accuracy.json": "official scores",
        }
    return files
