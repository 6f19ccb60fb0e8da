"""A cut network learns again: the same steps on the same frames for whatever is to be compared.

The control is the dense network tuned likewise. Without it one would take for the method's what more training gives.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

import torch

from tggbc_ros.core.checkpoint import fitting, sha256
from tggbc_ros.core.config import ModelConfig
from tggbc_ros.core.network_file import history_of
from tggbc_ros.data.nuscenes.tables import read_json
from tggbc_ros.training.frames import FrameTable
from tggbc_ros.training.loop import STATE_FILE, Loop, LoopConfig
from tggbc_ros.training.tasks import Net, StreamTask, TaskConfig
from tggbc_ros.training.weights import WEIGHTS_FILE, begin_from, export

TUNING_FILE = "tuning.json"
"""What a run's folder was made of."""


@dataclass(frozen=True)
class Tuning:
    """How a network is tuned. steps: of ``batch`` frames each. seed: of the frames' order and of all noise.

    rate: the learning rate's peak. ema: decay of the averaged weights, which are what is kept.
    """

    steps: int
    batch: int = 8
    seed: int = 0
    rate: float = 4e-4
    ema: float = 0.99
    bf16: bool = True


def tune(
    model: ModelConfig,
    dense: Path,
    begin: Path,
    table: FrameTable,
    tuning: Tuning,
    folder: Path,
    device: torch.device,
) -> Path:
    """Tune the network of file ``begin``, cut from that of file ``dense``, or the same: then it is the control.

    table: labelled frames, as `training.prepare.prepare` makes it. folder: of this run alone; a run that was stopped
    there goes on, to the bit, and one that ended is not repeated. Returns the .safetensors file of the tuned network,
    with its shape, and the history of ``begin`` with a step "tune" added.
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
    task = StreamTask(net, table, TaskConfig(batch=tuning.batch, bf16=tuning.bf16, seed=tuning.seed), device)
    detector = net.detector
    trained = {"backbone": detector.backbone, "neck": detector.neck, "head": detector.head, "dense": net.dense}
    loop = Loop(task, _loop_config(tuning), folder, trained)
    if (folder / STATE_FILE).is_file():
        loop.resume()
    loop.run()
    step = {"step": "tune", **asdict(tuning), "frames": len(table)}
    export(loop.average.module.detector, weights, (*history_of(begin), step))
    return weights


def _loop_config(tuning: Tuning) -> LoopConfig:
    return LoopConfig(
        tuning.steps, rate=tuning.rate, warmup=min(100, max(1, tuning.steps // 5)), ema=tuning.ema, save_s=60.0
    )


def _source(dense: Path, begin: Path, table: FrameTable, tuning: Tuning) -> dict[str, object]:
    return {
        "dense": sha256(dense),
        "begin": sha256(begin),
        "frames": len(table),
        "objects": len(table.labels),
        **asdict(tuning),
    }


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
