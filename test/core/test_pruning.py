"""Key pruning against a plain, slow reading of the paper."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tggbc_ros.core import attention, pruning
from tggbc_ros.core.config import CarryConfig, KeepConfig, PruningConfig
from tggbc_ros.core.types import Tokens, Trim

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


def trim_once(
    layer: tuple[Tokens, torch.Tensor, torch.Tensor, torch.Tensor], count: int, counted: int
) -> tuple[Tokens, Trim]:
    """What is left of the layer's tokens when ``count`` are kept."""
    tokens, _, trim = pruning.trim(*layer, (count, count), PruningConfig(queries=counted))
    return tokens, trim


@pytest.mark.parametrize(("queries", "keys", "counted", "removed"), [(7, 40, 3, 11), (20, 9, 0, 8), (5, 100, 500, 1)])
def test_trim_keeps_the_keys_the_paper_keeps(queries: int, keys: int, counted: int, removed: int) -> None:
    tokens, key, query, logits = make_layer(queries, queries, keys)
    expected = importance_by_the_paper(key, query, logits, counted)
    kept, trim = trim_once((tokens, key, query, logits), keys - removed, counted)
    np.testing.assert_allclose(trim.importance[0], expected, rtol=1e-5)
    assert trim.kept[0].tolist() == sorted(np.argsort(-expected)[: keys - removed])
    assert torch.equal(kept.key[0], tokens.key[0, trim.kept[0]])
    assert torch.equal(kept.value[0], tokens.value[0, trim.kept[0]])
    assert kept.num_cells == keys


def test_every_item_of_a_batch_keeps_its_own_keys() -> None:
    layers = [make_layer(seed, 6, 30) for seed in (1, 2)]
    tokens = Tokens(*(torch.cat([getattr(layer[0], part) for layer in layers]) for part in ("key", "value", "index")))
    heads = [torch.cat([layer[place] for layer in layers]) for place in (1, 2, 3)]
    kept, trim = trim_once((tokens, *heads), 12, 4)
    for item, layer in enumerate(layers):
        alone, _ = trim_once(layer, 12, 4)
        assert torch.equal(trim.kept[item], alone.index[0])
        assert torch.equal(kept.key[item], alone.key[0])
        assert torch.equal(kept.value[item], alone.value[0])


def test_trimming_twice_keeps_original_indices() -> None:
    tokens, key, query, logits = make_layer(0, 6, 30)
    once, first = trim_once((tokens, key, query, logits), 20, 0)
    twice, second = trim_once((once, key[:, :, first.kept[0]], query, logits), 15, 0)
    assert torch.equal(second.seen, first.kept)
    assert set(second.kept[0].tolist()) < set(first.kept[0].tolist())
    assert torch.equal(twice.key[0], tokens.key[0, second.kept[0]])
    assert twice.num_cells == 30


def test_importance_does_not_depend_on_the_chunk(monkeypatch: pytest.MonkeyPatch) -> None:
    _, key, query, logits = make_layer(3, 50, 64)
    weight = logits.max(-1).values.sigmoid()
    whole = attention.key_importance(query, key, weight)
    monkeypatch.setattr(attention, "SCORING_CHUNK", 1)
    torch.testing.assert_close(attention.key_importance(query, key, weight), whole)
    assert whole.sum().item() == pytest.approx(weight.sum().item(), rel=1e-5)  # attention rows sum to one


def test_importance_of_a_batch_whose_last_chunk_is_a_smaller_one(monkeypatch: pytest.MonkeyPatch) -> None:
    generator = torch.Generator().manual_seed(0)
    query, key = (torch.randn(2, 4, count, 8, generator=generator) for count in (50, 64))
    weight = torch.rand(2, 50, generator=generator)
    attended = torch.softmax(query @ key.transpose(-1, -2) / math.sqrt(8), dim=-1).mean(dim=1)
    monkeypatch.setattr(attention, "SCORING_CHUNK", 2 * 64 * 7)  # seven queries at a time, and then one
    torch.testing.assert_close(attention.key_importance(query, key, weight), (weight[:, None] @ attended)[:, 0])


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
    assert pruning.plan(PruningConfig(1.0, layers=3), 4224, 4224, 6) == (None,) * 6


def exactly(*counts: int | None) -> tuple[pruning.Quota | None, ...]:
    return tuple(None if count is None else (count, count) for count in counts)


def test_the_three_schedules_end_at_the_same_share() -> None:
    once = PruningConfig(0.25, layers=3, schedule="once")
    gradual = PruningConfig(0.25, layers=3)
    ratios = PruningConfig(0.25, schedule="ratios", ratios=(0.9, 0.5, 0.5))
    assert pruning.plan(once, 1000, 1000, 6) == exactly(250, None, None, None, None, None)
    assert pruning.plan(gradual, 1000, 1000, 6) == exactly(750, 500, 250, None, None, None)
    assert pruning.plan(ratios, 1000, 1000, 6) == exactly(900, 500, None, 250, None, None)
    listed_whole = PruningConfig(0.25, schedule="ratios", ratios=(0.9, 0.25))
    assert pruning.plan(listed_whole, 1000, 1000, 3) == exactly(900, 250, None)


