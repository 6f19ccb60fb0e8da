"""What counts as the same answer of two engines: rounding passes, anything else does not."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from tggbc_ros.backends.torch_backend import TorchNetwork
from tggbc_ros.core.config import PruningConfig
from tggbc_ros.core.types import AlignedMemory, Boxes3D, NetworkOutput, Tokens, Trim
from tggbc_ros.data.golden.checks import LOOSE, ROUNDING
from tggbc_ros.evaluation.parity import compare, keep_ratios, same_boxes, same_features, same_numbers

sys.path.insert(0, str(Path(__file__).parents[1] / "export"))

from tiny_network import TINY, frame_at, write_checkpoint  # noqa: E402

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


def test_one_query_in_a_hundred_may_be_off_by_more_but_not_by_anything() -> None:
    def verdict(queries: int, error: float) -> tuple[float, bool]:
        """Of codes, where so many of 200 queries are off by that much."""
        wanted = dataclasses.replace(output(CLEAR), logits=torch.zeros(1, 1, 200, 10), codes=torch.zeros(1, 1, 200, 10))
        codes = wanted.codes.clone()
        codes[0, 0, :queries, 4] = error
        checks = same_numbers(wanted, dataclasses.replace(wanted, codes=codes), ROUNDING, LOOSE)
        (check,) = [check for check in checks if check.output == "codes"]
        return check.tolerance, check.passed

    assert verdict(200, 9e-5) == (ROUNDING.codes, True)
    assert verdict(2, 4e-3) == (LOOSE.codes, True)
    assert verdict(3, 4e-3) == (ROUNDING.codes, False)
    assert verdict(1, 6e-3) == (LOOSE.codes, False)
    assert verdict(1, np.nan) == (ROUNDING.codes, False)
    assert verdict(1, np.inf) == (ROUNDING.codes, False)


def test_keys_of_nearly_equal_importance_may_change_places_and_loosen_what_follows() -> None:
    assert all(verdicts(output(CLOSE), output(EXCHANGED, logit=1e-3)).values())
    assert verdicts(output(CLOSE), output(EXCHANGED, logit=6e-3))["logits"] is False
    assert verdicts(output(CLOSE), output(WRONG))["kept_keys"] is False
    assert verdicts(output(CLEAR), output(EXCHANGED))["kept_keys"] is False


def test_other_voters_do_not_narrow_what_may_change_places() -> None:
    """Where two keys within a tenth of each other are alike, they are, whoever voted."""
    coarse = dataclasses.replace(LOOSE, importance=0.2)
    expected = output(torch.tensor([8.0, 7.0, 6.0, 5.0, 4.7, 3.0, 2.0, 1.0]))
    swapped = torch.tensor([8.0, 7.0, 6.0, 4.7, 5.0, 3.0, 2.0, 1.0])
    for queries in ((0, 1), (0, 2)):
        found = {check.output: check for check in same_numbers(expected, output(swapped, queries), coarse, coarse)}
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


def shares(found: torch.Tensor, expected: torch.Tensor, precision: str = "bf16") -> dict[str, tuple[float, bool]]:
    return {check.output: (check.error, check.passed) for check in same_features(expected, found, precision)}


def test_features_are_compared_by_camera_and_by_channel_as_shares_of_all() -> None:
    """Six cameras, ten channels, all ones; a feature that is wrong by its own size is off by 1."""
    expected = torch.ones(1, 6, 10, 2, 3)
    assert shares(expected, expected) == {"features": (0.0, True), "channels": (0.0, True)}
    uniform = shares(expected * 1.01, expected)
    assert uniform["features"] == (pytest.approx(0.01), True) and uniform["channels"] == (pytest.approx(0.01), True)
    assert shares(expected * 1.01, expected, "fp16")["features"][1] is False
    camera, channel = expected.clone(), expected.clone()
    camera[:, 4], channel[:, :, 7] = 0.0, 0.0
    assert shares(camera, expected)["features"] == (pytest.approx(1.0), False)
    assert shares(channel, expected)["channels"] == (pytest.approx(1.0), False)
    assert shares(torch.full_like(expected, torch.nan), expected)["features"][1] is False
    assert [check.tolerance for check in same_features(expected, expected, "bf16")] == [2.0**-5, 2.0**-4]


def convolutions(network: TorchNetwork) -> list[torch.Tensor]:
    """The weights of the encoder's, in order."""
    return [weight for weight in network._encoder._convolutions.parameters() if weight.dim() == 4]


def other_channels(network: TorchNetwork) -> None:
    weight = convolutions(network)[3]
    weight.copy_(weight.roll(1, 0))


def a_fifth_more(network: TorchNetwork) -> None:
    convolutions(network)[0].mul_(1.2)


def other_cameras(network: TorchNetwork) -> None:
    encode = network.encode
    network.encode = lambda images: encode(images).roll(1, 1)  # type: ignore[method-assign]


def first_images_for_ever(network: TorchNetwork) -> None:
    encode, kept = network.encode, []

    def first(images: torch.Tensor) -> torch.Tensor:
        kept.append(encode(images))
        return kept[0]

    network.encode = first  # type: ignore[method-assign]


def other_layer(network: TorchNetwork) -> None:
    network.head.decoder.layers[1].load_state_dict(network.head.decoder.layers[2].state_dict())


def no_memory(network: TorchNetwork) -> None:
    decode = network.decode

    def forget(tokens: Tokens, memory: AlignedMemory, pruning: PruningConfig) -> NetworkOutput:
        return decode(tokens, dataclasses.replace(memory, embedding=torch.zeros_like(memory.embedding)), pruning)

    network.decode = forget  # type: ignore[method-assign]


def other_ages(network: TorchNetwork) -> None:
    decode = network.decode

    def age(tokens: Tokens, memory: AlignedMemory, pruning: PruningConfig) -> NetworkOutput:
        return decode(tokens, dataclasses.replace(memory, age_s=memory.age_s + 0.1), pruning)

    network.decode = age  # type: ignore[method-assign]


def other_voters(network: TorchNetwork) -> None:
    decode = network.decode

    def vote(tokens: Tokens, memory: AlignedMemory, pruning: PruningConfig) -> NetworkOutput:
        return decode(tokens, memory, dataclasses.replace(pruning, queries=3))

    network.decode = vote  # type: ignore[method-assign]


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("parity") / "tiny.pth"
    write_checkpoint(path)
    return path


def failing(checkpoint: Path, precision: str, damage: Callable[[TorchNetwork], None] | None = None) -> set[str]:
    """Outputs that are out of tolerance over six frames, of an encoder in that precision."""
    reference, tested = (TorchNetwork.load(TINY, checkpoint, "cpu", each) for each in ("fp32", precision))
    if damage:
        damage(tested)
    rows = compare(reference, tested, map(frame_at, range(6)), keep_ratios((1.0, 0.3), 6), precision)
    return {row.output for row in rows if not row.passed}


@pytest.mark.parametrize("precision", ["fp16", "bf16"])
def test_half_precision_is_no_excuse(precision: str, checkpoint: Path) -> None:
    """A good engine passes; one that is wrong in one place does not, and what fails says where."""
    assert failing(checkpoint, precision) == set()
    for damage in (other_channels, a_fifth_more, other_cameras, first_images_for_ever):
        assert "features" in failing(checkpoint, precision, damage), damage
    for damage, output in ((other_layer, "logits"), (no_memory, "logits"), (other_ages, "codes")):
        wrong = failing(checkpoint, precision, damage)
        assert output in wrong and "features" not in wrong, (damage, wrong)
    assert "kept_keys" in failing(checkpoint, precision, other_voters)
