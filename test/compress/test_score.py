"""Scores by gradients: the recorded ones, with norms and without, of the real loss; what says nothing is counted."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from golden_net import GROUPS, NORMS, GoldenNet
from squares_world import TINY, make_table
from torch import nn

from tggbc_ros.compress import layout, score
from tggbc_ros.compress.cutting import Cut
from tggbc_ros.compress.importance import totals
from tggbc_ros.compress.score import Loss, Probe, detection_loss, measure, score_split
from tggbc_ros.compress.surgery import masked_network
from tggbc_ros.core.config import ModelConfig
from tggbc_ros.core.folding import fold_norms
from tggbc_ros.core.shape import Stage, VoVNetShape, resnet
from tggbc_ros.training import initial
from tggbc_ros.training.denoise import DenoiseConfig
from tggbc_ros.training.frames import Batch, FrameTable
from tggbc_ros.training.tasks import Net, StreamTask, TaskConfig

CPU = torch.device("cpu")
CONFIG = TaskConfig(batch=2, bf16=False, denoise=DenoiseConfig(groups=2))
MODEL = replace(TINY, shape=resnet("basic", (1, 1, 1, 1), width=8))
KINDS = {
    "basic": MODEL,
    "bottleneck": replace(TINY, backbone="resnet50", shape=resnet("bottleneck", (2, 1, 1, 1), width=8)),
    "vovnet": replace(
        TINY,
        backbone="vovnet99",
        shape=VoVNetShape((6, 7, 8), tuple(Stage(trunk, ((5, 6),) * 2) for trunk in (10, 12, 14, 16))),
    ),
}

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture
def golden(golden_dir: Path) -> dict[str, np.ndarray]:
    with np.load(golden_dir / "compress" / "public_mdp_importance.npz") as arrays:
        return dict(arrays)


@pytest.mark.parametrize("folded", [False, True], ids=["norms", "norms folded"])
def test_the_recorded_importance_comes_of_the_recorded_weights(golden: dict[str, np.ndarray], folded: bool) -> None:
    net = GoldenNet(golden)
    if folded:
        fold_norms(net)
    names = NORMS if not folded else {layer: layer for layer in NORMS}
    parameters = {layer: list(net.get_submodule(name).parameters()) for layer, name in names.items()}
    images, labels = torch.from_numpy(golden["x"]), torch.from_numpy(golden["y"])
    probe = Probe(parameters, GROUPS)
    losses = [F.cross_entropy(net(x), y) for x, y in zip(images, labels, strict=True)]
    assert [loss.item() for loss in losses] == pytest.approx([golden[f"loss{index}"].item() for index in range(3)])
    scores = measure(probe, losses)
    assert (scores.batches, scores.without_objects, scores.not_finite) == (3, 0, 0)
    for layer, found in scores.importance.items():
        np.testing.assert_allclose(found, golden[f"importance.{layer}"], rtol=1e-9, atol=1e-14)


def network(table: FrameTable, folded: bool = False, model: ModelConfig = MODEL) -> Net:
    torch.manual_seed(0)
    net = Net(model)
    initial.start(net.detector, table, seed=0)
    nn.init.normal_(net.detector.head.reg_branch[-1].weight, 0.0, 0.1)  # boxes that depend on the images
    for each in net.detector.backbone.modules():
        if isinstance(each, nn.BatchNorm2d):
            nn.init.normal_(each.bias, 0.0, 0.3)
            nn.init.uniform_(each.running_var, 0.5, 2.0)
    net.eval()
    if folded:
        fold_norms(net.detector.backbone)
    return net


def test_scores_are_what_dropping_a_channel_changes_in_the_training_loss_to_first_order() -> None:
    """Scale and shift both times 1 - h: the loss falls by h times the score."""
    table, share = make_table(2, 2), 1e-2
    net = network(table)
    probe = Probe.of(net.detector.backbone)
    task = StreamTask(net, table, replace(CONFIG, guidance=0.0), CPU)
    before = detection_loss(task.losses([0, 2], 0, 1))
    scores = probe.scores(before)
    layer = max(layout.layers(MODEL.shape), key=lambda each: np.abs(scores[each.name]).max())
    norm, channel = net.detector.backbone.get_submodule(layer.norm), int(np.abs(scores[layer.name]).argmax())
    with torch.no_grad():
        norm.weight[channel] *= 1 - share
        norm.bias[channel] *= 1 - share
        task.memory = None
        after = detection_loss(task.losses([0, 2], 0, 1))
    assert float(before.detach() - after) / share == pytest.approx(scores[layer.name][channel], rel=0.1)


@pytest.mark.parametrize("kind", KINDS)
def test_folded_networks_score_alike(kind: str) -> None:
    table, model = make_table(2, 2), KINDS[kind]
    one, other = (
        score_split(network(table, folded, model), table, CONFIG, 2, CPU).importance for folded in (False, True)
    )
    wanted = {layer.name: layout.widths(model.shape)[layer.group] for layer in layout.layers(model.shape)}
    assert {name: len(value) for name, value in one.items()} == wanted
    for name, found in one.items():
        np.testing.assert_allclose(found, other[name], rtol=1e-2, atol=1e-4 * max(found.max(), 1e-9))


def test_frames_without_objects_are_counted_and_nothing_is_changed() -> None:
    table = make_table(2, 3)
    objects = np.concatenate([np.arange(3) * 3, np.full(4, 6)])  # the first two frames alone have some
    table = replace(table, object_start=objects)
    net = network(table)
    before = {name: value.clone() for name, value in net.state_dict().items()}
    seen: list[int] = []
    scores = score_split(net, table, replace(CONFIG, batch=1), 6, CPU, seen.append)
    assert (scores.batches, scores.without_objects, scores.not_finite) == (2, 4, 0)
    assert seen == [0, *[1] * 6]
    assert all(np.isfinite(each).all() and (each >= 0).all() and each.any() for each in scores.importance.values())
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    again = score_split(network(table), table, replace(CONFIG, batch=1), 6, CPU)
    assert all(np.array_equal(value, again.importance[name]) for name, value in scores.importance.items())


@pytest.mark.parametrize("objects", [3, 0])
def test_batches_that_are_not_finite_are_counted_and_poison_nothing(
    objects: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that has no object either says nothing anyway, and must not stay in memory."""
    table = replace(make_table(1, 4), object_start=np.cumsum([0, 3, objects, 3, 3]))
    clean = FrameTable.batch

    def poisoned(self: FrameTable, frames: list[int], *rest: Any, **more: Any) -> Batch:
        batch = clean(self, frames, *rest, **more)
        if frames == [1]:
            batch.inputs.images[:] = float("nan")
        return batch

    monkeypatch.setattr(FrameTable, "batch", poisoned)
    scores = score_split(network(table), table, replace(CONFIG, batch=1), 4, CPU)
    assert (scores.batches, scores.without_objects, scores.not_finite) == ((3, 0, 1) if objects else (3, 1, 0))
    assert all(np.isfinite(each).all() for each in scores.importance.values())


