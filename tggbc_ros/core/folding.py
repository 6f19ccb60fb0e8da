"""Batch norms as part of the convolutions before them: fewer steps, and fewer roundings in half precision."""

from __future__ import annotations

import itertools

import torch
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from tggbc_ros.core.backbones.leftovers import BorderedConv2d


def fold_norms(module: nn.Module) -> None:
    """Multiply every batch norm into the convolution that is defined right before it, and put nothing in its place.

    Convolutions and norms of all backbones here come in such pairs. Both must be in evaluation mode.
    """
    for (name, convolution), (norm_name, norm) in itertools.pairwise(list(module.named_children())):
        if isinstance(convolution, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
            folded = fuse_conv_bn_eval(convolution, norm)
            if isinstance(folded, BorderedConv2d):
                folded.border = _scaled(folded.border, norm)
            setattr(module, name, folded)
            setattr(module, norm_name, nn.Identity())
    for child in module.children():
        fold_norms(child)


def _scaled(border: nn.Parameter, norm: nn.BatchNorm2d) -> nn.Parameter:
    """A border [C, 1, k, k] as the norm would scale what it adds."""
    assert norm.running_var is not None
    scale = norm.weight * torch.rsqrt(norm.running_var + norm.eps)
    return nn.Parameter((border * scale[:, None, None, None]).detach(), border.requires_grad)
