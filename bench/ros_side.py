"""Measure what the node costs beside its network: six cameras of 1600 x 900 at 12 Hz, over real DDS.

python -m bench.ros_side [--seconds 20] [--cases NAME ...] [--model r50_704] [--rate-hz 12] [--default-transport]
python -m bench.ros_side --model demo --backend openvino_int8 --cases jpeg

The node runs in a process of its own, with a network that does nothing (bench/ros_node.py), or with --backend with a
real one, to see how many sets a second it infers; this one publishes and listens. Both run with config/fastdds.xml, or
as Fast DDS is by itself. Writes OUT/ros_side.json, a list of rows, and prints them as a table.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import rclpy
from tggbc_ros.msg import BoundingBox3DArray, FrameReport
from tqdm import tqdm

from bench.measure import load_average
from bench.ros_rig import HEIGHT, WIDTH, Cameras, Input
from bench.ros_transport import PROFILE, profile
from bench.table import text_table
from tggbc_ros.backends import BACKENDS
from tggbc_ros.ros.client import ClientError, DetectorClient, Process, choose_domain, detector_process, stamp_ns

Row = dict[str, Any]
WARM_UP_SETS = 24
LAST_ANSWER_S = 3.0
SET_STAGES = ("wait", "images", "poses")
"""What lies between the arrival of a set's last image and the frame that the detector is given."""


@dataclass(frozen=True)
class Case:
    """What is sent, and the node's parameters that differ from their defaults."""

    name: str
    sent: Input = Input()
    parameters: Mapping[str, object] = field(default_factory=dict)


CASES = (
    Case("jpeg"),
    Case("jpeg, resize exact", parameters={"resize": "exact"}),
    Case("jpeg reduced", parameters={"jpeg_decode": "reduced"}),
    Case("jpeg, undistorted", Input(distorted=True)),
    Case("raw", Input(encoding="raw")),
)


class Listener(DetectorClient):
    """Notes when boxes came: by stamp, how old they were, in milliseconds."""

    def __init__(self) -> None:
        super().__init__()
        self.age_ms: dict[int, float] = {}

    def _on_boxes(self, message: BoundingBox3DArray) -> None:
        stamp = stamp_ns(message)
        self.age_ms[stamp] = (time.time_ns() - stamp) / 1e6
        super()._on_boxes(message)


def measure(case: Case, model: str, sets: int, logs: Path) -> Row:
    """One case, on a fresh node."""
    costs = logs / "ros_side_costs.json"
    parameters = {"model": model, "score_threshold": 0.2, **case.parameters}
    cameras, listener = Cameras(case.sent), Listener()
    stop = threading.Event()
    spinning = threading.Thread(target=lambda: listener.wait_for(stop.is_set, float("inf")))
    try:
        program = ["bench.ros_node", str(costs), *(["real"] if "backend" in parameters else [])]
        with detector_process(parameters, logs / "ros_side.log", program) as node:
            listener.wait_until_active(node)
            listener.wait_for(cameras.is_heard, 20.0, [node])
            spinning.start()
            list(cameras.play(WARM_UP_SETS))
            time.sleep(1.0)
            before, cpu_s, start_s = dict(listener.reports), _cpu_s(node), time.monotonic()
            sent = list(tqdm(cameras.play(sets), total=sets, desc=case.name, unit="set", disable=None))
            cpu_s, wall_s = _cpu_s(node) - cpu_s, time.monotonic() - start_s
            time.sleep(LAST_ANSWER_S)
    finally:
        stop.set()
        if spinning.is_alive():
            spinning.join()
        cameras.destroy_node()
        listener.destroy_node()
    reports = [report for stamp, report in listener.reports.items() if stamp not in before]
    ages_ms = [listener.age_ms[stamp] for stamp in sent if stamp in listener.age_ms]
    spent = json.loads(costs.read_text(encoding="utf-8"))
    backend = str(parameters.get("backend", ""))
    return {
        "case": case.name,
        "model": model,
        "backend": backend,
        **_row(case, sent, reports, ages_ms, cpu_s, wall_s, spent),
    }


