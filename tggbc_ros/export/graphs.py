"""The graphs that make up an exported network, and what goes in and out of each.

images -> `encoder`; calibration -> `rays`, only where it changed; both -> `tokens`, of all cells or of chosen ones;
memory -> `queries`; then one `layer<i>` a decoder layer, between which keys are trimmed outside, in torch
(core/pruning.py); `branches` reads classes and boxes off a layer's output. Geometry, pruning and memory hold no weights
and stay in core.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass

import torch
from torch import nn

from tggbc_ros.core.backbones.resnet import ShortcutAlone
from tggbc_ros.core.backbones.vit import ViT
from tggbc_ros.core.config import ModelConfig
from tggbc_ros.core.decoder import DecoderLayer
from tggbc_ros.core.folding import fold_norms
from tggbc_ros.core.head import CODE_SIZE, Head
from tggbc_ros.core.model import StreamPETR
from tggbc_ros.core.position import CONE_SIZE, PositionEmbedding, Rays
from tggbc_ros.core.queries import Queries, QueryBuilder
from tggbc_ros.core.types import AlignedMemory, Tokens

_logger = logging.getLogger(__name__)

PRECISIONS = ("fp32", "fp16", "int8")
"""Of the encoder; the rest is float32 always. int8 begins as the float32 graph (export/quantisation.py)."""

Shape = tuple[int | str, ...]
"""Sizes of a tensor; a name stands for one that is known only when the graph runs."""

CAMERAS, KEYS = "cameras", "keys"


@dataclass(frozen=True, eq=False)
class Graph:
    """One graph. inputs and outputs: their shapes by name, in order. All of them are float32."""

    name: str
    module: nn.Module
    inputs: dict[str, Shape]
    outputs: dict[str, Shape]


class Encoder(nn.Module):
    """Backbone and neck; with fp16, images are rounded at the entrance and features made float32 at the exit.

    Norms are folded away first, in float32: PyTorch's exporter would do it too, but in the precision of the weights.
    """

    def __init__(self, network: StreamPETR, precision: str) -> None:
        super().__init__()
        if isinstance(network.backbone, ViT) and network.backbone.gates:
            _logger.warning("the backbone's gates are not exported: all tokens pass, and token_rate stays 1.0")
            network.backbone.add_gates(())
        fold_norms(network.backbone.eval())
        fold_norms(network.neck.eval())
        for module in network.backbone.modules():
            if isinstance(module, ShortcutAlone):
                module.pool_first()
        self.dtype = torch.float16 if precision == "fp16" else torch.float32
        self.backbone = network.backbone.to(self.dtype)
        self.neck = network.neck.to(self.dtype)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """images [cameras, 3, H, W], normalised -> features [cameras, C, rows, columns]."""
        features: torch.Tensor = self.neck(self.backbone(images.to(self.dtype)))
        return features.float()


class RayGraph(nn.Module):
    """`PositionEmbedding.describe`."""

    def __init__(self, position: PositionEmbedding) -> None:
        super().__init__()
        self.position = position

    def forward(self, points: torch.Tensor, cone: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """points [1, keys, D, 3] and cone [1, keys, 8] -> position, scale, shift [1, keys, C]."""
        rays = self.position.describe(points, cone)
        return rays.position, rays.scale, rays.shift


class TokenGraph(nn.Module):
    """`PositionEmbedding.embed`."""

    def __init__(self, position: PositionEmbedding) -> None:
        super().__init__()
        self.position = position

    def forward(
        self, features: torch.Tensor, position: torch.Tensor, scale: torch.Tensor, shift: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """features [1, keys, C] of the cells that are chosen, and their rays' three -> key, value [1, keys, C]."""
        return self.position.embed(features, Rays(position, position, scale, shift))


class QueryGraph(nn.Module):
    """`QueryBuilder.forward`."""

    def __init__(self, queries: QueryBuilder) -> None:
        super().__init__()
        self.queries = queries

    def forward(
        self,
        embedding: torch.Tensor,
        reference_point: torch.Tensor,
        age_s: torch.Tensor,
        pose: torch.Tensor,
        velocity: torch.Tensor,
    ) -> tuple[torch.Tensor, ...]:
        """Memory as `AlignedMemory` -> the five tensors of `Queries`."""
        queries = self.queries(AlignedMemory(embedding, reference_point, age_s, pose, velocity))
        return queries.content, queries.position, queries.reference, queries.memory, queries.memory_position