def test_scores_that_are_not_finite_although_the_loss_is() -> None:
    weight = nn.Parameter(torch.tensor([0.0, 1.0]))
    probe = Probe({"a": [weight]}, {"g": ["a"]})

    def losses() -> Iterator[Loss]:
        yield weight.sum()
        yield weight[0].sqrt() + weight[1]  # its slope at zero is infinite, and zero times that is no number
        yield None

    scores = measure(probe, losses())
    assert (scores.batches, scores.without_objects, scores.not_finite) == (1, 1, 1)
    assert scores.importance["a"].tolist() == [0.0, 1.0]


def test_no_batch_left_is_said_with_its_causes() -> None:
    table = make_table(1, 2)
    empty = replace(table, object_start=np.zeros_like(table.object_start))
    with pytest.raises(ValueError, match="no batch gave scores: 3 without an object, 0 with NaN or infinite scores"):
        score_split(network(table), empty, replace(CONFIG, batch=1), 3, CPU)
    with pytest.raises(ValueError, match="batches is 0, expected at least 1"):
        score_split(network(table), table, CONFIG, 0, CPU)


def test_a_channel_that_is_zero_already_scores_zero() -> None:
    table = make_table(1, 2)
    net = network(table)
    dead = Cut({"layer2": [0, 2, 3]})
    net.detector = masked_network(net.detector, dead)
    scores = score_split(net.eval(), table, CONFIG, 1, CPU)
    total = totals(scores.importance, Probe.of(net.detector.backbone).groups)
    alive = set(np.flatnonzero(total["layer2"]).tolist())
    assert alive and alive <= {0, 2, 3}


def test_scoring_that_was_stopped_goes_on_to_the_bit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(score, "SAVE_S", 0.0)
    table, partial = make_table(2, 4), tmp_path / "scores.partial"

    whole = score_split(network(table), table, replace(CONFIG, batch=1), 5, CPU)

    def stop(count: int) -> None:
        done.append(count)
        if sum(done) == 3:
            raise KeyboardInterrupt

    done: list[int] = []
    with pytest.raises(KeyboardInterrupt):
        score_split(network(table), table, replace(CONFIG, batch=1), 5, CPU, stop, partial)
    assert partial.is_file()
    done = []
    again = score_split(network(table), table, replace(CONFIG, batch=1), 5, CPU, done.append, partial)
    assert done == [2, 1, 1, 1], "what the third batch came to was not kept yet"
    assert not partial.exists()
    assert again.batches == whole.batches
    for name, importance in whole.importance.items():
        np.testing.assert_array_equal(again.importance[name], importance)