def _row(
    case: Case,
    sent: Sequence[int],
    reports: Sequence[FrameReport],
    ages_ms: Sequence[float],
    cpu_s: float,
    wall_s: float,
    spent: Mapping[str, Mapping[str, float]],
) -> Row:
    """What the listener heard and the node spent, as figures; CPU in milliseconds a set and as shares of one core."""
    set_ms = [sum(stage.ms for stage in report.stages if stage.stage in SET_STAGES) for report in reports]
    parts_ms = {name: _per_image_ms(entry) * 6 for name, entry in spent.items()}
    cpu_ms = cpu_s * 1e3 / len(sent)
    share = case.sent.rate_hz / 1e3
    last = max(reports, key=stamp_ns, default=FrameReport())
    return {
        "sets_sent": len(sent),
        "sets_published": len(reports),
        "sets_lost": len(sent) - len(reports),
        "drops": {count.cause: count.count for count in last.drops},
        "sets_per_s": len(reports) / wall_s,
        "cpu_ms_per_set": cpu_ms,
        **{f"{name}_ms_per_set": ms for name, ms in parts_ms.items()},
        "cpu_share": cpu_ms * share,
        "cpu_share_beyond_decoding": (cpu_ms - parts_ms["decode"]) * share,
        "cpu_share_beyond_decoding_and_preprocessing": (cpu_ms - parts_ms["decode"] - parts_ms["preprocess"]) * share,
        "arrival_to_set_ms": _spread(set_ms),
        "stamp_to_boxes_ms": _spread(ages_ms),
        "stages_ms": {
            stage.stage: statistics.median(_stage_ms(report, stage.stage) for report in reports)
            for stage in last.stages
        },
    }


def _per_image_ms(entry: Mapping[str, float]) -> float:
    return entry["cpu_s"] * 1e3 / entry["calls"] if entry["calls"] else 0.0


def _stage_ms(report: FrameReport, name: str) -> float:
    return float(sum(stage.ms for stage in report.stages if stage.stage == name))


def _spread(values: Sequence[float]) -> dict[str, float]:
    """Not a number where there is none."""
    if not values:
        return dict.fromkeys(("p50", "p95", "max"), float("nan"))
    p50, p95 = np.percentile(values, [50, 95]).tolist()
    return {"p50": p50, "p95": p95, "max": max(values)}


def _cpu_s(process: Process) -> float:
    times = psutil.Process(process.pid).cpu_times()
    return float(times.user + times.system)


def _table(rows: Sequence[Row]) -> str:
    """One line a case; CPU is of one core's time, by /proc, of the node's process with all its threads."""
    header = ("case", "model", "sets/s", "lost", "CPU", "beyond decoding", "and preprocessing", "decode ms/set",
              "preprocess", "straighten", "arrival to set p50", "p95", "stamp to boxes p50", "p95")  # fmt: skip
    lines = [
        (
            row["case"],
            row["model"],
            f"{row['sets_per_s']:.2f}",
            row["sets_lost"],
            f"{row['cpu_share']:.0%}",
            f"{row['cpu_share_beyond_decoding']:.0%}",
            f"{row['cpu_share_beyond_decoding_and_preprocessing']:.0%}",
            *(f"{row[f'{name}_ms_per_set']:.1f}" for name in ("decode", "preprocess", "straighten")),
            *(
                f"{row[name][each]:.1f}"
                for name in ("arrival_to_set_ms", "stamp_to_boxes_ms")
                for each in ("p50", "p95")
            ),
        )
        for row in rows
    ]
    network = rows[0]["backend"] or "network of no cost"
    return f"six cameras of {WIDTH}x{HEIGHT}, {network}\n{text_table(header, lines)}"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench.ros_side", description=(__doc__ or "").splitlines()[0])
    add = parser.add_argument
    add("--out", type=Path, default=Path("out"), metavar="FOLDER")
    add("--seconds", type=float, default=20.0, help="of each case (default %(default)g)")
    add("--rate-hz", type=float, default=12.0, metavar="HZ", help="of the cameras (default %(default)g)")
    add("--model", default="r50_704", help="whose image size is asked for (default %(default)s)")
    add("--cases", nargs="+", choices=[case.name for case in CASES], metavar="NAME", help="default all")
    add("--backend", choices=list(BACKENDS), metavar="NAME", help="a real network, of the model's own weights")
    add("--default-transport", action="store_true", help="without config/fastdds.xml")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print, write."""
    options = _parser().parse_args(arguments)
    options.out.mkdir(parents=True, exist_ok=True)
    wanted = [case for case in CASES if not options.cases or case.name in options.cases]
    network = {"backend": options.backend} if options.backend else {}
    cases = [
        replace(case, sent=replace(case.sent, rate_hz=options.rate_hz), parameters={**case.parameters, **network})
        for case in wanted
    ]
    choose_domain()
    with profile(None if options.default_transport else PROFILE):
        rclpy.init()
        try:
            sets = {case.name: max(1, round(options.seconds * case.sent.rate_hz)) for case in cases}
            rows = [measure(case, options.model, sets[case.name], options.out) for case in cases]
        except ClientError as error:
            print(f"bench: {error}", file=sys.stderr)
            return 1
        finally:
            rclpy.try_shutdown()
    rows = [{"fastdds_profile": not options.default_transport, **row} for row in rows]
    path = options.out / "ros_side.json"
    path.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
    print(f"{_table(rows)}\nload at the end {load_average()}\nwritten to {path}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
