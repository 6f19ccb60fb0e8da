"""Whole networks made sparse on a hand-made world: recorded once, asked alike, repaired in turn."""

from __future__ import annotations

import copy
from dataclasses import replace

import pytest
import torch
from squares_world import TINY as WORLD
from squares_world import make_table

from tggbc_ros.compress.sparse.assembly import ROUNDS, assemble, falling
from tggbc_ros.compress.sparse.distortion import Answers, answers_of, measure
from tggbc_ros.compress.sparse.folded import folded
from tggbc_ros.compress.sparse.layers import Layer, find_layers
from tggbc_ros.compress.sparse.recording import Moment, Replay, chosen_scenes, record, run, together
from tggbc_ros.compress.sparse.study import Studied, random_signs, study
from tggbc_ros.core.config import PruningConfig
from tggbc_ros.core.model import StreamPETR
from tggbc_ros.core.shape import resnet

pytestmark = pytest.mark.usefixtures("one_thread")

TABLE = make_table(scenes=4, length=3)
TINY = replace(WORLD, shape=resnet("basic", (1, 1, 1, 1), width=8))


@pytest.fixture(scope="module")
def network() -> StreamPETR:
    torch.manual_seed(0)
    return folded(StreamPETR(TINY))


@pytest.fixture(scope="module")
def moments(network: StreamPETR) -> list[Moment]:
    return record(network, TABLE, 6)


@pytest.fixture(scope="module")
def layers(network: StreamPETR) -> tuple[Layer, ...]:
    return find_layers(network).pruned


@pytest.fixture(scope="module")
def studied(network: StreamPETR, moments: list[Moment], layers: tuple[Layer, ...]) -> dict[str, Studied]:
    return study(Replay(network, moments), layers, random_signs(2, torch.Generator().manual_seed(0)), most=64)


def test_whole_scenes_are_recorded_spread_over_the_table(moments: list[Moment]) -> None:
    assert chosen_scenes(TABLE, 6) == [range(0, 3), range(6, 9)]
    assert chosen_scenes(TABLE, 1) == [range(0, 3)] and len(chosen_scenes(TABLE, 99)) == 4
    assert len(moments) == 6
    assert not torch.equal(moments[0].memory.embedding, moments[1].memory.embedding)


def test_the_dense_network_distorts_nothing_and_says_what_was_recorded(
    network: StreamPETR, moments: list[Moment]
) -> None:
    subject = Replay(network, moments)
    assert measure(subject, answers_of(subject)) == 0.0
    for moment in moments:
        found = run(network, moment)
        torch.testing.assert_close(found.boxes, moment.answers.boxes, rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(found.probability, moment.answers.probability, rtol=1e-4, atol=1e-5)
    subject.cache_features()
    assert subject.features is not None and measure(subject, answers_of(Replay(network, moments))) < 1e-9


def test_keys_are_those_that_the_dense_network_kept_whatever_changes(network: StreamPETR) -> None:
    pruned = record(network, TABLE, 3, PruningConfig(keep_ratio=0.5))
    kept = pruned[0].kept[0]
    assert kept.shape[1] == round(0.5 * 2 * 4 * 6)
    torch.testing.assert_close(run(network, pruned[0]).boxes, pruned[0].answers.boxes, rtol=1e-4, atol=1e-4)
    whole = run(network, Moment(pruned[0].inputs, pruned[0].memory, {}, pruned[0].answers))
    assert not torch.allclose(whole.boxes, pruned[0].answers.boxes, rtol=1e-4, atol=1e-4)


def test_frames_together_are_the_frames_one_by_one(network: StreamPETR, moments: list[Moment]) -> None:
    found = run(network, together(moments))
    torch.testing.assert_close(found.boxes[4], moments[4].answers.boxes[0], rtol=1e-4, atol=1e-4)


def test_a_vector_of_answers_has_the_written_definition(moments: list[Moment]) -> None:
    """Two frames of it by hand, with weights w = p_max^2 of the dense network."""
    dense = Answers(moments[0].answers.boxes, moments[0].answers.probability)
    other = Answers(dense.boxes + 0.5, dense.probability * 0.9)
    weight = dense.weight()
    total = 3.0
    found = float((other.vector(weight, total) - dense.vector(weight, total)).square().sum())
    boxes = float((weight * 10 * 0.25).sum())
    scores = float((0.1 * dense.probability).square().sum())
    assert found == pytest.approx((boxes + 4.0 * scores) / total, rel=1e-4)
    assert torch.equal(weight, dense.probability.max(dim=-1).values ** 2)


def test_codes_are_decoded_to_metres_and_directions() -> None:
    codes = torch.tensor([[[1.0, 2.0, 3.0, 0.0, 0.6931, 99.0, 3.0, 4.0, 5.0, 6.0]]])
    boxes = Answers.decoded(torch.zeros(1, 1, 2), codes).boxes[0, 0]
    torch.testing.assert_close(boxes[:5], torch.tensor([1.0, 2.0, 3.0, 1.0, 2.0]), rtol=1e-4, atol=1e-4)
    assert 90 < float(boxes[5]) < 110
    torch.testing.assert_close(boxes[6:], torch.tensor([0.6, 0.8, 5.0, 6.0]))


def sparse(
    network: StreamPETR, moments: list[Moment], layers: tuple[Layer, ...], studied: dict[str, Studied], **how: object
) -> StreamPETR:
    other = copy.deepcopy(network)
    kept = {layer.name: layer.size // 2 for layer in layers}
    options = {"order": "obs", "repair": "obs"} | how
    assemble(other, moments, layers, studied, kept, **options)  # type: ignore[arg-type]
    parameters = dict(other.named_parameters())
    for layer in layers:
        assert int((layer.of(parameters) != 0).sum()) == layer.size // 2, layer.name
    return other


def test_repair_in_turn_distorts_less_than_alone_and_alone_less_than_none(
    network: StreamPETR, moments: list[Moment], layers: tuple[Layer, ...], studied: dict[str, Studied]
) -> None:
    dense = answers_of(Replay(network, moments))
    given = network, moments, layers, studied
    found = [
        measure(Replay(sparse(*given, **how), moments), dense)
        for how in (
            {},
            {"in_turn": False},
            {"order": "curvature", "repair": "none"},
            {"order": "magnitude", "repair": "none"},
        )
    ]
    assert found[0] < 0.8 * found[1] and found[1] < 0.5 * min(found[2:])
    assert all(
        torch.equal(a, b) for a, b in zip(network.state_dict().values(), given[0].state_dict().values(), strict=True)
    )


def test_a_whole_network_stays_as_it_is(
    network: StreamPETR, moments: list[Moment], layers: tuple[Layer, ...], studied: dict[str, Studied]
) -> None:
    other = copy.deepcopy(network)
    assemble(other, moments, layers, studied, {layer.name: layer.size for layer in layers}, "obs", "obs")
    assert measure(Replay(other, moments), answers_of(Replay(network, moments))) < 1e-6


def test_a_layer_comes_down_in_equal_shares() -> None:
    assert falling(1000, 1000) == [1000] * ROUNDS
    assert falling(10000, 625) == [5000, 2500, 1250, 625]
    assert falling(10, 0)[-1] == 0 and sorted(falling(10, 0), reverse=True) == falling(10, 0)


def test_frames_without_an_object_are_refused(network: StreamPETR) -> None:
    table = make_table(scenes=1, length=2)
    table.codes[:, :2] = 1e3  # outside of what the network can express
    with pytest.raises(ValueError, match="2 calibration frames show no object"):
        record(network, table, 2)