def test_shares_are_of_all_cells_also_where_fewer_keys_are_to_start_with() -> None:
    assert pruning.plan(PruningConfig(0.25, layers=2), 1000, 600, 3) == exactly(426, 250, None)
    assert pruning.plan(PruningConfig(0.25, schedule="ratios", ratios=(0.9, 0.5)), 1000, 600, 3) == exactly(
        None, 500, 250
    )
    assert pruning.plan(PruningConfig(0.7), 1000, 600, 3) == exactly(None, None, None)


def test_what_is_carried_is_found_by_a_first_trim_even_where_no_key_has_to_go() -> None:
    """A share that rounds to as many keys as the first layer saw, or few cameras, must not end the carrying."""
    carried = CarryConfig(0.3)
    assert pruning.plan(PruningConfig(0.2999, carry=carried), 1056, 317, 3) == exactly(317, None, None)
    assert pruning.plan(PruningConfig(0.2, layers=2, carry=carried), 1056, 176, 3) == exactly(176, None, None)
    mass = PruningConfig(keep=KeepConfig("mass", min_ratio=0.2), carry=carried)
    assert pruning.plan(mass, 1056, 176, 3) == exactly(176, None, None)


def test_importance_that_is_nothing_stays_a_number() -> None:
    places, nothing = torch.arange(4)[None], torch.zeros(1, 4)
    for known in (nothing, torch.full((1, 4), 50.0)):
        assert pruning.revise(known, places, nothing).tolist() == [[0.0] * 4]


@given(st.integers(1, 3000), st.floats(1e-9, 1.0), st.lists(st.floats(1e-9, 1.0), min_size=1, max_size=5))
def test_a_list_of_ratios_never_adds_keys_and_ends_at_the_keep_ratio(
    cells: int, last: float, shares: list[float]
) -> None:
    ratios = tuple(sorted((*shares, last), reverse=True))
    plan = pruning.plan(PruningConfig(ratios[-1], schedule="ratios", ratios=ratios[:-1]), cells, cells, 6)
    counts = [cells, *(quota[1] for quota in plan if quota)]
    assert all(1 <= after < before for before, after in itertools.pairwise(counts))
    assert counts[-1] == pruning.keys_to_keep(cells, ratios[-1])


@pytest.mark.parametrize("layers", [7, 100])
def test_more_trimming_layers_than_layers_is_refused(layers: int) -> None:
    with pytest.raises(ValueError, match=f"prune_layers is {layers}, expected 1 to 6"):
        pruning.plan(PruningConfig(0.5, layers=layers), 100, 100, 6)
    pruning.plan(PruningConfig(0.5, layers=layers, schedule="once"), 100, 100, 6)  # does not ask for layers
    listed = PruningConfig(0.1, schedule="ratios", ratios=(0.5, 0.4, 0.3))
    with pytest.raises(
        ValueError, match=r"prune_ratios is \[0.5, 0.4, 0.3\], expected fewer shares than the 3 decoder"
    ):
        pruning.plan(listed, 100, 100, 3)


