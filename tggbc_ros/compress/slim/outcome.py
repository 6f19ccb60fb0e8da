"""What the runs of a folder came to, gathered from their files: the report's rows."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tggbc_ros.compress.slim.finishing import ACCURACY, TIMES
from tggbc_ros.compress.slim.ledger import Ledger, read_json
from tggbc_ros.compress.slim.places import Places, control_name
from tggbc_ros.compress.slim.widths import Chosen
from tggbc_ros.compress.slim.widths_file import read_chosen
from tggbc_ros.core.checkpoint import sha256
from tggbc_ros.core.network_file import history_of
from tggbc_ros.core.shape import Shape

Row = dict[str, Any]


@dataclass(frozen=True, eq=False)
class Outcome:
    """Of one run. steps, joint: of tuning the encoder alone, and everything.

    times, accuracy: as their files have them, None where there are none. control: the accuracy of the dense network
    that was tuned by the same joint steps.
    """

    name: str
    chosen: Chosen
    said: dict[str, Any]
    steps: int
    joint: int
    times: dict[str, Any] | None
    accuracy: dict[str, Any] | None
    control: dict[str, Any] | None

    def row(self, dense: dict[str, Any] | None) -> Row:
        """Plain values. share and predicted_share: slim over dense encoder time. dense: that network's accuracy.

        against: what mAP is compared with: the control, or the dense network where it would be the same.
        """
        against = self.control if self.joint else dense
        slim = self.accuracy["mAP"] if self.accuracy else None
        return {
            "run": self.name,
            "method": self.said["method"],
            "budget": self.chosen.budget,
            "predicted_share": self.chosen.slim_us / self.chosen.dense_us,
            "share": self.times["share"] if self.times else None,
            "predicted_ms": self.chosen.slim_us / 1e3,
            "measured_ms": self.times["slim"]["median_ms"] if self.times else None,
            "dense_ms": self.times["dense"]["median_ms"] if self.times else None,
            "kept_importance": self.chosen.kept_importance,
            "gap": self.chosen.gap,
            "blocks_gone": sorted(self.chosen.cut.gone),
            "tuning_steps": self.steps,
            "joint_steps": self.joint,
            "mAP": slim,
            "NDS": self.accuracy["NDS"] if self.accuracy else None,
            "against": None if against is None else "control" if self.joint else "dense",
            "mAP_against": against["mAP"] if against else None,
            "mAP_change": slim - against["mAP"] if against and slim is not None else None,
        }


def outcomes(places: Places, shape: Shape, weights: str, ledger: Ledger) -> tuple[list[Outcome], list[str]]:
    """Of all runs in a folder of a network with those weights (SHA-256), and why others are left out, a line each."""
    found, left_out = [], []
    now = {"weights": weights, "scores": sha256(places.scores), "latency_table": sha256(places.latency)}
    for folder in sorted(each.parent for each in places.run.parent.glob("*/widths.json")):
        chosen, said = read_chosen(folder / "widths.json", shape)
        other = [name.replace("_", " ") for name, value in now.items() if said.get(name) != value]
        if other:
            left_out.append(f"{folder.name} rests on another {' and '.join(other)}")
        elif not ledger.holds(f"{folder.name}/tune", {"network": folder / "cut.safetensors"}):
            left_out.append(f"{folder.name} is not finished")
        else:
            found.append(_outcome(places.out, folder, chosen, said, ledger))
    return found, left_out


def accuracy_of(ledger: Ledger, who: str, weights: Path, folder: Path) -> dict[str, Any] | None:
    """The official scores of a network; None where they were not found, or of other weights."""
    if not ledger.holds(f"{who}/accuracy", {"network": weights}):
        return None
    return read_json(folder / "accuracy.json", ACCURACY)


def _outcome(out: Path, folder: Path, chosen: Chosen, said: dict[str, Any], ledger: Ledger) -> Outcome:
    slim = folder / "slim.safetensors"
    tunings = [step for step in history_of(slim) if step.get("step") == "tune"]
    last = tunings[-1] if tunings else {"steps": 0, "joint": 0, "seed": 0}
    control = out / control_name(last["joint"], last["seed"]) if last["joint"] else None
    timed = ledger.holds(f"{folder.name}/time", {"slim": slim})
    return Outcome(
        folder.name,
        chosen,
        said,
        last["steps"],
        last["joint"],
        read_json(folder / "times.json", TIMES) if timed else None,
        accuracy_of(ledger, folder.name, slim, folder),
        accuracy_of(ledger, control.name, control / "control.safetensors", control) if control else None,
    )
