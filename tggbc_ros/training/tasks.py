"""What is learned at a step: the dense auxiliary task, or detection over streams of frames."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Protocol

import torch
from torch import nn

from tggbc_ros.core import memory as temporal
from tggbc_ros.core.backbones.gated_learning import learn
from tggbc_ros.core.backbones.vit import ViT
from tggbc_ros.core.config import ModelConfig, PruningConfig
from tggbc_ros.core.model import StreamPETR
from tggbc_ros.core.types import AlignedMemory, Memory, NetworkOutput, Tokens
from tggbc_ros.training import denoise, guide, tracked
from tggbc_ros.training.assign import match
from tggbc_ros.training.denoise import DenoiseConfig, Denoising
from tggbc_ros.training.dense import DenseHead, batch_targets, dense_losses, value_losses
from tggbc_ros.training.distil import Teacher, answer_losses, feature_loss
from tggbc_ros.training.frames import Batch, FrameTable
from tggbc_ros.training.gating import GatingConfig, gate_losses
from tggbc_ros.training.losses import LossConfig
from tggbc_ros.training.objectives import (
    Losses,
    denoising_losses,
    guidance_terms,
    matched_objects,
    noisy_objects,
    set_losses,
    split,
)
from tggbc_ros.training.schedule import KeepRamp
from tggbc_ros.training.streams import shuffled_frames, streams


@dataclass(frozen=True)
class TaskConfig:
    """What a step learns, and from what.

    look: weight of the first looks in the dense task. guidance: weight of the attention guidance at the
    start; it falls linearly to a tenth at the end. dense: weight of the dense task beside detection.
    like_features and like_answers: weights of being like a teacher, where there is one.
    bf16: autocast the convolutions (attention on a CPU gets slower by it). seed: of the frames' order and
    of all noise.
    """

    batch: int = 8
    bf16: bool = True
    look: float = 0.5
    guidance: float = 0.2
    dense: float = 0.5
    like_features: float = 1.0
    like_answers: float = 1.0
    seed: int = 0
    prune_layers: int = 1
    prune_queries: int = 175
    loss: LossConfig = field(default_factory=LossConfig)
    denoise: DenoiseConfig = field(default_factory=DenoiseConfig)
    ramp: KeepRamp = field(default_factory=KeepRamp)
    gating: GatingConfig = field(default_factory=GatingConfig)


class Task(Protocol):
    """One way to learn. ``net`` is what is optimised; ``state`` what a checkpoint needs besides the weights."""

    net: Net

    def batches(self, first: int) -> Iterator[list[int]]:
        """Rows of the frame table, step by step, from step ``first`` on."""

    def losses(self, frames: list[int], step: int, steps: int) -> Losses:
        """Terms of one step by name; those that carry a gradient are to be summed."""

    def state(self) -> dict[str, torch.Tensor]:
        """What besides weights a resumed run needs."""

    def restore(self, state: dict[str, torch.Tensor]) -> None:
        """Take back what ``state`` gave."""


class Net(nn.Module):
    """The detector and, for training alone, the dense head."""

    def __init__(self, model: ModelConfig) -> None:
        super().__init__()
        self.detector = StreamPETR(model)
        self.dense = DenseHead(model)

    def encode(self, images: torch.Tensor, bf16: bool) -> torch.Tensor:
        """Images [B, N, 3, H, W] -> features [B, N, C, rows, columns], float32."""
        with torch.autocast(images.device.type, torch.bfloat16, enabled=bf16):
            features = self.detector.encode(images)
        return features.float()

    def learn(
        self, images: torch.Tensor, config: TaskConfig, generator: torch.Generator
    ) -> tuple[torch.Tensor, Losses]:
        """As `encode`, where gates draw their decisions; and what these cost, which is nothing without gates."""
        backbone = self.detector.backbone
        if not isinstance(backbone, ViT) or not backbone.gates:
            return self.encode(images, config.bf16), {}
        with torch.autocast(images.device.type, torch.bfloat16, enabled=config.bf16):
            maps, decisions = learn(backbone, images.flatten(0, 1), generator, config.gating.tau)
            features = self.detector.neck(maps).unflatten(0, images.shape[:2])
        return features.float(), gate_losses(decisions, backbone, config.gating)


class DenseTask:
    """Everything before the decoder, and where its layers look first, on single frames."""

    def __init__(self, net: Net, table: FrameTable, config: TaskConfig, device: torch.device) -> None:
        self.net, self.table, self.config, self.device = net, table, config, device
        self.model = net.detector.model

    def batches(self, first: int) -> Iterator[list[int]]:
        """Shuffled frames."""
        return shuffled_frames(len(self.table), self.config.batch, self.config.seed, first)

    def losses(self, frames: list[int], step: int, steps: int) -> Losses:
        """Dense class and box losses, and that of the first looks."""
        batch, generator = self.table.batch(frames, self.model, self.device), noise(self.config, step)
        features, gating = self.net.learn(batch.inputs.images, self.config, generator)
        tokens = embed(self.net.detector, features, batch)
        builder, config = self.net.detector.head.queries, self.config
        noisy = denoise.draw(batch.targets, builder, config.denoise, generator)
        look = config.look * first_looks(self.net.detector, tokens, noisy, batch)
        return {"look": look, **dense_step(self.net, batch, features, tokens, config), **gating}

    def state(self) -> dict[str, torch.Tensor]:
        """Nothing."""
        return {}

    def restore(self, state: dict[str, torch.Tensor]) -> None:
        """Nothing to take back."""


class EncoderTask:
    """Features like a teacher's, on single frames: no label is read, and nothing behind the neck runs or learns."""

    def __init__(self, net: Net, table: FrameTable, config: TaskConfig, device: torch.device, teacher: Teacher) -> None:
        self.net, self.table, self.config, self.device, self.teacher = net, table, config, device, teacher

    def batches(self, first: int) -> Iterator[list[int]]:
        """Shuffled frames."""
        return shuffled_frames(len(self.table), self.config.batch, self.config.seed, first)

    def losses(self, frames: list[int], step: int, steps: int) -> Losses:
        """How unlike they are."""
        batch = self.table.batch(frames, self.net.detector.model, self.device)
        features, gating = self.net.learn(batch.inputs.images, self.config, noise(self.config, step))
        return {"features": feature_loss(features, self.teacher.features(batch, self.config.bf16)), **gating}

    def state(self) -> dict[str, torch.Tensor]:
        """Nothing."""
        return {}

    def restore(self, state: dict[str, torch.Tensor]) -> None:
        """Nothing to take back."""


