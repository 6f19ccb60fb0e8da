"""Statistics of batch norms, estimated anew: after a cut, what a norm sees is no longer what it learned."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable

import torch
from torch import nn

from tggbc_ros.core.model import StreamPETR


@torch.no_grad()
def estimate_norms(
    network: StreamPETR, images: Iterable[torch.Tensor], done: Callable[[], object] | None = None
) -> int:
    """Replace means and variances of the backbone's norms by those over images; returns how many batches there were.

    images: batches [N, 3, H, W], normalised, on the network's device; each counts alike. done: called after each.
    Scales and shifts stay. Raises ValueError where there is no batch, and FloatingPointError where one leads to
    numbers that are not finite; the network is then as it was.
    """
    backbone = network.backbone
    norms = [each for each in backbone.modules() if isinstance(each, nn.BatchNorm2d)]
    if not norms:
        raise ValueError("the backbone has no batch norm: they are folded away, or it never had any")
    before, training = copy.deepcopy(backbone.state_dict()), backbone.training
    momenta = [norm.momentum for norm in norms]
    backbone.eval()
    try:
        count = _pass(backbone, norms, images, done or (lambda: None))
    except BaseException:
        backbone.load_state_dict(before)
        raise
    finally:
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum
        backbone.train(training)
    return count


def _pass(
    backbone: nn.Module, norms: list[nn.BatchNorm2d], images: Iterable[torch.Tensor], done: Callable[[], object]
) -> int:
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # the plain mean over all batches
        norm.train()
    count = 0
    for count, batch in enumerate(images, start=1):
        backbone(batch)
        if not all(each.isfinite().all() for norm in norms for each in norm.buffers()):
            raise FloatingPointError(f"batch {count} of the images makes norms NaN or infinite")
        done()
    if not count:
        raise ValueError("no images to estimate the norms' statistics on")
    return count
