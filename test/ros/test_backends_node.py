"""The node with one backend after the other: PyTorch's boxes over DDS, or one line that says why there are none."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from exported_detector import TINY
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState
from rclpy.context import Context
from synthetic_rig import SyntheticRig, boxes_of, nanoseconds, set_parameters

from tggbc_ros.core.types import Boxes3D
from tggbc_ros.data.golden.checks import LOOSE
from tggbc_ros.evaluation.parity import same_boxes
from tggbc_ros.ros.client import detector_process

KEEP_RATIOS = (1.0, 0.5, 0.25)
UP = Transition.TRANSITION_CONFIGURE, Transition.TRANSITION_ACTIVATE
DOWN = Transition.TRANSITION_DEACTIVATE, Transition.TRANSITION_CLEANUP
NOT_TO_BE_HAD = {
    ("openvino", "cuda"): "backend openvino runs on the CPU alone, and device is 'cuda'",
    ("onnxruntime_tensorrt", "cpu"): "needs a CUDA device, and device is cpu",
}
Published = list[tuple[Boxes3D, list[int]]]

pytestmark = pytest.mark.timeout(240)


def change_state(rig: SyntheticRig, transition: int) -> bool:
    """Whether it went well."""
    request = ChangeState.Request(transition=Transition(id=transition))
    return bool(rig.call(ChangeState, "/detector/change_state", request).success)


def publish_sets(rig: SyntheticRig, backend: str) -> Published:
    """Boxes and keys by layer of three sets with memory, each with a keep ratio of its own."""
    found = []
    rig.wait_for_detector()
    for index, keep_ratio in enumerate(KEEP_RATIOS):
        assert set_parameters(rig, keep_ratio=keep_ratio) == [""]
        report = rig.publish_until_report(index)
        assert report.backend == backend
        found.append((boxes_of(rig, nanoseconds(report)), list(report.keys)))
    return found


def expect_same(found: Published, expected: Published) -> None:
    """Rounding may exchange boxes of equal score."""
    for (boxes, keys), (wanted, wanted_keys) in zip(found, expected, strict=True):
        assert keys == wanted_keys and len(boxes) == len(wanted) > 0
        assert [check for check in same_boxes(wanted, boxes, LOOSE) if not check.passed] == []


def test_every_engine_publishes_the_same_boxes_or_says_in_one_line_why_not(
    context: Context, tiny_export: Path, tmp_path: Path, domain_id: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One node, configured anew for each, and pruned live."""
    monkeypatch.setenv("ROS_DOMAIN_ID", str(domain_id))
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent), prepend=os.pathsep)
    given = {"model": TINY.name, "device": "cpu", "autostart": False}
    process = detector_process(given, tmp_path / "log", program=("exported_detector",))
    made = {"torch": tiny_export.with_name("tiny.pth"), "onnxruntime": tiny_export, "openvino": tiny_export}
    published: dict[str, Published] = {}
    with process:
        for backend, checkpoint in made.items():
            rig = SyntheticRig(context)
            assert set_parameters(rig, backend=backend, checkpoint=str(checkpoint)) == ["", ""]
            assert all(change_state(rig, transition) for transition in UP)
            published[backend] = publish_sets(rig, backend)
            assert all(change_state(rig, transition) for transition in DOWN)
            rig.destroy_node()
        rig = SyntheticRig(context)
        for backend, device in NOT_TO_BE_HAD:
            assert set_parameters(rig, backend=backend, device=device) == ["", ""]
            assert not change_state(rig, Transition.TRANSITION_CONFIGURE)
        rig.destroy_node()
    expected = published.pop("torch")
    assert [keys for _, keys in expected] == [[48, 48, 48], [48, 24, 24], [48, 12, 12]]
    for found in published.values():
        expect_same(found, expected)
    log = (tmp_path / "log").read_text()
    lines = [line for line in log.splitlines() if "cannot configure" in line]
    assert [said in line for said, line in zip(NOT_TO_BE_HAD.values(), lines, strict=True)] == [True, True]
    assert "Traceback" not in log
