"""Carrying importance from frame to frame: who starts, whose turn comes, and how the rest ages."""

from __future__ import annotations

import pytest
import torch

from tggbc_ros.core import carry
from tggbc_ros.core.carry import Carried
from tggbc_ros.core.config import CarryConfig, KeepConfig, PruningConfig
from tggbc_ros.core.types import NetworkOutput, Tokens, Trim

CELLS = 60


def all_tokens() -> Tokens:
    key = torch.arange(CELLS * 2.0).reshape(1, CELLS, 2)
    return Tokens(key, -key, torch.arange(CELLS)[None])


def carrying(ratio: float = 0.5, refresh: int = 5, keep_ratio: float = 0.2) -> PruningConfig:
    return PruningConfig(keep_ratio, carry=CarryConfig(ratio, refresh))


def output_with(seen: torch.Tensor, importance: torch.Tensor, layer: int = 0) -> NetworkOutput:
    nothing = torch.zeros(1)
    trim = Trim(seen, importance, seen[:, :1], torch.zeros(1, 1, dtype=torch.long))
    return NetworkOutput(nothing, nothing, nothing, (seen.shape[1],), {layer: trim})


def test_the_most_important_start_and_those_whose_turn_it_is() -> None:
    importance = torch.rand(1, CELLS, generator=torch.Generator().manual_seed(0))
    start = carry.start_tokens(all_tokens(), Carried(importance, frame=7), carrying())
    turn = {cell for cell in range(CELLS) if cell % 5 == 7 % 5}
    best = [cell for cell in importance[0].argsort(descending=True).tolist() if cell not in turn]
    assert set(start.index[0].tolist()) == turn | set(best[: 30 - len(turn)])
    assert start.index[0].tolist() == sorted(start.index[0].tolist())
    assert torch.equal(start.key[0], all_tokens().key[0, start.index[0]])
    assert start.num_cells == CELLS


@pytest.mark.parametrize("refresh", [3, 7, 60, 1000])
def test_every_cell_starts_at_least_once_in_so_many_frames(refresh: int) -> None:
    seen = [set[int]() for _ in range(2 * refresh)]
    for frame, cells in enumerate(seen):
        hot = torch.linspace(1, 0, CELLS)[None]  # the last cells never matter
        cells.update(carry.start_tokens(all_tokens(), Carried(hot, frame), carrying(0.5, refresh)).index[0].tolist())
    for first in range(refresh + 1):
        assert set.union(*seen[first : first + refresh]) == set(range(CELLS))


def test_all_keys_start_where_nothing_is_carried() -> None:
    tokens = all_tokens()
    assert carry.start_tokens(tokens, Carried(torch.rand(1, CELLS), 3), PruningConfig(0.2)) is tokens


def test_a_budget_starts_with_the_same_share_whatever_it_keeps() -> None:
    """Else the decoder's time would jump where the ratio passes the share, and no controller could follow."""
    for keep_ratio in (0.1, 0.3, 0.49):
        keep = KeepConfig("budget", max_ratio=0.49)
        config = PruningConfig(keep_ratio, keep=keep, carry=CarryConfig(0.5))
        start = carry.start_tokens(all_tokens(), Carried(torch.rand(1, CELLS), 3), config)
        assert start.index.shape[1] == CELLS // 2


def test_a_first_frame_starts_with_all() -> None:
    tokens = all_tokens()
    assert carry.start_tokens(tokens, None, carrying()) is tokens


def test_importance_is_what_was_found_and_what_was_not_looked_at_ages() -> None:
    config = CarryConfig(0.5, decay=0.8)
    all_cells, importance = torch.arange(CELLS)[None], torch.rand(1, CELLS) + 0.1
    first = carry.after_frame(None, output_with(all_cells, importance), CELLS, config)
    torch.testing.assert_close(first.importance, importance)
    seen = torch.arange(0, CELLS, 2)[None]
    found = torch.rand(1, CELLS // 2) + 0.1
    second = carry.after_frame(first, output_with(seen, 3 * found), CELLS, config)
    expected = 0.8 * importance[0]
    expected[::2] = found[0] * importance[0, ::2].sum() / found.sum()
    torch.testing.assert_close(second.importance[0], expected * importance.sum() / expected.sum())
    assert (first.frame, second.frame) == (1, 2)


def test_importance_does_not_fade_away_in_hours() -> None:
    """What nobody looks at ages by half a frame, so that single precision would end after some 300 of them."""
    config, generator = CarryConfig(0.5, decay=0.5), torch.Generator().manual_seed(0)
    state = carry.after_frame(None, output_with(torch.arange(CELLS)[None], torch.ones(1, CELLS)), CELLS, config)
    true = torch.linspace(1, 2, CELLS)
    for _ in range(1000):
        seen = torch.randperm(CELLS, generator=generator)[: CELLS // 2].sort().values[None]
        state = carry.after_frame(state, output_with(seen, true[seen]), CELLS, config)
        assert float(state.importance.sum()) == pytest.approx(CELLS, rel=1e-2)
    whole = output_with(torch.arange(CELLS)[None], true[None])
    ranked = carry.after_frame(state, whole, CELLS, config).importance[0]
    assert ranked.argsort().tolist() == list(range(CELLS))


def test_the_first_trim_counts_and_without_one_nothing_is_carried() -> None:
    config, cells = CarryConfig(0.5), torch.arange(CELLS)[None]
    output = output_with(cells, torch.ones(1, CELLS), layer=2)
    output.trims[1] = Trim(cells, torch.full((1, CELLS), 5.0), cells, cells)
    assert carry.after_frame(None, output, CELLS, config).importance.unique().tolist() == [5.0]
    output.trims.clear()
    assert carry.after_frame(None, output, CELLS, config) is None
    assert carry.after_frame(None, output_with(cells, torch.ones(1, CELLS)), CELLS, CarryConfig()) is None
