"""Time that loops, jumps, stands still or runs at another pace: memory never mixes two passes of it.

The node is the real one with a tiny network, in this process; messages are handed to its subscriptions one by one, so
that the order in which clock, transforms and images come is the test's choice. Rates are tested over real DDS.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from bag_families import our_own, write_bag
from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.parameter import Parameter
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import CompressedImage
from std_srvs.srv import Trigger
from synthetic_rig import (
    PERIOD_NS,
    STAGGER_NS,
    START_NS,
    SyntheticRig,
    camera_info,
    detector_process,
    ego2global,
    jpeg,
    nanoseconds,
    stamp,
    static_transforms,
    transform,
)
from tf2_msgs.msg import TFMessage
from tiny_detector import TINY

from tggbc_ros.backends import load_network
from tggbc_ros.core.config import MODELS
from tggbc_ros.ros import detector_node
from tggbc_ros.ros.detector_node import DetectorNode
from tggbc_ros.ros.drops import Totals
from tggbc_ros.ros.params import CAMERAS

pytestmark = pytest.mark.timeout(240)
PATIENCE_S = 60.0
HOUR_SETS = 7200
SOURCES = Path(detector_node.__file__).parent


class Gate:
    """A network that waits for permission to decode, and says when it has come to that."""

    def __init__(self, network: Any) -> None:
        self._decode = network.decode
        self.network = network
        network.decode = self
        self.open = threading.Event()
        self.entered = threading.Semaphore(0)
        self.open.set()

    def __call__(self, *arguments: Any) -> Any:
        self.entered.release()
        assert self.open.wait(PATIENCE_S)
        return self._decode(*arguments)


class Bench:
    """An active node whose messages are handed over by name."""

    def __init__(self, context: Context, gate: Gate, **parameters: Any) -> None:
        self.gate = gate
        given = {"model": "tiny", "pose_timeout_s": 5.0} | parameters
        overrides = [Parameter(name, value=value) for name, value in given.items()]
        self.node = DetectorNode(lambda *_: gate.network, context=context, parameter_overrides=overrides)
        self.node.trigger_configure()
        gate.entered = threading.Semaphore(0)  # it was entered to warm up
        self.reports: list[Any] = []
        publish = self.node._outputs.publish_report
        self.node._outputs.publish_report = lambda report, s: (self.reports.append(report), publish(report, s))
        self.node.trigger_activate()
        self.helper = Node("helper", context=context)
        self.executor = SingleThreadedExecutor(context=context)
        self.executor.add_node(self.node)
        for name in CAMERAS:
            self.helper.create_publisher(CompressedImage, f"/camera/{name}/image/compressed", 10)
            self.helper.create_publisher(type(camera_info(name, 1)), f"/camera/{name}/camera_info", 10)
        feeds = self.node.line.intake.feeds.values()
        self.wait(lambda: all(feed.source and feed.info_source for feed in feeds))
        self.hand("/tf_static", static_transforms())
        for name in CAMERAS:
            self.hand(f"/camera/{name}/camera_info", camera_info(name, 1))

    def hand(self, topic: str, message: Any) -> None:
        # Of CameraInfo there are two until the first has come (ros/images/camera_topics.py).
        callback, *_ = [found.callback for found in self.node.subscriptions if found.topic_name == topic]
        callback(message)

    def clock(self, index: float) -> None:
        self.hand("/clock", Clock(clock=stamp(START_NS + round(index * PERIOD_NS))))

    def poses(self, index: int) -> None:
        stamps_ns = [START_NS + index * PERIOD_NS + place * STAGGER_NS for place in range(len(CAMERAS))]
        self.hand("/tf", TFMessage(transforms=[transform(ego2global(t), "map", "base_link", t) for t in stamps_ns]))

    def images(self, index: int) -> None:
        for place, name in enumerate(CAMERAS):
            stamp_ns = START_NS + index * PERIOD_NS + place * STAGGER_NS
            self.hand(f"/camera/{name}/image/compressed", jpeg(name, stamp_ns, index))

    def set(self, index: int) -> None:
        """A set and its poses, on its way."""
        self.poses(index)
        self.images(index)

    def inferred(self, *indices: int) -> list[str]:
        """Sets, one after the other; the reset cause of each."""
        before = len(self.reports)
        for index in indices:
            wanted = len(self.reports) + 1
            self.set(index)
            self.wait(lambda wanted=wanted: len(self.reports) == wanted)
        return [report.reset_cause for report in self.reports[before:]]

    def wait(self, done: Callable[[], object]) -> None:
        deadline_s = time.monotonic() + PATIENCE_S
        while not done():
            assert time.monotonic() < deadline_s, self.totals
            self.executor.spin_once(timeout_sec=0.01)

    @property
    def totals(self) -> Totals:
        return self.node.line.account.totals()

    def close(self) -> None:
        self.gate.open.set()
        self.node.stop(PATIENCE_S)
        self.executor.shutdown()
        self.node.destroy_node()
        self.helper.destroy_node()


@pytest.fixture
def make(context: Context) -> Iterator[Callable[..., Bench]]:
    threads, benches = torch.get_num_threads(), []
    torch.set_num_threads(1)

    def bench(**parameters: Any) -> Bench:
        gate = Gate(load_network("torch", TINY, None, "cpu", True))
        benches.append(Bench(context, gate, **parameters))
        return benches[-1]

    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(MODELS, TINY.name, TINY)
        yield bench
        for each in benches:
            each.close()
    torch.set_num_threads(threads)


def test_a_slow_network_mixes_no_two_passes(make: Callable[..., Bench]) -> None:
    """It infers the first set of one pass and the second one of the next: its own stamps only go forward."""
    bench = make()
    bench.gate.open.clear()
    bench.set(0)
    assert bench.gate.entered.acquire(timeout=PATIENCE_S)
    for index in (1, 2, 0, 1):
        bench.set(index)
    bench.gate.open.set()
    bench.wait(lambda: len(bench.reports) == 2)
    first, second = bench.reports
    assert (first.reset_cause, first.memory_age_s) == ("", 0.0)
    assert (second.reset_cause, second.memory_age_s) == ("time went backward", 0.0)
    assert second.header.stamp.nanosec > first.header.stamp.nanosec
    assert bench.totals.drops == {"set_superseded": 3}
    assert bench.inferred(2) == [""]


def test_the_set_in_work_when_the_clock_jumps_does_not_use_up_the_reset(make: Callable[..., Bench]) -> None:
    """It waits for its poses, gets them, and is still of the old pass; the first of the new one starts from nothing."""
    bench = make(use_sim_time=True)
    bench.clock(0)
    assert bench.inferred(0, 1) == ["", ""]
    bench.clock(2)
    bench.images(2)
    bench.wait(lambda: bench.node.line.worker._waiting is None)
    bench.clock(0)
    bench.poses(2)
    bench.wait(lambda: len(bench.reports) == 3)
    assert bench.reports[-1].reset_cause == ""
    assert bench.inferred(0, 1) == ["clock jump", ""]
    assert bench.totals.resets == {"clock jump": 1}


def test_images_that_the_clock_has_overtaken_belong_to_the_old_pass(make: Callable[..., Bench]) -> None:
    bench = make(use_sim_time=True)
    bench.clock(2)
    assert bench.inferred(0, 1, 2) == ["", "", ""]
    bench.clock(0)
    assert bench.inferred(3, 0, 1) == ["", "clock jump", ""]
    assert bench.totals.resets == {"clock jump": 1}


def test_a_clock_that_comes_after_the_images_of_the_new_pass_resets_nothing_more(make: Callable[..., Bench]) -> None:
    bench = make(use_sim_time=True)
    bench.clock(2)
    assert bench.inferred(0, 1, 2, 0) == ["", "", "", "time went backward"]
    bench.clock(0)
    assert bench.inferred(1, 2) == ["", ""]
    assert bench.totals.drops == {}


def test_a_set_that_waits_when_the_clock_jumps_is_given_up(make: Callable[..., Bench]) -> None:
    bench = make(use_sim_time=True)
    bench.clock(3)
    assert bench.inferred(0) == [""]
    bench.gate.entered = threading.Semaphore(0)
    bench.gate.open.clear()
    bench.set(2)
    assert bench.gate.entered.acquire(timeout=PATIENCE_S)
    bench.set(3)
    bench.clock(0)
    bench.gate.open.set()
    bench.wait(lambda: len(bench.reports) == 2)
    assert bench.totals.drops == {"set_time_jump": 1}
    assert bench.inferred(0) == ["clock jump"]


def test_twenty_loops_are_nineteen_resets(make: Callable[..., Bench]) -> None:
    bench = make()
    causes = [bench.inferred(0, 2) for _ in range(20)]
    assert causes == [["", ""]] + [["time went backward", ""]] * 19
    assert (bench.totals.drops, bench.totals.resets) == ({}, {"time went backward": 19})


def test_a_loop_of_half_a_second_repeats_stamps_and_nothing_else(make: Callable[..., Bench]) -> None:
    bench = make()
    assert bench.inferred(0, 1) == ["", ""]
    for index in (0, 1, 0, 1):
        bench.set(index)
    assert bench.inferred(2) == [""]
    assert bench.totals.drops == {"image_duplicate": 12, "image_late": 12}
    assert bench.totals.sets_received == 3


def test_a_paused_clock_stops_nothing(make: Callable[..., Bench]) -> None:
    bench = make(use_sim_time=True)
    bench.clock(0)
    assert bench.inferred(0, 1, 2, 3) == [""] * 4
    assert [report.memory_age_s for report in bench.reports] == pytest.approx([0.0, 0.5, 0.5, 0.5])
    assert bench.totals.drops == {}


def test_a_clock_set_forward_and_back_costs_memory_twice_and_no_set(make: Callable[..., Bench]) -> None:
    """As of cameras stamped by a wall clock that somebody corrects by an hour."""
    bench = make()
    indices = (0, 1, HOUR_SETS, HOUR_SETS + 1, 2, 3)
    assert bench.inferred(*indices) == ["", "", "gap in time", "", "time went backward", ""]
    assert bench.totals.drops == {}


def test_steps_of_the_clock_that_stamps_on_arrival(make: Callable[..., Bench]) -> None:
    """stamp_policy receive: the node's own clock goes an hour ahead and back; memory goes twice, no set is lost."""
    bench = make(use_sim_time=True, stamp_policy="receive")
    for index in (1, 2, HOUR_SETS, HOUR_SETS + 1, 3, 4):
        bench.clock(index)
        wanted = len(bench.reports) + 1
        bench.poses(index)
        bench.images(index)
        bench.wait(lambda wanted=wanted: len(bench.reports) == wanted)
    causes = [report.reset_cause for report in bench.reports]
    assert causes == ["", "", "gap in time", "", "clock jump", ""]
    assert bench.totals.drops == {}


