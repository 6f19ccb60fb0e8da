"""The whole step on a small network with random weights: state, resets, live settings."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from tggbc_ros.backends import load_network
from tggbc_ros.backends.torch_backend import TorchNetwork
from tggbc_ros.core import geometry
from tggbc_ros.core.config import R50_704, DecodeConfig, MemoryConfig, PruningConfig
from tggbc_ros.core.detector import Detector
from tggbc_ros.core.types import CameraFrame, NetworkOutput, Rig

SMALL = replace(
    R50_704,
    name="small",
    backbone="resnet18",
    image_size=(64, 96),
    num_queries=20,
    num_propagated=8,
    memory_length=16,
    embed_dims=64,
    num_heads=4,
    ffn_dims=64,
    num_layers=3,
)
KEYS = 6 * 4 * 6
T0_NS = 1_532_402_927_647_951_000


@pytest.fixture(scope="module")
def network() -> TorchNetwork:
    return TorchNetwork.load(SMALL, None, "cpu")


def frame_at(elapsed_s: float, x_m: float = 0.0, seed: int = 0, turn_rad: float = 0.0) -> CameraFrame:
    """Six noise images from a ring of cameras; the vehicle stands ``x_m`` along the map's x axis."""
    rng = np.random.default_rng(seed)
    images = tuple(rng.integers(0, 256, (90, 160, 3), np.uint8) for _ in range(6))
    optical = np.array([[1.0, 0, 0], [0, 0, -1], [0, 1, 0]])  # lidar axes -> a camera that looks along y
    cameras = [geometry.rigid(optical @ geometry.yaw_rotation(turn_rad + i * np.pi / 3), [0, 1.5, 0]) for i in range(6)]
    intrinsics = np.array([[100.0, 0, 80], [0, 100, 45], [0, 0, 1]])
    rig = Rig(tuple(f"cam{i}" for i in range(6)), np.stack([intrinsics] * 6), np.stack(cameras))
    pose = geometry.rigid(np.eye(3), [1000 + x_m, 2000, 0])
    return CameraFrame(images, rig, T0_NS + int(elapsed_s * 1e9), pose)


def test_boxes_and_report(network: TorchNetwork) -> None:
    detector = Detector(network, PruningConfig(0.3), decode=DecodeConfig(max_boxes=50))
    boxes, report = detector.step(frame_at(0))
    assert len(boxes) == 50
    assert (np.diff(boxes.score) <= 0).all()
    assert report.keys == (KEYS, 43, 43)  # 144 - round(0.7 * 144)
    assert report.keep_ratio_used == pytest.approx(43 / 144)
    assert (report.memory_age_s, report.reset_cause) == (0.0, "")
    assert list(report.stage_ms) == ["preprocess", "align", "encode", "embed", "decode", "boxes"]


def test_memory_changes_the_second_frame_and_its_age_is_reported(network: TorchNetwork) -> None:
    detector, fresh = Detector(network), Detector(network)
    detector.step(frame_at(0.0))
    with_memory, report = detector.step(frame_at(0.5, 2.0, seed=1))
    without, _ = fresh.step(frame_at(0.5, 2.0, seed=1))
    assert report.memory_age_s == pytest.approx(0.5)
    assert np.abs(with_memory.score - without.score).max() > 1e-4


def test_where_the_map_begins_does_not_matter(network: TorchNetwork) -> None:
    """The same drive a thousand kilometres on, years later: boxes equal to a tenth of a millimetre."""
    near, far = Detector(network), Detector(network)
    shift = geometry.rigid(geometry.yaw_rotation(1.0), [1e6, -1e6, 50.0])
    for step in range(3):
        frame = frame_at(0.5 * step, 2.0 * step, seed=step)
        there = replace(frame, timestamp_ns=frame.timestamp_ns + 10**17, lidar2global=shift @ frame.lidar2global)
        boxes, boxes_there = near.step(frame)[0], far.step(there)[0]
    here = {(q, c): p for q, c, p in zip(boxes.query, boxes.label, boxes.center, strict=True)}
    there_ = {(q, c): p for q, c, p in zip(boxes_there.query, boxes_there.label, boxes_there.center, strict=True)}
    common = here.keys() & there_.keys()
    assert len(common) > 0.95 * len(here)
    assert max(np.abs(here[key] - there_[key]).max() for key in common) < 1e-4


