"""Which channels of a backbone matter to the training loss, measured on labelled frames.

The loss is training's own, of detections and of noisy queries; what training adds beside it to learn sooner (the dense
head, guided looks) is no part of it. Norms keep their statistics. Scores need gradients of scales and shifts alone.
"""

from __future__ import annotations

import dataclasses
import os
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import nn

from tggbc_ros.compress import layout
from tggbc_ros.compress.importance import Array, Groups, share_out
from tggbc_ros.core.backbones import Backbone
from tggbc_ros.training.frames import FrameTable
from tggbc_ros.training.objectives import Losses
from tggbc_ros.training.tasks import Net, StreamTask, TaskConfig

SAVE_S = 10.0
TERMS = ("class", "box", "dn_class", "dn_box")

Loss = torch.Tensor | None
"""Of one batch; None for a batch that says nothing."""


@dataclass(frozen=True, eq=False)
class Scores:
    """importance: of each layer's channels [C], the mean over the batches that count.

    batches: how many count. without_objects and not_finite: how many were passed over, by cause.
    """

    importance: Mapping[str, Array]
    batches: int
    without_objects: int
    not_finite: int


class Probe:
    """What channels do to a loss, to first order: the sum of p dL/dp over the parameters p that make a channel.

    parameters: of each layer, the first axis its channels: scale and shift of its norm, or its filters and biases
    where the norm is folded into them or there is none; the sum is the same. groups: which layers belong together.
    The parameters are made to ask for gradients, so a loss has to be computed afterwards.
    """

    def __init__(self, parameters: Mapping[str, list[nn.Parameter]], groups: Groups) -> None:
        self._parameters, self.groups = parameters, groups
        for each in self._flat():
            each.requires_grad_(True)

    @classmethod
    def of(cls, backbone: Backbone) -> Probe:
        """All layers of a backbone, whether its norms are there or folded away."""
        members = layout.members(backbone.shape)
        groups = {group: [layer.name for layer in layers] for group, layers in members.items()}
        return cls({layer.name: _parameters(backbone, layer) for layer in layout.layers(backbone.shape)}, groups)

    def scores(self, loss: torch.Tensor) -> dict[str, Array]:
        """Of each layer [C], signed; a layer that the loss does not depend on has zeros."""
        gradients = iter(torch.autograd.grad(loss, self._flat(), allow_unused=True))
        return {name: _taylor(parameters, gradients) for name, parameters in self._parameters.items()}

    def _flat(self) -> list[nn.Parameter]:
        return [each for parameters in self._parameters.values() for each in parameters]


@dataclass
class Sums:
    """What batches came to so far. total: of each layer's importance [C]; the others as in `Scores`."""

    total: dict[str, Array] = field(default_factory=dict)
    batches: int = 0
    without_objects: int = 0
    not_finite: int = 0

    @property
    def seen(self) -> int:
        """Batches, whether they count or not."""
        return self.batches + self.without_objects + self.not_finite

    def scores(self) -> Scores:
        """Raises ValueError where no batch counts."""
        if not self.batches:
            empty, wrong = self.without_objects, self.not_finite
            raise ValueError(f"no batch gave scores: {empty} without an object, {wrong} with NaN or infinite scores")
        mean = {name: value / self.batches for name, value in self.total.items()}
        return Scores(mean, self.batches, self.without_objects, self.not_finite)


def measure(
    probe: Probe, losses: Iterable[Loss], done: Callable[[], object] = lambda: None, sums: Sums | None = None
) -> Scores:
    """The importance over batches whose losses come one by one; ``done`` is called after each.

    sums: what other batches came to before, and these with them. Batches that say nothing, and those whose loss or
    scores are not finite, are counted and passed over. Raises ValueError where none is left.
    """
    sums = Sums() if sums is None else sums
    for loss in losses:
        shares = None if loss is None else _shares(probe, loss)
        if loss is None:
            sums.without_objects += 1
        elif shares is None:
            sums.not_finite += 1
        else:
            sums.batches += 1
            sums.total = {name: sums.total.get(name, 0.0) + share for name, share in shares.items()}
        done()
    return sums.scores()


