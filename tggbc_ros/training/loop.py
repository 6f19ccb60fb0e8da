"""The training loop: step, log, save; resumable to the bit."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn
from tqdm import tqdm

from tggbc_ros.training.average import Average
from tggbc_ros.training.log import CsvLog
from tggbc_ros.training.objectives import Losses
from tggbc_ros.training.parallel import Crew
from tggbc_ros.training.schedule import learning_rate
from tggbc_ros.training.tasks import Task

STATE_FILE = "last.pt"
LOG_FILE = "log.csv"


@dataclass(frozen=True)
class LoopConfig:
    """steps: of the whole run, resumed ones included. backbone_rate: its share of the learning rate.

    save_s: seconds between two checkpoints. ema: decay of the average of the weights, 0 for none.
    """

    steps: int
    rate: float = 4e-4
    backbone_rate: float = 1.0
    weight_decay: float = 0.01
    warmup: int = 100
    clip_norm: float = 35.0
    ema: float = 0.998
    save_s: float = 120.0
    log_steps: int = 10

    def __post_init__(self) -> None:
        if self.steps < 1:
            raise ValueError(f"steps is {self.steps}, expected at least 1")


class Loop:
    """Trains a task's network in ``folder``, where its checkpoint and log lie."""

    def __init__(
        self, task: Task, config: LoopConfig, folder: Path, trained: dict[str, nn.Module], crew: Crew | None = None
    ) -> None:
        """trained: the parts of the network that learn, by name; 'backbone' learns at its own rate."""
        self.task, self.config, self.folder, self.crew = task, config, folder, crew or Crew()
        folder.mkdir(parents=True, exist_ok=True)
        self.trained = trained
        self.optimizer = torch.optim.AdamW(_groups(trained, config), weight_decay=config.weight_decay, fused=True)
        self.average = Average(task.net, config.ema)
        self.step = 0

    def resume(self) -> None:
        """Take up the run whose checkpoint lies in the folder; raises if there is none.

        To the bit with one process; of several, all but the first begin with an empty memory.
        """
        path = self.folder / STATE_FILE
        if not path.is_file():
            raise FileNotFoundError(f"no checkpoint {path} to resume")
        state = torch.load(path, map_location="cpu", weights_only=True)
        if state["steps"] != self.config.steps:
            raise ValueError(f"steps is {self.config.steps}, expected {state['steps']} as in {path}")
        self.task.net.load_state_dict(state["net"])
        self.average.module.load_state_dict(state["average"])
        self.average.updates = state["updates"]
        self.optimizer.load_state_dict(state["optimizer"])
        if self.crew.leads and state["processes"] == self.crew.size:
            self.task.restore(state["task"])
        self.step = state["step"]

    def save(self) -> None:
        """Write the checkpoint, if this process leads; a crash in between leaves the old one."""
        if not self.crew.leads:
            return
        state = {
            "step": self.step,
            "processes": self.crew.size,
            "steps": self.config.steps,
            "net": self.task.net.state_dict(),
            "average": self.average.module.state_dict(),
            "updates": self.average.updates,
            "optimizer": self.optimizer.state_dict(),
            "task": self.task.state(),
        }
        partial = self.folder / (STATE_FILE + ".partial")
        torch.save(state, partial)
        os.replace(partial, self.folder / STATE_FILE)

    def run(self, until: int | None = None, on_step: Callable[[int], None] | None = None) -> None:
        """Train up to step ``until``, by default the last, and save. on_step: called after each, with its number."""
        until = min(until or self.config.steps, self.config.steps)
        log = CsvLog(self.folder / LOG_FILE, self.step) if self.crew.leads else None
        batches, window, saved_s = self.task.batches(self.step), _Mean(), time.monotonic()
        bar = tqdm(
            total=self.config.steps, initial=self.step, desc=self.folder.name, mininterval=2.0, disable=log is None
        )
        with bar:
            while self.step < until:
                window.add(self.advance(self.crew.share(next(batches))))
                bar.update()
                if log is not None and (self.step % self.config.log_steps == 0 or self.step == until):
                    row = window.take()
                    log.write({"step": self.step - 1, **row})
                    bar.set_postfix_str(f"loss {row['loss']:.3f}", refresh=False)
                if on_step is not None:
                    on_step(self.step)
                if time.monotonic() - saved_s > self.config.save_s:
                    self.save()
                    saved_s = time.monotonic()
        self.save()

    def advance(self, frames: list[int]) -> dict[str, float]:
        """One step: losses, gradients, weights, average. Raises FloatingPointError if the loss is not finite."""
        self._set_rate()
        losses = self.task.losses(frames, self.step, self.config.steps)
        total = torch.stack([loss for loss in losses.values() if loss.requires_grad]).sum()
        if not torch.isfinite(total):
            raise FloatingPointError(f"the loss of step {self.step} is {_values(losses)}, frames {frames}")
        self.optimizer.zero_grad(set_to_none=True)
        total.backward()
        parameters = [each for group in self.optimizer.param_groups for each in group["params"]]
        self.crew.average_gradients(parameters)
        norm = nn.utils.clip_grad_norm_(parameters, self.config.clip_norm)
        self.optimizer.step()
        self.average.follow(self.task.net)
        self.step += 1
        return {"loss": float(total.detach()), "grad_norm": float(norm), **_values(losses)}

    def _set_rate(self) -> None:
        config = self.config
        rate = learning_rate(self.step, config.steps, config.rate, config.warmup)
        for group in self.optimizer.param_groups:
            group["lr"] = rate * group["share"]


class _Mean:
    """Means of what was added since they were last taken, and seconds a step."""

    def __init__(self) -> None:
        self._rows: list[dict[str, float]] = []
        self._begun_s = time.monotonic()

    def add(self, row: dict[str, float]) -> None:
        self._rows.append(row)

    def take(self) -> dict[str, float]:
        names = self._rows[-1].keys()
        means = {name: sum(row.get(name, 0.0) for row in self._rows) / len(self._rows) for name in names}
        now_s = time.monotonic()
        means["step_s"] = (now_s - self._begun_s) / len(self._rows)
        self._rows, self._begun_s = [], now_s
        return means


def _values(losses: Losses) -> dict[str, float]:
    return {name: float(value.detach()) for name, value in losses.items()}


def _groups(trained: dict[str, nn.Module], config: LoopConfig) -> list[dict[str, object]]:
    """Each part's weights, without those of the parts before it."""
    taken: set[int] = set()
    groups: list[dict[str, object]] = []
    for name, module in trained.items():
        own = [each for each in module.parameters() if each.requires_grad and id(each) not in taken]
        taken |= {id(each) for each in own}
        share = config.backbone_rate if name == "backbone" else 1.0
        if own:
            groups.append({"params": own, "share": share, "lr": config.rate})
    return groups
