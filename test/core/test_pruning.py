"""Key pruning against a plain, slow reading of the paper."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tggbc_ros.core import attention, pruning
from tggbc_ros.core.config import PruningConfig
from tggbc_ros.core.types import Tokens

HEADS, DIMS = 4, 8


def make_layer(seed: int, queries: int, keys: int) -> tuple[Tokens, torch.Tensor, torch.Tensor, torch.Tensor]:
    """Tokens, projected key and query heads, class logits."""
    generator = torch.Generator().manual_seed(seed)
    rand = lambda *shape: torch.randn(*shape, generator=generator)  # noqa: E731
    tokens = Tokens(rand(1, keys, HEADS * DIMS), rand(1, keys, HEADS * DIMS), torch.arange(keys)[None])
    return tokens, rand(1, HEADS, keys, DIMS), rand(1, HEADS, queries, DIMS), rand(1, queries, 10)


def importance_by_the_paper(key: torch.Tensor, query: torch.Tensor, logits: torch.Tensor, counted: int) -> np.ndarray:
    """S_j = sum over the counted queries of c_i A_ij, in float64 with the full attention map."""
    key, query = key[0].double().numpy(), query[0].double().numpy()
    scores = np.einsum("hqd,hkd->hqk", query, key) / np.sqrt(DIMS)
    weights = np.exp(scores - scores.max(-1, keepdims=True))
    attention_map = (weights / weights.sum(-1, keepdims=True)).mean(0)
    confidence = 1 / (1 + np.exp(-logits[0].double().numpy().max(-1)))
    chosen = np.argsort(-confidence)[: counted if counted > 0 else None]
    return confidence[chosen] @ attention_map[chosen]


@pytest.mark.parametrize(("queries", "keys", "counted", "removed"), [(7, 40, 3, 11), (20, 9, 0, 8), (5, 100, 500, 1)])
def test_trim_keeps_the_keys_the_paper_keeps(queries: int, keys: int, counted: int, removed: int) -> None:
    tokens, key, query, logits = make_layer(queries, queries, keys)
    expected = importance_by_the_paper(key, query, logits, counted)
    kept, trim = pruning.trim(tokens, key, query, logits, removed, counted)
    np.testing.assert_allclose(trim.importance[0], expected, rtol=1e-5)
    assert trim.kept[0].tolist() == sorted(np.argsort(-expected)[: keys - removed])
    assert torch.equal(kept.key[0], tokens.key[0, trim.kept[0]])
    assert torch.equal(kept.value[0], tokens.value[0, trim.kept[0]])


def test_trimming_twice_keeps_original_indices() -> None:
    tokens, key, query, logits = make_layer(0, 6, 30)
    once, first = pruning.trim(tokens, key, query, logits, 10, 0)
    twice, second = pruning.trim(once, key[:, :, first.kept[0]], query, logits, 5, 0)
    assert torch.equal(second.seen, first.kept)
    assert set(second.kept[0].tolist()) < set(first.kept[0].tolist())
    assert torch.equal(twice.key[0], tokens.key[0, second.kept[0]])


def test_importance_does_not_depend_on_the_chunk(monkeypatch: pytest.MonkeyPatch) -> None:
    _, key, query, logits = make_layer(3, 50, 64)
    weight = logits.max(-1).values.sigmoid()
    whole = attention.key_importance(query, key, weight)
    monkeypatch.setattr(attention, "SCORING_CHUNK", 1)
    torch.testing.assert_close(attention.key_importance(query, key, weight), whole)
    assert whole.sum().item() == pytest.approx(weight.sum().item(), rel=1e-5)  # attention rows sum to one


@given(st.integers(0, 30000), st.integers(1, 6))
def test_schedule_removes_exactly_what_is_asked(removed: int, layers: int) -> None:
    schedule = pruning.trim_schedule(removed, layers, 6)
    assert sum(schedule) == removed
    assert len(schedule) == 6
    assert all(share % 2 == 0 for share in schedule[: layers - 1])
    assert all(share == 0 for share in schedule[layers:])
    assert min(schedule) >= 0


@pytest.mark.parametrize(
    ("removed", "layers", "expected"),
    [(21000, 1, (21000, 0, 0)), (103, 2, (50, 53, 0)), (201, 3, (66, 66, 69)), (1, 3, (0, 0, 1)), (0, 2, (0, 0, 0))],
)
def test_schedule_is_the_references(removed: int, layers: int, expected: tuple[int, ...]) -> None:
    assert pruning.trim_schedule(removed, layers, 3) == expected


@given(st.integers(1, 30000), st.floats(1e-9, 1.0))
def test_some_key_is_always_left(num_keys: int, keep_ratio: float) -> None:
    keep = pruning.keys_to_keep(num_keys, keep_ratio)
    assert 1 <= keep <= num_keys
    assert keep == max(1, num_keys - round((1 - keep_ratio) * num_keys))


def test_ratio_one_removes_nothing() -> None:
    assert pruning.schedule(PruningConfig(1.0, layers=3), 4224, 6) == (0,) * 6


@pytest.mark.parametrize("layers", [7, 100])
def test_more_trimming_layers_than_layers_is_refused(layers: int) -> None:
    with pytest.raises(ValueError, match=f"prune_layers is {layers}, expected 1 to 6"):
        pruning.schedule(PruningConfig(0.5, layers=layers), 100, 6)
