"""visible: a missing camera and a hidden cell leave the decoder entirely, and nothing else changes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from tiny_model import SMALL

from tggbc_ros.backends.torch_backend import TorchNetwork
from tggbc_ros.core import geometry
from tggbc_ros.core.config import CarryConfig, KeepConfig, PruningConfig
from tggbc_ros.core.detector import Detector
from tggbc_ros.core.preprocess import preprocess
from tggbc_ros.core.types import AlignedMemory, CameraFrame, NetworkOutput, Rig, Tokens
from tggbc_ros.core.visible import Mask, comes_into_sight, visible_tokens

CELLS = 4 * 6
KEYS = 6 * CELLS


def frame_at(elapsed_s: float, seed: int = 0) -> CameraFrame:
    """Six noise images from a ring of cameras on a standing vehicle."""
    rng = np.random.default_rng(seed)
    images = tuple(rng.integers(0, 256, (90, 160, 3), np.uint8) for _ in range(6))
    optical = np.array([[1.0, 0, 0], [0, 0, -1], [0, 1, 0]])  # lidar axes -> a camera that looks along y
    cameras = [geometry.rigid(optical @ geometry.yaw_rotation(i * np.pi / 3), [0, 1.5, 0]) for i in range(6)]
    intrinsics = np.array([[[100.0 + i, 0, 80], [0, 90.0 - i, 45], [0, 0, 1]] for i in range(6)])
    rig = Rig(tuple(f"cam{i}" for i in range(6)), intrinsics, np.stack(cameras))
    return CameraFrame(images, rig, 10**18 + int(elapsed_s * 1e9), np.eye(4))


@pytest.fixture(scope="module")
def network() -> TorchNetwork:
    return TorchNetwork.load(SMALL, None, "cpu")


class Watched:
    """A network that keeps the tokens its decoder was given."""

    def __init__(self, network: TorchNetwork) -> None:
        self._network = network
        self.seen: list[Tokens] = []

    def __getattr__(self, name: str) -> object:
        return getattr(self._network, name)

    def decode(self, tokens: Tokens, memory: AlignedMemory, pruning: PruningConfig) -> NetworkOutput:
        self.seen.append(tokens)
        return self._network.decode(tokens, memory, pruning)


def all_but(*cameras: int) -> Mask:
    cells = np.ones((6, *SMALL.feature_size), np.bool_)
    cells[list(cameras)] = False
    return cells


def without(frame: CameraFrame, *cameras: int) -> CameraFrame:
    return replace(frame, cells=all_but(*cameras))


def test_keys_of_a_missing_camera_never_enter_and_the_others_are_as_ever(network: TorchNetwork) -> None:
    watched = Watched(network)
    whole, partial = Detector(watched), Detector(watched)
    whole.step(frame_at(0.0))
    _, report = partial.step(without(frame_at(0.0), 2, 5))
    everything, some = watched.seen
    expected = [cell for cell in range(KEYS) if cell // CELLS not in (2, 5)]
    assert some.index[0].tolist() == expected == report.kept.tolist()
    torch.testing.assert_close(some.key[0], everything.key[0, expected])
    torch.testing.assert_close(some.value[0], everything.value[0, expected])
    assert report.keys == (4 * CELLS,) * 3
    assert (report.total_keys, report.keep_ratio_used) == (KEYS, pytest.approx(4 / 6))


def test_what_a_missing_camera_shows_does_not_matter(network: TorchNetwork) -> None:
    frame = without(frame_at(0.0), 1)
    other = tuple(255 - image if number == 1 else image for number, image in enumerate(frame.images))
    boxes, again = (Detector(network).step(f)[0] for f in (frame, replace(frame, images=other)))
    np.testing.assert_array_equal(boxes.center, again.center)
    np.testing.assert_array_equal(boxes.score, again.score)
    images = preprocess(frame, SMALL, "cpu").images[0]
    assert (images[1] == 0.0).all()
    assert torch.equal(images[[0, 2, 3, 4, 5]], preprocess(frame_at(0.0), SMALL, "cpu").images[0, [0, 2, 3, 4, 5]])


def test_all_cells_in_sight_are_the_default_bit_for_bit(network: TorchNetwork) -> None:
    watched = Watched(network)
    boxes, _ = Detector(watched).step(frame_at(0.0))
    again, _ = Detector(watched).step(without(frame_at(0.0)))
    np.testing.assert_array_equal(boxes.center, again.center)
    tokens = watched.seen[0]
    assert visible_tokens(tokens, None) is tokens
    assert visible_tokens(tokens, all_but()) is tokens


def test_keep_ratio_is_a_share_of_all_cells(network: TorchNetwork) -> None:
    _, report = Detector(network, PruningConfig(0.5)).step(without(frame_at(0.0), 0))
    assert report.keys == (5 * CELLS, 72, 72)
    _, report = Detector(network, PruningConfig(0.5)).step(without(frame_at(0.0), 0, 1, 2, 3))
    assert report.keys == (2 * CELLS,) * 3  # fewer than it would keep
    mass = PruningConfig(keep=KeepConfig("mass", mass=1.0, min_ratio=0.25))
    _, report = Detector(network, mass).step(without(frame_at(0.0), 0, 1, 2, 3))
    assert 36 <= report.keys[-1] <= 2 * CELLS


def test_carried_importance_begins_anew_when_a_camera_comes_back(network: TorchNetwork) -> None:
    watched = Watched(network)
    detector = Detector(watched, PruningConfig(0.2, carry=CarryConfig(0.5, refresh=4)))
    frames = [frame_at(0.5 * number, seed=number) for number in range(5)]
    keys = [detector.step(f)[1].keys[0] for f in (frames[0], *(without(f, 3) for f in frames[1:3]), *frames[3:])]
    assert keys == [KEYS, 72, 72, KEYS, 72]
    for tokens in watched.seen[1:3]:
        assert not (tokens.index // CELLS == 3).any()
    turns = watched.seen[2].index[0].tolist()
    assert {cell for cell in range(KEYS) if cell % 4 == 2 and cell // CELLS != 3} <= set(turns)


def test_carrying_never_starts_with_more_than_is_in_sight(network: TorchNetwork) -> None:
    detector = Detector(network, PruningConfig(0.1, carry=CarryConfig(0.5, refresh=4)))
    for number in range(3):
        _, report = detector.step(without(frame_at(0.5 * number, seed=number), 0, 1, 2, 3))
        assert report.keys[0] == 2 * CELLS
        assert report.keys[-1] == 14  # a tenth of all


def test_cells_of_another_network_are_refused(network: TorchNetwork) -> None:
    frame = replace(frame_at(0.0), cells=np.ones((6, 3, 3), np.bool_) & (np.arange(3) > 0))
    with pytest.raises(ValueError, match=r"cells have shape \(6, 3, 3\), expected as many as the network has: 144"):
        Detector(network).step(frame)


@pytest.mark.parametrize(
    ("cells", "message"),
    [
        (np.zeros((6, 4, 6), np.bool_), "cells hold 0 as bool, expected one or more"),
        (np.ones((6, 4, 6), np.uint8), "cells hold 144 as uint8, expected one or more, bool"),
        (np.ones((5, 4, 6), np.bool_), r"cells has shape \(5, 4, 6\), expected \(6, 'rows', 'columns'\)"),
    ],
)
def test_a_frame_refuses_cells_that_make_no_sense(cells: np.ndarray, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        replace(frame_at(0.0), cells=cells)


def test_present_cameras_are_those_with_a_cell() -> None:
    assert frame_at(0.0).present == (True,) * 6
    cells = all_but(4)
    cells[1, 1:] = False
    assert replace(frame_at(0.0), cells=cells).present == (True, True, True, True, False, True)


@pytest.mark.parametrize(
    ("before", "now", "expected"),
    [
        (None, None, False),
        (None, all_but(1), False),
        (all_but(1), None, True),
        (all_but(1), all_but(1, 2), False),
        (all_but(1), all_but(2), True),
        (all_but(), None, False),
    ],
)
def test_what_comes_into_sight(before: Mask | None, now: Mask | None, expected: bool) -> None:
    assert comes_into_sight(before, now) is expected
