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


def ages_read(stamps_s: np.ndarray, interval_s: float) -> np.ndarray:
    """How old the memory is that each frame reads, of frames at ``stamps_s``; NaN where it reads none."""
    past: memory.Past = ()
    found = []
    for now_ns in (int(1e18) + np.round(stamps_s * 1e9).astype(np.int64)).tolist():
        read = memory.go_on_from(past, now_ns, interval_s)
        found.append((now_ns - read.written_ns) / 1e9 if read else np.nan)
        past = memory.remember(past, read, memory.Snapshot(now_ns, None))  # type: ignore[arg-type]
        assert len(past) <= 2 + interval_s / np.diff(stamps_s).min()
    return np.array(found)


@pytest.mark.parametrize("rate_hz", [2.0, 12.0, 10.0, 20.0, 30.0])
def test_memory_is_as_old_as_in_training_at_any_input_rate(rate_hz: float) -> None:
    """Exactly 0.5 s, whatever jitter of a fifth of a frame does to single frames."""
    regular = np.arange(0, 10, 1 / rate_hz)
    ages_s = ages_read(regular, 0.5)
    np.testing.assert_allclose(ages_s[regular >= 0.499], 0.5, atol=1e-6)
    jitter = np.random.default_rng(0).uniform(-0.1, 0.1, len(regular)) / rate_hz
    np.testing.assert_allclose(ages_read(regular + jitter, 0.5)[regular >= 0.499], 0.5, atol=0.21 / rate_hz)


def test_memory_that_is_much_too_young_is_not_read() -> None:
    """After a start there is none for a while; of slower input than in training there is always the last."""
    np.testing.assert_allclose(ages_read(np.arange(6) / 10, 0.5), [np.nan] * 4 + [0.4, 0.5], atol=1e-6)
    np.testing.assert_allclose(ages_read(np.arange(4) / 3, 0.5), [np.nan, np.nan, 2 / 3, 2 / 3], atol=1e-6)
    np.testing.assert_allclose(ages_read(np.arange(4) * 0.8, 0.5), [np.nan] + [0.8] * 3, atol=1e-6)
    np.testing.assert_allclose(ages_read(np.arange(4) / 12, 0.0), [np.nan] + [1 / 12] * 3, atol=1e-6)


def test_a_late_frame_reads_the_newest() -> None:
    ages_s = ages_read(np.array([0.0, 0.25, 0.5, 0.75, 2.0, 2.25, 2.5]), 0.5)
    np.testing.assert_allclose(ages_s, [np.nan, np.nan, 0.5, 0.5, 1.25, 1.5, 0.5], atol=1e-6)


@pytest.mark.parametrize(("period_s", "age_s"), [(0.08, 0.48), (0.3, 0.6), (0.4, 0.4), (0.24, 0.48)])
def test_a_period_that_does_not_divide_the_interval_takes_the_nearest_frame(period_s: float, age_s: float) -> None:
    np.testing.assert_allclose(ages_read(np.arange(0, 10, period_s), 0.5)[10:], age_s, atol=1e-6)


@pytest.mark.parametrize("interval_s", [0.0, 0.5])
def test_at_the_rate_of_training_every_frame_reads_the_last(interval_s: float) -> None:
    stamps_s = np.arange(0, 10, 0.5) + np.random.default_rng(0).uniform(-0.05, 0.05, 20)
    np.testing.assert_allclose(ages_read(stamps_s, interval_s)[1:], np.diff(stamps_s), atol=1e-6)


def test_an_interval_longer_than_memory_is_trusted_is_refused() -> None:
    with pytest.raises(ValueError, match="interval_s is 3.0, expected in \\[0, max_gap_s\\], which is 2"):
        MemoryConfig(interval_s=3.0)
