"""StreamPETR's head: tokens and aligned memory in, class logits and box codes out."""

from __future__ import annotations

import torch
from torch import nn

from tggbc_ros.core.config import ModelConfig, PruningConfig
from tggbc_ros.core.decoder import Decoder
from tggbc_ros.core.layers import logit
from tggbc_ros.core.position import PositionEmbedding
from tggbc_ros.core.queries import Queries, QueryBuilder
from tggbc_ros.core.types import AlignedMemory, NetworkOutput, Tokens

CODE_SIZE = 10  # see NetworkOutput.codes


class Head(nn.Module):
    """Position embedding, queries, decoder, and one class and one box branch shared by all layers."""

    def __init__(self, model: ModelConfig) -> None:
        super().__init__()
        dims = model.embed_dims
        self.model = model
        self.position = PositionEmbedding(model)
        self.queries = QueryBuilder(model)
        self.decoder = Decoder(model)
        self.cls_branch = nn.Sequential(
            nn.Linear(dims, dims),
            nn.LayerNorm(dims),
            nn.ReLU(),
            nn.Linear(dims, dims),
            nn.LayerNorm(dims),
            nn.ReLU(),
            nn.Linear(dims, len(model.class_names)),
        )
        self.reg_branch = nn.Sequential(
            nn.Linear(dims, dims), nn.ReLU(), nn.Linear(dims, dims), nn.ReLU(), nn.Linear(dims, CODE_SIZE)
        )

    def forward(
        self, tokens: Tokens, memory: AlignedMemory, pruning: PruningConfig, all_layers: bool = False
    ) -> NetworkOutput:
        """``all_layers`` also reads the boxes of the earlier decoder layers, which only training needs."""
        return self.answer(self.queries(memory), tokens, pruning, all_layers)

    def answer(
        self, queries: Queries, tokens: Tokens, pruning: PruningConfig, all_layers: bool = False
    ) -> NetworkOutput:
        """What these queries say; training appends some of its own to those of `QueryBuilder`."""
        decoded = self.decoder(queries, tokens, pruning, self.cls_branch)
        outputs = torch.stack(decoded.outputs if all_layers else decoded.outputs[-1:])
        return NetworkOutput(
            logits=self.cls_branch(outputs),
            codes=self.codes(outputs, queries.reference),
            embedding=outputs[-1],
            num_keys=decoded.num_keys,
            trims=decoded.trims,
        )

    def codes(self, outputs: torch.Tensor, reference: torch.Tensor) -> torch.Tensor:
        """Layer outputs [layers, B, Q, C] and references [B, Q, 3] -> box codes [layers, B, Q, 10]."""
        code = self.reg_branch(outputs)
        center = (code[..., :3] + logit(reference)).sigmoid()
        low, high = self.queries.low, self.queries.high
        return torch.cat([center * (high - low) + low, code[..., 3:]], dim=-1)
