"""The whole step on a small network with random weights: state, resets, live settings."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from tiny_model import SMALL

from tggbc_ros.backends import load_network
from tggbc_ros.backends.torch_backend import TorchNetwork
from tggbc_ros.core import geometry, pruning
from tggbc_ros.core import memory as temporal
from tggbc_ros.core.config import CarryConfig, DecodeConfig, KeepConfig, MemoryConfig, PruningConfig
from tggbc_ros.core.detector import Detector
from tggbc_ros.core.preprocess import preprocess
from tggbc_ros.core.types import CameraFrame, NetworkOutput, Rig

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
    assert not detector.past
    assert detector.step(frame_at(0.5))[1].reset_cause == "asked"
    assert detector.step(frame_at(1.0))[1].reset_cause == ""


def test_fast_input_is_interleaved_streams_at_the_rate_of_training(network: TorchNetwork) -> None:
    """12 Hz input, memory of 0.5 s: each frame is that of a detector that saw every sixth frame only."""
    fast = Detector(network, memory=MemoryConfig(interval_s=0.5))
    slow = [Detector(network) for _ in range(6)]
    ages_s = []
    for index in range(20):
        frame = frame_at(index / 12, x_m=index / 4, seed=index)
        boxes, report = fast.step(frame)
        expected, _ = slow[index % 6].step(frame)
        ages_s.append(report.memory_age_s)
        if index % 6 < 5:  # the sixth is old enough to begin with the memory of the first
            np.testing.assert_array_equal(boxes.center, expected.center)
            newest, alone = fast.past[-1].memory, slow[index % 6].past[-1].memory
            assert torch.equal(newest.embedding, alone.embedding)
            assert torch.equal(newest.timestamp_s, alone.timestamp_s)
    np.testing.assert_allclose(ages_s, [0.0] * 5 + [5 / 12] + [0.5] * 14, atol=1e-6)
    assert len(fast.past) == 7


def test_a_reset_forgets_every_stream(network: TorchNetwork) -> None:
    fast = Detector(network, memory=MemoryConfig(interval_s=0.5))
    for index in range(4):
        fast.step(frame_at(index / 10))
    fast.reset_memory("asked")
    ages_s = [fast.step(frame_at(0.4 + index / 10))[1].memory_age_s for index in range(6)]
    np.testing.assert_allclose(ages_s, [0.0] * 4 + [0.4, 0.5], atol=1e-6)


def test_gap_and_jump_are_those_since_the_frame_before_not_since_memory(network: TorchNetwork) -> None:
    """A jump of 12 m within 0.1 s is one, however long ago memory was written."""
    gated = Detector(network, memory=MemoryConfig(interval_s=0.5))
    for index in range(4):
        gated.step(frame_at(index / 10))
    assert gated.step(frame_at(0.4, x_m=13.0))[1].reset_cause == "pose jump"


def test_the_interval_changes_between_two_frames(network: TorchNetwork) -> None:
    """Older memory is gone once the last one was read."""
    detector = Detector(network)
    ages_s = []
    for index in range(8):
        detector.memory_config = MemoryConfig(interval_s=0.2 if 2 <= index < 6 else 0.0)
        ages_s.append(detector.step(frame_at(index / 10, seed=index))[1].memory_age_s)
    np.testing.assert_allclose(ages_s, [0.0, 0.1, 0.2, 0.2, 0.2, 0.2, 0.1, 0.1], atol=1e-6)


def test_keep_ratio_changes_between_frames_and_one_is_dense_bit_for_bit(network: TorchNetwork) -> None:
    live, dense = Detector(network, PruningConfig(0.2)), Detector(network)
    first = live.step(frame_at(0.0))[1]
    assert first.keys[-1] == len(set(first.kept.tolist())) == 29
    assert (np.diff(first.kept) > 0).all() and first.kept[0] >= 0 and first.kept[-1] < KEYS
    live.pruning = replace(live.pruning, keep_ratio=1.0)
    live.past = ()
    boxes, report = live.step(frame_at(0.5))
    expected, _ = dense.step(frame_at(0.5))
    assert report.keys == (KEYS,) * 3
    np.testing.assert_array_equal(report.kept, np.arange(KEYS))
    np.testing.assert_array_equal(boxes.center, expected.center)
    np.testing.assert_array_equal(boxes.score, expected.score)


def test_a_frame_that_fails_leaves_memory_as_it_was(network: TorchNetwork) -> None:
    detector = Detector(network)
    detector.step(frame_at(0.0))
    before = detector.past
    detector.pruning = PruningConfig(0.5, layers=99)
    with pytest.raises(ValueError, match="prune_layers is 99, expected 1 to 3"):
        detector.step(frame_at(0.5))
    assert detector.past is before


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


class TestPoison:
    """NaN anywhere in a frame is an error, and the next frame is as if it had never been."""

    def check(self, detector: Detector, network: TorchNetwork, words: str, poison: Callable[[], object]) -> None:
        sound = Detector(network, detector.pruning)
        for one in (detector, sound):
            one.step(frame_at(0.0))
        remove = poison()
        with pytest.raises(FloatingPointError, match=words):
            detector.step(frame_at(0.5, seed=1))
        remove()
        boxes, report = detector.step(frame_at(1.0))
        expected, expected_report = sound.step(frame_at(1.0))
        np.testing.assert_array_equal(boxes.score, expected.score)
        np.testing.assert_array_equal(report.kept, expected_report.kept)

    @pytest.mark.parametrize(
        "pruning",
        [
            PruningConfig(),
            PruningConfig(0.3),
            PruningConfig(0.3, layers=2, reactivate=True),
            PruningConfig(keep=KeepConfig("mass")),
            PruningConfig(0.3, carry=CarryConfig(0.5)),
        ],
        ids=["dense", "pruned", "reactivate", "mass", "carry"],
    )
    def test_one_image_cell(self, network: TorchNetwork, pruning: PruningConfig) -> None:
        def poison() -> Callable[[], object]:
            def spoil(_module: object, _given: object, value: torch.Tensor) -> torch.Tensor:
                value = value.clone()
                value[0, 73] = torch.nan  # with carry, its turn comes in the second frame
                return value

            return network.head.position.memory_embed.register_forward_hook(spoil).remove

        self.check(Detector(network, pruning), network, "the network's class logits hold NaN", poison)

    @pytest.mark.parametrize("mode", ["fixed", "mass"])
    def test_the_class_scores_that_weigh_votes(self, network: TorchNetwork, mode: str) -> None:
        """The boxes would be finite; the keys behind them were chosen by nothing."""

        def poison() -> Callable[[], object]:
            def spoil(_module: object, _given: object, logits: torch.Tensor) -> torch.Tensor | None:
                at_the_trim = logits.ndim == 3
                return logits.index_fill(1, torch.tensor([3]), torch.nan) if at_the_trim else None

            return network.head.cls_branch.register_forward_hook(spoil).remove

        detector = Detector(network, PruningConfig(0.3, keep=KeepConfig(mode)))
        self.check(detector, network, "the network's key importance after layer 1 hold NaN", poison)


def test_a_reset_before_a_frame_that_fails_is_said_by_the_next(network: TorchNetwork) -> None:
    detector = Detector(network)
    detector.step(frame_at(0.0))
    sound, detector.pruning = detector.pruning, PruningConfig(0.5, layers=99)
    with pytest.raises(ValueError, match="prune_layers"):
        detector.step(frame_at(9.0))
    detector.pruning = sound
    assert detector.step(frame_at(9.5))[1].reset_cause == "gap in time"


def test_carry_starts_the_second_frame_with_fewer_keys_and_a_reset_with_all(network: TorchNetwork) -> None:
    detector = Detector(network, PruningConfig(0.2, carry=CarryConfig(0.5, refresh=4)))
    first, second = detector.step(frame_at(0.0))[1], detector.step(frame_at(0.5))[1]
    assert (first.keys, second.keys) == ((KEYS, 29, 29), (72, 29, 29))
    assert second.total_keys == KEYS
    assert second.keep_ratio_used == pytest.approx(29 / KEYS)
    assert len(set(second.kept.tolist())) == 29
    detector.reset_memory("asked")
    assert detector.step(frame_at(1.0))[1].keys == (KEYS, 29, 29)
    detector.step(frame_at(1.5))
    detector.pruning = PruningConfig(0.2)
    assert detector.step(frame_at(2.0))[1].keys == (KEYS, 29, 29)
    assert detector.carried is None


def test_starting_with_some_keys_is_a_gather_on_tokens(network: TorchNetwork) -> None:
    """What carry asks of a network: it decodes the tokens it is given, and the ratio is of all cells."""
    inputs = preprocess(frame_at(0.0), SMALL, network.device)
    tokens = network.embed(network.encode(inputs.images), inputs)
    chosen = torch.arange(0, KEYS, 2)[None]
    pose, time_s = torch.eye(4, dtype=torch.float64)[None], torch.zeros(1, dtype=torch.float64)
    memory = temporal.align(temporal.start(SMALL, network.start_points(), pose, time_s), pose, time_s, 16)
    output = network.decode(pruning.select(tokens, chosen), memory, PruningConfig(0.25))
    assert output.num_keys == (72, 36, 36)
    assert torch.equal(output.trims[0].seen, chosen)


def test_mass_keeps_what_the_image_asks_for(network: TorchNetwork) -> None:
    detector = Detector(network, PruningConfig(keep=KeepConfig("mass", 0.6, 0.05, 0.9)))
    _, report = detector.step(frame_at(0.0))
    assert 0.05 * KEYS < report.keys[1] < 0.9 * KEYS
    assert report.keys == (KEYS, len(report.kept), len(report.kept))
    detector.pruning = PruningConfig(keep=KeepConfig("mass", 0.8, 0.05, 0.9))
    assert detector.step(frame_at(0.5))[1].keys[1] > report.keys[1]


def test_a_budget_out_of_reach_ends_at_the_least_ratio_and_says_so(network: TorchNetwork) -> None:
    keep = KeepConfig("budget", min_ratio=0.25, budget_ms=1e-3, budget_of="frame")
    detector = Detector(network, PruningConfig(0.8, keep=keep))
    reports = [detector.step(frame_at(0.5 * step))[1] for step in range(5)]
    assert reports[0].keys == (KEYS, 115, 115)  # starts at keep_ratio
    assert not reports[-1].feasible
    assert all(report.keep_ratio == 0.8 for report in reports)  # as asked
    detector.pruning = PruningConfig(1.0)
    report = detector.step(frame_at(5.0))[1]
    assert report.feasible and report.keys == (KEYS,) * 3


def test_new_bounds_of_a_budget_hold_from_the_next_frame_on(network: TorchNetwork) -> None:
    detector = Detector(network, PruningConfig(0.8, keep=KeepConfig("budget", budget_ms=1e6)))
    for step, (low, high, keys) in enumerate(((0.1, 1.0, 115), (0.1, 0.3, 43), (0.25, 0.25, 36), (0.5, 0.9, 72))):
        keep = KeepConfig("budget", min_ratio=low, max_ratio=high, budget_ms=1e6)
        detector.pruning = PruningConfig(0.8, keep=keep)
        assert detector.step(frame_at(0.5 * step))[1].keys[-1] == keys


def test_an_ample_budget_gives_all_keys(network: TorchNetwork) -> None:
    detector = Detector(network, PruningConfig(0.2, keep=KeepConfig("budget", budget_ms=1e6)))
    reports = [detector.step(frame_at(0.5 * step))[1] for step in range(5)]
    assert reports[0].keys[-1] == 29
    assert reports[-1].keys == (KEYS,) * 3
    assert reports[-1].feasible


def test_the_report_says_how_many_queries_voted(network: TorchNetwork) -> None:
    """More are asked for than there are: all of them vote."""
    detector = Detector(network, PruningConfig(0.5, queries=175))
    assert detector.step(frame_at(0.0))[1].voters == SMALL.total_queries
    detector.pruning = PruningConfig(0.5, queries=9)
    assert detector.step(frame_at(0.5))[1].voters == 9
    detector.pruning = PruningConfig()
    assert detector.step(frame_at(1.0))[1].voters == 0


def test_kept_are_the_cells_the_last_layer_saw_even_if_it_trims_itself(network: TorchNetwork) -> None:
    report = Detector(network, PruningConfig(0.25, layers=3)).step(frame_at(0.0))[1]
    assert report.keys == (144, 108, 72)
    assert len(report.kept) == 72


def test_new_calibration_moves_the_rays(network: TorchNetwork) -> None:
    """The position embedding is kept only as long as no matrix changes."""
    detector = Detector(network)
    first = detector.step(frame_at(0.0))[0]
    detector.past = ()
    turned = detector.step(frame_at(0.5, turn_rad=0.1))[0]
    detector.past = ()
    again = detector.step(frame_at(1.0))[0]
    np.testing.assert_array_equal(first.score, again.score)
    assert (first.score != turned.score).any()


def test_a_reset_forgets_the_calibration_too(network: TorchNetwork) -> None:
    """A camera that moved by less than the tolerance is held still, but not across a reset: that is a new start."""
    detector, fresh = Detector(network), Detector(network)
    detector.step(frame_at(0.0))
    detector.past = ()
    held = detector.step(frame_at(0.5, turn_rad=1e-5))[0]
    detector.reset_memory("asked")
    anew = detector.step(frame_at(1.0, turn_rad=1e-5))[0]
    expected = fresh.step(frame_at(1.0, turn_rad=1e-5))[0]
    np.testing.assert_array_equal(anew.score, expected.score)
    assert (held.score != expected.score).any()


def test_threads_for_images_are_kept_from_frame_to_frame_and_ended_by_close(network: TorchNetwork) -> None:
    def workers() -> set[threading.Thread]:
        return {thread for thread in threading.enumerate() if thread.name.startswith("preprocess")}

    others, detector = workers(), Detector(network)
    seen = []
    for number in range(4):
        detector.step(frame_at(0.5 * number))
        seen.append(workers() - others)
    assert seen[0] <= seen[-1]
    assert 0 < len(seen[-1]) <= (os.cpu_count() or 1)
    detector.close()
    assert workers() <= others
    with pytest.raises(RuntimeError, match="after shutdown"):
        detector.step(frame_at(2.0))


def test_loading_without_weights_needs_permission(network: TorchNetwork) -> None:
    with pytest.raises(ValueError, match="no checkpoint for model small.*allow_random_weights"):
        load_network("torch", SMALL, None, "cpu")
    assert load_network("torch", SMALL, None, "cpu", allow_random_weights=True).weights == "RANDOM"
    with pytest.raises(ValueError, match="backend is 'caffe', expected one of torch"):
        load_network("caffe", SMALL, None, "cpu")
    if not torch.cuda.is_available():
        with pytest.raises(ValueError, match="device is 'cuda'.*finds no CUDA device"):
            load_network("torch", SMALL, None, "cuda", allow_random_weights=True)
