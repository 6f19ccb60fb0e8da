"""Temporal memory: where rows go, what they say later, and when they are dropped."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from tggbc_ros.core import geometry, memory
from tggbc_ros.core.config import R50_704, MemoryConfig
from tggbc_ros.core.types import NetworkOutput

MODEL = replace(R50_704, num_queries=6, num_propagated=2, memory_length=5, embed_dims=8)
START = torch.tensor([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]])
T0 = 1.5e9 + 0.123456


def pose_at(x: float, y: float, yaw: float) -> torch.Tensor:
    return torch.from_numpy(geometry.rigid(geometry.yaw_rotation(yaw), [x, y, 0.5]))[None]


def output_with_best(best: list[int], center: tuple[float, float, float]) -> NetworkOutput:
    """Query i has class logit -10, the best ones 3, 2, ... in order; every centre is ``center``."""
    logits = torch.full((1, 1, MODEL.total_queries, 10), -10.0)
    for rank, query in enumerate(best):
        logits[0, 0, query, rank] = 3.0 - rank
    codes = torch.zeros(1, 1, MODEL.total_queries, 10)
    codes[..., :3] = torch.tensor(center)
    codes[..., 8:] = torch.tensor([7.0, -1.0])
    embedding = torch.arange(MODEL.total_queries).float()[None, :, None].expand(1, -1, 8)
    return NetworkOutput(logits, codes, embedding, (10,), {})


def test_before_the_first_frame_only_the_start_points_are_there() -> None:
    pose, now = pose_at(1000.0, -500.0, 0.7), torch.tensor([T0], dtype=torch.float64)
    aligned = memory.align(memory.start(MODEL, START, pose, now), pose, now, MODEL.memory_length)
    torch.testing.assert_close(aligned.reference_point[0, :2], START)
    torch.testing.assert_close(aligned.reference_point[0, 2:], torch.zeros(3, 3))
    torch.testing.assert_close(aligned.pose[0, :2], torch.eye(4).expand(2, 4, 4))
    assert aligned.pose[0, 2:].abs().max() == 0  # the zero matrix, not the identity
    assert aligned.age_s.abs().max() == 0


def test_a_remembered_point_stays_in_place_when_the_vehicle_moves() -> None:
    before, after = pose_at(2000.0, 1000.0, 0.3), pose_at(2003.0, 1001.0, 0.5)
    times = [torch.tensor([T0 + t], dtype=torch.float64) for t in (0.0, 0.5)]
    state = memory.start(MODEL, START, before, times[0])
    state = memory.push(state, output_with_best([4, 1], (10.0, 20.0, 1.0)), MODEL, before, times[0])
    assert state.embedding[0, :2, 0].tolist() == [4.0, 1.0]  # best first
    assert state.embedding.shape[1] == 7  # two new rows before the five old ones

    aligned = memory.align(state, after, times[1], MODEL.memory_length)
    relative = geometry.invert_rigid(after[0].numpy()) @ before[0].numpy()
    expected = geometry.transform_points(relative, np.array([10.0, 20.0, 1.0]))
    np.testing.assert_allclose(aligned.reference_point[0, 0], expected, atol=2e-6)
    np.testing.assert_allclose(aligned.pose[0, 0], relative, atol=1e-6)
    assert aligned.age_s[0, 0].item() == pytest.approx(0.5, abs=1e-6)
    assert aligned.velocity[0, 0].tolist() == [7.0, -1.0]
    assert aligned.embedding.shape[1] == 5


def test_old_rows_fall_off_the_end() -> None:
    pose, state = pose_at(0, 0, 0), None
    for frame in range(4):
        now = torch.tensor([T0 + frame], dtype=torch.float64)
        state = state or memory.start(MODEL, START, pose, now)
        state = memory.push(state, output_with_best([frame, frame + 1], (0, 0, 0)), MODEL, pose, now)
        assert state.embedding.shape[1] <= MODEL.memory_length + MODEL.num_propagated
    newest_first = state.timestamp_s[0, :5].diff()
    assert (newest_first <= 0).all()


def test_batch_items_do_not_mix() -> None:
    poses = torch.cat([pose_at(0, 0, 0), pose_at(100, 0, 1)])
    now = torch.tensor([T0, T0 + 7], dtype=torch.float64)
    both = memory.start(MODEL, START, poses, now)
    for item in range(2):
        alone = memory.start(MODEL, START, poses[item : item + 1], now[item : item + 1])
        torch.testing.assert_close(both.reference_point[item], alone.reference_point[0])
        torch.testing.assert_close(both.timestamp_s[item], alone.timestamp_s[0])


@pytest.mark.parametrize(
    ("elapsed_s", "moved_m", "cause"),
    [
        (0.5, 5.0, ""),
        (0.0, 0.0, "time went backward"),
        (-3.0, 0.0, "time went backward"),
        (2.1, 0.0, "gap in time"),
        (0.5, 100.0, "pose jump"),
        (1.9, 100.0, ""),
    ],
)
def test_when_memory_is_not_trusted(elapsed_s: float, moved_m: float, cause: str) -> None:
    start_ns = 1_532_402_927_647_951_000
    before = start_ns, geometry.rigid(np.eye(3), [10.0, 0, 0])
    now = start_ns + int(elapsed_s * 1e9), geometry.rigid(np.eye(3), [10.0 + moved_m, 0, 0])
    assert memory.distrust(before, now, MemoryConfig()) == cause


def remembered(stamps_s: np.ndarray, interval_s: float) -> np.ndarray:
    """The stamps at which memory is written, of frames at ``stamps_s``."""
    written_ns = previous_ns = None
    found = []
    for now_ns in (int(1e18) + np.round(stamps_s * 1e9).astype(np.int64)).tolist():
        if memory.is_due(written_ns, previous_ns, now_ns, interval_s):
            written_ns = now_ns
            found.append((now_ns - int(1e18)) / 1e9)
        previous_ns = now_ns
    return np.array(found)


@pytest.mark.parametrize("rate_hz", [12.0, 10.0, 20.0, 30.0])
def test_faster_input_is_remembered_at_the_rate_of_training(rate_hz: float) -> None:
    """Exactly every 0.5 s, whatever jitter of a fifth of a frame does to single frames."""
    regular = np.arange(0, 10, 1 / rate_hz)
    np.testing.assert_allclose(remembered(regular, 0.5), np.arange(0, 10, 0.5), atol=1e-6)
    jitter = np.random.default_rng(0).uniform(-0.1, 0.1, len(regular)) / rate_hz
    written = remembered(regular + jitter, 0.5)
    np.testing.assert_allclose(np.diff(written), 0.5, atol=0.21 / rate_hz)
    assert len(written) == 20


def test_a_period_that_does_not_divide_the_interval_takes_the_nearest_frame() -> None:
    np.testing.assert_allclose(np.diff(remembered(np.arange(0, 10, 0.08), 0.5)), 0.48)  # 0.48 is nearer than 0.56
    np.testing.assert_allclose(np.diff(remembered(np.arange(0, 10, 0.3), 0.5)), 0.6)
    np.testing.assert_allclose(np.diff(remembered(np.arange(0, 10, 0.4), 0.5)), 0.4)


@pytest.mark.parametrize("interval_s", [0.0, 0.5])
def test_input_at_the_rate_of_training_is_remembered_frame_by_frame(interval_s: float) -> None:
    stamps_s = np.arange(0, 10, 0.5) + np.random.default_rng(0).uniform(-0.05, 0.05, 20)
    assert len(remembered(stamps_s, interval_s)) == 20


def test_no_interval_remembers_every_frame_at_any_rate() -> None:
    assert len(remembered(np.arange(0, 2, 0.01), 0.0)) == 200


def test_an_interval_longer_than_memory_is_trusted_is_refused() -> None:
    with pytest.raises(ValueError, match="interval_s is 3.0, expected in \\[0, max_gap_s\\], which is 2"):
        MemoryConfig(interval_s=3.0)
