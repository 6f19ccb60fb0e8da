"""tgGBC: trim decoder keys by class score x attention, at run time (arXiv 2503.08101).

Keys that no confident query looks at are dropped after a layer, so that later layers pay for fewer.
Nothing is learned; 1.0 leaves the network as it is. `kept_keys` is the whole method for another decoder;
`plan` and `trim` are what ours calls. docs/pruning.md tells the rest.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from tggbc_ros.core.attention import key_importance
from tggbc_ros.core.config import PruningConfig
from tggbc_ros.core.types import Tokens, Trim

Quota = tuple[int, int]
"""Least and most keys that a trim leaves; where they differ, importance decides between them."""


@dataclass(frozen=True, eq=False)
class Pool:
    """Tokens that a trim may choose from, and the importance [B, T] that each was last found to have."""

    tokens: Tokens
    importance: torch.Tensor


def kept_keys(logits: torch.Tensor, attention: torch.Tensor, count: int, queries: int = 0) -> torch.Tensor:
    """Which keys to keep after a decoder layer, for any decoder: places [B, count], ascending.

    logits [B, Q, classes]: class logits of the layer's output. attention [B, Q, K]: its cross-attention
    weights, averaged over heads. queries: at most so many of the most confident queries vote; <= 0: all.
    Raises ValueError for shapes or a count that do not fit, FloatingPointError for NaN or infinity.
    """
    if logits.ndim != 3 or attention.ndim != 3 or logits.shape[:2] != attention.shape[:2]:
        shapes = f"{tuple(logits.shape)} and {tuple(attention.shape)}"
        raise ValueError(f"logits and attention have shapes {shapes}, expected [B, Q, classes] and [B, Q, K]")
    if not 1 <= count <= attention.shape[2]:
        raise ValueError(f"count is {count}, expected 1 to {attention.shape[2]}, the keys there are")
    weight, voters = confident_queries(logits, queries)
    rows = attention.take_along_dim(voters[..., None], dim=1)
    importance = (weight[:, None] @ rows)[:, 0]
    if not torch.isfinite(importance).all():
        raise FloatingPointError("class logits or attention hold NaN or infinity")
    return most_important(importance, count)


def confident_queries(logits: torch.Tensor, queries: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Who votes, and how much: best class score [B, k] of the k most confident queries, and which they are [B, k].

    logits [B, Q, classes]. k is ``queries``, or Q where that is <= 0 or more than there are.
    """
    confidence = logits.max(dim=-1).values.sigmoid()
    count = min(queries, confidence.shape[1]) if queries > 0 else confidence.shape[1]
    weight, voters = confidence.topk(count, dim=1)
    return weight, voters


def most_important(importance: torch.Tensor, count: int) -> torch.Tensor:
    """Places [B, count] of the highest importance [B, K], ascending: image order is kept."""
    return importance.topk(count, dim=1, sorted=False).indices.sort(dim=1).values


def fewest_holding(importance: torch.Tensor, mass: float) -> int:
    """The least number of keys that together hold the share ``mass`` of the importance [B, K]; the most of a batch."""
    held = importance.double().sort(dim=1, descending=True).values.cumsum(dim=1)
    too_few = held < mass * held[:, -1:]
    return int(too_few.sum(dim=1).max()) + 1


def keys_to_keep(num_keys: int, keep_ratio: float) -> int:
    """Keys left at the end: num_keys - round((1 - keep_ratio) * num_keys), at least one."""
    return max(1, num_keys - round((1.0 - keep_ratio) * num_keys))


def trim_schedule(removed: int, layers: int, num_layers: int) -> tuple[int, ...]:
    """How many keys each of ``num_layers`` decoder layers removes after it ran.

    The reference's rule: even shares in the first ``layers`` layers, an odd share made even by one
    less, and the last of them takes the rest.
    """
    share = removed // layers
    share -= share % 2
    return (share,) * (layers - 1) + (removed - share * (layers - 1),) + (0,) * (num_layers - layers)


