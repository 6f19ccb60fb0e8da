"""tgGBC: trim decoder keys by class score x attention, at run time (arXiv 2503.08101).

Keys that no confident query looks at are dropped after a layer, so that later layers pay for fewer.
Nothing is learned; 1.0 leaves the network as it is.
"""

from __future__ import annotations

import torch

from tggbc_ros.core.attention import key_importance
from tggbc_ros.core.config import PruningConfig
from tggbc_ros.core.types import Tokens, Trim


def keys_to_keep(num_keys: int, keep_ratio: float) -> int:
    """Keys left at the end: num_keys - round((1 - keep_ratio) * num_keys), at least one."""
    return max(1, num_keys - round((1.0 - keep_ratio) * num_keys))


def trim_schedule(removed: int, layers: int, num_layers: int) -> tuple[int, ...]:
    """How many keys each of ``num_layers`` decoder layers removes after it ran.

    The reference's rule: even shares in the first ``layers`` layers, an odd share made even by one
    less, and the last of them takes the rest. Raises if ``layers`` is not in 1..num_layers.
    """
    if not 1 <= layers <= num_layers:
        raise ValueError(f"prune_layers is {layers}, expected 1 to {num_layers}, the number of decoder layers")
    share = removed // layers
    share -= share % 2
    return (share,) * (layers - 1) + (removed - share * (layers - 1),) + (0,) * (num_layers - layers)


def schedule(pruning: PruningConfig, num_keys: int, num_layers: int) -> tuple[int, ...]:
    """`trim_schedule` for a keep ratio."""
    removed = num_keys - keys_to_keep(num_keys, pruning.keep_ratio)
    return trim_schedule(removed, pruning.layers, num_layers)


def trim(
    tokens: Tokens, key: torch.Tensor, query: torch.Tensor, logits: torch.Tensor, removed: int, queries: int
) -> tuple[Tokens, Trim]:
    """Drop the ``removed`` least important tokens, judged by the layer that just attended to them.

    key [B, heads, T, d] and query [B, heads, Q, d]: that layer's projected cross-attention heads.
    logits [B, Q, classes]: class logits of its output. queries: how many of the most confident queries
    vote; all of them if <= 0 or more than there are.
    """
    confidence = logits.max(dim=-1).values.sigmoid()
    count = min(queries, confidence.shape[1]) if queries > 0 else confidence.shape[1]
    weight, voters = confidence.topk(count, dim=1)
    rows = voters[:, None, :, None].expand(-1, query.shape[1], -1, query.shape[3])
    importance = key_importance(query.gather(2, rows), key, weight)
    chosen = importance.topk(importance.shape[1] - removed, dim=1, sorted=False).indices.sort(dim=1).values
    kept = select(tokens, chosen)
    return kept, Trim(seen=tokens.index, importance=importance, kept=kept.index, queries=voters)


def select(tokens: Tokens, chosen: torch.Tensor) -> Tokens:
    """The tokens at the places ``chosen`` [B, K], which are ascending: image order is kept."""
    rows = chosen[..., None].expand(-1, -1, tokens.key.shape[-1])
    return Tokens(tokens.key.gather(1, rows), tokens.value.gather(1, rows), tokens.index.gather(1, chosen))
