"""Measure what of six raw 1600x900 cameras arrives through Fast DDS, with and without config/fastdds.xml.

python -m bench.ros_transport [--seconds 10] [--rate-hz 12]

One process publishes, started with the profile or without; this one only counts and always runs without. Writes
OUT/ros_transport.json, a list of rows, and prints them as a table.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import rclpy
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from sensor_msgs.msg import Image
from tqdm import tqdm

from bench.measure import load_average
from bench.ros_rig import HEIGHT, WIDTH, Cameras, Input, image_qos, image_topics
from bench.table import text_table
from tggbc_ros.ros.client import ClientError, Process, choose_domain, stamp_ns

Row = dict[str, Any]
PROFILE = Path(__file__).resolve().parents[1] / "config" / "fastdds.xml"
PROFILE_VARIABLES = ("FASTRTPS_DEFAULT_PROFILES_FILE", "FASTDDS_DEFAULT_PROFILES_FILE")
"""Where Fast DDS 2 (Jazzy) and 3 (Kilted) look for their settings."""

WARM_UP_SETS = 6
DISCOVERY_S = 1.0
START_TIMEOUT_S = 30.0
LAST_IMAGE_S = 3.0


@contextmanager
def profile(path: Path | None) -> Iterator[None]:
    """Processes started in the block, and the first node made in it, take Fast DDS's settings from ``path``."""
    before = {name: os.environ.pop(name) for name in PROFILE_VARIABLES if name in os.environ}
    os.environ |= dict.fromkeys(PROFILE_VARIABLES, str(path)) if path else {}
    try:
        yield
    finally:
        for name in PROFILE_VARIABLES:
            os.environ.pop(name, None)
        os.environ |= before


class Listener(Node):
    """Notes of every image its stamp and its age on arrival, in nanoseconds."""

    def __init__(self, reliable: bool) -> None:
        super().__init__("bench_listener")
        self.seen: list[tuple[int, int]] = []
        self._subscriptions_kept = [
            self.create_subscription(Image, topic, self._on_image, image_qos(reliable)) for topic in image_topics(True)
        ]

    def _on_image(self, message: Image) -> None:
        stamp = stamp_ns(message)
        self.seen.append((stamp, time.time_ns() - stamp))


def measure(reliable: bool, with_profile: bool, sets: int, rate_hz: float, logs: Path) -> Row:
    """One case, with a fresh publisher and listener."""
    sent_path = logs / "ros_transport_sent.json"
    arguments = ["--publish", str(sent_path), "--sets", str(sets), "--rate-hz", str(rate_hz)]
    arguments += ["--best-effort"] * (not reliable)
    listener, executor = Listener(reliable), SingleThreadedExecutor()
    executor.add_node(listener)
    try:
        publisher = Process("bench.ros_transport", arguments, logs / "ros_transport.log")
        with profile(PROFILE if with_profile else None), publisher:
            while publisher.is_running():
                executor.spin_once(timeout_sec=0.1)
        end_s = time.monotonic() + LAST_IMAGE_S
        while time.monotonic() < end_s:
            executor.spin_once(timeout_sec=0.1)
    finally:
        executor.shutdown()
        listener.destroy_node()
    sent = json.loads(sent_path.read_text(encoding="utf-8"))
    return {"reliable": reliable, "profile": with_profile, "rate_hz": rate_hz, **_row(listener.seen, sent, sets)}


def _row(seen: Sequence[tuple[int, int]], sent: Mapping[str, float], sets: int) -> Row:
    """Images that were sent and that came, their ages in milliseconds, and what sending cost."""
    ages_ms = [age_ns / 1e6 for stamp, age_ns in seen if stamp >= sent["start_ns"]]
    images = sets * len(image_topics(True))
    p50, p95 = np.percentile(ages_ms, [50, 95]).tolist() if ages_ms else (float("nan"),) * 2
    return {
        "images_sent": images,
        "images_received": len(ages_ms),
        "lost": 1.0 - len(ages_ms) / images,
        "age_p50_ms": p50,
        "age_p95_ms": p95,
        "publisher_cpu_ms_per_set": sent["cpu_s"] * 1e3 / sets,
    }


def publish(path: Path, sets: int, sent: Input) -> None:
    """Be the cameras: wait to be heard, send that many sets, and write to ``path`` since when and at what cost."""
    cameras, deadline_s = Cameras(sent), time.monotonic() + START_TIMEOUT_S
    while not all(map(cameras.count_subscribers, image_topics(True))):
        if time.monotonic() > deadline_s:
            raise SystemExit(f"nobody subscribed within {START_TIMEOUT_S:.0f} s")
        time.sleep(0.05)
    time.sleep(DISCOVERY_S)
    list(cameras.play(WARM_UP_SETS))
    time.sleep(DISCOVERY_S)
    start_ns, cpu_s = time.time_ns(), time.process_time()
    list(cameras.play(sets))
    path.write_text(json.dumps({"start_ns": start_ns, "cpu_s": time.process_time() - cpu_s}), encoding="utf-8")
    time.sleep(LAST_IMAGE_S)  # a reliable publisher may have to send again


def _table(rows: Sequence[Row]) -> str:
    header = ("quality", "fastdds.xml", "sent", "lost", "age p50 ms", "p95", "publisher's CPU ms/set")
    lines = [
        (
            "reliable" if row["reliable"] else "best effort",
            "yes" if row["profile"] else "no",
            row["images_sent"],
            f"{row['lost']:.1%}",
            *(f"{row[name]:.0f}" for name in ("age_p50_ms", "age_p95_ms", "publisher_cpu_ms_per_set")),
        )
        for row in rows
    ]
    return f"six raw cameras of {WIDTH}x{HEIGHT}\n{text_table(header, lines)}"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench.ros_transport", description=(__doc__ or "").splitlines()[0])
    add = parser.add_argument
    add("--out", type=Path, default=Path("out"), metavar="FOLDER")
    add("--seconds", type=float, default=10.0, help="of each case (default %(default)g)")
    add("--rate-hz", type=float, default=12.0, metavar="HZ", help="of the cameras (default %(default)g)")
    add("--publish", type=Path, metavar="FILE", help=argparse.SUPPRESS)
    add("--sets", type=int, help=argparse.SUPPRESS)
    add("--best-effort", action="store_true", help=argparse.SUPPRESS)
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print, write; or be the publisher of such a measurement."""
    options = _parser().parse_args(arguments)
    choose_domain()
    if options.publish:
        rclpy.init()
        sent = Input(encoding="raw", rate_hz=options.rate_hz, reliable=not options.best_effort)
        publish(options.publish, options.sets, sent)
        rclpy.try_shutdown()
        return 0
    options.out.mkdir(parents=True, exist_ok=True)
    sets = max(1, round(options.seconds * options.rate_hz))
    run = partial(measure, sets=sets, rate_hz=options.rate_hz, logs=options.out)
    cases = [(reliable, with_profile) for reliable in (True, False) for with_profile in (False, True)]
    with profile(None):
        rclpy.init()
        try:
            rows = [run(*case) for case in tqdm(cases, unit="case", disable=None)]
        except ClientError as error:
            print(f"bench: {error}", file=sys.stderr)
            return 1
        finally:
            rclpy.try_shutdown()
    path = options.out / "ros_transport.json"
    path.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
    print(f"{_table(rows)}\nload at the end {load_average()}\nwritten to {path}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