def plan(config: PruningConfig, num_cells: int, num_keys: int, num_layers: int) -> tuple[Quota | None, ...]:
    """What each of ``num_layers`` decoder layers leaves to the next; None where it changes nothing.

    Shares are of all ``num_cells`` image cells, ``num_keys`` of which the first layer sees. What is carried to the next
    frame is found by the first trim, which then takes place even where it leaves all keys (of few cameras, of a small
    start). Raises ValueError if the configuration trims after more layers than there are.
    """
    config.check_layers(num_layers)
    if config.keep.mode == "mass":
        bounds = config.keep.min_ratio, config.keep.max_ratio
        least, most = (min(num_keys, keys_to_keep(num_cells, share)) for share in bounds)
        quota = (least, most) if least < num_keys or config.remembers else None
        return (quota,) * config.trims + (None,) * (num_layers - config.trims)
    quotas: list[Quota | None] = []
    before = num_keys
    for count in _counts(config, num_cells, num_keys):
        changes = count < before or (config.reactivate and count < num_keys)
        needed = changes or (config.remembers and not quotas)
        quotas.append((count, count) if needed else None)
        before = count
    return (*quotas, *(None,) * (num_layers - len(quotas)))


def _counts(config: PruningConfig, num_cells: int, num_keys: int) -> list[int]:
    """Keys left after each trimming layer."""
    final = min(num_keys, keys_to_keep(num_cells, config.keep_ratio))
    if config.schedule == "ratios":
        listed = (keys_to_keep(num_cells, share) for share in config.ratios)
        return [min(num_keys, max(final, count)) for count in listed] + [final]
    removals = trim_schedule(num_keys - final, config.trims, config.trims)
    return [num_keys - sum(removals[: index + 1]) for index in range(config.trims)]


def trim(
    tokens: Tokens,
    key: torch.Tensor,
    query: torch.Tensor,
    logits: torch.Tensor,
    quota: Quota,
    config: PruningConfig,
    pool: Pool | None = None,
) -> tuple[Tokens, Pool | None, Trim]:
    """Keep the most important tokens, judged by the layer that just attended to ``tokens``.

    key [B, heads, T, d] and query [B, heads, Q, d]: that layer's projected cross-attention heads.
    logits [B, Q, classes]: class logits of its output. pool: what the last trim returned, which is None
    but for ``config.reactivate``: the tokens in it that this layer did not see may come back.
    """
    weight, voters = confident_queries(logits, config.queries)
    rows = voters[:, None, :, None].expand(-1, query.shape[1], -1, query.shape[3])
    importance = key_importance(query.gather(2, rows), key, weight)
    pool = update(pool, tokens, importance) if pool is not None else Pool(tokens, importance)
    least, most = quota
    count = most if least == most else max(least, min(most, fewest_holding(pool.importance, config.keep.mass)))
    count = min(count, pool.importance.shape[1])
    kept = select(pool.tokens, most_important(pool.importance, count))
    trimmed = Trim(seen=tokens.index, importance=importance, kept=kept.index, queries=voters)
    return kept, pool if config.reactivate else None, trimmed  # a pool holds on to every token there was


def update(pool: Pool, seen: Tokens, importance: torch.Tensor) -> Pool:
    """The pool with what a layer found about the tokens that it saw; the others keep what they had."""
    places = torch.searchsorted(pool.tokens.index.contiguous(), seen.index.contiguous())
    return Pool(pool.tokens, revise(pool.importance, places, importance))


def revise(known: torch.Tensor, places: torch.Tensor, found: torch.Tensor) -> torch.Tensor:
    """Importance [B, T] of all keys, after that of some [B, K] was found while the others were left out.

    Attention is shared out among the keys that are there: the fewer, the more each gets. So what was
    found is scaled until these keys together hold what they held before, as if all had been there.
    """
    held = known.gather(1, places).sum(dim=1, keepdim=True)
    return known.scatter(1, places, shares(found) * held)


def shares(importance: torch.Tensor) -> torch.Tensor:
    """Importance [B, K] as shares of its sum; 0 where all of it is."""
    return importance / importance.sum(dim=1, keepdim=True).clamp_min(torch.finfo(importance.dtype).tiny)


def select(tokens: Tokens, chosen: torch.Tensor) -> Tokens:
    """The tokens at the places ``chosen`` [B, K], which are ascending: image order is kept."""
    batch, count = tokens.index.shape
    if batch == 1:
        key, value, index = (part.index_select(1, chosen[0]) for part in (tokens.key, tokens.value, tokens.index))
        return Tokens(key, value, index, tokens.num_cells)
    # Whole rows at once: several times faster than gather, which goes number by number.
    rows = (chosen + count * torch.arange(batch, device=chosen.device)[:, None]).flatten()
    key, value = (
        part.flatten(0, 1).index_select(0, rows).unflatten(0, chosen.shape) for part in (tokens.key, tokens.value)
    )
    return Tokens(key, value, tokens.index.gather(1, chosen), tokens.num_cells)