class StreamTask:
    """The whole detector on parallel streams of scenes, memory carried from frame to frame.

    features: [F, N, C, rows, columns] of every frame, from `features.cache_features`; backbone and neck then rest.
    teacher: whose features and answers are to be learned beside what the labels say.
    """

    def __init__(
        self,
        net: Net,
        table: FrameTable,
        config: TaskConfig,
        device: torch.device,
        features: torch.Tensor | None = None,
        teacher: Teacher | None = None,
    ) -> None:
        self.net, self.table, self.config, self.device, self.features = net, table, config, device, features
        self.teacher = teacher
        self.model = net.detector.model
        self.memory: Memory | None = None

    def batches(self, first: int) -> Iterator[list[int]]:
        """One frame from each stream."""
        return streams(self.table.scene_lengths, self.config.batch, self.config.seed, first)

    def losses(self, frames: list[int], step: int, steps: int) -> Losses:
        """Set, denoising, guidance and dense losses."""
        batch = self.table.batch(frames, self.model, self.device, with_images=self.features is None)
        generator, gating = noise(self.config, step), {}
        if self.features is None:
            features, gating = self.net.learn(batch.inputs.images, self.config, generator)
        else:
            features = self.features[frames].to(self.device).float()
        tokens = embed(self.net.detector, features, batch)
        losses: Losses = {}
        if self.config.dense > 0:
            dense = dense_step(self.net, batch, features, tokens, self.config)
            losses = {name: loss * self.config.dense for name, loss in dense.items()}
        keep_ratio = self.config.ramp.keep_ratio(step, steps)
        guidance = guidance_weight(self.config, step / steps)
        wanted = None if self.teacher is None else self.teacher.features(batch, self.config.bf16)
        losses |= self._detect(batch, tokens, keep_ratio, generator, guidance, wanted) | gating
        if wanted is not None and features.requires_grad:
            losses["features"] = self.config.like_features * feature_loss(features, wanted)
        return losses

    def _detect(
        self,
        batch: Batch,
        tokens: Tokens,
        keep_ratio: float,
        generator: torch.Generator,
        guidance: float,
        wanted: torch.Tensor | None,
    ) -> Losses:
        detector, config = self.net.detector, self.config
        memory = carried(self.memory, batch, detector)
        aligned = temporal.align(memory, batch.lidar2global, batch.time_s, self.model.memory_length)
        noisy = denoise.draw(batch.targets, detector.head.queries, config.denoise, generator)
        noisy = tracked.add(noisy, batch.targets, aligned, detector.head.queries, generator)
        pruning = PruningConfig(keep_ratio, config.prune_layers, config.prune_queries)
        with guide.watching(detector.head.decoder) as looks:
            queries = denoise.append(detector.head.queries(aligned), detector.head.queries, noisy)
            output = detector.head.answer(queries, tokens, pruning, all_layers=True)
        normal, denoising = split(output, self.model.total_queries)
        matches = match(normal.logits, normal.codes, batch.targets, config.loss)
        losses = set_losses(normal, matches, batch.targets, config.loss)
        losses |= denoising_losses(denoising, noisy, batch.targets, config.loss)
        if wanted is not None:
            losses |= self._likeness(output, wanted, batch, aligned, noisy, pruning)
        if guidance > 0:
            near = noisy_objects(noisy, len(self.model.class_names))
            frames, queries = normal.logits.shape[1:3]
            objects = [
                torch.cat([matched_objects(matches, layer, frames, queries), near], dim=1)
                for layer in range(len(looks))
            ]
            losses["guidance"] = guidance * guidance_terms(looks, objects, batch, self.model)
        self.memory = remember(memory, normal, self.model, batch)
        losses["keep_ratio"] = torch.tensor(keep_ratio)
        return losses

    def _likeness(
        self,
        output: NetworkOutput,
        wanted: torch.Tensor,
        batch: Batch,
        aligned: AlignedMemory,
        noisy: Denoising,
        pruning: PruningConfig,
    ) -> Losses:
        """Losses against what the teacher answers, given its own features, to the same places and the same memory."""
        assert self.teacher is not None
        head = self.teacher.detector.head
        with torch.no_grad():
            queries = denoise.append(head.queries(aligned), head.queries, noisy)
            answers = head.answer(queries, embed(self.teacher.detector, wanted, batch), pruning, all_layers=True)
        losses = answer_losses(output, answers, self.config.loss)
        return {name: self.config.like_answers * loss for name, loss in losses.items()}

    def state(self) -> dict[str, torch.Tensor]:
        """The streams' memory."""
        if self.memory is None:
            return {}
        return {item.name: getattr(self.memory, item.name) for item in dataclasses.fields(self.memory)}

    def restore(self, state: dict[str, torch.Tensor]) -> None:
        """The streams' memory, as it was."""
        self.memory = Memory(**{name: value.to(self.device) for name, value in state.items()}) if state else None


