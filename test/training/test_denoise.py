"""Denoising queries: where they start, what they must say, and that nobody else notices them."""

from __future__ import annotations

import pytest
import torch
from squares_world import TINY

from tggbc_ros.core import memory as temporal
from tggbc_ros.core.config import PruningConfig
from tggbc_ros.core.head import Head
from tggbc_ros.core.types import AlignedMemory, Tokens
from tggbc_ros.training import denoise
from tggbc_ros.training.denoise import DenoiseConfig
from tggbc_ros.training.frames import Targets


def targets(*counts: int) -> tuple[Targets, ...]:
    made = []
    for count in counts:
        codes = torch.zeros(count, 10)
        codes[:, 0], codes[:, 1], codes[:, 7] = torch.arange(count) * 3.0, 7.0, 1.0
        made.append(Targets(codes, torch.arange(count) % 3))
    return tuple(made)


def head() -> Head:
    return Head(TINY).eval()


def drawn(builder: torch.nn.Module, config: DenoiseConfig, *counts: int) -> denoise.Denoising:
    return denoise.draw(targets(*counts), builder, config, torch.Generator().manual_seed(3))


def start_memory(module: Head, batch: int) -> AlignedMemory:
    pose, time_s = torch.eye(4, dtype=torch.float64).repeat(batch, 1, 1), torch.zeros(batch, dtype=torch.float64)
    memory = temporal.start(TINY, module.queries.start_points(), pose, time_s)
    return temporal.align(memory, pose, time_s, TINY.memory_length)


def test_references_stay_within_reach_of_their_object() -> None:
    module, config = head(), DenoiseConfig(groups=2, noise_m=2.0)
    noisy = drawn(module.queries, config, 3)
    place = noisy.reference * (module.queries.high - module.queries.low) + module.queries.low
    off = (place[0] - targets(3)[0].codes[noisy.object[0], :3]).abs()
    reach = (2.0 + 0.5) * (noisy.group + 1) / 2  # noise, and half the length of a box of exp(0) = 1 m
    assert (off[:, :2] <= reach[:, None] + 1e-4).all() and (off[:, 2] <= reach / 2 + 1e-4).all()
    assert off[:, :2].max() > 0.5


def test_far_ones_are_background_and_short_frames_are_padded() -> None:
    noisy = drawn(head().queries, DenoiseConfig(groups=20, positive=0.5), 4, 1, 0)
    assert noisy.reference.shape == (3, 80, 3)
    assert (noisy.label[2] == -1).all() and (noisy.label[1] >= 0).sum() == 20
    said = noisy.label[0]
    background = said == len(TINY.class_names)
    assert 0.6 < background.float().mean() < 0.95  # 1 - pi/4 * 0.5^2 = 0.80 of a square lies beyond
    assert torch.equal(said[~background], noisy.object[0][~background] % 3)


def test_the_same_generator_state_draws_the_same_noise() -> None:
    module, config = head(), DenoiseConfig()
    assert torch.equal(drawn(module.queries, config, 3).reference, drawn(module.queries, config, 3).reference)


def test_mask_lets_normal_queries_see_memory_and_themselves_only() -> None:
    mask = denoise.blocked(2, torch.tensor([0, 0, 1]), memory=4)
    assert mask.shape == (5, 9)
    assert not mask[:2, :2].any() and mask[:2, 2:5].all() and not mask[:, 5:].any() and not mask[2:, :2].any()
    assert mask[2:, 2:5].tolist() == [[False, False, True], [False, False, True], [True, True, False]]


@pytest.mark.parametrize("keep_ratio", [1.0, 0.3])
def test_normal_queries_answer_as_if_there_were_no_denoising(keep_ratio: float) -> None:
    module = head()
    keys = 10 * torch.randn(2, 40, TINY.embed_dims)  # so that queries disagree about which keys matter
    tokens = Tokens(keys, torch.randn_like(keys), torch.arange(40).expand(2, -1))
    queries = module.queries(start_memory(module, 2))
    more = denoise.append(queries, module.queries, drawn(module.queries, DenoiseConfig(groups=20), 4, 2))
    pruning = PruningConfig(keep_ratio, layers=1, queries=0)
    with torch.inference_mode():
        alone = module.answer(queries, tokens, pruning, all_layers=True)
        together = module.answer(more, tokens, pruning, all_layers=True)
    normal = TINY.total_queries
    assert together.logits.shape[2] == normal + 80
    assert together.num_keys == alone.num_keys
    assert all(torch.equal(together.trims[layer].kept, trim.kept) for layer, trim in alone.trims.items())
    assert all(torch.equal(together.trims[layer].queries, trim.queries) for layer, trim in alone.trims.items())
    assert torch.allclose(together.logits[:, :, :normal], alone.logits, atol=1e-5)
    assert torch.allclose(together.codes[:, :, :normal], alone.codes, atol=1e-4)


def test_no_object_adds_no_query() -> None:
    module = head()
    queries = module.queries(start_memory(module, 1))
    assert denoise.append(queries, module.queries, drawn(module.queries, DenoiseConfig(), 0)) is queries


def test_negative_groups_are_refused() -> None:
    with pytest.raises(ValueError, match="groups is -1, expected at least 0"):
        DenoiseConfig(groups=-1)