class TestMass:
    """keep_mode mass: the fewest keys that hold a share of the importance."""

    @given(st.lists(st.integers(0, 1000), min_size=1, max_size=60).filter(any), st.floats(0.01, 1.0))
    def test_it_is_the_least_number(self, importance: list[int], mass: float) -> None:
        count = pruning.fewest_holding(torch.tensor([importance]).float(), mass)
        best_first = sorted(importance, reverse=True)
        assert sum(best_first[:count]) >= mass * sum(importance)
        assert count == 1 or sum(best_first[: count - 1]) < mass * sum(importance)

    @pytest.mark.parametrize(
        ("mass", "bounds", "kept"), [(0.5, (0.01, 1.0), None), (0.5, (0.8, 1.0), 80), (0.99, (0.1, 0.2), 20)]
    )
    def test_the_number_follows_the_image_within_bounds(self, mass: float, bounds: tuple, kept: int | None) -> None:
        layer = make_layer(0, 6, 100)
        config = PruningConfig(queries=0, keep=KeepConfig("mass", mass, *bounds))
        (quota,) = pruning.plan(config, 100, 100, 1)
        _, _, trim = pruning.trim(*layer, quota, config)
        count = trim.kept.shape[1]
        assert count == (kept or pruning.fewest_holding(trim.importance, mass))
        assert set(trim.kept[0].tolist()) == set(trim.importance[0].topk(count).indices.tolist())

    def test_two_images_keep_different_numbers(self) -> None:
        config = PruningConfig(queries=0, keep=KeepConfig("mass", 0.9, 0.01))
        tokens, key, query, logits = make_layer(0, 6, 100)
        (quota,) = pruning.plan(config, 100, 100, 1)
        vague = pruning.trim(tokens, key, query, logits, quota, config)[2].kept.shape[1]
        sharp = pruning.trim(tokens, key, 3 * query, logits, quota, config)[2].kept.shape[1]
        assert 1 <= sharp < vague < 100

    def test_what_is_already_left_out_does_not_come_back(self) -> None:
        config = PruningConfig(layers=2, keep=KeepConfig("mass", 1.0, 0.5, 0.9))
        assert pruning.plan(config, 100, 60, 3) == ((50, 60), (50, 60), None)
        tokens, key, query, logits = make_layer(0, 6, 55)
        assert pruning.trim(tokens, key, query, logits, (50, 60), config)[0].index.shape == (1, 55)

    def test_nan_importance_leaves_some_keys_and_shows_in_the_trim(self) -> None:
        config = PruningConfig(keep=KeepConfig("mass", 0.9, 0.1, 0.5))
        tokens, key, query, logits = make_layer(0, 6, 100)
        logits[0, 0, 0] = torch.nan
        kept, _, trim = pruning.trim(tokens, key, query, logits, (10, 50), config)
        assert 10 <= kept.index.shape[1] <= 50
        assert torch.isnan(trim.importance).any()


class TestReactivate:
    """Trimmed keys keep their last importance and may come back by it."""

    CONFIG = PruningConfig(0.5, schedule="ratios", ratios=(0.5, 0.5), reactivate=True, queries=0)

    def two_trims(self, config: PruningConfig) -> tuple[Tokens, pruning.Pool | None, Trim, Trim]:
        """Two layers that look at different things; half of 40 keys are kept after each."""
        tokens, key, query, logits = make_layer(5, 8, 40)
        once, pool, first = pruning.trim(tokens, key, query, logits, (20, 20), config)
        other = make_layer(6, 8, 40)[2]
        twice, pool, second = pruning.trim(once, key[:, :, first.kept[0]], other, logits, (20, 20), config, pool)
        return twice, pool, first, second

    def test_a_key_comes_back_in_the_place_of_one_that_lost_interest(self) -> None:
        twice, pool, first, second = self.two_trims(self.CONFIG)
        back = set(second.kept[0].tolist()) - set(first.kept[0].tolist())
        gone = set(first.kept[0].tolist()) - set(second.kept[0].tolist())
        assert 0 < len(back) == len(gone) < 20
        assert second.kept[0].tolist() == sorted(pool.importance[0].topk(20).indices.tolist())
        assert pool.importance[0, list(back)].min() >= pool.importance[0, list(gone)].max()
        assert torch.equal(twice.key[0], make_layer(5, 8, 40)[0].key[0, second.kept[0]])

    def test_without_it_nothing_comes_back(self) -> None:
        _, pool, first, second = self.two_trims(replace(self.CONFIG, reactivate=False))
        assert torch.equal(second.kept, first.kept)
        assert pool is None  # which would hold on to the tokens that were dropped

    def test_what_a_layer_did_not_see_keeps_its_importance_and_the_rest_its_sum(self) -> None:
        _, pool, first, second = self.two_trims(self.CONFIG)
        seen = torch.zeros(40, dtype=torch.bool).scatter(0, first.kept[0], True)
        torch.testing.assert_close(pool.importance[0, ~seen], first.importance[0, ~seen])
        torch.testing.assert_close(pool.importance[0, seen].sum(), first.importance[0, seen].sum())
        ratio = pool.importance[0, seen] / second.importance[0]
        torch.testing.assert_close(ratio, ratio[:1].expand_as(ratio))

    def test_a_layer_that_removes_nothing_still_chooses_anew(self) -> None:
        assert pruning.plan(self.CONFIG, 100, 100, 4) == exactly(50, 50, 50, None)
        assert pruning.plan(replace(self.CONFIG, reactivate=False), 100, 100, 4) == exactly(50, None, None, None)


def test_scoring_holds_little_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """At 900 x 24000 the map of eight heads would be 690 MB; what is alive at once stays far below 64 MB."""
    largest = []
    softmax = torch.softmax
    monkeypatch.setattr(torch, "softmax", lambda x, **more: largest.append(x.nbytes) or softmax(x, **more))
    key, query = torch.zeros(1, 8, 24000, 32), torch.zeros(1, 8, 175, 32)
    importance = attention.key_importance(query, key, torch.ones(1, 175))
    assert importance[0].numpy() == pytest.approx(175 / 24000, rel=1e-4)
    assert 2 * max(largest) + importance.nbytes < 24e6  # scores, their softmax, and the sum
