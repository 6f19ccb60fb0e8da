"""The networks on their way: read, cut, given norms of their own anew, written with what was done to them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from tggbc_ros.compress.cutting import Cut
from tggbc_ros.compress.statistics import estimate_norms
from tggbc_ros.compress.surgery import cut_network
from tggbc_ros.core.checkpoint import GATE_PREFIX, build_network, fitting, read_gate_state, read_state_dict
from tggbc_ros.core.config import ModelConfig
from tggbc_ros.core.model import StreamPETR
from tggbc_ros.core.network_file import history_of, write_network
from tggbc_ros.core.shape import PRESETS, Shape
from tggbc_ros.export.calibration import spread
from tggbc_ros.training.frames import FrameTable

FRAMES_AT_ONCE = 4


def shape_of(model: ModelConfig, checkpoint: Path) -> Shape:
    """What the checkpoint's backbone looks like; raises ValueError for one that is not of convolutions."""
    if model.backbone not in PRESETS:
        raise ValueError(f"model {model.name} has a backbone {model.backbone}, expected one of {', '.join(PRESETS)}")
    return fitting(model, checkpoint).shape or PRESETS[model.backbone]


def write_cut(model: ModelConfig, checkpoint: Path, cut: Cut, out: Path, step: Mapping[str, Any]) -> StreamPETR:
    """Cut a checkpoint's network and write the small one; step: what its history says of it."""
    small = cut_network(build_network(model, checkpoint)[0].eval(), cut)
    write(small, out, [*history_of(checkpoint), step], checkpoint)
    return small


def write(network: StreamPETR, out: Path, history: Sequence[Mapping[str, Any]], like: Path) -> None:
    """Write a network in the precision of a checkpoint that it comes of, with that one's key gate if there is one."""
    state = {name: each.detach().cpu().contiguous() for name, each in network.state_dict().items()}
    if _is_half(like):
        state = {name: each.half() if each.is_floating_point() else each for name, each in state.items()}
    state |= {f"{GATE_PREFIX}{name}": each for name, each in read_gate_state(like).items()}
    write_network(state, out, network.model.shape, history)


def with_new_norms(
    model: ModelConfig, checkpoint: Path, table: FrameTable, rows: list[int], out: Path, done: Callable[[], None]
) -> None:
    """Write a checkpoint's network with norms that know what they see now, in these frames of a table.

    done: called after each batch of `FRAMES_AT_ONCE` frames.
    """
    network = build_network(model, checkpoint)[0].eval()
    estimate_norms(network, _images(network, table, rows), done)
    write(network, out, [*history_of(checkpoint), {"step": "norms", "frames": len(rows)}], checkpoint)


def norm_frames(table: FrameTable, frames: int, seed: int) -> list[int]:
    """Rows of a table to estimate norms on, at most so many, spread over its scenes."""
    taken = spread(list(table.scene_lengths), min(frames, len(table)), seed)
    return [int(start) + row for start, rows in zip(table.scene_start, taken, strict=False) for row in rows]


def _images(network: StreamPETR, table: FrameTable, rows: list[int]) -> Iterator[torch.Tensor]:
    for first in range(0, len(rows), FRAMES_AT_ONCE):
        batch = table.batch(rows[first : first + FRAMES_AT_ONCE], network.model, torch.device("cpu"))
        yield batch.inputs.images.flatten(0, 1)


def _is_half(checkpoint: Path) -> bool:
    floating = [each for each in read_state_dict(checkpoint).values() if each.is_floating_point()]
    return all(each.dtype == torch.float16 for each in floating)
