"""A quick average precision by centre distance, to watch a run; the official one is another tool's."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from tggbc_ros.core import memory as temporal
from tggbc_ros.core.config import DecodeConfig, PruningConfig
from tggbc_ros.core.decode import decode_boxes
from tggbc_ros.core.types import Array, Boxes3D, NetworkOutput
from tggbc_ros.training.frames import FrameTable, Targets
from tggbc_ros.training.tasks import Net, carried, embed, remember

DISTANCES_M = (0.5, 1.0, 2.0, 4.0)
MIN_RECALL = MIN_PRECISION = 0.1


@dataclass(frozen=True)
class Score:
    """Mean AP over classes that occur and `DISTANCES_M`; AP by class; mean velocity error of true positives, m/s."""

    mean_ap: float
    by_class: dict[str, float]
    velocity_error_mps: float


@torch.inference_mode()
def evaluate(
    net: Net, table: FrameTable, device: torch.device, pruning: PruningConfig, features: torch.Tensor | None = None,
    bf16: bool = True, with_memory: bool = True,
) -> Score:  # fmt: skip
    """Run every scene of ``table`` in order, all scenes in parallel, and score the last layer's boxes."""
    model = net.detector.model
    found: list[Boxes3D] = []
    truth: list[Targets] = []
    for scenes in _groups(table):
        memory = None
        for frames in scenes:
            batch = table.batch(frames, model, device, with_images=features is None)
            seen = net.encode(batch.inputs.images, bf16) if features is None else features[frames].to(device).float()
            memory = carried(memory if with_memory else None, batch, net.detector)
            aligned = temporal.align(memory, batch.lidar2global, batch.time_s, model.memory_length)
            output = net.detector.decode(embed(net.detector, seen, batch), aligned, pruning)
            memory = remember(memory, output, model, batch)
            found += [decode_boxes(_item(output, index), DecodeConfig(max_boxes=100)) for index in range(len(frames))]
            truth += batch.targets
    return score(found, truth, model.class_names)


def _groups(table: FrameTable, batch: int = 16) -> list[list[list[int]]]:
    """Scenes of equal length side by side: groups of time steps of frames."""
    by_length: dict[int, list[int]] = {}
    for scene, length in enumerate(table.scene_lengths):
        by_length.setdefault(length, []).append(int(table.scene_start[scene]))
    groups = []
    for length, starts in by_length.items():
        for first in range(0, len(starts), batch):
            groups.append([[start + step for start in starts[first : first + batch]] for step in range(length)])
    return groups


def _item(output: NetworkOutput, index: int) -> NetworkOutput:
    part = slice(index, index + 1)
    return NetworkOutput(output.logits[:, part], output.codes[:, part], output.embedding[part], output.num_keys, {})


def score(found: list[Boxes3D], truth: list[Targets], class_names: tuple[str, ...]) -> Score:
    """Score boxes against objects, frame by frame."""
    by_class, speed_errors = {}, []
    for label, name in enumerate(class_names):
        if not any((each.labels == label).any() for each in truth):
            continue
        curves = [average_precision(found, truth, label, distance) for distance in DISTANCES_M]
        by_class[name] = float(np.mean([curve[0] for curve in curves]))
        speed_errors.append(curves[2][1])
    speed = np.concatenate(speed_errors) if speed_errors else np.zeros(0)
    return Score(
        mean_ap=float(np.mean(list(by_class.values()))) if by_class else 0.0,
        by_class=by_class,
        velocity_error_mps=float(np.nanmean(speed)) if np.isfinite(speed).any() else float("nan"),
    )


def average_precision(found: list[Boxes3D], truth: list[Targets], label: int, distance_m: float) -> tuple[float, Array]:
    """AP of one class at one distance as nuScenes defines it (arXiv 1903.11027, 3.1).

    Also returns the velocity errors of its true positives, m/s.
    """
    candidates = []
    for frame, boxes in enumerate(found):
        rows = np.flatnonzero(boxes.label == label)
        candidates += [(float(boxes.score[row]), frame, row) for row in rows]
    candidates.sort(key=lambda each: -each[0])
    objects = [each.codes[each.labels == label].cpu().numpy() for each in truth]
    free = [np.ones(len(each), dtype=bool) for each in objects]
    hits, speed_errors = np.zeros(len(candidates)), []
    for index, (_, frame, row) in enumerate(candidates):
        gap = np.linalg.norm(objects[frame][:, :2] - found[frame].center[row, :2], axis=1)
        gap[~free[frame]] = np.inf
        if len(gap) and gap.min() < distance_m:
            best = int(gap.argmin())
            free[frame][best], hits[index] = False, 1.0
            speed_errors.append(float(np.linalg.norm(objects[frame][best, 8:10] - found[frame].velocity[row])))
    return _area(hits, sum(len(each) for each in objects)), np.array(speed_errors)


def _area(hits: npt.NDArray[np.float64], objects: int) -> float:
    """Normalised area under the precision-recall curve above `MIN_RECALL` and `MIN_PRECISION`."""
    if not hits.any():
        return 0.0
    true = hits.cumsum()
    recall, precision = true / objects, true / np.arange(1, len(hits) + 1)
    grid = np.linspace(0, 1, 101)
    curve = np.interp(grid, recall, precision, right=0.0)[round(100 * MIN_RECALL) + 1 :]
    return float(np.clip(curve - MIN_PRECISION, 0, None).mean() / (1 - MIN_PRECISION))
