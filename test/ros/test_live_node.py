"""One running node: what may change while it runs, and what comes twice or from the past."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from diagnostic_msgs.msg import DiagnosticStatus
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState, GetState
from rcl_interfaces.srv import DescribeParameters, GetParameters
from rclpy.context import Context
from std_srvs.srv import Trigger
from synthetic_rig import SyntheticRig, boxes_of, detector_process, nanoseconds, set_parameters

from tggbc_ros.core.config import DecodeConfig

pytestmark = pytest.mark.timeout(120)


@pytest.fixture(scope="module")
def running(context: Context, domain_id: int) -> Iterator[SyntheticRig]:
    """A rig with a node that has had its first set; each test takes newer sets."""
    rig = SyntheticRig(context)
    with detector_process(domain_id):
        rig.wait_for_detector()
        rig.publish_until_report(0)
        yield rig
    rig.destroy_node()


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("keep_ratio", 1.5, "keep_ratio"),
        ("keep_ratio", 0.0, r"\(0, 1\]"),
        ("keep_ratio", float("nan"), "keep_ratio"),
        ("keep_ratio", "half", "DOUBLE"),
        ("prune_layers", 0, "prune_layers"),
        ("prune_layers", 7, "prune_layers"),
        ("prune_queries", -2, "prune_queries"),
        ("prune_schedule", "ratios", r"prune_ratios is \[\]"),
        ("prune_ratios", [0.5, 0.7], "none larger than the one before"),
        ("prune_reactivate", True, "trimmed only once"),
        ("keep_mode", "auto", "fixed, mass, budget"),
        ("keep_mass", 0.0, r"\(0, 1\]"),
        ("max_keep_ratio", 0.05, "at least min_keep_ratio"),
        ("latency_budget_ms", 0.0, "positive number of milliseconds"),
        ("carry_ratio", 0.5, "keep_ratio is 1.0, expected less than carry_ratio"),
        ("score_threshold", -0.1, "score_threshold"),
        ("memory_interval_s", 3.0, "interval_s is 3.0, expected in"),
        ("model", "vov_800", "unconfigured"),
        ("image_transport", "raw", "unconfigured"),
    ],
)
def test_bad_values_are_refused_with_a_reason(running: SyntheticRig, name: str, value: object, reason: str) -> None:
    get = GetParameters.Request(names=[name])
    before = running.call(GetParameters, "/detector/get_parameters", get).values
    (refusal,) = set_parameters(running, **{name: value})
    assert refusal, f"{name} = {value!r} was taken"
    pytest.raises(ValueError, raise_it, refusal).match(reason)
    assert running.call(GetParameters, "/detector/get_parameters", get).values == before


def raise_it(text: str) -> None:
    raise ValueError(text)


def test_live_values_work_from_the_next_set_on(running: SyntheticRig) -> None:
    assert set_parameters(running, keep_ratio=0.5, score_threshold=0.68, prune_layers=2) == ["", "", ""]
    report = running.publish_until_report(1)
    assert (report.keep_ratio, report.prune_layers) == (0.5, 2)
    assert list(report.keys) == [48, 36]
    scores = boxes_of(running, nanoseconds(report)).score
    assert 0 < len(scores) < 240
    assert scores.min() >= 0.68 - 1e-6
    values = {"keep_ratio": 1.0, "score_threshold": 0.0, "prune_layers": 1, "max_boxes": 7}
    assert set_parameters(running, **values) == [""] * 4
    report = running.publish_until_report(2)
    assert list(report.keys) == [48, 48]
    assert len(boxes_of(running, nanoseconds(report)).score) == 7
    assert set_parameters(running, max_boxes=DecodeConfig.max_boxes) == [""]


def test_every_parameter_says_what_it_is(running: SyntheticRig) -> None:
    names = ["keep_ratio", "prune_layers", "camera_names", "lidar2base", "camera_qos"]
    answer = running.call(DescribeParameters, "/detector/describe_parameters", DescribeParameters.Request(names=names))
    assert all(descriptor.description for descriptor in answer.descriptors)
    assert [descriptor.type for descriptor in answer.descriptors] == [3, 2, 9, 8, 4]
    ratio = answer.descriptors[0].floating_point_range[0]
    assert (ratio.from_value, ratio.to_value) == (0.0, 1.0)
    assert "sensor_data" in answer.descriptors[4].additional_constraints


def test_reset_service_drops_memory_once(running: SyntheticRig) -> None:
    assert running.publish_until_report(3).memory_age_s == pytest.approx(0.5)
    assert running.call(Trigger, "/detector/reset_memory", Trigger.Request()).success
    after = running.publish_until_report(4)
    assert (after.reset_cause, after.memory_age_s) == ("service", 0.0)
    assert running.publish_until_report(5).reset_cause == ""
    assert {count.cause: count.count for count in after.resets}["service"] == 1


def test_a_bag_that_begins_again_resets_memory_and_goes_on(running: SyntheticRig) -> None:
    for index in (10, 11, 12):
        last = running.publish_until_report(index)
    before = {count.cause: count.count for count in last.resets}
    again = running.publish_until_report(10)
    assert again.reset_cause == "time went backward"
    following = running.publish_until_report(11)
    assert (following.reset_cause, following.memory_age_s) == ("", pytest.approx(0.5))
    after = {count.cause: count.count for count in following.resets}
    assert after == before | {"time went backward": before.get("time went backward", 0) + 1}


def test_no_frame_is_published_twice(running: SyntheticRig) -> None:
    running.publish_until_report(20)
    published = len(running.received["boxes"])
    for _ in range(2):
        running.publish_set(20)
    running.publish_until_report(21)
    assert len(running.received["boxes"]) == published + 1
    drops = {count.cause: count.count for count in running.received["report"][-1].drops}
    assert drops["image_duplicate"] + drops.get("image_late", 0) == 12


def test_diagnostics_tell_of_random_weights_and_fresh_cameras(running: SyntheticRig) -> None:
    running.publish_until_report(30)
    running.received["diagnostics"].clear()
    assert running.spin_until(lambda: running.diagnostic("detector: network"))
    assert "RANDOM" in running.diagnostic("detector: network").message
    assert running.diagnostic("detector: camera CAM_BACK").message == "fresh"
    assert running.diagnostic("detector: node").message == "active"
    report, books = running.received["report"][-1], running.drops()
    assert (int(books["sets_received"]), int(books["sets_published"])) == (report.sets_received, report.sets_published)


def test_keep_modes_change_live_and_say_so(running: SyntheticRig) -> None:
    assert set_parameters(running, min_keep_ratio=0.25, keep_mass=0.5, keep_mode="mass") == ["", "", ""]
    mass = running.publish_until_report(40)
    assert (mass.keep_mode, mass.total_keys, mass.latency_budget_ms) == ("mass", 48, 0.0)
    assert 12 <= mass.keys[-1] < 48
    assert mass.keep_ratio_used == pytest.approx(mass.keys[-1] / 48)
    assert mass.voters == 24  # of 175 asked for: all there are
    assert set_parameters(running, latency_budget_ms=0.001, keep_mode="budget") == ["", ""]
    reports = [running.publish_until_report(index) for index in range(41, 46)]
    assert [report.keep_mode for report in reports] == ["budget"] * 5
    assert list(reports[-1].keys) == [48, 12]  # min_keep_ratio
    assert reports[-1].latency_budget_ms == pytest.approx(0.001)
    assert not reports[-1].budget_feasible
    running.received["diagnostics"].clear()
    assert running.spin_until(lambda: running.diagnostic("detector: pruning"))
    status = running.diagnostic("detector: pruning")
    assert (status.level, "misses 0.001 ms" in status.message) == (DiagnosticStatus.WARN, True)
    assert set_parameters(running, keep_mode="fixed") == [""]
    assert list(running.publish_until_report(46).keys) == [48, 48]


def test_carry_changes_live(running: SyntheticRig) -> None:
    assert set_parameters(running, keep_ratio=0.25, carry_ratio=0.5) == ["", ""]
    first, second = running.publish_until_report(50), running.publish_until_report(51)
    assert (list(first.keys), list(second.keys)) == ([48, 12], [24, 12])
    assert second.keep_ratio_used == pytest.approx(0.25)
    assert set_parameters(running, carry_ratio=1.0, keep_ratio=1.0) == ["", ""]


def test_the_interval_of_memory_changes_live(running: SyntheticRig) -> None:
    """Sets 0.5 s apart: with 1 s each goes on from the last but one."""
    for index in (53, 54):
        running.publish_until_report(index)
    assert set_parameters(running, memory_interval_s=1.0) == [""]
    ages_s = [running.publish_until_report(index).memory_age_s for index in range(55, 59)]
    assert ages_s == pytest.approx([1.0] * 4)
    assert set_parameters(running, memory_interval_s=0.5) == [""]


@pytest.mark.parametrize("asked", [{"id": Transition.TRANSITION_CONFIGURE}, {"label": "cleanup"}, {"label": "fly"}])
def test_a_lifecycle_request_that_does_not_fit_is_answered(running: SyntheticRig, asked: dict[str, Any]) -> None:
    """It is active, and stays so."""
    request = ChangeState.Request(transition=Transition(**asked))
    assert not running.call(ChangeState, "/detector/change_state", request).success
    assert running.call(GetState, "/detector/get_state", GetState.Request()).current_state.label == "active"


def test_after_all_this_it_still_infers(running: SyntheticRig) -> None:
    assert running.publish_until_report(60).sets_published > 0
