"""warm_up: the network has run once, with the settings given, and no later frame can tell."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from tiny_model import SMALL

from tggbc_ros.backends.torch_backend import TorchNetwork
from tggbc_ros.core.config import PruningConfig
from tggbc_ros.core.detector import Detector
from tggbc_ros.core.geometry import rigid, yaw_rotation
from tggbc_ros.core.preprocess import preprocess
from tggbc_ros.core.types import Boxes3D, CameraFrame
from tggbc_ros.core.warm_up import black_frame, warm_up

T0_NS = 1_532_402_927_647_951_000
CAMERAS = tuple(f"cam{number}" for number in range(6))


def frame_at(elapsed_s: float, x_m: float, turn_rad: float = 0.1) -> CameraFrame:
    """Noise, from cameras that look elsewhere than the warm-up's by turn_rad."""
    black, rng = black_frame(SMALL, CAMERAS), np.random.default_rng(int(elapsed_s))
    turned = black.rig.lidar2cam @ rigid(yaw_rotation(turn_rad), [0.0, 0.0, 0.0])
    images = tuple(rng.integers(0, 256, image.shape, np.uint8) for image in black.images)
    pose = rigid(np.eye(3), [1000.0 + x_m, 2000.0, 0.0])
    return CameraFrame(images, replace(black.rig, lidar2cam=turned), T0_NS + int(elapsed_s * 1e9), pose)


def two_frames(network: TorchNetwork) -> list[Boxes3D]:
    detector = Detector(network, PruningConfig(0.3))
    boxes, first = detector.step(frame_at(0.0, 0.0))
    assert (first.memory_age_s, first.reset_cause) == (0.0, "")
    more, second = detector.step(frame_at(0.5, 2.0))
    assert second.memory_age_s == pytest.approx(0.5)
    detector.close()
    return [boxes, more]


def test_the_frames_after_it_are_as_without_it() -> None:
    expected = two_frames(TorchNetwork.load(SMALL, None, "cpu"))
    network = TorchNetwork.load(SMALL, None, "cpu")
    assert 0.0 < warm_up(network, CAMERAS, PruningConfig(0.3)) < 60.0
    for found, wanted in zip(two_frames(network), expected, strict=True):
        for name in ("center", "size", "yaw", "velocity", "score", "label", "query"):
            np.testing.assert_array_equal(getattr(found, name), getattr(wanted, name))


def test_every_part_runs_as_it_will(monkeypatch: pytest.MonkeyPatch) -> None:
    network, ran = TorchNetwork.load(SMALL, None, "cpu"), []
    for part in ("encode", "embed", "decode"):
        real = getattr(network, part)
        monkeypatch.setattr(network, part, lambda *given, _r=real, _p=part: (ran.append((_p, given)), _r(*given))[1])
    warm_up(network, CAMERAS[:5], PruningConfig(0.4))
    assert [part for part, _ in ran] == ["encode", "embed", "decode"]
    assert ran[0][1][0].shape == (1, 5, 3, *SMALL.image_size)
    assert ran[2][1][2] == PruningConfig(0.4)


def test_what_goes_wrong_is_raised(monkeypatch: pytest.MonkeyPatch) -> None:
    network = TorchNetwork.load(SMALL, None, "cpu")
    real = network.decode
    monkeypatch.setattr(network, "decode", lambda *given: replace(real(*given), codes=real(*given).codes * torch.nan))
    with pytest.raises(FloatingPointError, match="box codes hold NaN"):
        warm_up(network, CAMERAS)


def test_the_cameras_look_all_around_and_their_images_are_the_networks_own() -> None:
    frame = black_frame(SMALL, CAMERAS)
    ahead = np.array([cam[2, :3] for cam in frame.rig.lidar2cam])  # the optical axes in the lidar's frame
    np.testing.assert_allclose(ahead[:, 2], 0.0, atol=1e-12)
    np.testing.assert_allclose(ahead.sum(axis=0), 0.0, atol=1e-12)
    inputs = preprocess(frame, SMALL, "cpu")
    np.testing.assert_allclose(inputs.intrinsics[0].numpy(), frame.rig.intrinsics, rtol=1e-6)
