"""kept_keys in decoders that are not StreamPETR: the example of docs/pruning.md, run as it stands there."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from tggbc_ros.core import attention, pruning

DOC = Path(__file__).parents[2] / "docs" / "pruning.md"
DIMS, HEADS, CLASSES, QUERIES, KEYS = 32, 4, 5, 12, 60


class DetrLayer(nn.Module):
    """Cross-attention and a norm, around PyTorch's own attention."""

    def __init__(self) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(DIMS, HEADS, batch_first=True)
        self.norm = nn.LayerNorm(DIMS)


@pytest.fixture
def toy() -> tuple[nn.ModuleList, nn.Module, torch.Tensor, torch.Tensor]:
    """Three layers, a class branch, queries of two frames, and what they look at."""
    torch.manual_seed(0)
    layers = nn.ModuleList(DetrLayer() for _ in range(3)).eval().requires_grad_(False)
    classify = nn.Linear(DIMS, CLASSES).requires_grad_(False)
    return layers, classify, torch.randn(2, QUERIES, DIMS), 3 * torch.randn(2, KEYS, DIMS)


@pytest.fixture(scope="module")
def decode() -> Callable[..., torch.Tensor]:
    """The function in the document's code block."""
    (block,) = re.findall(r"```python\n(.*?)```", DOC.read_text(encoding="utf-8"), re.DOTALL)
    assert len([line for line in block.splitlines() if line.strip()]) <= 15
    names: dict[str, object] = {}
    exec(compile(block, str(DOC), "exec"), names)
    return names["decode"]


def kept_by_the_paper(logits: torch.Tensor, weights: torch.Tensor, count: int, queries: int) -> list[list[int]]:
    """The keys with the highest sum of confidence x attention, in float64, frame by frame."""
    kept = []
    for item in range(len(logits)):
        confidence = 1 / (1 + np.exp(-logits[item].double().numpy().max(1)))
        voters = np.argsort(-confidence)[:queries]
        importance = confidence[voters] @ weights[item].double().numpy()[voters]
        kept.append(sorted(np.argsort(-importance)[:count].tolist()))
    return kept


@pytest.mark.parametrize(("keep_ratio", "trim_after"), [(0.3, 1), (0.5, 2), (0.05, 1)])
def test_the_example_answers_as_if_the_trimmed_keys_were_masked(
    toy, decode: Callable[..., torch.Tensor], keep_ratio: float, trim_after: int
) -> None:
    """A mask hides from the later layers what the paper drops, computed here with the whole map of every layer."""
    layers, classify, queries, memory = toy
    hidden, masked = queries, None
    for number, layer in enumerate(layers, start=1):
        mask = None if masked is None else masked.repeat_interleave(HEADS, 0)[:, None].expand(-1, QUERIES, -1)
        seen, weights = layer.attention(hidden, memory, memory, attn_mask=mask)
        hidden = layer.norm(hidden + seen)
        if number == trim_after:
            count = pruning.keys_to_keep(KEYS, keep_ratio)
            kept = torch.tensor(kept_by_the_paper(classify(hidden), weights, count, 175))
            masked = torch.ones(2, KEYS, dtype=torch.bool).scatter(1, kept, False)
    torch.testing.assert_close(decode(layers, classify, queries, memory, keep_ratio, trim_after), classify(hidden))


def test_keeping_all_changes_nothing(toy, decode: Callable[..., torch.Tensor]) -> None:
    layers, classify, queries, memory = toy
    dense = decode(layers, classify, queries, memory, trim_after=0)
    torch.testing.assert_close(decode(layers, classify, queries, memory, keep_ratio=1.0), dense)
    assert (decode(layers, classify, queries, memory, keep_ratio=0.1) - dense).abs().max() > 1e-3


@pytest.mark.parametrize("queries", [1, 5, 0])
def test_projected_heads_give_the_same_keys_without_a_map(toy, queries: int) -> None:
    """The other way in, for many keys: importance from the heads of a torch.nn.MultiheadAttention."""
    layers, classify, hidden, memory = toy
    layer = layers[0].attention
    weights = layer(hidden, memory, memory)[1]
    project = layer.in_proj_weight.chunk(3)[:2], layer.in_proj_bias.chunk(3)[:2]
    query, key = (
        nn.functional.linear(x, weight, bias).unflatten(-1, (HEADS, -1)).transpose(1, 2)
        for x, weight, bias in zip((hidden, memory), *project, strict=True)
    )
    logits = classify(hidden)
    confidence, voters = pruning.confident_queries(logits, queries)
    voting = query.take_along_dim(voters[:, None, :, None], dim=2)
    importance = attention.key_importance(voting, key, confidence)
    by_heads = pruning.most_important(importance, 20)
    assert torch.equal(by_heads, pruning.kept_keys(logits, weights, 20, queries))
    assert by_heads.tolist() == kept_by_the_paper(logits, weights, 20, queries or QUERIES)


@pytest.mark.parametrize(
    ("logits", "weights", "count", "error", "words"),
    [
        ((2, 6, 3), (2, 6, 9), 0, ValueError, "count is 0, expected 1 to 9"),
        ((2, 6, 3), (2, 6, 9), 10, ValueError, "count is 10, expected 1 to 9"),
        ((2, 6, 3), (2, 5, 9), 3, ValueError, r"shapes \(2, 6, 3\) and \(2, 5, 9\), expected \[B, Q, classes\]"),
        ((6, 3), (6, 9), 3, ValueError, "expected"),
    ],
)
def test_what_does_not_fit_is_refused(
    logits: tuple[int, ...], weights: tuple[int, ...], count: int, error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        pruning.kept_keys(torch.zeros(logits), torch.zeros(weights), count)


def test_nan_is_refused() -> None:
    logits, weights = torch.zeros(1, 6, 3), torch.full((1, 6, 9), 1 / 9)
    for poisoned in (logits, weights):
        broken = poisoned.clone()
        broken[0, 2, 1] = torch.nan
        given = (broken, weights) if poisoned is logits else (logits, broken)
        with pytest.raises(FloatingPointError, match="NaN"):
            pruning.kept_keys(*given, count=3)
