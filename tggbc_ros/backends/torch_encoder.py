"""The image encoder as PyTorch runs it fastest: norms folded away, channels last, on a GPU recorded as a CUDA graph."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from typing import Any, cast

import torch
from torch import nn
from torch.nn.utils import convert_conv2d_weight_memory_format

from tggbc_ros.core.folding import fold_norms
from tggbc_ros.core.gates import Decisions
from tggbc_ros.core.model import StreamPETR

WARM_UP = 3
"""Calls before a graph is recorded, in which CUDA's libraries choose kernels and take their memory."""


class Encoder:
    """Backbone and neck of a network, copied; the network stays as it is.

    dtype: what it computes in; images come and features go in float32. On a CUDA device float32 is to mean that: TF32,
    which PyTorch allows convolutions there, is switched off, for the process.
    """

    def __init__(self, module: StreamPETR, device: torch.device, dtype: torch.dtype = torch.float32) -> None:
        if device.type == "cuda":
            torch.backends.cudnn.allow_tf32 = False
        convolutions = nn.Sequential(copy.deepcopy(module.backbone), copy.deepcopy(module.neck))
        self._convolutions = as_it_runs(convolutions, device, dtype)
        self._backbone, self._neck = cast(Any, self._convolutions[0]), cast(Any, self._convolutions[1])
        self._dtype = dtype
        self.gated_blocks = len(getattr(module.backbone, "gates", ()))
        self._recorded: Recorded | None = None

    def __call__(self, images: torch.Tensor) -> torch.Tensor:
        """Normalised images [B, N, 3, H, W] -> features [B, N, C, rows, columns]; all gates are open."""
        each = self._each(images)
        features = self._replay(each) if each.is_cuda else self._run(each)
        by_frame: torch.Tensor = features.float().unflatten(0, images.shape[:2])
        return by_frame

    def gated(self, images: torch.Tensor, shift: float) -> tuple[torch.Tensor, Decisions]:
        """The same of a transformer whose gates decide, by margins to which ``shift`` is added.

        Not recorded, since it depends on the images how much there is to compute. Raises ValueError without gates.
        """
        maps, decisions = self._backbone.decide(self._each(images), shift) if self.gated_blocks else ((), None)
        if decisions is None:
            raise ValueError(f"shift is {shift}, but the backbone has no gates that could decide by it")
        return self._neck(maps).float().unflatten(0, images.shape[:2]), decisions

    def _each(self, images: torch.Tensor) -> torch.Tensor:
        return images.flatten(0, 1).to(dtype=self._dtype, memory_format=torch.channels_last)

    def _run(self, images: torch.Tensor) -> torch.Tensor:
        if not self.gated_blocks:
            features: torch.Tensor = self._convolutions(images)
            return features
        maps, _ = self._backbone.decide(images, math.inf)
        dense: torch.Tensor = self._neck(maps)
        return dense

    def _replay(self, images: torch.Tensor) -> torch.Tensor:
        """As a graph, recorded when images of that shape first come; one shape's at a time."""
        if self._recorded is None or self._recorded.shape != images.shape:
            self._recorded = Recorded(self._run, images)
        return self._recorded(images)


def as_it_runs(convolutions: nn.Sequential, device: torch.device, dtype: torch.dtype) -> nn.Sequential:
    """Norms folded, weights channels last; the module given is changed and may be the one returned."""
    fold_norms(convolutions.eval().requires_grad_(False))
    converted: nn.Sequential = convert_conv2d_weight_memory_format(convolutions.to(device, dtype), torch.channels_last)
    return converted


class Recorded:
    """A call on a CUDA device, recorded once and replayed: the host asks for one thing instead of hundreds.

    example: a first input; every other one must have its shape, which is ``shape``.
    """

    def __init__(self, call: Callable[[torch.Tensor], torch.Tensor], example: torch.Tensor) -> None:
        self.shape = example.shape
        self._input = example.clone()
        self._graph = torch.cuda.CUDAGraph()
        aside = torch.cuda.Stream(example.device)
        aside.wait_stream(torch.cuda.current_stream(example.device))
        with torch.cuda.device(example.device):
            with torch.cuda.stream(aside):
                for _ in range(WARM_UP):
                    call(self._input)
            # What other threads ask of CUDA meanwhile is no part of it, and no error.
            with torch.cuda.graph(self._graph, stream=aside, capture_error_mode="thread_local"):
                self._output = call(self._input)

    def __call__(self, given: torch.Tensor) -> torch.Tensor:
        """What the call gives, in memory of its own."""
        self._input.copy_(given)
        self._graph.replay()
        return self._output.clone()