class LayerGraph(nn.Module):
    """`DecoderLayer.forward`."""

    def __init__(self, layer: DecoderLayer) -> None:
        super().__init__()
        self.layer = layer

    def forward(
        self,
        hidden: torch.Tensor,
        position: torch.Tensor,
        memory: torch.Tensor,
        memory_position: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Queries [1, Q, C], memory, keys and values [1, keys, C] -> hidden [1, Q, C], query heads, key heads."""
        queries = Queries(hidden, position, hidden, memory, memory_position)
        tokens = Tokens(key, value, key.new_zeros(1, 0, dtype=torch.int64))
        answer: tuple[torch.Tensor, torch.Tensor, torch.Tensor] = self.layer(hidden, queries, tokens)
        return answer


class BranchGraph(nn.Module):
    """The norm of a layer's output, and the class and box branches."""

    def __init__(self, head: Head) -> None:
        super().__init__()
        self.head = head

    def forward(self, hidden: torch.Tensor, reference: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """hidden [1, Q, C] and references [1, Q, 3] -> logits [1, Q, classes], codes [1, Q, 10], embedding."""
        output = self.head.decoder.post_norm(hidden)
        return self.head.cls_branch(output), self.head.codes(output, reference), output


def make_graphs(network: StreamPETR, precision: str) -> list[Graph]:
    """All graphs of a network, in the order in which a frame passes them; its encoder is folded and converted."""
    model, head = network.model, network.head
    graphs = [
        _encoder(network, precision),
        _rays(model, head),
        _tokens(model, head),
        _queries(model, head),
        *(_layer(model, index, layer) for index, layer in enumerate(head.decoder.layers)),
        _branches(model, head),
    ]
    for graph in graphs:
        graph.module.eval().requires_grad_(False)
    return graphs


def _encoder(network: StreamPETR, precision: str) -> Graph:
    model = network.model
    images: Shape = (CAMERAS, 3, *model.image_size)
    features: Shape = (CAMERAS, model.embed_dims, *model.feature_size)
    return Graph("encoder", Encoder(network, precision), {"images": images}, {"features": features})


def _rays(model: ModelConfig, head: Head) -> Graph:
    inputs: dict[str, Shape] = {"points": (1, KEYS, model.depth_bins, 3), "cone": (1, KEYS, CONE_SIZE)}
    outputs: dict[str, Shape] = dict.fromkeys(("position", "scale", "shift"), (1, KEYS, model.embed_dims))
    return Graph("rays", RayGraph(head.position), inputs, outputs)


def _tokens(model: ModelConfig, head: Head) -> Graph:
    keys: Shape = (1, KEYS, model.embed_dims)
    inputs = dict.fromkeys(("features", "position", "scale", "shift"), keys)
    return Graph("tokens", TokenGraph(head.position), inputs, {"key": keys, "value": keys})


def _queries(model: ModelConfig, head: Head) -> Graph:
    rows = model.memory_length
    inputs: dict[str, Shape] = {
        "embedding": (1, rows, model.embed_dims),
        "reference_point": (1, rows, 3),
        "age_s": (1, rows),
        "pose": (1, rows, 4, 4),
        "velocity": (1, rows, 2),
    }
    asking: Shape = (1, model.total_queries, model.embed_dims)
    outputs = {"content": asking, "position": asking, "reference": (*asking[:2], 3), **_seen_memory(model)}
    return Graph("queries", QueryGraph(head.queries), inputs, outputs)


def _layer(model: ModelConfig, index: int, layer: nn.Module) -> Graph:
    assert isinstance(layer, DecoderLayer)
    dims, heads = model.embed_dims, model.num_heads
    asking: Shape = (1, model.total_queries, dims)
    keys: Shape = (1, KEYS, dims)
    inputs = {"hidden": asking, "position": asking, **_seen_memory(model), "key": keys, "value": keys}
    outputs: dict[str, Shape] = {
        "new_hidden": asking,
        "query_heads": (1, heads, model.total_queries, dims // heads),
        "key_heads": (1, heads, KEYS, dims // heads),
    }
    return Graph(f"layer{index}", LayerGraph(layer), inputs, outputs)


def _branches(model: ModelConfig, head: Head) -> Graph:
    asking = (1, model.total_queries)
    outputs: dict[str, Shape] = {
        "logits": (*asking, len(model.class_names)),
        "codes": (*asking, CODE_SIZE),
        "embedding": (*asking, model.embed_dims),
    }
    inputs: dict[str, Shape] = {"hidden": (*asking, model.embed_dims), "reference": (*asking, 3)}
    return Graph("branches", BranchGraph(head), inputs, outputs)


def _seen_memory(model: ModelConfig) -> dict[str, Shape]:
    """The rows of memory that queries look at, and which do not ask."""
    rows: Shape = (1, model.memory_length - model.num_propagated, model.embed_dims)
    return {"memory": rows, "memory_position": rows}
