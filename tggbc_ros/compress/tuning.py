"""A cut network learns again: the same steps on the same frames for whatever is to be compared.

In two parts. First backbone and neck alone learn the dense network's features, which costs a small part of a step that
detects; then, if asked, everything learns from labels and from the dense network's answers. The control is the dense
network tuned likewise: its features are its own already, so the first part is none of its. Without it one would take
for the method's what more training gives.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch
from torch import nn

from tggbc_ros.core.checkpoint import fitting, sha256
from tggbc_ros.core.config import ModelConfig
from tggbc_ros.core.network_file import history_of
from tggbc_ros.data.nuscenes.tables import read_json
from tggbc_ros.training.distil import Teacher
from tggbc_ros.training.frames import FrameTable
from tggbc_ros.training.loop import STATE_FILE, Loop, LoopConfig
from tggbc_ros.training.tasks import EncoderTask, Net, StreamTask, Task, TaskConfig
from tggbc_ros.training.teachers import digest, teacher_from
from tggbc_ros.training.weights import WEIGHTS_FILE, begin_from, export, gate_at

TUNING_FILE = "tuning.json"
"""What a run's folder was made of."""
ENCODER, JOINT = "encoder", "joint"
"""Its two parts, and their folders in the run's."""


@dataclass(frozen=True)
class Tuning:
    """How a network is tuned.

    steps: of ``batch`` frames each, of the encoder alone. seed: of the frames' order and of all noise. rate: the
    learning rate's peak. joint: steps of everything behind them, of ``joint_batch`` frames each, at ``joint_rate``.
    ema: decay of the averaged weights, which are what is kept. keep_zeros: whether weights of matrices that are zero
    at the beginning stay zero.
    """

    steps: int
    batch: int = 4
    seed: int = 0
    rate: float = 4e-3
    joint: int = 0
    joint_batch: int = 8
    joint_rate: float = 1e-4
    ema: float = 0.99
    bf16: bool = True
    keep_zeros: bool = False

    def __post_init__(self) -> None:
        for name, least in (("steps", 0), ("batch", 1), ("joint", 0), ("joint_batch", 1)):
            if getattr(self, name) < least:
                raise ValueError(f"{name} is {getattr(self, name)}, expected at least {least}")

    def data(self) -> dict[str, object]:
        """Plain values by name; of what most tunings do not ask for, nothing."""
        return {name: value for name, value in asdict(self).items() if name != "keep_zeros" or value}


def tune(
    model: ModelConfig,
    dense: Path,
    begin: Path,
    table: FrameTable,
    tuning: Tuning,
    folder: Path,
    device: torch.device,
    shared: Path | None = None,
) -> Path:
    """Tune the network of file ``begin``, cut from that of file ``dense``, or the same: then it is the control.

    table: labelled frames, as `training.prepare.prepare` makes it. folder: of this run alone; a run that was stopped
    there goes on, to the bit, and one that ended is not repeated. shared: folder for the dense network's features of
    all frames, which runs on one table may share; by default the run's own. Returns the .safetensors file of the tuned
    network, with its shape, and the history of ``begin`` with a step "tune" added.
    Raises ValueError where the folder holds a run of other files, frames or settings, or a file does not fit the
    model, FloatingPointError where training diverges.
    """
    _expect_same_run(folder, _source(dense, begin, table, tuning))
    weights = folder / WEIGHTS_FILE
    if weights.is_file():
        return weights
    torch.manual_seed(tuning.seed)
    net = Net(fitting(model, begin))
    begin_from(net, begin)
    net = net.to(device, memory_format=torch.channels_last).train()
    seen = tuning.steps * tuning.batch
    teacher = teacher_from(model, dense, table, seen, shared or folder, device, tuning.bf16)
    _learn_features(net, teacher, table, tuning if sha256(dense) != sha256(begin) else replace(tuning, steps=0), folder)
    _learn_all(net, teacher, table, tuning, folder)
    step = {"step": "tune", **tuning.data(), "frames": len(table)}
    export(net.detector, weights, (*history_of(begin), step), gate_at(begin))
    return weights


def _learn_features(net: Net, teacher: Teacher, table: FrameTable, tuning: Tuning, folder: Path) -> None:
    if tuning.steps:
        config = TaskConfig(batch=tuning.batch, bf16=tuning.bf16, seed=tuning.seed)
        task = EncoderTask(net, table, config, _device(net), teacher)
        parts = {"backbone": net.detector.backbone, "neck": net.detector.neck}
        _run(task, parts, _loop_config(tuning.steps, tuning.rate, tuning.ema), folder / ENCODER, tuning.keep_zeros)


def _learn_all(net: Net, teacher: Teacher, table: FrameTable, tuning: Tuning, folder: Path) -> None:
    if tuning.joint:
        config = TaskConfig(batch=tuning.joint_batch, bf16=tuning.bf16, dense=0.0, guidance=0.0, seed=tuning.seed)
        task = StreamTask(net, table, config, _device(net), teacher=teacher)
        detector = net.detector
        parts = {"backbone": detector.backbone, "neck": detector.neck, "head": detector.head}
        _run(task, parts, _loop_config(tuning.joint, tuning.joint_rate, tuning.ema), folder / JOINT, tuning.keep_zeros)


def _run(task: Task, parts: dict[str, nn.Module], config: LoopConfig, folder: Path, keep_zeros: bool) -> None:
    """Train, going on where it was stopped; the network is the averaged one afterwards."""
    masks = zeros_of(parts) if keep_zeros else []
    loop = Loop(task, config, folder, parts)
    if (folder / STATE_FILE).is_file():
        loop.resume()
    # The average follows weights that are zero where these are, from the same ones on: it needs no mask.
    kept = loop.optimizer.register_step_post_hook(lambda *_: _clear(masks))
    if loop.step < config.steps:
        loop.run()
    kept.remove()
    task.net.load_state_dict(loop.average.module.state_dict())


def zeros_of(parts: Mapping[str, nn.Module]) -> list[tuple[nn.Parameter, torch.Tensor]]:
    """The matrices with zeros in them, and where: true for those."""
    matrices = [each for part in parts.values() for each in part.parameters() if each.ndim > 1 and each.requires_grad]
    found = [(each, each.detach() == 0) for each in matrices]
    return [(each, zeros) for each, zeros in found if zeros.any()]


@torch.no_grad()
def _clear(masks: Sequence[tuple[nn.Parameter, torch.Tensor]]) -> None:
    for parameter, zeros in masks:
        parameter.masked_fill_(zeros, 0.0)


def _loop_config(steps: int, rate: float, ema: float) -> LoopConfig:
    return LoopConfig(steps, rate=rate, warmup=min(100, max(1, steps // 5)), ema=ema, save_s=60.0)


def _device(net: Net) -> torch.device:
    return next(net.parameters()).device


def _source(dense: Path, begin: Path, table: FrameTable, tuning: Tuning) -> dict[str, object]:
    return {"dense": sha256(dense), "begin": sha256(begin), "frames": digest(table), **tuning.data()}


def _expect_same_run(folder: Path, source: dict[str, object]) -> None:
    """Note what a run is made of in its folder, or raise ValueError where it holds another one."""
    file = folder / TUNING_FILE
    if not file.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(source, indent=1) + "\n", encoding="utf-8")
        return
    found = read_json(file)
    for name, value in source.items():
        if found.get(name) != value:
            raise ValueError(
                f"{folder} holds a tuning whose {name} is {found.get(name)!r}, expected {value!r}: "
                "delete it or choose another folder"
            )
