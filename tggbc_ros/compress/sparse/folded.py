"""A network with its batch norms multiplied into its convolutions, to be pruned so, and the way back.

Folded, a convolution has a bias like any other layer, and its rows are worth what they are worth behind the norm.
"""

from __future__ import annotations

import copy
import itertools
from collections.abc import Iterator

import torch
from torch import nn

from tggbc_ros.core.folding import fold_norms
from tggbc_ros.core.model import StreamPETR


def folded(network: StreamPETR) -> StreamPETR:
    """A copy for evaluation, without norms behind convolutions and without gradients, its encoder channels last."""
    other = copy.deepcopy(network).eval().requires_grad_(False)
    fold_norms(other.backbone)
    return other.to(memory_format=torch.channels_last)  # type: ignore[call-overload,no-any-return]


@torch.no_grad()
def unfold_into(network: StreamPETR, changed: StreamPETR) -> None:
    """Give a network the weights of a copy of it that was folded and changed since.

    Norms keep scale and statistics, and their shifts take up what a bias became. Weights of a row whose norm scales it
    by 0 become 0.
    """
    state, new = network.state_dict(), changed.state_dict()
    done: set[str] = set()
    for convolution, name in norms_behind(network):
        norm = network.get_submodule(name)
        assert isinstance(norm, nn.BatchNorm2d) and norm.running_mean is not None and norm.running_var is not None
        scale = norm.weight * torch.rsqrt(norm.running_var + norm.eps)
        by = torch.where(scale == 0, torch.ones_like(scale), scale)[:, None, None, None]
        for key in (f"{convolution}.weight", f"{convolution}.border"):
            if key in state:
                state[key].copy_(new[key] / by)
                done.add(key)
        norm.bias.copy_(new[f"{convolution}.bias"] + scale * norm.running_mean)
    for key, value in new.items():
        if key in state and key not in done:
            state[key].copy_(value)


def norms_behind(module: nn.Module, prefix: str = "") -> Iterator[tuple[str, str]]:
    """Names of convolutions and of the norms that `fold_norms` would multiply into them."""
    for (name, convolution), (norm_name, norm) in itertools.pairwise(list(module.named_children())):
        if isinstance(convolution, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
            yield f"{prefix}{name}", f"{prefix}{norm_name}"
    for name, child in module.named_children():
        yield from norms_behind(child, f"{prefix}{name}.")
