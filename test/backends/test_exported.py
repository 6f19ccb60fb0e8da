"""Exports on the engines of this machine against PyTorch: a sequence with memory, and everything that may change."""

from __future__ import annotations

import dataclasses
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from tggbc_ros.backends import load_network
from tggbc_ros.backends.exported import ExportedNetwork
from tggbc_ros.backends.torch_backend import TorchNetwork
from tggbc_ros.core.config import R50_704, CarryConfig, KeepConfig, PruningConfig, StartConfig
from tggbc_ros.core.detector import Detector
from tggbc_ros.core.key_gate import KeyGate
from tggbc_ros.core.preprocess import preprocess
from tggbc_ros.core.types import Boxes3D, CameraFrame, StepReport
from tggbc_ros.data.golden.checks import ROUNDING
from tggbc_ros.evaluation.parity import compare, keep_ratios, same_boxes
from tggbc_ros.export.manifest import ExportError

sys.path.insert(0, str(Path(__file__).parents[1] / "export"))

from tiny_network import CAMERAS, CELLS, TINY, frame_at  # noqa: E402

ENGINES = ("onnxruntime", "openvino")
RATIOS = (1.0, 0.5, 0.3, 0.1)
TOLERANCES = dataclasses.replace(ROUNDING, score=1e-4)


pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module", params=ENGINES)
def exported(request: pytest.FixtureRequest, tiny_export: Path) -> ExportedNetwork:
    network = load_network(request.param, TINY, tiny_export, "cpu")
    assert isinstance(network, ExportedNetwork)
    return network


@pytest.fixture(scope="module")
def reference(tiny_export: Path) -> TorchNetwork:
    return TorchNetwork.load(TINY, tiny_export.with_name("tiny.pth"), "cpu")


def expect_same(exported: tuple[Boxes3D, StepReport], reference: tuple[Boxes3D, StepReport]) -> None:
    """Boxes by class and place: queries of equal score may change places in memory by rounding."""
    (boxes, report), (expected, expected_report) = exported, reference
    assert report.keys == expected_report.keys
    assert report.kept.tolist() == expected_report.kept.tolist()
    assert np.abs(boxes.score - expected.score).max() < TOLERANCES.score
    assert [check for check in same_boxes(expected, boxes, TOLERANCES) if not check.passed] == []


def both(exported: ExportedNetwork, reference: TorchNetwork, pruning: PruningConfig) -> tuple[Detector, Detector]:
    return Detector(exported, pruning), Detector(reference, pruning)


def test_twenty_frames_with_memory_and_four_keep_ratios_are_within_the_goldens_tolerances(
    exported: ExportedNetwork, reference: TorchNetwork
) -> None:
    frames = (frame_at(number) for number in range(20))
    rows = list(compare(reference, exported, frames, keep_ratios(RATIOS, 20)))
    assert len({row.frame for row in rows}) == 20 and {row.keep_ratio for row in rows} == set(RATIOS)
    assert [row for row in rows if not row.passed] == []
    assert max(row.max_abs_error for row in rows if row.output == "logits") > 0  # they are two engines


def test_another_keep_ratio_every_frame_through_the_detector(
    exported: ExportedNetwork, reference: TorchNetwork
) -> None:
    ours, theirs = both(exported, reference, PruningConfig())
    for number, ratio in enumerate((1.0, 0.1, 0.5, 1.0, 0.3)):
        ours.pruning = theirs.pruning = PruningConfig(ratio)
        expect_same(ours.step(frame_at(number)), theirs.step(frame_at(number)))


@pytest.mark.parametrize(
    "pruning",
    [
        PruningConfig(0.2, schedule="once"),
        PruningConfig(0.2, layers=2),
        PruningConfig(0.2, layers=3, queries=5),
        PruningConfig(0.2, schedule="ratios", ratios=(0.6,)),
        PruningConfig(0.2, layers=2, reactivate=True),
        PruningConfig(keep=KeepConfig(mode="mass", mass=0.5)),
        PruningConfig(0.2, carry=CarryConfig(ratio=0.5)),
    ],
    ids=["once", "two layers", "all layers", "ratios", "reactivate", "mass", "carry"],
)
def test_every_way_to_prune(exported: ExportedNetwork, reference: TorchNetwork, pruning: PruningConfig) -> None:
    ours, theirs = both(exported, reference, pruning)
    for number in range(3):
        expect_same(ours.step(frame_at(number)), theirs.step(frame_at(number)))


