"""Every default of the algorithm, one frozen dataclass a step; bad values raise, naming field and range."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass

CLASS_NAMES = (
    "car",
    "truck",
    "construction_vehicle",
    "bus",
    "trailer",
    "barrier",
    "motorcycle",
    "bicycle",
    "pedestrian",
    "traffic_cone",
)


def _require(holds: bool, field: str, value: object, expected: str) -> None:
    if not holds:
        raise ValueError(f"{field} is {value!r}, expected {expected}")


@dataclass(frozen=True)
class PruningConfig:
    """tgGBC (arXiv 2503.08101): which share of the decoder's keys to keep, and when to trim.

    keep_ratio: share of keys left at the end; 1.0 is the dense network.
    layers: how many leading decoder layers trim (the paper's n).
    queries: how many of the most confident queries vote on a key (the paper's k); <= 0 counts all.
    """

    keep_ratio: float = 1.0
    layers: int = 1
    queries: int = 175

    def __post_init__(self) -> None:
        valid = math.isfinite(self.keep_ratio) and 0.0 < self.keep_ratio <= 1.0
        _require(valid, "keep_ratio", self.keep_ratio, "a number in (0, 1]")
        _require(self.layers >= 1, "prune_layers", self.layers, "at least 1")


@dataclass(frozen=True)
class MemoryConfig:
    """When temporal memory may not be trusted any more."""

    max_gap_s: float = 2.0
    max_speed_mps: float = 70.0
    max_jump_m: float = 5.0

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            _require(math.isfinite(value) and value > 0, field.name, value, "a positive number")


@dataclass(frozen=True)
class DecodeConfig:
    """From logits to boxes: how many, how sure, how far (metres, lidar frame)."""

    max_boxes: int = 300
    score_threshold: float = 0.0
    center_range: tuple[float, ...] = (-61.2, -61.2, -10.0, 61.2, 61.2, 10.0)

    def __post_init__(self) -> None:
        _require(self.max_boxes >= 1, "max_boxes", self.max_boxes, "at least 1")
        _require(0.0 <= self.score_threshold <= 1.0, "score_threshold", self.score_threshold, "in [0, 1]")


@dataclass(frozen=True)
class ModelConfig:
    """The shape of a StreamPETR network; ``MODELS`` holds the shipped ones.

    image_size: (height, width) in pixels. mean and std: in the order of ``color_order``.
    num_propagated: memory rows that join the queries, and rows pushed per frame.
    """

    name: str
    backbone: str
    image_size: tuple[int, int]
    color_order: str
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    num_queries: int
    num_propagated: int
    memory_length: int
    class_names: tuple[str, ...] = CLASS_NAMES
    embed_dims: int = 256
    num_heads: int = 8
    ffn_dims: int = 2048
    num_layers: int = 6
    stride: int = 16
    depth_bins: int = 64
    depth_start_m: float = 1.0
    pc_range: tuple[float, ...] = (-51.2, -51.2, -5.0, 51.2, 51.2, 3.0)
    position_range: tuple[float, ...] = (-61.2, -61.2, -10.0, 61.2, 61.2, 10.0)

    def __post_init__(self) -> None:
        _require(self.color_order in ("rgb", "bgr"), "color_order", self.color_order, "'rgb' or 'bgr'")
        heads = self.num_heads
        _require(self.embed_dims % heads == 0, "embed_dims", self.embed_dims, f"a multiple of num_heads, {heads}")
        _require(
            0 < self.num_propagated <= self.memory_length,
            "num_propagated",
            self.num_propagated,
            f"in 1..memory_length ({self.memory_length})",
        )

    @property
    def total_queries(self) -> int:
        """Learned and propagated queries together."""
        return self.num_queries + self.num_propagated

    @property
    def feature_size(self) -> tuple[int, int]:
        """(rows, columns) of one camera's feature map."""
        height, width = self.image_size
        return math.ceil(height / self.stride), math.ceil(width / self.stride)


R50_704 = ModelConfig(
    name="r50_704",
    backbone="resnet50",
    image_size=(256, 704),
    color_order="rgb",
    mean=(123.675, 116.28, 103.53),
    std=(58.395, 57.12, 57.375),
    num_queries=300,
    num_propagated=128,
    memory_length=512,
)

VOV_800 = ModelConfig(
    name="vov_800",
    backbone="vovnet99",
    image_size=(320, 800),
    color_order="bgr",
    mean=(103.53, 116.28, 123.675),
    std=(57.375, 57.12, 58.395),
    num_queries=644,
    num_propagated=256,
    memory_length=1024,
)

DEMO = ModelConfig(
    name="demo",
    backbone="resnet18_half",
    image_size=(128, 352),
    color_order="rgb",
    mean=(123.675, 116.28, 103.53),
    std=(58.395, 57.12, 57.375),
    num_queries=100,
    num_propagated=50,
    memory_length=150,
    embed_dims=128,
    num_heads=4,
    ffn_dims=512,
    num_layers=3,
    pc_range=(-25.6, -25.6, -5.0, 25.6, 25.6, 3.0),
    position_range=(-30.0, -30.0, -10.0, 30.0, 30.0, 10.0),
)

MODELS = {model.name: model for model in (R50_704, VOV_800, DEMO)}


def model_config(name: str) -> ModelConfig:
    """The shipped configuration of that name; raises naming the known ones."""
    if name not in MODELS:
        raise ValueError(f"model is {name!r}, expected one of {', '.join(MODELS)}")
    return MODELS[name]
