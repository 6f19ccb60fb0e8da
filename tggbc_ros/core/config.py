"""Every default of the algorithm, one frozen dataclass a step; bad values raise, naming field and range."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass, replace

from tggbc_ros.core.shape import PRESETS, Shape, alike

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


KEEP_MODES = ("fixed", "mass", "budget")
BUDGETS_OF = ("decoder", "frame")
SCHEDULES = ("once", "gradual", "ratios")
RESIZE_FILTERS = ("exact", "fast")
JPEG_DECODES = ("full", "reduced")


def _require(holds: bool, field: str, value: object, expected: str) -> None:
    if not holds:
        raise ValueError(f"{field} is {value!r}, expected {expected}")


def _require_share(field: str, value: float) -> None:
    _require(math.isfinite(value) and 0.0 < value <= 1.0, field, value, "a number in (0, 1]")


@dataclass(frozen=True)
class KeepConfig:
    """How many keys a frame keeps. The bounds are shares of all keys and hold in the modes that adapt.

    mode: "fixed" keeps `PruningConfig.keep_ratio`; "mass" keeps, at each trimming layer, the fewest keys
    that hold the share ``mass`` of the importance; "budget" picks a ratio per frame that keeps the 95th
    percentile of the time below ``budget_ms``: of the decoder, or of the whole step ("frame").
    """

    mode: str = "fixed"
    mass: float = 0.9
    min_ratio: float = 0.1
    max_ratio: float = 1.0
    budget_ms: float = 100.0
    budget_of: str = "decoder"

    def __post_init__(self) -> None:
        _require(self.mode in KEEP_MODES, "keep_mode", self.mode, f"one of {', '.join(KEEP_MODES)}")
        _require_share("keep_mass", self.mass)
        _require_share("min_keep_ratio", self.min_ratio)
        _require_share("max_keep_ratio", self.max_ratio)
        low = self.min_ratio
        _require(low <= self.max_ratio, "max_keep_ratio", self.max_ratio, f"at least min_keep_ratio, {low}")
        positive = math.isfinite(self.budget_ms) and self.budget_ms > 0
        _require(positive, "latency_budget_ms", self.budget_ms, "a positive number of milliseconds")
        _require(self.budget_of in BUDGETS_OF, "latency_budget_of", self.budget_of, f"one of {', '.join(BUDGETS_OF)}")


@dataclass(frozen=True)
class CarryConfig:
    """Start the first layer with the keys that mattered in the frame before, and some others.

    ratio: share of all keys that it starts with; 1.0 starts with all. refresh: every key is among them at
    least once in so many frames, however little it mattered. decay: how much of its importance a key that
    was not looked at keeps per frame.
    """

    ratio: float = 1.0
    refresh: int = 8
    decay: float = 0.9

    def __post_init__(self) -> None:
        _require_share("carry_ratio", self.ratio)
        _require(self.refresh >= 1, "carry_refresh", self.refresh, "at least 1 frame")
        _require_share("carry_decay", self.decay)
        enough = not self.active or self.refresh * self.ratio > 1.0
        _require(enough, "carry_refresh", self.refresh, f"more than 1 / carry_ratio, {1.0 / self.ratio:.4g} frames")

    @property
    def active(self) -> bool:
        """Whether anything is carried over."""
        return self.ratio < 1.0


@dataclass(frozen=True)
class StartConfig:
    """Choose keys before anything is computed of them: by the key gate, else by what the frame before found.

    ratio: share of all keys that are embedded and that the first layer sees; 1.0 is all. explore: which part of
    these goes round among all cells, whatever is thought of them, so that nothing is overlooked for long.
    """

    ratio: float = 1.0
    explore: float = 0.1

    def __post_init__(self) -> None:
        _require_share("start_ratio", self.ratio)
        some = math.isfinite(self.explore) and 0.0 < self.explore < 1.0
        _require(some, "gate_explore", self.explore, "a number in (0, 1)")

    @property
    def active(self) -> bool:
        """Whether some keys are left out from the start."""
        return self.ratio < 1.0


@dataclass(frozen=True)
class PruningConfig:
    """tgGBC (arXiv 2503.08101): which share of the decoder's keys to keep, and when to trim.

    keep_ratio: share of all keys left at the end; 1.0 is the dense network. layers: how many leading
    decoder layers trim (the paper's n). queries: at most so many of the most confident queries vote on a
    key (the paper's k); <= 0 counts all. schedule: "once" trims after the first layer, "gradual" in even
    steps after ``layers`` of them, "ratios" to the shares of all keys in ``ratios``, one a layer, and to
    keep_ratio after the layer that follows. reactivate: a trimmed key may come back at a later trim.
    token_rate: before all that, which share of an image's tokens pass the gated blocks of a vision transformer, over
    blocks and cameras (`core.token_rate`); 1.0 lets all pass and asks no gate.
    """

    keep_ratio: float = 1.0
    layers: int = 1
    queries: int = 175
    schedule: str = "gradual"
    ratios: tuple[float, ...] = ()
    reactivate: bool = False
    token_rate: float = 1.0
    keep: KeepConfig = KeepConfig()
    carry: CarryConfig = CarryConfig()
    start: StartConfig = StartConfig()

    def __post_init__(self) -> None:
        _require_share("keep_ratio", self.keep_ratio)
        _require_share("token_rate", self.token_rate)
        _require(self.layers >= 1, "prune_layers", self.layers, "at least 1")
        _require(self.schedule in SCHEDULES, "prune_schedule", self.schedule, f"one of {', '.join(SCHEDULES)}")
        falling = all(0.0 < low <= high <= 1.0 for high, low in itertools.pairwise((1.0, *self.ratios)))
        _require(falling, "prune_ratios", list(self.ratios), "shares in (0, 1], none larger than the one before")
        if self.schedule == "ratios":
            self._check_ratios()
        if self.reactivate:
            _require(self.trims > 1, "prune_reactivate", True, "False where keys are trimmed only once")
        if self.carry.active:
            self._check_carry()
        if self.start.active:
            self._check_start()

    @property
    def remembers(self) -> bool:
        """Whether the importance that a frame finds is needed by the next one."""
        return self.carry.active or self.start.active

    @property
    def trims(self) -> int:
        """How many leading decoder layers trim."""
        return {"once": 1, "gradual": self.layers, "ratios": len(self.ratios) + 1}[self.schedule]

    def check_layers(self, num_layers: int) -> None:
        """Raise ValueError where a decoder of so many layers cannot follow the schedule."""
        if self.schedule == "gradual":
            of_all = f"1 to {num_layers}, the number of decoder layers"
            _require(self.layers <= num_layers, "prune_layers", self.layers, of_all)
        if self.schedule == "ratios":
            fewer = f"fewer shares than the {num_layers} decoder layers"
            _require(len(self.ratios) < num_layers, "prune_ratios", list(self.ratios), fewer)

    def _check_carry(self) -> None:
        """Keys must be left to trim: the trim is where the next frame's importance comes from."""
        name, share = self._kept()
        _require(share < self.carry.ratio, name, share, f"less than carry_ratio, {self.carry.ratio}")

    def _check_start(self) -> None:
        """No layer can keep what was never started."""
        name, share = self._kept()
        _require(share <= self.start.ratio, name, share, f"at most start_ratio, {self.start.ratio}")
        if self.schedule == "ratios":
            first = self.ratios[0]
            _require(
                first <= self.start.ratio, "prune_ratios", list(self.ratios), f"at most start_ratio, {self.start.ratio}"
            )

    def _kept(self) -> tuple[str, float]:
        """What says how many keys are kept at the end, by its name, and the share that it asks for."""
        kept = {
            "fixed": ("keep_ratio", self.keep_ratio),
            "mass": ("min_keep_ratio", self.keep.min_ratio),
            "budget": ("max_keep_ratio", self.keep.max_ratio),
        }
        return kept[self.keep.mode]

    def _check_ratios(self) -> None:
        """An explicit list must lead down to keep_ratio; what importance decides cannot be listed."""
        _require(bool(self.ratios), "prune_ratios", [], "one share or more for prune_schedule ratios")
        mode = self.keep.mode
        _require(mode != "mass", "keep_mode", mode, "fixed or budget with prune_schedule ratios")
        last = self.ratios[-1]
        reached = mode != "fixed" or self.keep_ratio <= last
        _require(reached, "keep_ratio", self.keep_ratio, f"at most {last}, the last of prune_ratios")


@dataclass(frozen=True)
class PreprocessConfig:
    """How images are brought to the network's size.

    resize: exact is Pillow's bicubic filter, bit for bit as in training; fast is torch's, with vector instructions and
    weights of 16 bits for 22, so that a few pixels in a thousand are a grey level off (enlarged images: two).
    A CUDA device resizes by the exact filter whatever is asked.
    """

    resize: str = "fast"

    def __post_init__(self) -> None:
        _require(self.resize in RESIZE_FILTERS, "resize", self.resize, f"one of {', '.join(RESIZE_FILTERS)}")


@dataclass(frozen=True)
class RaysConfig:
    """When the position embedding, which depends on the calibration alone, is computed anew.

    tolerance_m: a camera's is kept while none of its rays is displaced by more; 0 keeps it only while the
    camera's matrix stays the same.
    """

    tolerance_m: float = 0.003

    def __post_init__(self) -> None:
        valid = math.isfinite(self.tolerance_m) and self.tolerance_m >= 0.0
        _require(valid, "ray_tolerance_m", self.tolerance_m, "0 or a positive number of metres")


@dataclass(frozen=True)
class MemoryConfig:
    """When temporal memory may not be trusted any more, and how old it should be.

    interval_s: how old memory should be when it is read, as it was in training; of faster input each frame goes on
    from the one that lies nearest to this long before it. 0: always from the last one.
    """

    max_gap_s: float = 2.0
    max_speed_mps: float = 70.0
    max_jump_m: float = 5.0
    interval_s: float = 0.5

    def __post_init__(self) -> None:
        for name in ("max_gap_s", "max_speed_mps", "max_jump_m"):
            value = getattr(self, name)
            _require(math.isfinite(value) and value > 0, name, value, "a positive number")
        in_gap = 0.0 <= self.interval_s <= self.max_gap_s
        _require(in_gap, "interval_s", self.interval_s, f"in [0, max_gap_s], which is {self.max_gap_s:g}")


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
    """What a StreamPETR network looks like; ``MODELS`` holds the shipped ones.

    image_size: (height, width) in pixels. mean and std: in the order of ``color_order``.
    num_propagated: memory rows that join the queries, and rows pushed per frame. content_from_position: queries
    begin with their position embedding added to their content, which StreamPETR's do not; a small decoder then
    learns much sooner how far an object is from a query's reference point. shape: the backbone's, where it was cut
    and no longer looks as its name says (core/shape.py).
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
    content_from_position: bool = False
    shape: Shape | None = None

    def __post_init__(self) -> None:
        if self.shape is not None:
            self._check_shape(self.shape)
        _require(self.color_order in ("rgb", "bgr"), "color_order", self.color_order, "'rgb' or 'bgr'")
        heads = self.num_heads
        _require(self.embed_dims % heads == 0, "embed_dims", self.embed_dims, f"a multiple of num_heads, {heads}")
        _require(
            0 < self.num_propagated <= self.memory_length,
            "num_propagated",
            self.num_propagated,
            f"in 1..memory_length ({self.memory_length})",
        )

    def _check_shape(self, shape: Shape) -> None:
        usual = PRESETS.get(self.backbone)
        _require(usual is not None and alike(shape, usual), "shape", shape.family, f"one of a {self.backbone}")

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

VIT_L_800 = replace(VOV_800, name="vit_l_800", backbone="eva02_l")

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
    content_from_position=True,
)

DEMO_SLIM = replace(DEMO, name="demo_slim")
"""Its backbone's shape is that of the weights it ships with."""

DEMO_VIT = replace(DEMO, name="demo_vit", backbone="eva02_demo")

MODELS = {model.name: model for model in (R50_704, VOV_800, VIT_L_800, DEMO, DEMO_SLIM, DEMO_VIT)}


def model_config(name: str) -> ModelConfig:
    """The shipped configuration of that name; raises naming the known ones."""
    if name not in MODELS:
        raise ValueError(f"model is {name!r}, expected one of {', '.join(MODELS)}")
    return MODELS[name]
