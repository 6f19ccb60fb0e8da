"""The key gate: how much the decoder's first layer will look at each image cell, guessed before anything is embedded.

It is distilled from the decoder's own attention (compress/keygate.py), on drives without a label: a cell's feature
vector, its place and camera, and, where there is a past, what the last frames found there (core/carry.py) and where the
queries that memory hands on will look. Two layers; a few thousand multiply-adds a cell.
"""

from __future__ import annotations

from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn

from tggbc_ros.core.carry import Carried
from tggbc_ros.core.checkpoint import read_gate_state
from tggbc_ros.core.config import ModelConfig
from tggbc_ros.core.types import AlignedMemory, NetworkInput
from tggbc_ros.core.wrappings import State

BLURS = (3, 7)
"""Widths, in cells, over which the sight of a query is spread."""

FOUND_HINTS = 2
HINTS = FOUND_HINTS + 2 * (1 + len(BLURS))
LEAST_DEPTH_M = 0.5
NEAR_M = 10.0
LEAST_SHARE = 1e-4
"""Of the mean importance; below it, differences mean nothing."""


class GateError(ValueError):
    """A key gate that is incomplete, not finite, or of another model."""


class KeyGate(nn.Module):
    """Log importance of every image cell, up to a constant; of a model's features and number of cameras."""

    def __init__(self, model: ModelConfig, cameras: int, hidden: int) -> None:
        super().__init__()
        rows, columns = model.feature_size
        self.model = model
        self.cameras = cameras
        self.features = nn.Linear(model.embed_dims, hidden, bias=False)
        self.hints = nn.Linear(HINTS, hidden, bias=False)
        self.row = nn.Parameter(torch.zeros(cameras, rows, 1, hidden))
        self.column = nn.Parameter(torch.zeros(cameras, 1, columns, hidden))
        self.out = nn.Linear(hidden, 1)

    def expect(self, cameras: int, whose: str = "the frame") -> None:
        """Raise ValueError where something has another number of cameras than those that the gate was fitted on."""
        if cameras != self.cameras:
            raise ValueError(
                f"{whose} has {cameras} cameras, and the key gate was fitted on {self.cameras}: fit one on this rig "
                "(tools.compress keygate), or set start_ratio to 1"
            )

    def forward(self, features: torch.Tensor, hints: torch.Tensor) -> torch.Tensor:
        """features [B, T, C] (`position.cell_features`) and hints [B, T, HINTS] -> [B, T]."""
        return self._score(features, hints, self._place())

    def of_cells(self, features: torch.Tensor, hints: torch.Tensor, cells: torch.Tensor) -> torch.Tensor:
        """As `forward`, of any cells [K], with features [K, C] and hints [K, HINTS] -> [K]."""
        return self._score(features, hints, F.embedding(cells, self._place()))

    def _place(self) -> torch.Tensor:
        """[T, hidden]: what a cell's place says, whatever is seen there."""
        return (self.row + self.column).flatten(0, 2)

    def _score(self, features: torch.Tensor, hints: torch.Tensor, place: torch.Tensor) -> torch.Tensor:
        score: torch.Tensor = self.out((place + self.features(features) + self.hints(hints)).relu())[..., 0]
        return score


def load_gate(model: ModelConfig, checkpoint: Path) -> KeyGate | None:
    """The key gate that travels with a checkpoint's weights; None where there is none.

    Raises GateError for one that does not fit the model, and what `core.checkpoint.read_state_dict` does.
    """
    state = read_gate_state(checkpoint)
    return gate_from(model, state, f"checkpoint {checkpoint}") if state else None


def gate_from(model: ModelConfig, state: State, source: str) -> KeyGate:
    """A gate of these tensors, without their prefix; raises GateError naming ``source`` and all that is wrong."""
    row, features = state.get("row"), state.get("features.weight")
    cameras, hidden = (0 if each is None or each.ndim < 1 else each.shape[0] for each in (row, features))
    with torch.device("meta"):  # sizes without memory: those that the file says may be absurd
        gate = KeyGate(model, max(1, cameras), max(1, hidden))
    expected = {name: tuple(each.shape) for name, each in gate.state_dict().items()}
    problems = [f"lacks {name}" for name in expected if name not in state]
    problems += [f"has an unknown {name}" for name in state if name not in expected]
    for name in state.keys() & expected.keys():
        found = tuple(state[name].shape)
        if found != expected[name]:
            problems.append(f"has {name} of shape {found}, expected {expected[name]}")
        elif not torch.isfinite(state[name]).all():
            problems.append(f"has NaN or infinity in {name}")
    if problems:
        raise GateError(f"the key gate in {source} does not fit model {model.name}: it {', '.join(sorted(problems))}")
    gate.to_empty(device="cpu").load_state_dict(dict(state))
    return gate.eval().requires_grad_(False)


@torch.no_grad()
def hints_of(
    model: ModelConfig, inputs: NetworkInput, memory: AlignedMemory | None, carried: Carried | None
) -> torch.Tensor:
    """[B, T, HINTS]: what the past says about each cell; zeros where there is none.

    memory: as the frame reads it. carried: importance as the frames before found it.
    """
    batch, cameras = inputs.lidar2img.shape[:2]
    rows, columns = model.feature_size
    hints = inputs.lidar2img.new_zeros(batch, cameras * rows * columns, HINTS)
    if carried is not None:
        hints[..., :FOUND_HINTS] = found(carried)
    if memory is not None:
        asking = memory.reference_point[:, : model.num_propagated]
        hints[..., FOUND_HINTS:] = sights(asking, inputs.lidar2img, model)
    return hints


def found(carried: Carried) -> torch.Tensor:
    """[B, T, FOUND_HINTS]: log importance over its mean, as the frames before left it, and that there were any."""
    share = carried.importance / carried.importance.mean(dim=1, keepdim=True)
    log_share = share.clamp_min(LEAST_SHARE).log()
    return torch.stack([log_share, torch.ones_like(log_share)], dim=-1)


def sights(points: torch.Tensor, lidar2img: torch.Tensor, model: ModelConfig) -> torch.Tensor:
    """[B, T, 2 (1 + blurs)]: how many of the points [B, M, 3] (metres, lidar frame) each cell sees, log (1 + n).

    Counted as they are and as their nearness, up to 1, has it; in the cell itself and spread over its neighbours.
    """
    (batch, cameras), (rows, columns) = lidar2img.shape[:2], model.feature_size
    seen = torch.einsum("bnij,bmj->bnmi", lidar2img[..., :3, :3], points) + lidar2img[:, :, None, :3, 3]
    depth = seen[..., 2]
    cell = (seen[..., :2] / (depth.clamp_min(LEAST_DEPTH_M) * model.stride)[..., None]).floor()
    column, row = cell.unbind(dim=-1)
    inside = (depth > LEAST_DEPTH_M) & (column >= 0) & (column < columns) & (row >= 0) & (row < rows)
    place = (row.clamp(0, rows - 1) * columns + column.clamp(0, columns - 1)).long()
    weight = torch.stack([inside.float(), inside * (NEAR_M / depth.clamp_min(NEAR_M))], dim=2)
    counts = weight.new_zeros(batch, cameras, 2, rows * columns)
    counts.scatter_add_(3, place[:, :, None].expand_as(weight), weight)
    maps = counts.view(batch * cameras, 2, rows, columns)
    spread = [maps, *(F.avg_pool2d(maps, width, stride=1, padding=width // 2) * width**2 for width in BLURS)]
    return torch.cat(spread, dim=1).log1p().permute(0, 2, 3, 1).reshape(batch, cameras * rows * columns, -1)