def dense_step(net: Net, batch: Batch, features: torch.Tensor, tokens: Tokens, config: TaskConfig) -> Losses:
    """Losses of the dense head on values, and on features if something behind them learns."""
    wanted = batch_targets(batch, net.detector.model)
    losses = value_losses(*net.dense.read_values(tokens.value), wanted, config.loss)
    if features.requires_grad:
        with torch.autocast(features.device.type, torch.bfloat16, enabled=config.bf16):
            logits, codes = net.dense(features)
        losses |= dense_losses(logits, codes, wanted, config.loss)
    return losses


def first_looks(detector: StreamPETR, tokens: Tokens, noisy: Denoising, batch: Batch) -> torch.Tensor:
    """Mean guidance loss of noisy queries, summed over layers, before any layer has changed what they ask.

    So the decoder knows which keys lie near a point of space before it has to make boxes of them.
    """
    content, position, _ = detector.head.queries.standing(noisy.reference)
    nothing = tokens.value[:, :0]
    looks = []
    for layer in detector.head.decoder.layers:
        query, key, _ = layer.cross_attention.project(content + position, tokens.key, nothing)
        looks.append(guide.Look(query, key, tokens.index))
    near = noisy_objects(noisy, len(detector.model.class_names))
    return guidance_terms(looks, [near] * len(looks), batch, detector.model)


def noise(config: TaskConfig, step: int) -> torch.Generator:
    """All randomness of one step."""
    return torch.Generator().manual_seed(config.seed * 1_000_003 + step)


def guidance_weight(config: TaskConfig, done: float) -> float:
    """Full at the start, a tenth at the end."""
    return config.guidance * (1.0 - 0.9 * done)


def embed(detector: StreamPETR, features: torch.Tensor, batch: Batch) -> Tokens:
    """Keys and values; the image size, which rays ask of ``inputs.images``, is the model's."""
    height, width = detector.model.image_size
    blank = batch.inputs.images.new_empty(1).expand(*batch.inputs.images.shape[:3], height, width)
    return detector.embed(features, detector.rays(dataclasses.replace(batch.inputs, images=blank)))


def carried(memory: Memory | None, batch: Batch, detector: StreamPETR) -> Memory:
    """The streams' memory, begun anew where a scene begins."""
    points = detector.head.queries.start_points().detach()
    new = temporal.start(detector.model, points, batch.lidar2global, batch.time_s)
    if memory is None:
        return new
    rows = {}
    for item in dataclasses.fields(memory):
        old = getattr(memory, item.name)
        old = old[:, : new.embedding.shape[1]]
        fresh = batch.fresh.view(-1, *[1] * (old.dim() - 1))
        rows[item.name] = torch.where(fresh, getattr(new, item.name), old)
    return Memory(**rows)


def remember(memory: Memory, output: NetworkOutput, model: ModelConfig, batch: Batch) -> Memory:
    """The next frame's memory; no gradient flows from frame to frame, as in StreamPETR."""
    still = dataclasses.replace(
        output,
        logits=output.logits[-1:].detach(),
        codes=output.codes[-1:].detach(),
        embedding=output.embedding.detach(),
    )
    return temporal.push(memory, still, model, batch.lidar2global, batch.time_s)
