"""diagnostics: the level follows what went wrong lately, not what arrives."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from diagnostic_msgs.msg import DiagnosticStatus
from sensor_msgs.msg import CameraInfo

from tggbc_ros.core.config import KeepConfig, PruningConfig
from tggbc_ros.core.types import StepReport
from tggbc_ros.ros.drops import Totals
from tggbc_ros.ros.health.diagnostics import (
    Pose,
    answer_patience_s,
    camera_status,
    memory_status,
    network_status,
    node_status,
    of_last_set,
    of_node,
    pose_status,
    pruning_status,
    rig_status,
    stage_status,
    stagger_hint,
    sync_status,
)
from tggbc_ros.ros.health.stage_times import Spread
from tggbc_ros.ros.images.camera_topics import Feed
from tggbc_ros.ros.images.stagger import Stagger
from tggbc_ros.ros.output.report import Identity
from tggbc_ros.ros.params import Settings
from tggbc_ros.ros.plausibility import Finding

OK, WARN, ERROR = DiagnosticStatus.OK, DiagnosticStatus.WARN, DiagnosticStatus.ERROR


NOW_S = 1000.0


def values_of(status: DiagnosticStatus) -> dict[str, str]:
    return {pair.key: pair.value for pair in status.values}


def totals(published: int, **drops: int) -> Totals:
    received = published + sum(count for cause, count in drops.items() if cause.startswith("set_"))
    return Totals(received, published, drops, {}, "")


@pytest.mark.parametrize(
    ("before", "now", "level", "message"),
    [
        (None, totals(0), WARN, "no complete set yet"),
        (None, totals(3), OK, "3 of 3 sets published"),
        (totals(3), totals(5, set_superseded=4), OK, "5 of 9 sets published"),
        (totals(3), totals(3, set_paused=4), OK, "3 of 7 sets published"),
        (totals(3, image_late=1), totals(5, image_late=9), OK, "5 of 5 sets published"),
        (totals(3), totals(5, set_pose_missing=1), WARN, "sets dropped: set_pose_missing"),
        (totals(5, set_pose_missing=1), totals(5, set_pose_missing=3), ERROR, "sets dropped: set_pose_missing"),
        (totals(5, set_pose_missing=3), totals(6, set_pose_missing=3), OK, "6 of 9 sets published"),
        (None, totals(0, set_inference_failed=2), ERROR, "sets dropped: set_inference_failed"),
    ],
)
def test_synchroniser(before: Totals | None, now: Totals, level: bytes, message: str) -> None:
    status = sync_status(now, before, 0, True, 0.1, 2.0)
    assert (status.level, status.message) == (level, message)


@pytest.mark.parametrize(
    ("before", "now", "unanswered_s", "level", "message"),
    [
        (totals(3), totals(3, set_superseded=60), 2.0, OK, "3 of 63 sets published"),
        (totals(3), totals(3, set_superseded=60), 2.1, ERROR, "images come, but no set was published for 2.1 s"),
        (totals(0), totals(0), 2.1, ERROR, "images come, but no set was published for 2.1 s"),
        (totals(0), totals(0, image_overflow=9), 1.0, WARN, "no complete set yet"),
        (totals(3), totals(3, set_not_finite=1), 9.0, ERROR, "sets dropped: set_not_finite"),
    ],
)
def test_sets_that_are_not_published(
    before: Totals, now: Totals, unanswered_s: float, level: bytes, message: str
) -> None:
    status = sync_status(now, before, 0, True, unanswered_s, 2.0)
    assert (status.level, status.message) == (level, message)
    assert values_of(status)["unanswered_s"] == f"{unanswered_s:.3f}"
    patient = sync_status(now, before, 0, True, unanswered_s, 60.0)
    assert "images come" not in patient.message


def test_sets_that_have_ceased_with_their_images_are_not_well() -> None:
    status = sync_status(totals(3), totals(3), 0, False, 2.1, 2.0)
    assert (status.level, status.message) == (WARN, "no images come, and no set was published for 2.1 s")
    assert sync_status(totals(3), totals(3), 0, False, 1.9, 2.0).level == OK


def test_images_that_wait_in_vain_are_a_warning_while_they_do() -> None:
    full = totals(5, image_overflow=9)
    status = sync_status(full, totals(3, image_overflow=8), 48, True, 0.1, 2.0)
    assert (status.level, status.message) == (WARN, "images dropped that waited for others: image_overflow")
    assert sync_status(full, full, 48, True, 0.1, 2.0).level == OK


def test_what_is_known_of_the_last_set_is_old_news_once_none_follows() -> None:
    makers = (
        lambda: rig_status(("a",), (), {}),
        lambda: memory_status(totals(3), totals(3), step(feasible=True)),
        lambda: stage_status({"latency": Spread(1.0, 2.0, 3.0)}, Settings()),
        lambda: pruning_status(PruningConfig(0.5), step(feasible=True)),
    )
    for make in makers:
        fresh, stale = of_last_set(make(), 2.0, 2.0), of_last_set(make(), 12.3, 2.0)
        assert (fresh.level, fresh.message) == (OK, make().message)
        assert (stale.level, stale.message) == (WARN, f"stale, no set for 12.3 s: {make().message}")
    slow = stage_status({"latency": Spread(1.0, 9e9, 9e9)}, Settings())
    assert of_last_set(slow, 12.3, 2.0).level == ERROR


def step(feasible: bool) -> StepReport:
    return StepReport(0.5, (100, 25), {}, 0.0, "", np.arange(25), num_cells=200, voters=7, feasible=feasible)


def test_a_network_that_is_slow_by_nature_is_given_three_of_its_times() -> None:
    settings = Settings(diagnostics_stale_s=2.0)
    assert answer_patience_s({}, settings) == 2.0
    assert answer_patience_s({"latency": Spread(80.0, 90.0, 5000.0)}, settings) == 2.0
    assert answer_patience_s({"latency": Spread(9000.0, 9500.0, 9500.0)}, settings) == pytest.approx(27.0)


def test_pruning_says_what_was_kept() -> None:
    status = pruning_status(PruningConfig(0.5), step(feasible=True))
    values = {pair.key: pair.value for pair in status.values}
    assert (status.level, status.message) == (OK, "fixed: 25 of 200 keys kept")
    assert (values["keep_ratio"], values["keep_ratio_used"], values["keys"]) == ("0.5", "0.1250", "100 25")
    assert (values["keep_mode"], values["voters"]) == ("fixed", "7")
    assert pruning_status(PruningConfig(), None).level == OK


def test_pruning_says_which_tokens_passed() -> None:
    config, report = PruningConfig(token_rate=0.5), step(feasible=True)
    tokens = np.zeros((2, 200), dtype=np.bool_)
    tokens[0, :140], tokens[1, :70] = True, True
    status = pruning_status(config, dataclasses.replace(report, token_rate=0.5, tokens=tokens))
    values = {pair.key: pair.value for pair in status.values}
    assert (values["token_rate"], values["token_rate_used"]) == ("0.5", "0.5250")
    assert values["tokens"] == "0.700 0.350"
    assert "token_rate" not in {pair.key for pair in pruning_status(PruningConfig(), report).values}
    none_yet = {pair.key: pair.value for pair in pruning_status(config, None).values}
    assert none_yet["token_rate_used"] == "no set yet"


def test_pruning_warns_of_a_budget_out_of_reach() -> None:
    config = PruningConfig(0.5, keep=KeepConfig("budget", min_ratio=0.1, budget_ms=20.0))
    status = pruning_status(config, step(feasible=False))
    assert status.level == WARN
    assert status.message == "even a keep ratio of 0.1 misses 20.0 ms of decoder time"
    assert pruning_status(config, step(feasible=True)).level == OK


def test_rig_warns_of_missing_cameras_and_tells_of_masks() -> None:
    status = rig_status(("a", "b", "c"), (), {"b": 0.25})
    values = {pair.key: pair.value for pair in status.values}
    assert (status.level, status.message) == (OK, "3 cameras")
    assert values == {"cameras": "3", "missing": "", "hidden: b": "0.250"}
    status = rig_status(("a", "b", "c"), ("a", "c"), {})
    assert (status.level, status.message) == (WARN, "without a, c")
    assert {pair.key: pair.value for pair in status.values} == {"cameras": "3", "missing": "a c"}


def feed(*arrivals_s: float, info: CameraInfo | None = None) -> Feed:
    """A camera that sent images at these times before NOW_S."""
    found = Feed((), (), info=info or CameraInfo())
    for arrival_s in arrivals_s:
        found.note_arrival(NOW_S - arrival_s)
    return found


def camera(found: Feed, calibrated: bool = False, **limits: float) -> DiagnosticStatus:
    settings = Settings(**limits)
    return camera_status("front", found, calibrated, settings, NOW_S, settings.diagnostics_stale_s)


def test_cameras_are_fresh_slow_stale_or_were_never_seen() -> None:
    four_hertz = [2.0, 1.75, 1.5, 1.25, 1.0]
    assert (camera(feed()).level, camera(feed()).message) == (ERROR, "never seen")
    fresh = camera(feed(*four_hertz))
    assert (fresh.level, fresh.message) == (OK, "fresh")
    assert (values_of(fresh)["rate_hz"], values_of(fresh)["age_s"]) == ("4.00", "1.000")
    slow = camera(feed(*four_hertz), diagnostics_min_rate_hz=5.0)
    assert (slow.level, slow.message) == (WARN, "slow: 4.0 images a second, expected 5 or more")
    assert camera(feed(*four_hertz), diagnostics_min_rate_hz=3.9).level == OK
    grey = feed(*four_hertz)
    grey.lacks = "grey, published as mono8"
    assert (camera(grey).level, camera(grey).message) == (WARN, "no colours: grey, published as mono8")
    stale = camera(feed(*four_hertz), diagnostics_stale_s=0.9)
    assert (stale.level, stale.message) == (ERROR, "stale: silent for 1.0 s")


def test_a_rate_is_that_of_the_last_seconds() -> None:
    paused = feed(60.0, 59.9, 59.8, 2.0, 1.0)
    assert paused.rate_hz(NOW_S) == 1.0
    assert paused.rate_hz(NOW_S + 3.5) is None
    assert paused.images == 5


def test_a_camera_is_bad_from_an_error_to_the_next_usable_image() -> None:
    found = feed(0.5, 0.25)
    found.note_error("bad_image: half of it", NOW_S - 0.25)
    status = camera(found)
    assert (status.level, status.message) == (ERROR, "bad: bad_image: half of it")
    assert camera(found, diagnostics_stale_s=0.3).level == ERROR
    found.last_error_s = NOW_S - 2.1
    assert camera(found).message == "fresh", "no set has formed since, but its later images were not found bad"
    found.last_error_s = NOW_S - 0.25
    found.usable = True
    status = camera(found)
    assert (status.level, status.message) == (OK, "fresh")
    told = values_of(status)
    assert (told["bad_images"], told["last_error"], told["last_error_age_s"]) == ("1", "bad_image: half of it", "0.250")


def test_intrinsics_may_come_from_a_file() -> None:
    found = feed(0.5)
    found.info = None
    assert camera(found).message == "no CameraInfo"
    status = camera(found, calibrated=True)
    assert (status.level, values_of(status)["camera_info"]) == (OK, "calibration_file")


@pytest.mark.parametrize(
    ("pose", "level", "message"),
    [
        (Pose(None, 9.0, {}), ERROR, "never seen: no pose of base_link in map"),
        (Pose(5_000_000_000, 1.9, {}), OK, "tf"),
        (Pose(5_000_000_000, 2.1, {}), ERROR, "stale: none newer for 2.1 s"),
        (Pose(0, 99.0, {}), OK, "tf"),
        (Pose(5_000_000_000, 0.1, {"lidar": "parameter lidar2base"}), WARN, "mountings not from TF: lidar"),
    ],
)
def test_ego_pose(pose: Pose, level: bytes, message: str) -> None:
    status = pose_status(pose, Settings(), {"set_pose_timeout": 3, "set_superseded": 1})
    assert (status.level, status.message) == (level, message)
    told = values_of(status)
    assert (told["set_pose_timeout"], "set_superseded" in told) == ("3", False)
    assert told["lidar2base"] == pose.fixed.get("lidar", "TF")


@pytest.mark.parametrize(
    ("p95_ms", "level", "message"),
    [
        (500.0, OK, "latency p95 500 ms"),
        (501.0, WARN, "latency p95 501 ms, expected at most 500"),
        (2001.0, ERROR, "latency p95 2001 ms, expected at most 2000"),
    ],
)
def test_stages_are_judged_by_their_latency(p95_ms: float, level: bytes, message: str) -> None:
    spreads = {"decode": Spread(1.0, 1e6, 1e6), "latency": Spread(10.0, p95_ms, 1e6)}
    status = stage_status(spreads, Settings())
    assert (status.level, status.message) == (level, message)
    told = values_of(status)
    assert (told["decode: p50_ms"], told["latency: max_ms"]) == ("1.0", "1000000.0")
    assert stage_status({}, Settings()).level == OK


def test_memory_warns_of_a_reset_once() -> None:
    before = Totals(3, 3, {}, {"service": 1}, "service")
    now = Totals(4, 4, {}, {"paused": 1, "service": 1}, "paused")
    status = memory_status(now, before, step(feasible=True))
    assert (status.level, status.message) == (WARN, "dropped: paused")
    assert values_of(status) == {
        "resets: paused": "1", "resets: service": "1", "last_reset_cause": "paused", "age_s": "0.000",
    }  # fmt: skip
    assert memory_status(now, now, step(feasible=True)).level == OK
    assert memory_status(now, None, None).message == "empty"


def test_node_and_network() -> None:
    found = [
        node_status(*state) for state in (("active", True, False), ("active", True, True), ("inactive", False, False))
    ]
    assert [(status.level, status.message) for status in found] == [
        (OK, "active"), (OK, "active, paused: nobody subscribes"), (WARN, "inactive"),
    ]  # fmt: skip
    dead = node_status("active", False, True)
    assert (dead.level, dead.message) == (ERROR, "the worker thread has died")
    blind = node_status("active", True, False, draws=False)
    assert (blind.level, blind.message) == (WARN, "active, but draws no overlays: their thread has died")
    named = network_status(Identity("demo", "demo.safetensors 12ab", "torch", "cpu"), {"rss_mb": 512.4})
    assert (named.level, named.message, values_of(named)["rss_mb"]) == (OK, "demo.safetensors 12ab", "512")
    assert network_status(Identity("demo", "RANDOM", "torch", "cpu"), {}).level == WARN
    assert network_status(None, {}).message == "not loaded"


@pytest.mark.parametrize(("beyond", "level"), [(None, OK), (0.004, OK), (0.0201, WARN)])
def test_images_unlike_those_that_int8_was_calibrated_on(beyond: float | None, level: bytes) -> None:
    found = network_status(Identity("demo", "demo.safetensors 12ab", "openvino_int8", "cpu"), {}, beyond)
    assert found.level == level
    assert ("2.0% of them beyond its ranges" in found.message) == (level == WARN)
    assert any(pair.key == "beyond calibration" for pair in found.values) == (beyond is not None)


@pytest.mark.parametrize(
    ("full_name", "expected"),
    [
        ("/detector", "detector: node"),
        ("/car1/detector", "car1/detector: node"),
        ("/car1/rear", "car1/rear: node"),
        ("/a/b/detector", "a/b/detector: node"),
    ],
)
def test_a_status_says_of_which_node_on_which_machine_it_is(full_name: str, expected: str) -> None:
    found = of_node(node_status("active", worker_alive=True, paused=False), full_name, "robot-7")
    assert (found.name, found.hardware_id) == (expected, "robot-7")


@pytest.mark.parametrize(
    ("spread_s", "period_s", "words"),
    [
        (0.049, 0.5, ""),
        (0.05, 0.5, ""),
        (0.07, 0.5, "at best 0.070 s from CAM_BACK to CAM_FRONT, and max_spread_s is 0.05; raise it above that"),
        (0.42, 0.5, "raise it above that, but keep it below"),
        (0.5, 0.5, ""),  # images of one moment were lost
        (1.0, 0.5, ""),
        (1.5, 2.0, "raise it above that"),
        (37.0, 0.5, "clocks differ, stamp_policy receive"),
    ],
)
def test_cameras_too_far_apart_in_time_are_told_by_how_much(spread_s: float, period_s: float, words: str) -> None:
    found = Stagger(round(spread_s * 1e9), "CAM_BACK", "CAM_FRONT", round(period_s * 1e9))
    hint = stagger_hint(found, max_spread_s=0.05)
    assert words in hint and bool(words) == bool(hint)
    status = sync_status(totals(0), None, 7, True, 0.0, 2.0, hint)
    assert (status.level, values_of(status)["hint"]) == (WARN, hint)
    assert status.message == (hint or "no complete set yet")
    late = sync_status(totals(0), None, 7, True, 9.0, 2.0, hint)
    assert late.level == ERROR and hint in late.message


def test_without_a_stagger_there_is_no_hint() -> None:
    assert stagger_hint(None, 0.05) == ""


@pytest.mark.parametrize(
    ("impossible", "allowed", "level", "word"),
    [(False, False, WARN, "implausible"), (True, False, ERROR, "impossible"), (True, True, WARN, "impossible")],
)
def test_an_odd_calibration_names_camera_and_number(impossible: bool, allowed: bool, level: bytes, word: str) -> None:
    odd = [
        Finding("CAM_BACK", "rolled", "is rolled by 90 degrees"),
        Finding("CAM_FRONT", "aspect", "is of 160x120 pixels", impossible),
    ]
    status = rig_status(["CAM_FRONT", "CAM_BACK"], ["CAM_BACK"], {}, odd, allowed)
    assert status.level == level
    assert status.message.startswith(f"{word}: CAM_{'FRONT' if impossible else 'BACK'}: is ")
    assert status.message.endswith("(and 1 more, see the values)")
    assert values_of(status)["implausible: CAM_BACK: rolled"] == "is rolled by 90 degrees"
    assert rig_status(["CAM_FRONT"], [], {}, odd[:1]).message == "implausible: CAM_BACK: is rolled by 90 degrees"
