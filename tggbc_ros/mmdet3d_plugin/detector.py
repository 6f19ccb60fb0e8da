"""StreamPETR as an mmdet3d detector: the core's network, fed by mmdet3d's pipeline and trained by its runners."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from mmdet3d.models.detectors import Base3DDetector
from mmdet3d.registry import MODELS
from mmdet3d.structures import Det3DDataSample

from tggbc_ros.core import memory as temporal
from tggbc_ros.core import model as core
from tggbc_ros.core.checkpoint import load_into
from tggbc_ros.core.config import DecodeConfig, MemoryConfig, PruningConfig
from tggbc_ros.core.decode import decode_boxes
from tggbc_ros.core.types import AlignedMemory, Memory, NetworkOutput, Tokens
from tggbc_ros.mmdet3d_plugin.checkpoints import expect_shape, read_state
from tggbc_ros.mmdet3d_plugin.frames import Stamp, batch_of, instances_of, stamps_of
from tggbc_ros.training import denoise, initial, tasks
from tggbc_ros.training.assign import match
from tggbc_ros.training.frames import Batch
from tggbc_ros.training.losses import LossConfig
from tggbc_ros.training.objectives import denoising_losses, set_losses, split

LOSS_NAMES = {"class": "loss_cls", "box": "loss_bbox", "dn_class": "dn_loss_cls", "dn_box": "dn_loss_bbox"}


@dataclass(frozen=True, eq=False)
class Stream:
    """What is remembered between calls: memory of B frames, and which frames these were."""

    memory: Memory | None = None
    stamps: tuple[Stamp | None, ...] = ()

    def fresh(self, stamps: Sequence[Stamp], config: MemoryConfig) -> list[bool]:
        """Which of these frames, as many as before, must not use the memory."""
        return [not now.follows(before, config) for before, now in zip(self.stamps, stamps, strict=True)]


def pruning_config(
    keep_ratio: float = 1.0,
    layers: int = 1,
    queries: int = 175,
    schedule: str = "gradual",
    ratios: Sequence[float] = (),
    reactivate: bool = False,
) -> PruningConfig:
    """`core.config.PruningConfig` without what only the node has: budgets, and keys carried from frame to frame."""
    return PruningConfig(keep_ratio, layers, queries, schedule, tuple(ratios), reactivate)


@MODELS.register_module()
class StreamPETR(Base3DDetector):
    """StreamPETR with tgGBC key pruning.

    backbone, neck, head: configs of parts, as in `parts`. pruning, decode, memory, losses, denoise: fields of
    `pruning_config`, core's DecodeConfig and MemoryConfig, training's LossConfig and DenoiseConfig; a
    `hooks.KeyPruningHook` may change ``pruning`` between two iterations. checkpoint: StreamPETR's own .pth, or
    weights of the node. Parameters have the node's names, so weights go both ways as they are.
    Frames must come in time order, one per stream (`samplers`); testing takes a batch of one.
    """

    encode = core.StreamPETR.encode
    rays = core.StreamPETR.rays
    embed = core.StreamPETR.embed

    def __init__(
        self,
        backbone: dict[str, Any],
        neck: dict[str, Any],
        head: dict[str, Any],
        pruning: dict[str, Any] | None = None,
        decode: dict[str, Any] | None = None,
        memory: dict[str, Any] | None = None,
        losses: dict[str, Any] | None = None,
        denoise: dict[str, Any] | None = None,
        checkpoint: str | None = None,
        data_preprocessor: dict[str, Any] | None = None,
        init_cfg: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(data_preprocessor=data_preprocessor, init_cfg=init_cfg)
        self.backbone, self.neck, self.head = (MODELS.build(part) for part in (backbone, neck, head))
        self.model = self.head.model
        self._expect_shape()
        self._expect_normalisation()
        self.pruning = pruning_config(**(pruning or {}))
        self.pruning.check_layers(self.model.num_layers)
        self.decode_config = DecodeConfig(**_with_tuples(decode))
        self.memory_config = MemoryConfig(**_with_tuples(memory))
        self.loss_config = LossConfig(**_with_tuples(losses))
        self.denoise_config = _denoise_config(denoise)
        self.streams = {True: Stream(), False: Stream()}
        self.checkpoint = checkpoint
        self._load_checkpoint()

    def init_weights(self) -> None:
        """As the parts' ``init_cfg`` say, the head as training starts it; then the checkpoint, if there is one."""
        super().init_weights()
        initial.start_layers(self.head)
        self._load_checkpoint()

    def loss(self, inputs: dict[str, torch.Tensor], samples: list[Det3DDataSample]) -> dict[str, torch.Tensor]:
        """Losses of one frame from each stream; the streams' memory moves on by a frame."""
        batch, tokens, memory, aligned = self._look(inputs["imgs"], samples, training=True)
        builder = self.head.queries
        noisy = denoise.draw(batch.targets, builder, self.denoise_config, torch.default_generator)
        queries = denoise.append(builder(aligned), builder, noisy)
        output = self.head.answer(queries, tokens, self.pruning, all_layers=True)
        normal, noised = split(output, self.model.total_queries)
        matches = match(normal.logits, normal.codes, batch.targets, self.loss_config)
        terms = set_losses(normal, matches, batch.targets, self.loss_config)
        terms |= denoising_losses(noised, noisy, batch.targets, self.loss_config)
        self.streams[True] = Stream(tasks.remember(memory, normal, self.model, batch), stamps_of(samples))
        return {LOSS_NAMES.get(name, name): term for name, term in terms.items()}

    @torch.no_grad()
    def predict(self, inputs: dict[str, torch.Tensor], samples: list[Det3DDataSample]) -> list[Det3DDataSample]:
        """The samples with ``pred_instances_3d``; memory moves on by a frame, or begins anew with a new scene."""
        if len(samples) != 1:
            raise ValueError(f"a batch of {len(samples)} frames to test, expected 1: memory follows one stream")
        batch, tokens, memory, aligned = self._look(inputs["imgs"], samples, training=False)
        output = self.head(tokens, aligned, self.pruning)
        _expect_finite(output)
        memory = temporal.push(memory, output, self.model, batch.lidar2global, batch.time_s)
        self.streams[False] = Stream(memory, stamps_of(samples))
        return self.add_pred_to_datasample(samples, [instances_of(decode_boxes(output, self.decode_config))])

    def _forward(self, inputs: dict[str, torch.Tensor], samples: list[Det3DDataSample] | None = None) -> NetworkOutput:
        """Raw answers to single frames, without a past; nothing is remembered."""
        batch = batch_of(inputs["imgs"], samples or [], [True] * len(samples or []), None)
        tokens = tasks.embed(self, self.encode(batch.inputs.images), batch)
        return self.head(tokens, self._align(tasks.carried(None, batch, self), batch), self.pruning)

    def extract_feat(self, batch_inputs: dict[str, torch.Tensor]) -> torch.Tensor:
        """Images [B, N, 3, H, W] under "imgs" -> features [B, N, C, H / 16, W / 16]."""
        return self.encode(batch_inputs["imgs"])

    def _look(
        self, images: torch.Tensor, samples: list[Det3DDataSample], training: bool
    ) -> tuple[Batch, Tokens, Memory, AlignedMemory]:
        """Keys, and memory as it was and as it looks from this frame."""
        self._expect_size(images)
        stamps, stream = stamps_of(samples), self.streams[training]
        if len(stamps) != len(stream.stamps):
            stream = Stream(None, (None,) * len(stamps))
        fresh = stream.fresh(stamps, self.memory_config)
        batch = batch_of(images, samples, fresh, self.model.pc_range if training else None)
        tokens = tasks.embed(self, self.encode(batch.inputs.images), batch)
        memory = tasks.carried(stream.memory, batch, self)
        return batch, tokens, memory, self._align(memory, batch)

    def _load_checkpoint(self) -> None:
        if self.checkpoint is not None:
            path = Path(self.checkpoint)
            expect_shape(path, self.model)
            load_into(self, read_state(path), f"checkpoint {path}")

    def _align(self, memory: Memory, batch: Batch) -> AlignedMemory:
        return temporal.align(memory, batch.lidar2global, batch.time_s, self.model.memory_length)

    def _expect_shape(self) -> None:
        """The backbone must be the one that the head's network has."""
        shape = self.model.shape
        if shape is not None and getattr(self.backbone, "shape", None) != shape:
            found = type(self.backbone).__name__
            raise ValueError(
                f"backbone is a {found} of another shape than the head's network: give StreamPETRBackbone, "
                "StreamPETRNeck and StreamPETRHead the same base and shape"
            )

    def _expect_normalisation(self) -> None:
        """The data preprocessor must do what the network, and so the node, takes for granted."""
        given, model = self.data_preprocessor, self.model
        mean, std = (tuple(getattr(given, name, torch.zeros(0)).flatten().tolist()) for name in ("mean", "std"))
        order = "rgb" if getattr(given, "_channel_conversion", False) else "bgr"
        fits = order == model.color_order and all(
            len(found) == 3 and torch.allclose(torch.tensor(found), torch.tensor(wanted))
            for found, wanted in ((mean, model.mean), (std, model.std))
        )
        if not fits:
            found = f"mean {mean}, std {std}, {order}"
            wanted = f"mean {model.mean}, std {model.std}, {model.color_order}"
            raise ValueError(f"data_preprocessor has {found}, but the head's network expects {wanted}")

    def _expect_size(self, images: torch.Tensor) -> None:
        if tuple(images.shape[-2:]) != tuple(self.model.image_size):
            found, wanted = tuple(images.shape[-2:]), self.model.image_size
            raise ValueError(
                f"images are {found}, but the head's image_size is {wanted}: FitCameraImages and it differ"
            )


def _with_tuples(values: dict[str, Any] | None) -> dict[str, Any]:
    """Config values as the core's frozen dataclasses want them."""
    return {name: tuple(value) if isinstance(value, list) else value for name, value in (values or {}).items()}


def _denoise_config(values: dict[str, Any] | None) -> denoise.DenoiseConfig:
    return denoise.DenoiseConfig(**_with_tuples(values))


def _expect_finite(output: NetworkOutput) -> None:
    """A poisoned frame must not look like an empty street."""
    for name, values in (("class logits", output.logits), ("box codes", output.codes)):
        if not torch.isfinite(values).all():
            raise FloatingPointError(f"the network's {name} hold NaN or infinity")
