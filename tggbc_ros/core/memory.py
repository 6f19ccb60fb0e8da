"""Temporal memory: pure functions from one frame's `Memory` to the next.

Between frames it lives in the global frame in float64, so that neither the vehicle's distance from the
map's origin nor the size of a Unix time costs precision; the network sees small float32 numbers.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from tggbc_ros.core.config import MemoryConfig, ModelConfig
from tggbc_ros.core.types import AlignedMemory, Array, Memory, NetworkOutput

LEAST_AGE = 0.75
"""Share of the interval that memory must be old to be read."""


@dataclass(frozen=True, eq=False)
class Snapshot:
    """Memory as a frame left it behind."""

    written_ns: int
    memory: Memory


Past = tuple[Snapshot, ...]
"""Oldest first, none older than what the last frame read."""


def start(model: ModelConfig, start_points: torch.Tensor, lidar2global: torch.Tensor, time_s: torch.Tensor) -> Memory:
    """Memory before the first frame: ``start_points`` [propagated, 3], metres, lidar frame, then empty rows.

    lidar2global [B, 4, 4] and time_s [B], float64. An empty row lies at the vehicle, and its pose is
    the zero matrix and not the identity: the original network was trained so.
    """
    batch, rows, filled = len(time_s), model.memory_length, len(start_points)
    reference = start_points.new_zeros(batch, rows, 3, dtype=torch.float64)
    reference[:, :filled] = start_points
    pose = torch.zeros(batch, rows, 4, 4, dtype=torch.float64, device=start_points.device)
    pose[:, :filled] = lidar2global[:, None]
    return Memory(
        embedding=start_points.new_zeros(batch, rows, model.embed_dims),
        reference_point=_transform(lidar2global, reference),
        timestamp_s=time_s[:, None].repeat(1, rows),
        lidar2global=pose,
        velocity=start_points.new_zeros(batch, rows, 2),
    )


def align(memory: Memory, lidar2global: torch.Tensor, time_s: torch.Tensor, length: int) -> AlignedMemory:
    """The newest ``length`` rows as seen from the current frame.

    lidar2global [B, 4, 4] and time_s [B], float64. Velocity stays as it was observed, and references
    are not moved by it: the network was trained so.
    """
    global2lidar = _invert_rigid(lidar2global)
    return AlignedMemory(
        embedding=memory.embedding[:, :length],
        reference_point=_transform(global2lidar, memory.reference_point[:, :length]).float(),
        age_s=(time_s[:, None] - memory.timestamp_s[:, :length]).float(),
        pose=(global2lidar[:, None] @ memory.lidar2global[:, :length]).float(),
        velocity=memory.velocity[:, :length],
    )


def push(
    memory: Memory, output: NetworkOutput, model: ModelConfig, lidar2global: torch.Tensor, time_s: torch.Tensor
) -> Memory:
    """Put the most confident queries of this frame in front of the rows it started from."""
    rows = most_confident(output.logits[-1], model.num_propagated)
    code = _take(output.codes[-1], rows)
    return Memory(
        embedding=_prepend(_take(output.embedding, rows), memory.embedding, model),
        reference_point=_prepend(_transform(lidar2global, code[..., :3].double()), memory.reference_point, model),
        timestamp_s=_prepend(time_s[:, None].expand(-1, rows.shape[1]), memory.timestamp_s, model),
        lidar2global=_prepend(lidar2global[:, None].expand(-1, rows.shape[1], -1, -1), memory.lidar2global, model),
        velocity=_prepend(code[..., 8:10], memory.velocity, model),
    )


def go_on_from(past: Past, now_ns: int, interval_s: float) -> Snapshot | None:
    """Which of the memories to read at ``now_ns``: the one whose age is nearest to ``interval_s``.

    Much younger ones, which the network was not trained on, are left to later frames. So input at six times the rate of
    training is six interleaved streams, each at that rate. None where nothing is old enough: a start without a past.
    """
    wanted_ns = interval_s * 1e9
    ages_ns = {each: now_ns - each.written_ns for each in past}
    old_enough = [each for each, age_ns in ages_ns.items() if age_ns >= LEAST_AGE * wanted_ns]
    return min(old_enough, key=lambda each: abs(ages_ns[each] - wanted_ns), default=None)


def remember(past: Past, read: Snapshot | None, new: Snapshot) -> Past:
    """The past with one memory more, and without those that are older than what was just read: no later frame will."""
    return (*(each for each in past if read is None or each.written_ns >= read.written_ns), new)


def most_confident(logits: torch.Tensor, count: int) -> torch.Tensor:
    """[B, count] queries with the highest class score, best first, of logits [B, Q, classes]."""
    return logits.sigmoid().max(dim=-1).values.topk(count, dim=1).indices


def distrust(before: tuple[int, Array], now: tuple[int, Array], config: MemoryConfig) -> str:
    """Why memory written at one (timestamp_ns, lidar2global) must not serve at another; empty if it may."""
    elapsed_s = (now[0] - before[0]) / 1e9
    if elapsed_s <= 0:
        return "time went backward"
    if elapsed_s > config.max_gap_s:
        return "gap in time"
    moved_m = float(np.linalg.norm(now[1][:3, 3] - before[1][:3, 3]))
    if moved_m > config.max_speed_mps * elapsed_s + config.max_jump_m:
        return "pose jump"
    return ""


def _take(values: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
    """values [B, Q, C] at rows [B, k] -> [B, k, C]."""
    return values.gather(1, rows[..., None].expand(-1, -1, values.shape[-1]))


def _prepend(new: torch.Tensor, old: torch.Tensor, model: ModelConfig) -> torch.Tensor:
    return torch.cat([new, old[:, : model.memory_length]], dim=1)


def _transform(a2b: torch.Tensor, points: torch.Tensor) -> torch.Tensor:
    """Rigid transforms [B, 4, 4] on points [B, M, 3]."""
    return points @ a2b[:, :3, :3].transpose(1, 2) + a2b[:, None, :3, 3]


def _invert_rigid(a2b: torch.Tensor) -> torch.Tensor:
    """[B, 4, 4] -> [B, 4, 4], by the transposed rotation."""
    rotation = a2b[:, :3, :3].transpose(1, 2)
    inverse = torch.zeros_like(a2b)
    inverse[:, :3, :3] = rotation
    inverse[:, :3, 3:] = -rotation @ a2b[:, :3, 3:]
    inverse[:, 3, 3] = 1.0
    return inverse
