"""The whole decoder against a plain, slow reading of the reference, which holds the attention map of every layer."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from tggbc_ros.core import pruning
from tggbc_ros.core.config import R50_704, KeepConfig, PruningConfig
from tggbc_ros.core.decoder import Decoder, DecoderLayer
from tggbc_ros.core.queries import Queries
from tggbc_ros.core.types import Tokens

MODEL = replace(R50_704, name="toy", embed_dims=32, num_heads=4, ffn_dims=32, num_layers=6)
QUERIES, KEYS = 20, 150


@pytest.fixture(scope="module")
def parts() -> tuple[Decoder, torch.nn.Module, Queries, Tokens]:
    torch.manual_seed(0)
    decoder = Decoder(MODEL).eval().requires_grad_(False)
    classify = torch.nn.Linear(32, 10).requires_grad_(False)
    content, position, memory, memory_position = (torch.randn(1, size, 32) for size in (QUERIES, QUERIES, 7, 7))
    queries = Queries(content, position, torch.rand(1, QUERIES, 3), memory, memory_position)
    value, place = 2 * torch.randn(1, KEYS, 32), 2 * torch.randn(1, KEYS, 32)
    return decoder, classify, queries, Tokens(value + place, value, torch.arange(KEYS)[None])


def explicit_layer(
    layer: DecoderLayer, hidden: torch.Tensor, queries: Queries, key: torch.Tensor, value: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """One layer with an explicit map: its output [Q, C] and the map averaged over heads [Q, K], in float64."""
    asking = hidden + queries.position
    seen = torch.cat([asking, queries.memory + queries.memory_position], dim=1)
    known = torch.cat([hidden, queries.memory], dim=1)
    hidden = layer.norms[0](hidden + layer.self_attention(asking, seen, known))
    heads = layer.cross_attention.project(hidden + queries.position, key, value)
    scores = heads[0].double() @ heads[1].double().transpose(-1, -2) / heads[0].shape[-1] ** 0.5
    weights = scores.softmax(-1)
    looked = (weights @ heads[2].double()).float().transpose(1, 2).flatten(-2)
    hidden = layer.norms[1](hidden + layer.cross_attention.out_proj(looked))
    return layer.norms[2](hidden + layer.ffn(hidden)), weights.mean(1)[0]


def reference(parts: tuple, removed: int, layers: int, counted: int) -> tuple[torch.Tensor, list[list[int]]]:
    """Outputs of the last layer, and the original indices that are left after each trimming layer."""
    decoder, classify, queries, tokens = parts
    share = removed // layers - (removed // layers) % 2
    removals = [share] * (layers - 1) + [removed - share * (layers - 1)]
    left, kept, hidden = torch.arange(KEYS), [], queries.content
    for index, layer in enumerate(decoder.layers):
        hidden, weights = explicit_layer(layer, hidden, queries, tokens.key[:, left], tokens.value[:, left])
        if index < layers:
            logits = classify(torch.nan_to_num(decoder.post_norm(hidden)))[0].double()
            confidence = logits.max(-1).values.sigmoid()
            voters = confidence.argsort(descending=True)[: counted if counted > 0 else None]
            importance = (confidence[voters, None] * weights[voters]).sum(0)
            order = importance.argsort(descending=True)[: len(left) - removals[index]]
            left = left[order.sort().values]
            kept.append(left.tolist())
    return torch.nan_to_num(decoder.post_norm(hidden)), kept


@pytest.mark.parametrize("layers", [1, 2, 3, 4, 5, 6])
@pytest.mark.parametrize(("removed", "counted"), [(101, 1), (101, 8), (101, 0), (149, 8), (7, 500)])
def test_kept_keys_and_outputs_are_the_references(parts: tuple, layers: int, removed: int, counted: int) -> None:
    decoder, classify, queries, tokens = parts
    config = PruningConfig((KEYS - removed) / KEYS, layers, counted)
    decoded = decoder(queries, tokens, config, classify)
    output, kept = reference(parts, removed, layers, counted)
    trimmed = {layer: trim.kept[0].tolist() for layer, trim in decoded.trims.items()}
    before = [list(range(KEYS)), *kept]
    assert trimmed == {layer: cells for layer, cells in enumerate(kept) if cells != before[layer]}
    torch.testing.assert_close(decoded.outputs[-1], output, atol=1e-5, rtol=1e-4)
    seen = [len(cells) for cells in before][:6]
    assert decoded.num_keys == tuple(seen + [len(kept[-1])] * (6 - len(seen)))


def test_a_layer_that_does_not_trim_scores_nothing(parts: tuple, monkeypatch: pytest.MonkeyPatch) -> None:
    decoder, classify, queries, tokens = parts
    scored = []
    score = pruning.key_importance
    monkeypatch.setattr(pruning, "key_importance", lambda *given: scored.append(given[1].shape[2]) or score(*given))
    decoder(queries, tokens, PruningConfig(), classify)
    assert scored == []
    decoder(queries, tokens, PruningConfig(0.4, layers=2), classify)
    assert scored == [150, 106]
    scored.clear()
    decoder(queries, tokens, PruningConfig(0.4, schedule="ratios", ratios=(0.8, 0.8)), classify)
    assert scored == [150, 120]


def test_trimmed_keys_are_not_projected_again(parts: tuple, monkeypatch: pytest.MonkeyPatch) -> None:
    decoder, classify, queries, tokens = parts
    projected: list[tuple[int, int]] = []
    for layer in decoder.layers:
        attention = layer.cross_attention
        project = attention.project
        monkeypatch.setattr(
            attention,
            "project",
            lambda query, key, value, project=project: (
                projected.append((key.shape[1], value.shape[1])) or project(query, key, value)
            ),
        )
    decoder(queries, tokens, PruningConfig(0.2), classify)
    assert projected == [(150, 150)] + [(30, 30)] * 5


def test_reactivated_keys_are_seen_by_later_layers(parts: tuple) -> None:
    decoder, classify, queries, tokens = parts
    config = PruningConfig(0.3, schedule="ratios", ratios=(0.3, 0.3), reactivate=True)
    decoded = decoder(queries, tokens, config, classify)
    assert decoded.num_keys == (150, 45, 45, 45, 45, 45)
    assert set(decoded.trims) == {0, 1, 2}
    for layer in (1, 2):
        trim = decoded.trims[layer]
        assert torch.equal(trim.seen, decoded.trims[layer - 1].kept)
    back = set(decoded.trims[2].kept[0].tolist()) - set(decoded.trims[0].kept[0].tolist())
    assert back


def test_mass_keeps_fewer_keys_the_more_layers_trim(parts: tuple) -> None:
    decoder, classify, queries, tokens = parts
    config = PruningConfig(layers=3, keep=KeepConfig("mass", 0.9, 0.1, 0.95))
    counts = decoder(queries, tokens, config, classify).num_keys
    assert 150 > counts[1] > counts[2] > counts[3] == counts[4] == counts[5] >= 15