def test_missing_cameras_and_masked_cells(exported: ExportedNetwork, reference: TorchNetwork) -> None:
    ours, theirs = both(exported, reference, PruningConfig(0.5))
    cells = np.ones((CAMERAS, 2, 4), dtype=bool)
    cells[2], cells[4, 1] = False, False
    for number, seen in enumerate((None, cells, cells, None)):
        frame = frame_at(number, cells=seen)
        found, report = ours.step(frame)
        expect_same((found, report), theirs.step(frame))
        assert report.keys[0] == (CELLS if seen is None else seen.sum())


def test_five_cameras_and_a_calibration_that_moves(exported: ExportedNetwork, reference: TorchNetwork) -> None:
    """The export knows neither the number of cameras nor where they look."""
    ours, theirs = both(exported, reference, PruningConfig(0.5))
    for number, turn_rad in enumerate((0.0, 0.0, 0.1)):
        frame = without_last_camera(frame_at(number, turn_rad))
        expect_same(ours.step(frame), theirs.step(frame))


def test_keys_chosen_before_they_are_embedded(
    exported: ExportedNetwork, reference: TorchNetwork, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the same gate, with hidden cells, with a camera that moves, and with all keys again in between."""
    torch.manual_seed(0)
    gate = KeyGate(TINY, CAMERAS, 8).eval().requires_grad_(False)
    for network in (exported, reference):
        monkeypatch.setattr(network, "gate", gate)
    ours, theirs = both(exported, reference, PruningConfig(0.2, start=StartConfig(0.5)))
    cells = np.ones((CAMERAS, 2, 4), dtype=bool)
    cells[2] = False
    for number, (turn_rad, seen) in enumerate(((0.0, None), (0.0, cells), (0.1, cells), (0.1, None), (0.1, None))):
        if number == 4:
            ours.pruning = theirs.pruning = PruningConfig(0.2)
        frame = frame_at(number, turn_rad, cells=seen)
        found, report = ours.step(frame)
        expect_same((found, report), theirs.step(frame))
        assert report.keys[0] == (CELLS if number == 4 else CELLS // 2)


def without_last_camera(frame: CameraFrame) -> CameraFrame:
    rig = dataclasses.replace(
        frame.rig, names=frame.rig.names[:-1], intrinsics=frame.rig.intrinsics[:-1], lidar2cam=frame.rig.lidar2cam[:-1]
    )
    return dataclasses.replace(frame, images=frame.images[:-1], rig=rig)


def test_nan_in_memory_is_not_swallowed(exported: ExportedNetwork) -> None:
    detector = Detector(exported)
    detector.step(frame_at(0))
    assert detector.past
    detector.past[-1].memory.embedding[0, 3, 5] = torch.nan
    with pytest.raises(FloatingPointError, match="NaN or infinity"):
        detector.step(frame_at(1))


def test_outputs_stay_as_they_are_when_the_graph_runs_again(exported: ExportedNetwork) -> None:
    """Buffers are not shared between frames: memory holds on to them."""
    first = preprocess(frame_at(0), TINY, "cpu").images
    features = exported.encode(first)
    before = features.clone()
    exported.encode(preprocess(frame_at(1), TINY, "cpu").images)
    assert torch.equal(features, before)


def test_a_shape_that_does_not_fit_is_named(exported: ExportedNetwork) -> None:
    with pytest.raises(ValueError, match=r"input images of graph encoder has shape \(6, 3, 16, 64\).*expected"):
        exported.encode(torch.zeros(1, 6, 3, 16, 64))
    with pytest.raises(ValueError, match=r"expected one frame: an export has no batches"):
        exported.encode(torch.zeros(2, 6, 3, 32, 64))


@pytest.mark.parametrize("engine", ENGINES)
def test_an_export_of_another_model_is_refused_in_one_line(engine: str, tiny_export: Path) -> None:
    with pytest.raises(ExportError, match=r"is an export of model tiny_exported, expected r50_704: set the parameter"):
        load_network(engine, R50_704, tiny_export, "cpu")


@pytest.mark.parametrize("engine", ENGINES)
def test_a_damaged_graph_never_reaches_the_library(engine: str, tiny_export: Path, tmp_path: Path) -> None:
    shutil.copytree(tiny_export, tmp_path / "copy")
    path = tmp_path / "copy" / "layer1.onnx"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(ExportError, match="layer1.onnx is damaged or of another export"):
        load_network(engine, TINY, tmp_path / "copy", "cpu")
