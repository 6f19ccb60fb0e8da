"""Norm statistics estimated anew: the means and variances of what the norms now see, or nothing changed at all."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from tiny_model import TINY
from torch import nn

from tggbc_ros.compress import layout
from tggbc_ros.compress.cutting import Cut
from tggbc_ros.compress.statistics import estimate_norms
from tggbc_ros.compress.surgery import cut_network
from tggbc_ros.core.folding import fold_norms
from tggbc_ros.core.model import StreamPETR
from tggbc_ros.core.shape import resnet

pytestmark = pytest.mark.usefixtures("one_thread")


def network() -> StreamPETR:
    torch.manual_seed(0)
    module = StreamPETR(replace(TINY, shape=resnet("basic", (1, 1, 1, 1), width=8))).eval()
    for each in module.modules():
        if isinstance(each, nn.BatchNorm2d):
            nn.init.normal_(each.running_mean, 0.0, 2.0)
            nn.init.uniform_(each.running_var, 0.1, 9.0)
    return module


def batches(count: int = 3) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    return [torch.randn(2, 3, 32, 64, generator=generator) + 0.2 * index for index in range(count)]


def test_the_first_norm_has_the_means_over_batches_of_what_its_convolution_makes() -> None:
    module, seen = network(), list[None]()
    assert estimate_norms(module, batches(), lambda: seen.append(None)) == len(seen) == 3
    made = [module.backbone.conv1(each) for each in batches()]
    mean = torch.stack([each.mean(dim=(0, 2, 3)) for each in made]).mean(dim=0)
    variance = torch.stack([each.transpose(0, 1).flatten(1).var(dim=1) for each in made]).mean(dim=0)
    torch.testing.assert_close(module.backbone.bn1.running_mean, mean, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(module.backbone.bn1.running_var, variance, rtol=1e-4, atol=1e-5)
    norms = [each for each in module.modules() if isinstance(each, nn.BatchNorm2d)]
    assert all(norm.momentum == 0.1 and not norm.training for norm in norms)


def test_a_cut_network_answers_more_like_the_whole_one_afterwards() -> None:
    """Its norms' shifts make channels of a mean that is missed where they are dropped."""
    whole = network()
    for each in whole.backbone.modules():
        if isinstance(each, nn.BatchNorm2d):
            nn.init.constant_(each.bias, 2.0)
    estimate_norms(whole, batches())
    rng = np.random.default_rng(0)
    inner = {group: width for group, width in layout.widths(whole.model.shape).items() if "conv" in group}
    kept = {group: sorted(rng.choice(width, width * 3 // 4, replace=False).tolist()) for group, width in inner.items()}
    small = cut_network(whole, Cut(kept))
    with torch.inference_mode():
        wanted, images = whole.encode(batches()[0][None]), batches()[0][None]
        before = float((small.encode(images) - wanted).square().mean())
        estimate_norms(small, batches())
        assert float((small.encode(images) - wanted).square().mean()) < 0.9 * before


def refused(module: StreamPETR, images: list[torch.Tensor], error: type[Exception], message: str) -> None:
    before = {name: value.clone() for name, value in module.state_dict().items()}
    modes = [each.training for each in module.modules()]
    with pytest.raises(error, match=message):
        estimate_norms(module, images)
    assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())
    assert [each.training for each in module.modules()] == modes


def test_without_images_or_with_broken_ones_the_network_stays_as_it_was() -> None:
    refused(network(), [], ValueError, "no images to estimate the norms' statistics on")
    broken = [batches()[0], batches()[1] * float("nan")]
    refused(network(), broken, FloatingPointError, "batch 2 of the images makes norms NaN or infinite")
    refused(network(), [torch.zeros(1, 4, 32, 64)], RuntimeError, "channels")


def test_folded_norms_have_no_statistics() -> None:
    module = network()
    fold_norms(module.backbone)
    refused(module, batches(), ValueError, "the backbone has no batch norm")
