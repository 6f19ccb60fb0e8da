"""A running node with calibrations that are odd or cannot be: in log and diagnostics, refused, and overruled live."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from diagnostic_msgs.msg import DiagnosticStatus
from rclpy.context import Context
from sensor_msgs.msg import CameraInfo
from synthetic_rig import SyntheticRig, camera_info, detector_process, end, jpeg, set_parameters

from tggbc_ros.ros.params import CAMERAS

pytestmark = pytest.mark.timeout(120)


@pytest.fixture
def rig(context: Context) -> Iterator[SyntheticRig]:
    rig = SyntheticRig(context)
    yield rig
    rig.destroy_node()


def send(
    rig: SyntheticRig, index: int, change: Callable[[CameraInfo], object] = lambda info: None, **frame: str
) -> int:
    """A set, its CameraInfo changed. frame: what all images say in place of their own. Its reference time."""
    stamps_ns = rig.stamps_ns(index)
    for name, stamp_ns in stamps_ns.items():
        info = camera_info(name, stamp_ns)
        change(info)
        rig.infos[name].publish(info)
    rig.spin_for(0.2)  # so that each camera's newest is this one
    images = {name: jpeg(frame.get("frame", name), stamp_ns, index) for name, stamp_ns in stamps_ns.items()}
    return rig.publish_set(index, infos=False, **images)


def rig_status_of(rig: SyntheticRig, level: bytes) -> DiagnosticStatus:
    """The rig's next status of that level."""
    rig.received["diagnostics"].clear()
    assert rig.spin_until(lambda: rig.diagnostic("detector: rig") and rig.diagnostic("detector: rig").level == level)
    return rig.diagnostic("detector: rig")


def other_aspect(info: CameraInfo) -> None:
    info.height, info.k = 120, [120.0, 0.0, 80.0, 0.0, 120.0, 60.0, 0.0, 0.0, 1.0]


def test_what_cannot_be_is_refused_what_is_odd_is_told(rig: SyntheticRig, domain_id: int) -> None:
    with detector_process(domain_id, diagnostics_stale_s=60.0) as node:
        rig.wait_for_detector()
        rig.publish_until_report(0)
        assert rig_status_of(rig, DiagnosticStatus.OK).message == f"{len(CAMERAS)} cameras"

        send(rig, 1, frame="CAM_FRONT")
        impossible = rig_status_of(rig, DiagnosticStatus.ERROR)
        assert "CAM_FRONT_RIGHT: sits where CAM_FRONT sits" in impossible.message
        assert rig.spin_until(lambda: rig.drops().get("set_implausible_rig") == "1")
        assert set_parameters(rig, allow_implausible_rig=True) == [""]
        reports = len(rig.received["report"])
        send(rig, 2, frame="CAM_FRONT")
        assert rig.spin_until(lambda: len(rig.received["report"]) > reports)
        assert "impossible" in rig_status_of(rig, DiagnosticStatus.WARN).message
        assert set_parameters(rig, allow_implausible_rig=False) == [""]

        send(rig, 3, other_aspect)
        assert rig.spin_until(lambda: len(rig.received["report"]) > reports + 1)
        odd = rig_status_of(rig, DiagnosticStatus.WARN)
        assert "the image has 160x90, which makes fx 120.0 and fy 90.0" in odd.message
        keys = {pair.key for pair in odd.values if pair.key.startswith("implausible")}
        assert keys == {f"implausible: {name}: aspect" for name in CAMERAS}

        rig.publish_until_report(4)
        rig.publish_until_report(5)  # with CameraInfo that certainly came before the images
        rig_status_of(rig, DiagnosticStatus.OK)
        _, output, _ = end(node)
    warned = [line for line in output.splitlines() if "implausible calibration" in line]
    assert len(warned) == 2, output
