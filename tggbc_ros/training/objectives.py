"""What the decoder's answers cost: matched queries, denoising queries, and where they looked."""

from __future__ import annotations

import dataclasses

import torch

from tggbc_ros.core.config import ModelConfig
from tggbc_ros.core.types import NetworkOutput
from tggbc_ros.training import guide
from tggbc_ros.training.assign import Matches
from tggbc_ros.training.denoise import Denoising
from tggbc_ros.training.frames import Batch, Targets
from tggbc_ros.training.losses import LossConfig, code_loss, focal_loss

Losses = dict[str, torch.Tensor]


def split(output: NetworkOutput, normal: int) -> tuple[NetworkOutput, NetworkOutput]:
    """What the first ``normal`` queries say, and what the denoising ones after them say."""
    first, second = (
        dataclasses.replace(
            output,
            logits=output.logits[:, :, part],
            codes=output.codes[:, :, part],
            embedding=output.embedding[:, part],
        )
        for part in (slice(normal), slice(normal, None))
    )
    return first, second


def set_losses(output: NetworkOutput, matches: Matches, targets: tuple[Targets, ...], config: LossConfig) -> Losses:
    """Summed over layers, divided by the number of objects in the batch."""
    background = output.logits.shape[-1]
    labels = torch.full(output.logits.shape[:-1], background, device=output.logits.device)
    start = object_start(targets, labels.device)
    rows = start[matches.frame] + matches.object
    labels[matches.layer, matches.frame, matches.query] = torch.cat([each.labels for each in targets])[rows]
    codes = output.codes[matches.layer, matches.frame, matches.query]
    wanted = torch.cat([each.codes for each in targets])[rows]
    count = max(1, int(start[-1]))
    box = code_loss(codes, wanted, config.code_weights)
    last = matches.layer == len(output.codes) - 1
    return {
        "class": config.class_weight * focal_loss(output.logits, labels, config) / count,
        "box": config.box_weight * box / count,
        "offset_m": (codes - wanted)[last, :2].detach().abs().sum() / count,
    }


def denoising_losses(
    output: NetworkOutput, noisy: Denoising, targets: tuple[Targets, ...], config: LossConfig
) -> Losses:
    """As `set_losses`, with pairs that are known; divided by the number of queries that stand for an object."""
    if not noisy.label.numel():
        return dict.fromkeys(("dn_class", "dn_box", "dn_offset_m"), output.logits.new_zeros(()))
    layers, background = len(output.logits), output.logits.shape[-1]
    labels = noisy.label.expand(layers, -1, -1)
    positive = (noisy.label >= 0) & (noisy.label < background)
    frame, query = positive.nonzero(as_tuple=True)
    rows = object_start(targets, frame.device)[frame] + noisy.object[frame, query]
    wanted = torch.cat([each.codes for each in targets])[rows]
    codes = output.codes[:, frame, query]
    count = max(1, int(positive.sum()))
    box = code_loss(codes, wanted.expand_as(codes), config.code_weights)
    return {
        "dn_class": config.class_weight * focal_loss(output.logits, labels, config) / count,
        "dn_box": config.box_weight * box / count,
        "dn_offset_m": (codes[-1, :, :2] - wanted[:, :2]).detach().abs().sum() / count,
    }


def guidance_terms(
    looks: list[guide.Look], objects: list[torch.Tensor], batch: Batch, model: ModelConfig
) -> torch.Tensor:
    """Mean guidance loss a query, summed over layers; objects [B, Q] of each layer, -1 for none."""
    shown = guide.object_cells(batch.targets, batch.inputs, model.feature_size, model.image_size, model.stride)
    total = looks[0].query.new_zeros(())
    for look, asked in zip(looks, objects, strict=True):
        total = total + guide.guidance_loss(look, shown, asked) / (asked >= 0).sum().clamp(min=1)
    return total


def matched_objects(matches: Matches, layer: int, frames: int, queries: int) -> torch.Tensor:
    """[frames, queries]: the object that each query of a layer was matched with, -1 for none."""
    objects = torch.full((frames, queries), -1, device=matches.object.device)
    here = matches.layer == layer
    objects[matches.frame[here], matches.query[here]] = matches.object[here]
    return objects


def noisy_objects(noisy: Denoising, classes: int) -> torch.Tensor:
    """[B, D]: the object that each denoising query is near enough to stand for, -1 for none."""
    return torch.where(noisy.label < classes, noisy.object, -1)


def object_start(targets: tuple[Targets, ...], device: torch.device) -> torch.Tensor:
    """[B + 1], where each frame's objects begin among those of the batch."""
    return torch.tensor([0, *(len(each) for each in targets)], device=device).cumsum(0)
