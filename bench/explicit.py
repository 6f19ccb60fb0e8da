"""The same decoder as the reference runs it: with the attention map of every layer held in memory.

For comparison only. As tgGBC's own code, it attends by ``torch.nn.MultiheadAttention`` with ``need_weights``, in
self- and cross-attention: scores of all heads, softmax, weighted sum, mean over heads.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import cast

import torch
from torch import nn

from tggbc_ros.core import pruning
from tggbc_ros.core.config import PruningConfig
from tggbc_ros.core.decoder import Decoded, Decoder, DecoderLayer
from tggbc_ros.core.head import Head
from tggbc_ros.core.queries import Queries
from tggbc_ros.core.types import Tokens


def explicit_head(head: Head) -> Head:
    """A head with the same weights that holds every attention map."""
    other = copy.deepcopy(head)
    other.decoder = ExplicitDecoder(head.model)
    for layer in cast("list[DecoderLayer]", list(other.decoder.layers)):
        for name in ("self_attention", "cross_attention"):
            setattr(layer, name, nn.MultiheadAttention(head.model.embed_dims, head.model.num_heads, batch_first=True))
    other.decoder.load_state_dict(head.decoder.state_dict())  # names and layout are the same
    other.decoder.to(next(head.parameters())).eval().requires_grad_(False)
    return other


def explicit_layer(
    layer: DecoderLayer, hidden: torch.Tensor, queries: Queries, tokens: Tokens
) -> tuple[torch.Tensor, torch.Tensor]:
    """The new hidden state [B, Q, C] and the cross-attention map [B, Q, K]."""
    asking = hidden + queries.position
    seen = torch.cat([asking, queries.memory + queries.memory_position], dim=1)
    value = torch.cat([hidden, queries.memory], dim=1)
    looked, _ = layer.self_attention(asking, seen, value)
    hidden = layer.norms[0](hidden + looked)
    looked, attention = layer.cross_attention(hidden + queries.position, tokens.key, tokens.value)
    hidden = layer.norms[1](hidden + looked)
    return layer.norms[2](hidden + layer.ffn(hidden)), attention


class ExplicitDecoder(Decoder):
    """The same loop, but importance is read off the map that each layer has."""

    def forward(
        self,
        queries: Queries,
        tokens: Tokens,
        config: PruningConfig,
        classify: Callable[[torch.Tensor], torch.Tensor],
    ) -> Decoded:
        """As `Decoder.forward`, for fixed ratios; what was trimmed is not told."""
        quotas = pruning.plan(config, tokens.num_cells, tokens.key.shape[1], len(self.layers))
        hidden, outputs, num_keys = queries.content, [], []
        for layer, quota in zip(cast("list[DecoderLayer]", list(self.layers)), quotas, strict=True):
            num_keys.append(tokens.key.shape[1])
            hidden, attention = explicit_layer(layer, hidden, queries, tokens)
            outputs.append(self.post_norm(hidden))
            if quota is not None:
                kept = pruning.kept_keys(classify(outputs[-1]), attention, quota[1], config.queries)
                tokens = pruning.select(tokens, kept)
        return Decoded(tuple(outputs), tuple(num_keys), {})
