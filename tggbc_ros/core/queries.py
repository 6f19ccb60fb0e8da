"""The decoder's queries: learned ones, and those that temporal memory propagates."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from tggbc_ros.core.config import ModelConfig
from tggbc_ros.core.layers import ModulatedLayerNorm, fourier_embedding, mlp, point_embedding, sine_embedding
from tggbc_ros.core.types import AlignedMemory

MOTION_DIMS = 15  # velocity x, y; age; the upper 3x4 of the relative pose


@dataclass(frozen=True, eq=False)
class Queries:
    """Content and position [B, Q, C], reference [B, Q, 3] (pc_range is 0..1), and the rest of memory.

    memory and memory_position: [B, L - propagated, C], which queries may look at but which do not ask.
    Training alone appends denoising queries: blocked [Q, Q + L - propagated] is then True where a query
    must not see another, and only the first ``voters`` queries say which keys matter.
    """

    content: torch.Tensor
    position: torch.Tensor
    reference: torch.Tensor
    memory: torch.Tensor
    memory_position: torch.Tensor
    blocked: torch.Tensor | None = None
    voters: int | None = None


def motion_code(memory: AlignedMemory) -> torch.Tensor:
    """[B, L, 15]: how each memory row and the vehicle moved since it was written."""
    pose = memory.pose[:, :, :3].flatten(2)
    return torch.cat([memory.velocity, memory.age_s[..., None], pose], dim=-1)


class QueryBuilder(nn.Module):
    """Builds the queries of one frame from learned reference points and aligned memory."""

    low: torch.Tensor
    high: torch.Tensor

    def __init__(self, model: ModelConfig) -> None:
        super().__init__()
        dims = model.embed_dims
        self.model = model
        self.reference_points = nn.Parameter(torch.rand(model.num_queries, 3))
        self.pseudo_reference_points = nn.Parameter(torch.rand(model.num_propagated, 3), requires_grad=False)
        self.embedding = mlp(3 * dims // 2, dims, dims)
        self.time_embedding = nn.Sequential(nn.Linear(dims, dims), nn.LayerNorm(dims))
        self.ego_pose_pe = ModulatedLayerNorm(12 * MOTION_DIMS, dims)
        self.ego_pose_memory = ModulatedLayerNorm(12 * MOTION_DIMS, dims)
        self.register_buffer("low", torch.tensor(model.pc_range[:3]), persistent=False)
        self.register_buffer("high", torch.tensor(model.pc_range[3:]), persistent=False)

    def start_points(self) -> torch.Tensor:
        """[propagated, 3] metres, lidar frame: where the queries of an empty memory look."""
        return self.pseudo_reference_points * (self.high - self.low) + self.low

    def _embed_position(self, reference: torch.Tensor, motion: torch.Tensor, age_s: torch.Tensor) -> torch.Tensor:
        """Position embedding [B, Q, C] of references [B, Q, 3] that moved by ``motion`` over ``age_s``."""
        dims = self.model.embed_dims
        position = self.ego_pose_pe(self.embedding(point_embedding(reference, dims // 2)), motion)
        embedded: torch.Tensor = position + self.time_embedding(sine_embedding(age_s, dims))
        return embedded

    def _content(self, content: torch.Tensor, position: torch.Tensor) -> torch.Tensor:
        """What a query begins with, both [B, Q, C]."""
        return content + position if self.model.content_from_position else content

    def standing(self, reference: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Content, position and reference of queries at ``reference`` [B, Q, 3] that are new and stand still."""
        still = torch.eye(4, device=reference.device)[:3].flatten()
        code = torch.cat([still.new_zeros(3), still]).expand(*reference.shape[:2], -1)
        motion = fourier_embedding(code)
        content = self.ego_pose_memory(motion.new_zeros(*reference.shape[:2], self.model.embed_dims), motion)
        position = self._embed_position(reference, motion, reference.new_zeros(reference.shape[:2]))
        return self._content(content, position), position, reference

    def propagated(self, rows: AlignedMemory) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Content, position and reference of queries that rows of memory become."""
        content, position, reference = self._remembered(rows)
        return self._content(content, position), position, reference

    def _remembered(self, memory: AlignedMemory) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Content, position and reference of memory's rows, which queries may look at."""
        motion = fourier_embedding(motion_code(memory))
        reference = (memory.reference_point - self.low) / (self.high - self.low)
        content = self.ego_pose_memory(memory.embedding, motion)
        return content, self._embed_position(reference, motion, memory.age_s), reference

    def forward(self, memory: AlignedMemory) -> Queries:
        """Learned queries first, then the first ``num_propagated`` memory rows."""
        content, position, reference = self.standing(self.reference_points.expand(memory.embedding.shape[0], -1, -1))
        old_content, old_position, old_reference = self._remembered(memory)
        count = self.model.num_propagated
        return Queries(
            content=torch.cat([content, self._content(old_content, old_position)[:, :count]], dim=1),
            position=torch.cat([position, old_position[:, :count]], dim=1),
            reference=torch.cat([reference, old_reference[:, :count]], dim=1),
            memory=old_content[:, count:],
            memory_position=old_position[:, count:],
        )
