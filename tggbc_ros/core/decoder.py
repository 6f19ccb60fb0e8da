"""The decoder: queries attend to each other, to memory and to the image keys, layer by layer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import nn

from tggbc_ros.core import pruning
from tggbc_ros.core.attention import Attention
from tggbc_ros.core.config import ModelConfig, PruningConfig
from tggbc_ros.core.queries import Queries
from tggbc_ros.core.types import Tokens, Trim

Layer = Callable[[torch.Tensor, Queries, Tokens], tuple[torch.Tensor, torch.Tensor, torch.Tensor]]
"""As `DecoderLayer.forward`."""


@dataclass(frozen=True, eq=False)
class Decoded:
    """Normalised output [B, Q, C] of every layer, keys that each saw, and what was trimmed where."""

    outputs: tuple[torch.Tensor, ...]
    num_keys: tuple[int, ...]
    trims: dict[int, Trim]


class DecoderLayer(nn.Module):
    """Self-attention, cross-attention, feed-forward; a norm after each (post-norm)."""

    def __init__(self, model: ModelConfig) -> None:
        super().__init__()
        dims = model.embed_dims
        self.self_attention = Attention(dims, model.num_heads)
        self.cross_attention = Attention(dims, model.num_heads)
        self.ffn = nn.Sequential(nn.Linear(dims, model.ffn_dims), nn.ReLU(), nn.Linear(model.ffn_dims, dims))
        self.norms = nn.ModuleList(nn.LayerNorm(dims) for _ in range(3))

    def forward(
        self, hidden: torch.Tensor, queries: Queries, tokens: Tokens
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Returns the new hidden state [B, Q, C] and the projected cross-attention query and key heads."""
        asking = hidden + queries.position
        seen = torch.cat([asking, queries.memory + queries.memory_position], dim=1)
        value = torch.cat([hidden, queries.memory], dim=1)
        hidden = self.norms[0](hidden + self.self_attention(asking, seen, value, queries.blocked))
        query, key, value = self.cross_attention.project(hidden + queries.position, tokens.key, tokens.value)
        hidden = self.norms[1](hidden + self.cross_attention.attend(query, key, value))
        del value  # as large as all keys, and the feed-forward is about to ask for memory
        return self.norms[2](hidden + self.ffn(hidden)), query, key


class Decoder(nn.Module):
    """The layers and the norm of their outputs."""

    def __init__(self, model: ModelConfig) -> None:
        super().__init__()
        self.layers = nn.ModuleList(DecoderLayer(model) for _ in range(model.num_layers))
        self.post_norm = nn.LayerNorm(model.embed_dims)

    def forward(
        self,
        queries: Queries,
        tokens: Tokens,
        config: PruningConfig,
        classify: Callable[[torch.Tensor], torch.Tensor],
    ) -> Decoded:
        """``classify`` turns a layer's output [B, Q, C] into class logits, which weigh the votes on keys."""
        return run_layers(tuple(self.layers), self.post_norm, classify, queries, tokens, config)


def run_layers(
    layers: Sequence[Layer],
    post_norm: Callable[[torch.Tensor], torch.Tensor],
    classify: Callable[[torch.Tensor], torch.Tensor],
    queries: Queries,
    tokens: Tokens,
    config: PruningConfig,
) -> Decoded:
    """The layer loop, for layers of any engine; between them, tgGBC trims the keys."""
    quotas = pruning.plan(config, tokens.num_cells, tokens.key.shape[1], len(layers))
    hidden = queries.content
    pool: pruning.Pool | None = None
    outputs, num_keys, trims = [], [], {}
    for index, (layer, quota) in enumerate(zip(layers, quotas, strict=True)):
        num_keys.append(tokens.key.shape[1])
        hidden, query, key = layer(hidden, queries, tokens)
        outputs.append(post_norm(hidden))
        if quota is not None:
            votes = query[:, :, : queries.voters], classify(outputs[-1][:, : queries.voters])
            tokens, pool, trims[index] = pruning.trim(tokens, key, *votes, quota, config, pool)
        del query, key  # as large as all keys: not to be held while the next layer projects its own
    return Decoded(tuple(outputs), tuple(num_keys), trims)