def score_split(
    net: Net,
    table: FrameTable,
    config: TaskConfig,
    batches: int,
    device: torch.device,
    done: Callable[[int], object] = lambda count: None,
    partial: Path | None = None,
) -> Scores:
    """The importance of the channels of a detector's backbone on so many batches of parallel streams of scenes.

    config: batch size, seed, noise and weights of the losses, as in training. done: called with how many batches are
    done now. partial: a file that what was summed so far is kept in, every `SAVE_S`, and taken up from, to the bit; it
    is the caller's to know that it is of the same network, frames and settings, and gone at the end. The network is in
    evaluation mode afterwards, and its parameters ask for no gradients.
    """
    if batches < 1:
        raise ValueError(f"batches is {batches}, expected at least 1")
    task = _task(net, table, config, device)
    sums = Sums()
    if partial is not None and partial.is_file():
        state = torch.load(partial, map_location="cpu", weights_only=True)
        task.restore(state.pop("task"))
        state["total"] = {name: each.numpy() for name, each in state["total"].items()}
        sums = Sums(**state)
    done(sums.seen)
    saved_s = time.monotonic()

    def after_batch() -> None:
        nonlocal saved_s
        done(1)
        if partial is not None and time.monotonic() - saved_s > SAVE_S:
            _save(partial, sums, task)
            saved_s = time.monotonic()

    probe = Probe.of(net.eval().requires_grad_(False).detector.backbone)
    try:
        scores = measure(probe, _losses(task, sums.seen, batches), after_batch, sums)
    finally:
        net.requires_grad_(False)
    if partial is not None:
        partial.unlink(missing_ok=True)
    return scores


def detection_losses(
    net: Net, table: FrameTable, config: TaskConfig, batches: int, device: torch.device
) -> Iterable[Loss]:
    """The loss that scores are of, batch by batch; None for one whose frames hold no object."""
    return _losses(_task(net, table, config, device), 0, batches)


def _task(net: Net, table: FrameTable, config: TaskConfig, device: torch.device) -> StreamTask:
    return StreamTask(net, table, dataclasses.replace(config, guidance=0.0), device)


def _save(path: Path, sums: Sums, task: StreamTask) -> None:
    state = vars(sums) | {"total": {name: torch.from_numpy(each) for name, each in sums.total.items()}}
    unfinished = path.with_name(f".{path.name}-{os.getpid()}")
    try:
        torch.save(state | {"task": task.state()}, unfinished)
        os.replace(unfinished, path)
    finally:
        unfinished.unlink(missing_ok=True)


def _losses(task: StreamTask, first: int, batches: int) -> Iterable[Loss]:
    table = task.table
    for step, frames in zip(range(first, batches), task.batches(first), strict=False):
        loss = _loss(task, frames, step, batches)
        if not torch.isfinite(loss):
            task.memory = None  # what a poisoned frame left there would poison all that follow
        yield loss if any(len(table.targets(frame, task.model.pc_range)) for frame in frames) else None


def _loss(task: StreamTask, frames: list[int], step: int, steps: int) -> torch.Tensor:
    try:
        return detection_loss(task.losses(frames, step, steps))
    except FloatingPointError:  # which matching raises, as it cannot go on
        return torch.tensor(torch.nan)


def detection_loss(losses: Losses) -> torch.Tensor:
    """What the detector is there to make small, of all that a training step tells."""
    return torch.stack([losses[name] for name in TERMS]).sum()


def _shares(probe: Probe, loss: torch.Tensor) -> dict[str, Array] | None:
    """A batch's importance of each layer; None where a number is not finite."""
    if not torch.isfinite(loss):
        return None
    scores = probe.scores(loss)
    return share_out(scores, probe.groups) if all(np.isfinite(each).all() for each in scores.values()) else None


def _parameters(backbone: nn.Module, layer: layout.Layer) -> list[nn.Parameter]:
    """Scale and shift of a layer's norm, or else all that the convolution has."""
    return list(backbone.get_submodule(layer.norm).parameters()) or list(
        backbone.get_submodule(layer.name).parameters()
    )


def _taylor(parameters: list[nn.Parameter], gradients: Iterable[torch.Tensor | None]) -> Array:
    total = np.zeros(len(parameters[0]))
    for parameter, gradient in zip(parameters, gradients, strict=False):
        if gradient is not None:
            change = parameter.detach().double() * gradient.double()
            total += change.reshape(len(total), -1).sum(dim=1).cpu().numpy()
    return total
