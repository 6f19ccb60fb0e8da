"""What pruning does to the detections, as one number: the distortion, query by query, against the dense network.

    D = 1 / W  sum over frames and queries q of  [ w_q |box_q - box'_q|^2  +  CONFIDENCE |p_q - p'_q|^2 ]

box: centre x, y, z and size l, w, h in metres, sine and cosine of the yaw, velocity x, y in metres a second; the sum of
squares over these ten, so a metre counts as much as a metre a second and as 57 degrees. p: probabilities of all
classes. w_q: the dense network's greatest probability of the query, squared, so that queries that see nothing say
nothing about boxes; W is the sum of w over all calibration frames, about the number of objects that are seen.
CONFIDENCE: square metres that a whole probability is worth.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import nn

from tggbc_ros.core.types import NetworkOutput

CONFIDENCE = 4.0
"""A lost detection is as bad as a box 2 m off, which is the third of the four distances of nuScenes' AP."""
MAX_LOG_SIZE = 4.6
"""Of a metre; about 100 m. Exponentials of what nobody sees must not overflow."""
LEAST_NORM = 1e-3


class Subject(Protocol):
    """A network and the frames that its answers are compared on."""

    @property
    def network(self) -> nn.Module:
        """Whose weights are changed and whose calls are listened to."""

    def __len__(self) -> int:
        """Frames."""

    def answers(self, frame: int) -> torch.Tensor:
        """What the network says now of a frame, as a vector: squared differences of such add up to the distortion."""


@dataclass(frozen=True, eq=False)
class Answers:
    """Of F frames: boxes [F, Q, 10] in the units above, probability [F, Q, classes]."""

    boxes: torch.Tensor
    probability: torch.Tensor

    @classmethod
    def of(cls, output: NetworkOutput) -> Answers:
        """What the last decoder layer says."""
        return cls.decoded(output.logits[-1], output.codes[-1])

    @classmethod
    def decoded(cls, logits: torch.Tensor, codes: torch.Tensor) -> Answers:
        """From logits [F, Q, classes] and codes [F, Q, 10], laid out as `NetworkOutput.codes`."""
        size = codes[..., 3:6].clamp(max=MAX_LOG_SIZE).exp()
        heading = codes[..., 6:8]
        heading = heading / heading.square().sum(dim=-1, keepdim=True).add(LEAST_NORM**2).sqrt()
        return cls(torch.cat([codes[..., :3], size, heading, codes[..., 8:10]], dim=-1), logits.sigmoid())

    def weight(self) -> torch.Tensor:
        """w [F, Q], where these are the dense network's."""
        weight: torch.Tensor = self.probability.amax(dim=-1).square()
        return weight

    def vector(self, weight: torch.Tensor, total: float, confidence: float = CONFIDENCE) -> torch.Tensor:
        """All of it as a vector whose squared differences add up to D. weight: w [F, Q], total: W."""
        boxes = self.boxes * weight.sqrt()[..., None]
        probability = self.probability * confidence**0.5
        return torch.cat([boxes.flatten(), probability.flatten()]) / total**0.5


@torch.no_grad()
def measure(subject: Subject, dense: Sequence[torch.Tensor]) -> float:
    """The distortion of a subject as it is now; dense: the answers that it gave, frame by frame."""
    return sum(float((subject.answers(at) - each).double().square().sum()) for at, each in enumerate(dense))


@torch.no_grad()
def answers_of(subject: Subject) -> list[torch.Tensor]:
    """Of every frame, as the subject is now."""
    return [subject.answers(at) for at in range(len(subject))]
