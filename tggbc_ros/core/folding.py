"""Batch norms as part of the convolutions before them: fewer steps, and fewer roundings in half precision."""

from __future__ import annotations

import itertools

from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval


def fold_norms(module: nn.Module) -> None:
    """Multiply every batch norm into the convolution that is defined right before it, and put nothing in its place.

    Convolutions and norms of all backbones here come in such pairs. Both must be in evaluation mode.
    """
    for (name, convolution), (norm_name, norm) in itertools.pairwise(list(module.named_children())):
        if isinstance(convolution, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
            setattr(module, name, fuse_conv_bn_eval(convolution, norm))
            setattr(module, norm_name, nn.Identity())
    for child in module.children():
        fold_norms(child)
