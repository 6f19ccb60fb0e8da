"""Several processes that train one network: each takes its share of every batch, gradients are averaged.

torchrun --nproc-per-node 2 -m tggbc_ros.tools.train … starts two. On a CPU that others use too, single-threaded
processes that meet once a step are several times faster than threads that meet in every operation.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.distributed as dist


@dataclass(frozen=True)
class Crew:
    """Process ``rank`` of ``size``; the first one leads: it alone logs, saves and scores."""

    rank: int = 0
    size: int = 1

    @property
    def leads(self) -> bool:
        """Whether this is the first process."""
        return self.rank == 0

    def share(self, frames: list[int]) -> list[int]:
        """This process's frames of a batch; raises where there are fewer than processes."""
        if len(frames) < self.size:
            raise ValueError(f"batch is {len(frames)}, expected at least {self.size}, the number of processes")
        return frames[self.rank :: self.size]

    def wait(self) -> None:
        """Until all processes have come as far."""
        if self.size > 1:
            dist.barrier()

    @torch.no_grad()
    def average_gradients(self, parameters: Sequence[torch.nn.Parameter]) -> None:
        """Replace each gradient by its mean over the processes; what none of them has a gradient for keeps none."""
        if self.size == 1:
            return
        device = parameters[0].device
        known = torch.tensor([each.grad is not None for each in parameters], dtype=torch.float32, device=device)
        dist.all_reduce(known)
        learning = [each for each, count in zip(parameters, known.tolist(), strict=True) if count]
        for each in learning:
            each.grad = torch.zeros_like(each) if each.grad is None else each.grad
        flat = torch.cat([each.grad.flatten() for each in learning if each.grad is not None])
        dist.all_reduce(flat)
        means = (flat / self.size).split([each.numel() for each in learning])
        for each, mean in zip(learning, means, strict=True):
            each.grad = mean.view_as(each)


def join() -> Crew:
    """The processes that torchrun started, or this one alone."""
    if "WORLD_SIZE" not in os.environ:
        return Crew()
    dist.init_process_group("gloo")
    return Crew(dist.get_rank(), dist.get_world_size())


def leave(crew: Crew) -> None:
    """Wait for the others, then part."""
    crew.wait()
    if crew.size > 1:
        dist.destroy_process_group()
