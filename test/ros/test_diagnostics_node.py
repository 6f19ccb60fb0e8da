"""The running node's own word on how it is: with nothing to do, and while nobody listens."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from diagnostic_msgs.msg import DiagnosticStatus
from rclpy.context import Context
from synthetic_rig import SyntheticRig, detector_process, set_parameters
from tggbc_ros.msg import FrameReport

pytestmark = pytest.mark.timeout(240)

OK, WARN, ERROR = DiagnosticStatus.OK, DiagnosticStatus.WARN, DiagnosticStatus.ERROR


@pytest.fixture
def rig(context: Context) -> Iterator[SyntheticRig]:
    rig = SyntheticRig(context)
    yield rig
    rig.destroy_node()


def values(rig: SyntheticRig, name: str) -> dict[str, str]:
    return {pair.key: pair.value for pair in rig.diagnostic(f"detector: {name}").values}


def newest(rig: SyntheticRig) -> dict[str, tuple[bytes, str]]:
    """Level and message by status, of the next diagnostics to come."""
    rig.received["diagnostics"].clear()
    assert rig.spin_until(lambda: rig.received["diagnostics"])
    return {status.name: (status.level, status.message) for status in rig.received["diagnostics"][0].status}


def test_a_clock_that_stands_still_and_nothing_that_arrives(rig: SyntheticRig, domain_id: int) -> None:
    with detector_process(domain_id, use_sim_time=True):
        assert rig.spin_until(lambda: rig.diagnostic("detector: stages"), timeout_s=90.0)
        found = newest(rig)
        assert rig.spin_until(lambda: len(rig.received["diagnostics"]) >= 4)
        assert {message.header.stamp.sec for message in rig.received["diagnostics"]} == {0}
    assert found["detector: camera CAM_BACK"] == (ERROR, "never seen")
    assert found["detector: ego pose"] == (ERROR, "never seen: no pose of base_link in map")
    assert found["detector: synchroniser"] == (WARN, "no complete set yet")
    assert found["detector: stages"] == (OK, "no set yet")
    assert found["detector: memory"] == (OK, "empty")
    assert 50 < float(values(rig, "network")["rss_mb"]) < 5000


def test_they_go_on_while_the_network_is_loaded(rig: SyntheticRig, domain_id: int) -> None:
    with detector_process(domain_id, environment={"TINY_LOAD_S": "6.0"}):
        assert rig.spin_until(lambda: rig.diagnostic("detector: node"), timeout_s=90.0)
        rig.received["diagnostics"].clear()
        states: list[str] = []

        def is_active() -> bool:
            states[:] = [message.status[0].message for message in rig.received["diagnostics"]]
            return states[-1:] == ["active"]

        assert rig.spin_until(is_active)
    assert states.count("configuring") >= 3, states


def test_sets_show_in_every_status_and_their_end_too(rig: SyntheticRig, domain_id: int) -> None:
    with detector_process(domain_id, diagnostics_stale_s=60.0):
        rig.wait_for_detector()
        for index in range(3):
            report = rig.publish_until_report(index)
        found = newest(rig)
        assert [found[f"detector: {name}"][0] for name in ("camera CAM_BACK", "ego pose", "memory")] == [OK] * 3
        stages = values(rig, "stages")
        named = {stage.stage for stage in report.stages} | {"latency"}
        assert named <= {key.split(": ")[0] for key in stages}
        for stage in named:
            spread = [float(stages[f"{stage}: {name}"]) for name in ("p50_ms", "p95_ms", "max_ms")]
            assert spread == sorted(spread)
        assert float(stages["latency: max_ms"]) >= float(stages["decode: max_ms"]) > 0
        assert set_parameters(rig, diagnostics_stale_s=0.01) == [""]
        assert rig.spin_until(lambda: "stale" in rig.diagnostic("detector: ego pose").message)
        found = newest(rig)
        assert found["detector: camera CAM_BACK"][1].startswith("stale: silent for ")
        assert found["detector: ego pose"][1].startswith("stale: none newer for ")


def unsubscribe(rig: SyntheticRig) -> None:
    for subscription in [found for found in rig.subscriptions if found.topic_name.startswith("/detector/")]:
        rig.destroy_subscription(subscription)


def test_without_subscribers_it_pauses_and_forgets(rig: SyntheticRig, domain_id: int) -> None:
    with detector_process(domain_id, pause_without_subscribers=True):
        rig.wait_for_detector()
        rig.publish_until_report(0)
        before = rig.publish_until_report(1)
        assert before.memory_age_s == pytest.approx(0.5)
        unsubscribe(rig)
        assert rig.spin_until(lambda: "paused" in rig.diagnostic("detector: node").message)
        for index in (2, 3):
            rig.publish_set(index)
            paused = str(index - 1)
            assert rig.spin_until(lambda paused=paused: rig.drops().get("set_paused") == paused)
        assert newest(rig)["detector: node"] == (OK, "active, paused: nobody subscribes")
        assert newest(rig)["detector: synchroniser"] == (OK, "2 of 4 sets published")

        reports: list[FrameReport] = []
        listener = rig.create_subscription(FrameReport, "/detector/report", reports.append, 10)
        assert rig.spin_until(listener.get_publisher_count)
        assert rig.spin_until(lambda: rig.diagnostic("detector: node").message == "active")
        for index in (4, 5):
            rig.publish_set(index)
            assert rig.spin_until(lambda index=index: len(reports) == index - 3)
    first, second = reports
    assert (first.reset_cause, first.memory_age_s) == ("paused", 0.0)
    assert (second.reset_cause, second.memory_age_s) == ("", pytest.approx(0.5))
    assert {count.cause: count.count for count in second.resets} == {"paused": 1}
    assert {count.cause: count.count for count in second.drops} == {"set_paused": 2}
    assert (second.sets_received, second.sets_published) == (6, 4)


def test_by_default_it_infers_for_nobody(rig: SyntheticRig, domain_id: int) -> None:
    with detector_process(domain_id):
        rig.wait_for_detector()
        unsubscribe(rig)
        rig.publish_set(0)
        assert rig.spin_until(lambda: rig.drops().get("sets_published") == "1")
        assert newest(rig)["detector: node"] == (OK, "active")
