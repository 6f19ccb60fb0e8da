"""Short runs on a hand-made world: the loss falls, and a resumed run is the uninterrupted one to the bit."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from squares_world import TINY, make_table

from tggbc_ros.core.config import PruningConfig
from tggbc_ros.training import initial
from tggbc_ros.training.denoise import DenoiseConfig
from tggbc_ros.training.features import cache_features
from tggbc_ros.training.frames import FrameTable
from tggbc_ros.training.loop import Loop, LoopConfig
from tggbc_ros.training.parallel import Crew
from tggbc_ros.training.schedule import KeepRamp
from tggbc_ros.training.score import evaluate
from tggbc_ros.training.tasks import DenseTask, Net, StreamTask, TaskConfig

CPU = torch.device("cpu")
CONFIG = TaskConfig(batch=3, bf16=False, denoise=DenoiseConfig(groups=2))


def network(table: FrameTable) -> Net:
    torch.manual_seed(0)
    net = Net(TINY)
    initial.start(net.detector, table, seed=0)
    return net


def joint_loop(table: FrameTable, folder: Path, config: TaskConfig = CONFIG, steps: int = 20) -> Loop:
    net = network(table)
    task = StreamTask(net, table, config, CPU)
    return Loop(task, LoopConfig(steps=steps, rate=2e-3, warmup=3, log_steps=1, ema=0.9), folder, {"all": net})


def column(folder: Path, name: str) -> list[float]:
    with (folder / "log.csv").open() as file:
        return [float(row[name]) for row in csv.DictReader(file)]


def test_loss_falls_in_twenty_steps_of_everything_together(table: FrameTable, tmp_path: Path) -> None:
    joint_loop(table, tmp_path).run()
    losses = column(tmp_path, "loss")
    assert len(losses) == 20 and sum(losses[-5:]) < 0.8 * sum(losses[:5])
    for name in (
        "class",
        "box",
        "dn_class",
        "dn_box",
        "guidance",
        "dense_class",
        "dense_box",
        "value_class",
        "value_m",
    ):
        values = column(tmp_path, name)
        assert sum(values[-5:]) < sum(values[:5]), name


def test_dense_loss_falls_and_teaches_the_decoder_where_to_look_and_nothing_else(
    table: FrameTable, tmp_path: Path
) -> None:
    net = network(table)
    before = net.detector.head.cls_branch[0].weight.clone()
    parts = {"all": net}
    Loop(DenseTask(net, table, CONFIG, CPU), LoopConfig(20, rate=2e-3, warmup=3, log_steps=1), tmp_path, parts).run()
    for name, share in (("loss", 0.8), ("look", 0.8), ("value_m", 0.95)):
        values = column(tmp_path, name)
        assert sum(values[-5:]) < share * sum(values[:5]), name
    assert torch.equal(before, net.detector.head.cls_branch[0].weight)


def test_head_learns_on_cached_features_while_the_backbone_rests(table: FrameTable, tmp_path: Path) -> None:
    net = network(table)
    features = cache_features(net.eval(), table, CPU, False, tmp_path / "features.npy", Crew(), batch=5)
    assert features.shape == (12, 2, 32, 4, 6)
    backbone = {name: value.clone() for name, value in net.detector.backbone.state_dict().items()}
    task = StreamTask(net.train(), table, CONFIG, CPU, features)
    Loop(task, LoopConfig(20, rate=2e-3, warmup=3, log_steps=1), tmp_path, {"head": net.detector.head}).run()
    losses = column(tmp_path, "loss")
    assert sum(losses[-5:]) < 0.9 * sum(losses[:5])
    assert all(torch.equal(backbone[name], value) for name, value in net.detector.backbone.state_dict().items())


def test_resumed_run_equals_the_uninterrupted_one_to_the_bit(table: FrameTable, tmp_path: Path) -> None:
    config = replace(CONFIG, ramp=KeepRamp(final=0.5, begin=0.2, end=0.6))
    whole = joint_loop(table, tmp_path / "whole", config, steps=8)
    whole.run()
    joint_loop(table, tmp_path / "cut", config, steps=8).run(until=5)
    torch.rand(7)  # whatever happened to the global random state in between
    again = joint_loop(table, tmp_path / "cut", config, steps=8)
    again.resume()
    again.run()
    assert again.step == 8
    for one, other in ((whole.task.net, again.task.net), (whole.average.module, again.average.module)):
        for name, value in one.state_dict().items():
            assert torch.equal(value, other.state_dict()[name]), name
    assert column(tmp_path / "whole", "loss") == column(tmp_path / "cut", "loss")


def test_on_step_comes_after_every_step_logged_or_not(table: FrameTable, tmp_path: Path) -> None:
    net, seen = network(table), list[int]()
    loop = Loop(StreamTask(net, table, CONFIG, CPU), LoopConfig(6, log_steps=3), tmp_path, {"all": net})
    loop.run(until=4, on_step=seen.append)
    assert seen == [1, 2, 3, 4] and column(tmp_path, "step") == [2, 3]


def test_keys_are_trimmed_as_the_ramp_says(table: FrameTable, tmp_path: Path) -> None:
    joint_loop(table, tmp_path, replace(CONFIG, ramp=KeepRamp(0.25, 0.0, 0.5)), steps=4).run()
    assert column(tmp_path, "keep_ratio") == [1.0, 0.625, 0.25, 0.25]


def test_resume_without_a_checkpoint_or_with_other_steps_is_refused(table: FrameTable, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no checkpoint .*last.pt to resume"):
        joint_loop(table, tmp_path).resume()
    joint_loop(table, tmp_path, steps=5).run(until=1)
    with pytest.raises(ValueError, match="steps is 9, expected 5"):
        joint_loop(table, tmp_path, steps=9).resume()


def test_a_loss_that_is_not_finite_stops_the_run(table: FrameTable, tmp_path: Path) -> None:
    loop = joint_loop(table, tmp_path)
    with torch.no_grad():
        loop.task.net.detector.head.reg_branch[0].weight.fill_(float("nan"))
    with pytest.raises(FloatingPointError, match="not finite"):
        loop.run()


def test_scores_of_an_untrained_network_are_near_zero_and_need_every_scene(table: FrameTable) -> None:
    result = evaluate(network(table).eval(), make_table(2, 2, seed=5), CPU, PruningConfig(), bf16=False)
    assert 0.0 <= result.mean_ap < 0.5 and set(result.by_class) <= {"car", "truck"}


def test_frames_without_objects_teach_background_and_break_nothing(table: FrameTable, tmp_path: Path) -> None:
    net = network(table)
    empty = replace(
        table,
        codes=table.codes[:0],
        labels=table.labels[:0],
        object_start=np.zeros_like(table.object_start),
    )
    loop = Loop(StreamTask(net, empty, CONFIG, CPU), LoopConfig(2, log_steps=1), tmp_path, {"all": net})
    loop.run()
    assert column(tmp_path, "class")[1] < column(tmp_path, "class")[0]
    assert column(tmp_path, "box") == column(tmp_path, "dn_box") == column(tmp_path, "guidance") == [0.0, 0.0]