def test_a_reset_before_a_set_that_is_stopped_is_counted(make: Callable[..., Bench]) -> None:
    bench = make()
    bench.inferred(0)
    assert bench.node._on_reset_memory(Trigger.Request(), Trigger.Response()).success
    bench.gate.entered = threading.Semaphore(0)
    bench.gate.open.clear()
    bench.set(1)
    assert bench.gate.entered.acquire(timeout=PATIENCE_S)
    line = bench.node.line
    threading.Timer(0.2, bench.gate.open.set).start()
    assert line.stop(PATIENCE_S)
    assert line.account.totals().drops == {"set_stopped": 1}
    assert line.account.totals().resets == {"service": 1}
    assert line.account.totals().sets_received == 2


@pytest.mark.parametrize("path", sorted(SOURCES.rglob("*.py")), ids=lambda path: path.name)
def test_durations_are_told_by_steady_clocks(path: Path) -> None:
    """The wall clock may be set while something lasts. What is recorded is stamped by it, with time.time_ns."""
    assert "time.time()" not in path.read_text(encoding="utf-8")


@pytest.mark.parametrize(("rate", "sets"), [(0.1, 2), (10.0, 4)])
def test_no_rate_of_replay_changes_what_memory_sees(
    context: Context, domain_id: int, tmp_path: Path, rate: float, sets: int
) -> None:
    """Ages are those of the stamps, and slow cameras are waited for, though they need not be."""
    rig = SyntheticRig(context)
    for publisher in [*rig.images.values(), *rig.infos.values(), rig.tf, rig.tf_static]:
        rig.destroy_publisher(publisher)
    bag = write_bag(tmp_path / "bag", our_own(range(sets)))
    with detector_process(domain_id, use_sim_time=True, min_cameras=5) as process:
        assert rig.spin_until(lambda: rig.received["diagnostics"], PATIENCE_S)
        play = [sys.executable, "-m", "tggbc_ros.ros.bags.bag_player", str(bag), "--clock", "--rate", str(rate)]
        play += ["--wait-for-subscribers", "14", "--no-progress"]
        with subprocess.Popen(play, env=os.environ | {"ROS_DOMAIN_ID": str(domain_id)}) as player:
            assert rig.spin_until(lambda: player.poll() is not None, PATIENCE_S)
        assert player.returncode == 0
        last_ns = START_NS + (sets - 1) * PERIOD_NS + (len(CAMERAS) - 1) * STAGGER_NS
        assert rig.spin_until(lambda: rig.received["report"] and nanoseconds(rig.received["report"][-1]) == last_ns)
        assert process.poll() is None
    reports = rig.received["report"]
    stamps_ns = [nanoseconds(report) for report in reports]
    ages_s = [0.0, *((after - before) / 1e9 for before, after in zip(stamps_ns, stamps_ns[1:], strict=False))]
    assert [report.memory_age_s for report in reports] == pytest.approx(ages_s)
    assert all(not report.missing_cameras and not report.reset_cause for report in reports)
    drops = {count.cause: count.count for count in reports[-1].drops}
    assert set(drops) <= {"set_superseded"}
    assert reports[-1].sets_received == sets == len(reports) + drops.get("set_superseded", 0)
    rig.destroy_node()
