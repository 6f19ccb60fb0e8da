"""What a trained network knows, handed to one that was cut from it: its features, and its answers to the same queries.

Features need no label and no decoder, so a step costs a small part of one that detects.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F  # noqa: N812 (the name everyone uses)

from tggbc_ros.core.model import StreamPETR
from tggbc_ros.core.types import NetworkOutput
from tggbc_ros.training.frames import Batch
from tggbc_ros.training.losses import LossConfig

LEAST_VARIANCE = 1e-6


class Teacher:
    """A network that answers and never learns.

    known: [F, N, C, rows, columns], its features of every frame of the table, as `features.cache_features` has them;
    where there are none, each batch's images pass through it.
    """

    def __init__(self, detector: StreamPETR, known: torch.Tensor | None = None) -> None:
        self.detector = detector.eval().requires_grad_(False)
        self._known = known

    @torch.no_grad()
    def features(self, batch: Batch, bf16: bool) -> torch.Tensor:
        """[B, N, C, rows, columns], float32."""
        images = batch.inputs.images
        if self._known is not None:
            return self._known[list(batch.frames)].to(images.device).float()
        with torch.autocast(images.device.type, torch.bfloat16, enabled=bf16):
            return self.detector.encode(images).float()


def feature_loss(features: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
    """Mean squared error, as a share of the variance of what was wanted."""
    return F.mse_loss(features, wanted) / wanted.var(unbiased=False).clamp(min=LEAST_VARIANCE)


def answer_losses(output: NetworkOutput, wanted: NetworkOutput, config: LossConfig) -> dict[str, torch.Tensor]:
    """How far a decoder's answers are from those of another one to the same queries, layer by layer.

    distil_class: divergence of the classes' probabilities, summed; distil_box: weighted L1 of the codes, each query's
    by how sure the other is that there is something. Divided by how many objects it sees in its last layer: all
    queries' greatest probabilities, added up.
    """
    logits, target = output.logits.float(), wanted.logits.float()
    probability = target.sigmoid()
    sure = probability.amax(dim=-1)
    count = sure[-1].sum().clamp(min=1.0)
    own = F.binary_cross_entropy_with_logits(target, probability, reduction="none")
    error = F.binary_cross_entropy_with_logits(logits, probability, reduction="none") - own
    weights = logits.new_tensor(config.code_weights)
    distance = ((output.codes - wanted.codes).float().abs() * weights).sum(dim=-1)
    return {
        "distil_class": config.class_weight * error.sum() / count,
        "distil_box": config.box_weight * (sure * distance).sum() / count,
    }
