"""A teacher's losses: none for its equal, gradients for the pupil alone, and a run that goes on to the bit."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch
from squares_world import TINY

from tggbc_ros.compress.cutting import Cut
from tggbc_ros.compress.surgery import cut_network
from tggbc_ros.training.denoise import DenoiseConfig
from tggbc_ros.training.distil import Teacher, feature_loss
from tggbc_ros.training.features import cache_features
from tggbc_ros.training.frames import FrameTable
from tggbc_ros.training.loop import Loop, LoopConfig
from tggbc_ros.training.parallel import Crew
from tggbc_ros.training.tasks import EncoderTask, Net, StreamTask, TaskConfig

CPU = torch.device("cpu")
CONFIG = TaskConfig(batch=3, bf16=False, denoise=DenoiseConfig(groups=2))
LIKENESS = ("features", "distil_class", "distil_box")


@pytest.fixture
def net() -> Net:
    return Net(TINY)


def pupil_of(net: Net) -> Net:
    pupil = copy.deepcopy(net)
    pupil.detector = cut_network(net.detector, Cut({"layer2.0.conv1": range(20)}, gone=frozenset({"layer1.1"})))
    return pupil


def test_a_network_is_already_like_itself(net: Net, table: FrameTable) -> None:
    teacher = Teacher(copy.deepcopy(net.detector))
    frames = [0, 3, 6]
    encoder = EncoderTask(net.eval(), table, CONFIG, CPU, teacher).losses(frames, 0, 1)
    assert encoder["features"] == 0.0
    joint = StreamTask(net.eval(), table, CONFIG, CPU, teacher=teacher)
    for step in range(2):  # the second reads memory
        losses = joint.losses([frame + step for frame in frames], step, 2)
        for name in LIKENESS:
            assert losses[name].requires_grad and losses[name] == 0.0, name


def test_another_is_not_and_learns_while_the_teacher_does_not(net: Net, table: FrameTable) -> None:
    teacher, pupil = Teacher(net.detector), pupil_of(net)
    before = {name: value.clone() for name, value in teacher.detector.state_dict().items()}
    task = StreamTask(pupil.train(), table, CONFIG, CPU, teacher=teacher)
    losses = task.losses([0, 3, 6], 0, 1)
    assert all(losses[name] > 0.0 for name in LIKENESS)
    torch.stack([losses[name] for name in LIKENESS]).sum().backward()
    assert all(each.grad is None and not each.requires_grad for each in teacher.detector.parameters())
    learned = {name for name, each in pupil.detector.named_parameters() if each.grad is not None}
    assert {"backbone.conv1.weight", "neck.output.weight", "head.cls_branch.0.weight"} <= learned
    assert all(torch.equal(before[name], value) for name, value in teacher.detector.state_dict().items())


def test_the_size_of_features_does_not_matter_to_their_loss() -> None:
    wanted = torch.randn(2, 2, 8, 3, 4)
    features = wanted + 0.1 * torch.randn_like(wanted)
    one, other = feature_loss(features, wanted), feature_loss(1000 * features, 1000 * wanted)
    assert torch.isclose(one, other, rtol=1e-4) and 0.005 < one < 0.02
    assert feature_loss(wanted * 0 + 1, wanted * 0 + 1) == 0.0


def encoder_loop(net: Net, teacher: Teacher, table: FrameTable, folder: Path, steps: int) -> Loop:
    pupil = pupil_of(net)
    parts = {"backbone": pupil.detector.backbone, "neck": pupil.detector.neck}
    task = EncoderTask(pupil.train(), table, CONFIG, CPU, teacher)
    return Loop(task, LoopConfig(steps, rate=2e-3, warmup=2, log_steps=1, ema=0.9), folder, parts)


def test_the_encoder_learns_alone_and_goes_on_to_the_bit(net: Net, table: FrameTable, tmp_path: Path) -> None:
    teacher = Teacher(copy.deepcopy(net.detector))
    whole = encoder_loop(net, teacher, table, tmp_path / "whole", 12)
    whole.run()
    encoder_loop(net, teacher, table, tmp_path / "cut", 12).run(until=5)
    again = encoder_loop(net, teacher, table, tmp_path / "cut", 12)
    again.resume()
    again.run()
    ours, theirs = whole.task.net.state_dict(), again.task.net.state_dict()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    rows = (tmp_path / "whole" / "log.csv").read_text().splitlines()
    assert rows[0].split(",")[:2] == ["step", "loss"]
    assert float(rows[-1].split(",")[1]) < 0.7 * float(rows[1].split(",")[1])
    before, head = net.detector.head.state_dict(), whole.task.net.detector.head.state_dict()
    assert all(torch.equal(before[name], head[name]) for name in before)


def test_features_that_are_known_spare_the_teacher_its_work(net: Net, table: FrameTable, tmp_path: Path) -> None:
    known = cache_features(net.eval(), table, CPU, False, tmp_path / "features.npy", Crew())
    frames = [7, 2]
    batch = table.batch(frames, TINY, CPU)
    taught, read = Teacher(net.detector).features(batch, False), Teacher(net.detector, known).features(batch, False)
    assert torch.allclose(taught, read, atol=2e-3) and not torch.equal(taught, read)
