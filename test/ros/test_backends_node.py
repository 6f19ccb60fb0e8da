"""The node as a process with another backend: PyTorch's boxes over DDS, or one line that says why there are none."""

from __future__ import annotations

from pathlib import Path

import pytest
from rclpy.context import Context
from synthetic_rig import SyntheticRig, boxes_of, detector_process, nanoseconds, set_parameters

from tggbc_ros.core.types import Boxes3D
from tggbc_ros.data.golden_checks import LOOSE
from tggbc_ros.evaluation.parity import same_boxes

pytestmark = pytest.mark.timeout(240)


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Where the first node that needs an export leaves it for the second."""
    return {"XDG_CACHE_HOME": str(tmp_path_factory.mktemp("cache"))}


def published(context: Context, domain_id: int, backend: str, cache: dict[str, str]) -> list[tuple[Boxes3D, list[int]]]:
    """Boxes, and keys by layer, of three sets with memory; the keep ratio changes after the first."""
    rig = SyntheticRig(context)
    found = []
    with detector_process(domain_id, cache, backend=backend, device="cpu"):
        rig.wait_for_detector()
        for index, keep_ratio in enumerate((1.0, 0.5, 0.25)):
            assert set_parameters(rig, keep_ratio=keep_ratio) == [""]
            report = rig.publish_until_report(index)
            assert report.backend == backend
            found.append((boxes_of(rig, nanoseconds(report)), list(report.keys)))
    rig.destroy_node()
    return found


def test_every_engine_publishes_the_same_boxes(context: Context, domain_id: int, cache: dict[str, str]) -> None:
    """The second engine finds the first one's export; rounding may exchange boxes of equal score."""
    expected = published(context, domain_id, "torch", cache)
    assert [keys for _, keys in expected] == [[48, 48], [48, 24], [48, 12]]
    for backend in ("onnxruntime", "openvino"):
        for (boxes, keys), (wanted, wanted_keys) in zip(
            published(context, domain_id, backend, cache), expected, strict=True
        ):
            assert keys == wanted_keys and len(boxes) == len(wanted)
            assert [check for check in same_boxes(wanted, boxes, LOOSE) if not check.passed] == []
    exports = [path for path in (Path(cache["XDG_CACHE_HOME"]) / "tggbc_ros").iterdir() if path.is_dir()]
    assert len(exports) == 1


@pytest.mark.parametrize(
    ("parameters", "said"),
    [
        ({"backend": "openvino", "device": "cuda"}, "backend openvino runs on the CPU alone, and device is 'cuda'"),
        ({"backend": "onnxruntime_tensorrt", "device": "cpu"}, "needs a CUDA device, and device is cpu"),
    ],
    ids=["openvino", "onnxruntime_tensorrt"],
)
def test_a_backend_that_cannot_be_had_is_one_line(domain_id: int, parameters: dict[str, str], said: str) -> None:
    with detector_process(domain_id, **parameters) as process:
        output, _ = process.communicate(timeout=90)
    (line,) = [line for line in output.splitlines() if "cannot configure" in line]
    assert said in line
    assert "Traceback" not in output
    assert process.returncode == 1
