"""What each of two training processes does; a module of its own, so that a spawned process finds it."""

from __future__ import annotations

import os
from pathlib import Path

import torch
from squares_world import TINY, make_table
from torch import nn

from tggbc_ros.training import initial, parallel
from tggbc_ros.training.denoise import DenoiseConfig
from tggbc_ros.training.loop import Loop, LoopConfig
from tggbc_ros.training.tasks import Net, StreamTask, TaskConfig


def process(rank: int, port: int, folder: Path) -> None:
    """Average three gradients, then train three steps; what came of it goes into ``folder``."""
    torch.set_num_threads(1)
    os.environ.update(RANK=str(rank), WORLD_SIZE="2", MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port))
    crew = parallel.join()
    first, second, third = (nn.Parameter(torch.zeros(2)) for _ in range(3))
    first.grad = torch.tensor([1.0, 2.0]) * (rank + 1)
    if crew.leads:
        second.grad = torch.tensor([4.0, 0.0])
    crew.average_gradients([first, second, third])
    torch.save([first.grad, second.grad, third.grad], folder / f"gradients_{rank}.pt")

    table = make_table(scenes=4, length=3)
    torch.manual_seed(0)
    net = Net(TINY)
    initial.start(net.detector, table, seed=0)
    task = StreamTask(net, table, TaskConfig(batch=4, bf16=False, denoise=DenoiseConfig(groups=1)), torch.device("cpu"))
    Loop(task, LoopConfig(3, rate=1e-3, warmup=1, log_steps=1), folder / f"run_{rank}", {"all": net}, crew).run()
    torch.save((dict(net.named_parameters()), len(task.state()["embedding"])), folder / f"weights_{rank}.pt")
    parallel.leave(crew)
