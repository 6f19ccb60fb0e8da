"""What counts as the same answer of two engines: rounding passes, anything else does not."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from tggbc_ros.core.types import Boxes3D, NetworkOutput, Trim
from tggbc_ros.data.golden_checks import LOOSE, ROUNDING
from tggbc_ros.evaluation.parity import BRAIN, keep_ratios, same_boxes, same_numbers

KEYS, KEPT = 8, 4


def output(importance: torch.Tensor, queries: tuple[int, ...] = (0, 1), logit: float = 0.0) -> NetworkOutput:
    """An answer of three queries that trimmed eight keys to four."""
    kept = importance.topk(KEPT).indices.sort().values[None]
    trim = Trim(torch.arange(KEYS)[None], importance[None], kept, torch.tensor([queries]))
    logits, codes = torch.full((1, 1, 3, 10), logit), torch.zeros(1, 1, 3, 10)
    return NetworkOutput(logits, codes, torch.zeros(1, 3, 4), (KEYS, KEPT), {0: trim})


def verdicts(expected: NetworkOutput, found: NetworkOutput) -> dict[str, bool]:
    return {check.output: check.passed for check in same_numbers(expected, found, ROUNDING, LOOSE)}


CLEAR = torch.tensor([8.0, 7.0, 6.0, 5.0, 4.0, 3.0, 2.0, 1.0])
CLOSE = torch.tensor([8.0, 7.0, 6.0, 5.0, 4.9999, 3.0, 2.0, 1.0])
EXCHANGED = torch.tensor([8.0, 7.0, 6.0, 4.9999, 5.0, 3.0, 2.0, 1.0])
WRONG = torch.tensor([8.0, 7.0, 6.0, 1.0, 5.0, 3.0, 2.0, 5.5])


def test_rounding_passes_and_more_does_not() -> None:
    assert all(verdicts(output(CLEAR), output(CLEAR, logit=9e-5)).values())
    assert verdicts(output(CLEAR), output(CLEAR, logit=2e-4))["logits"] is False
    assert verdicts(output(CLEAR), output(CLEAR, logit=torch.nan))["logits"] is False
    assert verdicts(output(CLEAR), output(CLEAR * 1.002))["importance"] is False
    assert verdicts(output(CLEAR), dataclasses.replace(output(CLEAR), trims={}))["kept_keys"] is False


def test_keys_of_nearly_equal_importance_may_change_places_and_loosen_what_follows() -> None:
    assert all(verdicts(output(CLOSE), output(EXCHANGED, logit=1e-3)).values())
    assert verdicts(output(CLOSE), output(EXCHANGED, logit=6e-3))["logits"] is False
    assert verdicts(output(CLOSE), output(WRONG))["kept_keys"] is False
    assert verdicts(output(CLEAR), output(EXCHANGED))["kept_keys"] is False


def test_other_voters_do_not_narrow_what_may_change_places() -> None:
    """In bfloat16 two keys within a tenth of each other are alike, whoever voted."""
    expected = output(torch.tensor([8.0, 7.0, 6.0, 5.0, 4.7, 3.0, 2.0, 1.0]))
    swapped = torch.tensor([8.0, 7.0, 6.0, 4.7, 5.0, 3.0, 2.0, 1.0])
    for queries in ((0, 1), (0, 2)):
        found = {check.output: check for check in same_numbers(expected, output(swapped, queries), BRAIN, BRAIN)}
        assert found["kept_keys"].passed
    strict = {check.output: check for check in same_numbers(expected, output(swapped, (0, 2)), ROUNDING, LOOSE)}
    assert not strict["kept_keys"].passed


def boxes(center_m: float = 0.0, score: float = 0.9, label: int = 0, reverse: bool = False) -> Boxes3D:
    """Three boxes in a row, ten metres apart."""
    count = 3
    center = np.zeros((count, 3))
    center[:, 0] = 10.0 * np.arange(count) + center_m
    made = Boxes3D(
        center,
        np.ones((count, 3)),
        np.zeros(count),
        np.zeros((count, 2)),
        np.full(count, score),
        np.full(count, label),
        np.arange(count),
    )
    return made[::-1] if reverse else made


@pytest.mark.parametrize(
    ("found", "passed"),
    [
        (boxes(0.04, 0.901, reverse=True), True),
        (boxes(0.06), False),
        (boxes(score=0.89), False),
        (boxes(label=1), False),
        (boxes()[:2], False),
        (boxes()[:0], False),
    ],
    ids=["near enough, in another order", "elsewhere", "less sure", "another class", "one missing", "none"],
)
def test_boxes_are_matched_by_class_and_place(found: Boxes3D, passed: bool) -> None:
    assert all(check.passed for check in same_boxes(boxes(), found, LOOSE)) is passed


def test_keep_ratios_share_the_frames() -> None:
    assert keep_ratios([1.0, 0.5, 0.1], 7) == [1.0, 1.0, 1.0, 0.5, 0.5, 0.1, 0.1]
    with pytest.raises(ValueError, match="frames is 2, expected at least one for each"):
        keep_ratios([1.0, 0.5, 0.1], 2)