@pytest.mark.parametrize(
    ("elapsed_s", "x_m", "cause"),
    [
        (-1.0, 0.0, "time went backward"),
        (0.0, 0.0, "time went backward"),
        (9.0, 0.0, "gap in time"),
        (0.5, 500.0, "pose jump"),
    ],
)
def test_untrusted_memory_is_dropped_and_said(network: TorchNetwork, elapsed_s: float, x_m: float, cause: str) -> None:
    detector, fresh = Detector(network), Detector(network)
    detector.step(frame_at(0.0))
    boxes, report = detector.step(frame_at(elapsed_s, x_m, seed=1))
    assert report.reset_cause == cause
    assert report.memory_age_s == 0.0
    np.testing.assert_array_equal(boxes.score, fresh.step(frame_at(elapsed_s, x_m, seed=1))[0].score)
    assert detector.step(frame_at(elapsed_s + 0.5, x_m))[1].reset_cause == ""


def test_reset_on_request_is_said_once(network: TorchNetwork) -> None:
    detector = Detector(network, memory=MemoryConfig(max_gap_s=10))
    detector.reset_memory("asked")  # nothing to forget yet
    assert detector.step(frame_at(0.0))[1].reset_cause == ""
    detector.reset_memory("asked")
    assert detector.memory is None
    assert detector.step(frame_at(0.5))[1].reset_cause == "asked"
    assert detector.step(frame_at(1.0))[1].reset_cause == ""


def test_keep_ratio_changes_between_frames_and_one_is_dense_bit_for_bit(network: TorchNetwork) -> None:
    live, dense = Detector(network, PruningConfig(0.2)), Detector(network)
    assert live.step(frame_at(0.0))[1].keys[-1] == 29
    live.pruning = replace(live.pruning, keep_ratio=1.0)
    live.memory = None
    boxes, report = live.step(frame_at(0.5))
    expected, _ = dense.step(frame_at(0.5))
    assert report.keys == (KEYS,) * 3
    np.testing.assert_array_equal(boxes.center, expected.center)
    np.testing.assert_array_equal(boxes.score, expected.score)


def test_a_frame_that_fails_leaves_memory_as_it_was(network: TorchNetwork) -> None:
    detector = Detector(network)
    detector.step(frame_at(0.0))
    before = detector.memory
    detector.pruning = PruningConfig(0.5, layers=99)
    with pytest.raises(ValueError, match="prune_layers is 99, expected 1 to 3"):
        detector.step(frame_at(0.5))
    assert detector.memory is before


class Poisoned:
    """A network whose answer holds one NaN while ``on``."""

    def __init__(self, network: TorchNetwork) -> None:
        self._network = network
        self.on = False

    def __getattr__(self, name: str) -> object:
        return getattr(self._network, name)

    def decode(self, *given: object) -> NetworkOutput:
        output = self._network.decode(*given)
        codes = output.codes.clone()
        codes[-1, 0, 3, 8] = torch.nan
        return replace(output, codes=codes) if self.on else output


def test_a_poisoned_frame_is_an_error_and_does_not_enter_memory(network: TorchNetwork) -> None:
    poisoned = Poisoned(network)
    detector, sound = Detector(poisoned), Detector(network)
    detector.step(frame_at(0.0))
    sound.step(frame_at(0.0))
    poisoned.on = True
    with pytest.raises(FloatingPointError, match="box codes hold NaN"):
        detector.step(frame_at(0.5, seed=1))
    poisoned.on = False
    np.testing.assert_array_equal(detector.step(frame_at(1.0))[0].score, sound.step(frame_at(1.0))[0].score)


def test_a_reset_before_a_frame_that_fails_is_said_by_the_next(network: TorchNetwork) -> None:
    detector = Detector(network)
    detector.step(frame_at(0.0))
    sound, detector.pruning = detector.pruning, PruningConfig(0.5, layers=99)
    with pytest.raises(ValueError, match="prune_layers"):
        detector.step(frame_at(9.0))
    detector.pruning = sound
    assert detector.step(frame_at(9.5))[1].reset_cause == "gap in time"


def test_new_calibration_moves_the_rays(network: TorchNetwork) -> None:
    """The position embedding is kept only as long as no matrix changes."""
    detector = Detector(network)
    first = detector.step(frame_at(0.0))[0]
    detector.memory = None
    turned = detector.step(frame_at(0.5, turn_rad=0.1))[0]
    detector.memory = None
    again = detector.step(frame_at(1.0))[0]
    np.testing.assert_array_equal(first.score, again.score)
    assert (first.score != turned.score).any()


def test_loading_without_weights_needs_permission(network: TorchNetwork) -> None:
    with pytest.raises(ValueError, match="no checkpoint for model small.*allow_random_weights"):
        load_network("torch", SMALL, None, "cpu")
    assert load_network("torch", SMALL, None, "cpu", allow_random_weights=True).weights == "RANDOM"
    with pytest.raises(ValueError, match="backend is 'caffe', expected one of torch"):
        load_network("caffe", SMALL, None, "cpu")
    if not torch.cuda.is_available():
        with pytest.raises(ValueError, match="device is 'cuda'.*finds no CUDA device"):
            load_network("torch", SMALL, None, "cuda", allow_random_weights=True)
