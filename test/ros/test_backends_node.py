"""The node as a process with another backend: PyTorch's boxes over DDS, or one line that says why there are none."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from exported_detector import TINY
from rclpy.context import Context
from synthetic_rig import SyntheticRig, boxes_of, nanoseconds, set_parameters

from tggbc_ros.core.types import Boxes3D
from tggbc_ros.data.golden_checks import LOOSE
from tggbc_ros.evaluation.parity import same_boxes
from tggbc_ros.ros.client import ClientError, Process, detector_process

KEEP_RATIOS = (1.0, 0.5, 0.25)
Published = list[tuple[Boxes3D, list[int]]]

pytestmark = pytest.mark.timeout(240)


@pytest.fixture
def start(domain_id: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Process]:
    """The node as a process in this module's domain."""
    monkeypatch.setenv("ROS_DOMAIN_ID", str(domain_id))
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent), prepend=os.pathsep)

    def make(**parameters: object) -> Process:
        given = {"model": TINY.name, "device": "cpu"} | parameters
        return detector_process(given, tmp_path / "log", program=("exported_detector",))

    return make


def publish_sets(context: Context, process: Process, backend: str) -> Published:
    """Boxes and keys by layer of three sets with memory, each with a keep ratio of its own."""
    rig, found = SyntheticRig(context), []
    with process:
        rig.wait_for_detector()
        for index, keep_ratio in enumerate(KEEP_RATIOS):
            assert set_parameters(rig, keep_ratio=keep_ratio) == [""]
            report = rig.publish_until_report(index)
            assert report.backend == backend
            found.append((boxes_of(rig, nanoseconds(report)), list(report.keys)))
    rig.destroy_node()
    return found


def test_every_engine_publishes_the_same_boxes(
    context: Context, tiny_export: Path, start: Callable[..., Process]
) -> None:
    """Pruned live; rounding may exchange boxes of equal score."""
    made = {"torch": tiny_export.with_name("tiny.pth"), "onnxruntime": tiny_export, "openvino": tiny_export}
    published = {
        backend: publish_sets(context, start(backend=backend, checkpoint=checkpoint), backend)
        for backend, checkpoint in made.items()
    }
    expected = published.pop("torch")
    assert [keys for _, keys in expected] == [[48, 48, 48], [48, 24, 24], [48, 12, 12]]
    for found in published.values():
        for (boxes, keys), (wanted, wanted_keys) in zip(found, expected, strict=True):
            assert keys == wanted_keys and len(boxes) == len(wanted) > 0
            assert [check for check in same_boxes(wanted, boxes, LOOSE) if not check.passed] == []


@pytest.mark.parametrize(
    ("parameters", "said"),
    [
        ({"backend": "openvino", "device": "cuda"}, "backend openvino runs on the CPU alone, and device is 'cuda'"),
        ({"backend": "onnxruntime_tensorrt", "device": "cpu"}, "needs a CUDA device, and device is cpu"),
    ],
    ids=["openvino", "onnxruntime_tensorrt"],
)
def test_a_backend_that_cannot_be_had_is_one_line(
    start: Callable[..., Process], parameters: dict[str, str], said: str
) -> None:
    with start(**parameters, allow_random_weights=True) as process:
        with pytest.raises(ClientError, match="ended with status 1"):
            while process.is_running():
                time.sleep(0.1)
        output = process.last_words()
    (line,) = [line for line in output.splitlines() if "cannot configure" in line]
    assert said in line
    assert "Traceback" not in output
