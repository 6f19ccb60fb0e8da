"""The dense network's run over calibration drives, recorded once; pruned ones are asked the same frame by frame.

Memory in and keys kept are those of the dense run. Else a changed rank, of a query in memory or of a key, would look
like a changed world.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import torch

from tggbc_ros.compress.sparse.distortion import CONFIDENCE, Answers
from tggbc_ros.core import memory as temporal
from tggbc_ros.core import pruning
from tggbc_ros.core.config import PruningConfig
from tggbc_ros.core.model import StreamPETR
from tggbc_ros.core.types import AlignedMemory, NetworkInput, Tokens
from tggbc_ros.training.frames import FrameTable


@dataclass(frozen=True, eq=False)
class Moment:
    """One frame of the dense run. kept: by decoder layer, the cells [1, some] that it left to the next."""

    inputs: NetworkInput
    memory: AlignedMemory
    kept: Mapping[int, torch.Tensor]
    answers: Answers


@torch.no_grad()
def record(
    network: StreamPETR,
    table: FrameTable,
    frames: int,
    config: PruningConfig | None = None,
    done: Callable[[], object] = lambda: None,
) -> list[Moment]:
    """The dense run over whole scenes, evenly chosen, of at most so many frames, but one scene at least.

    Raises ValueError where the frames show no object.
    """
    rows = chosen_scenes(table, frames)
    device = next(network.parameters()).device
    found: list[Moment] = []
    seen = 0
    for scene in rows:
        memory = None
        for row in scene:
            batch = table.batch([row], network.model, device)
            seen += len(batch.targets[0])
            if memory is None:
                points = network.head.queries.start_points()
                memory = temporal.start(network.model, points, batch.lidar2global, batch.time_s)
            aligned = temporal.align(memory, batch.lidar2global, batch.time_s, network.model.memory_length)
            output = network(batch.inputs, aligned, config or PruningConfig())
            memory = temporal.push(memory, output, network.model, batch.lidar2global, batch.time_s)
            kept = {layer: trim.kept for layer, trim in output.trims.items()}
            found.append(Moment(batch.inputs, aligned, kept, Answers.of(output)))
            done()
    if not seen:
        raise ValueError(f"the {len(found)} calibration frames show no object, expected some")
    return found


def chosen_scenes(table: FrameTable, frames: int) -> list[range]:
    """Rows of evenly spread scenes, of at most so many frames together, but of one scene at least."""
    count = max(1, frames * len(table.scene_lengths) // len(table))
    count = min(count, len(table.scene_lengths))
    step = len(table.scene_lengths) / count
    starts = table.scene_start
    return [range(int(starts[at]), int(starts[at + 1])) for at in (int(step * each) for each in range(count))]


class Replay:
    """A `Subject`: a network, as it is now, asked what the dense one was asked.

    features: of the frames, where the encoder is as it was when they were cached.
    """

    def __init__(self, network: StreamPETR, moments: Sequence[Moment], confidence: float = CONFIDENCE) -> None:
        self.moments, self._network, self._confidence = moments, network, confidence
        self._weights = [each.answers.weight() for each in moments]
        self._total = float(sum(each.sum() for each in self._weights))
        self.features: list[torch.Tensor] | None = None

    def __len__(self) -> int:
        return len(self.moments)

    @property
    def network(self) -> StreamPETR:
        """As it is now."""
        return self._network

    def some(self, frames: int) -> Replay:
        """The same with the last so many frames alone."""
        return Replay(self.network, self.moments[-frames:], self._confidence)

    def answers(self, frame: int) -> torch.Tensor:
        """As `Subject.answers`; gradients flow."""
        moment = self.moments[frame]
        features = self.network.encode(moment.inputs.images) if self.features is None else self.features[frame]
        tokens = self.network.embed(features, self.network.rays(moment.inputs))
        said = answer_held(self.network, tokens, moment)
        return said.vector(self._weights[frame], self._total, self._confidence)

    @torch.no_grad()
    def cache_features(self) -> None:
        """Hold what the encoder says now; nothing before the head is computed from then on."""
        self.features = [self.network.encode(each.inputs.images) for each in self.moments]


def answer_held(network: StreamPETR, tokens: Tokens, moment: Moment) -> Answers:
    """The decoder's answers, with the keys between its layers that the dense one kept."""
    head = network.head
    queries = head.queries(moment.memory)
    hidden = queries.content
    for index, layer in enumerate(head.decoder.layers):
        hidden, _, _ = layer(hidden, queries, tokens)
        if index in moment.kept:
            places = torch.searchsorted(tokens.index.contiguous(), moment.kept[index].contiguous())
            tokens = pruning.select(tokens, places)
    outputs = head.decoder.post_norm(hidden)[None]
    return Answers.decoded(head.cls_branch(outputs)[0], head.codes(outputs, queries.reference)[0])


def together(moments: Sequence[Moment]) -> Moment:
    """All frames as one batch; raises ValueError where they kept different numbers of keys."""
    counts = [{layer: kept.shape[1] for layer, kept in each.kept.items()} for each in moments]
    if any(each != counts[0] for each in counts):
        raise ValueError("the frames kept different numbers of keys, which do not make a batch")
    first = moments[0]
    return Moment(
        _joined([each.inputs for each in moments]),
        _joined([each.memory for each in moments]),
        {layer: torch.cat([each.kept[layer] for each in moments]) for layer in first.kept},
        _joined([each.answers for each in moments]),
    )


Part = TypeVar("Part", NetworkInput, AlignedMemory, Answers)


def _joined(parts: Sequence[Part]) -> Part:
    """Along the first axis of each tensor."""
    names = [field.name for field in dataclasses.fields(parts[0])]
    return type(parts[0])(**{name: torch.cat([getattr(each, name) for each in parts]) for name in names})


@torch.no_grad()
def run(network: StreamPETR, moment: Moment) -> Answers:
    """What a network says of a moment."""
    features = network.encode(moment.inputs.images)
    return answer_held(network, network.embed(features, network.rays(moment.inputs)), moment)
