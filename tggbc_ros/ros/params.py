"""Every parameter of the node: declared with type, range and description, validated with a reason."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, get_type_hints

from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor
from rclpy.exceptions import InvalidTopicNameException
from rclpy.node import Node
from rclpy.parameter import Parameter
from rclpy.validate_topic_name import validate_topic_name

from tggbc_ros.backends import BACKENDS
from tggbc_ros.core.config import (
    BUDGETS_OF,
    KEEP_MODES,
    MODELS,
    SCHEDULES,
    CarryConfig,
    DecodeConfig,
    KeepConfig,
    MemoryConfig,
    ModelConfig,
    PruningConfig,
    RaysConfig,
    model_config,
)
from tggbc_ros.core.geometry import rigid, rotation_from_quaternion
from tggbc_ros.core.types import Array

CAMERAS = ("CAM_FRONT", "CAM_FRONT_RIGHT", "CAM_FRONT_LEFT", "CAM_BACK", "CAM_BACK_LEFT", "CAM_BACK_RIGHT")
MEMORY_SPAN = (0.001, 1e6)
STAMP_POLICIES = ("message", "receive")
TYPES = {
    bool: Parameter.Type.BOOL,
    int: Parameter.Type.INTEGER,
    float: Parameter.Type.DOUBLE,
    str: Parameter.Type.STRING,
    tuple[str, ...]: Parameter.Type.STRING_ARRAY,
    tuple[float, ...]: Parameter.Type.DOUBLE_ARRAY,
}


def _parameter(
    default: Any,
    description: str,
    *,
    span: tuple[float, float] | None = None,
    choices: Iterable[str] = (),
    live: bool = False,
) -> Any:
    """One parameter. span: inclusive range. live: may change while the node is active."""
    metadata = {"description": description, "span": span, "choices": tuple(choices), "live": live}
    return field(default=default, metadata=metadata)


@dataclass(frozen=True)
class Settings:
    """The node's parameters, one field each; the core's share of them as its config dataclasses.

    A value out of range raises ValueError, naming parameter, value and what was expected.
    """

    model: str = _parameter("demo", f"Network configuration; shipped: {', '.join(MODELS)}.")
    checkpoint: str = _parameter("", "File with the weights, .pth or .safetensors; model demo has its own.")
    allow_random_weights: bool = _parameter(False, "Start without weights. The boxes then mean nothing.")
    backend: str = _parameter("torch", "Engine that runs the network.", choices=BACKENDS)
    device: str = _parameter("auto", "cpu, cuda, cuda:1, …; auto is the first CUDA device, else the CPU.")
    autostart: bool = _parameter(True, "Configure and activate at the start, without a lifecycle manager.")

    camera_names: tuple[str, ...] = _parameter(CAMERAS, "The cameras, in the order the network was trained with.")
    image_topic: str = _parameter("camera/{camera}/image", "Image topic; {camera} stands for the camera's name.")
    camera_info_topic: str = _parameter("camera/{camera}/camera_info", "CameraInfo topic; {camera} as above.")
    image_transport: str = _parameter(
        "auto",
        "raw: Image; compressed: CompressedImage, on the topic itself or with /compressed; auto: what is published.",
        choices=("raw", "compressed", "auto"),
    )
    camera_qos: str = _parameter(
        "auto",
        "Reliability asked of cameras: reliable, sensor_data (best effort), or auto: reliable where offered.",
        choices=("auto", "reliable", "sensor_data"),
    )
    max_spread_s: float = _parameter(
        0.05,
        "Newest minus oldest stamp of a set; below the camera period less the cameras' stagger, or sweeps mix.",
        span=(0.0, 1.0),
    )
    stamp_policy: str = _parameter(
        "message",
        "Time of an image: its header's stamp, or when it was received, for cameras whose stamps are zero or wrong.",
        choices=STAMP_POLICIES,
    )
    sync_capacity: int = _parameter(8, "Images of one camera that may wait for the others.", span=(1, 100))
    min_cameras: int = _parameter(
        0, "Fewest cameras of a set; 0: all. Keys of a missing camera never enter the decoder.", span=(0, 100)
    )
    camera_timeout_s: float = _parameter(
        1.0,
        "A camera silent for longer is not waited for, where min_cameras allows it; above the cameras' period.",
        span=(0.01, 60.0),
    )
    ego_mask_dir: str = _parameter(
        "", "Folder with <CAMERA>.png, white on the vehicle itself: what they mostly cover has no keys."
    )

    ego_pose_source: str = _parameter("tf", "Ego pose from TF or from odometry.", choices=("tf", "odom"))
    odometry_topic: str = _parameter("odom", "Odometry topic, for ego_pose_source odom.")
    global_frame: str = _parameter("map", "Fixed frame of the ego pose.")
    base_frame: str = _parameter("base_link", "Frame of the vehicle.")
    lidar_frame: str = _parameter("LIDAR_TOP", "The network's frame: x right, y forward, z up.")
    lidar2base: tuple[float, ...] = _parameter(
        (), "x y z (metres) qx qy qz qw of the lidar frame in the base frame, used where TF does not know it."
    )
    calibration_file: str = _parameter(
        "", "YAML file with the cameras' intrinsics and mountings, used where CameraInfo or TF is missing."
    )
    output_frame: str = _parameter("base_link", "Frame of what is published.")
    pose_timeout_s: float = _parameter(0.5, "How long a set waits for transforms on their way.", span=(0.0, 10.0))
    pose_cache_s: float = _parameter(10.0, "How far back poses are kept.", span=(1.0, 600.0))

    keep_ratio: float = _parameter(
        PruningConfig.keep_ratio,
        "Share of the decoder's keys left at the end; 1.0 is the dense network. Mode budget starts from it.",
        span=(0.0, 1.0),
        live=True,
    )
    prune_schedule: str = _parameter(
        PruningConfig.schedule,
        "once: trim after the first layer; gradual: in even steps after prune_layers; ratios: as prune_ratios says.",
        choices=SCHEDULES,
        live=True,
    )
    prune_layers: int = _parameter(
        PruningConfig.layers,
        "How many leading decoder layers trim keys; schedule gradual.",
        span=(1, ModelConfig.num_layers),
        live=True,
    )
    prune_ratios: tuple[float, ...] = _parameter(
        PruningConfig.ratios,
        "Shares of all keys left after layers 1, 2, …; the next layer trims to keep_ratio. Schedule ratios.",
        live=True,
    )
    prune_queries: int = _parameter(
        PruningConfig.queries,
        "At most so many of the most confident queries vote on a key; 0 or less: all.",
        span=(-1, 100_000),
        live=True,
    )
    prune_reactivate: bool = _parameter(
        PruningConfig.reactivate, "Trimmed keys may come back at a later trim, by their last importance.", live=True
    )
    keep_mode: str = _parameter(
        KeepConfig.mode,
        "fixed: keep_ratio; mass: the fewest keys that hold keep_mass; budget: what latency_budget_ms allows.",
        choices=KEEP_MODES,
        live=True,
    )
    keep_mass: float = _parameter(
        KeepConfig.mass, "Share of the importance that is kept at each trim; mode mass.", span=(0.0, 1.0), live=True
    )
    min_keep_ratio: float = _parameter(
        KeepConfig.min_ratio, "Least share of keys left by modes mass and budget.", span=(0.0, 1.0), live=True
    )
    max_keep_ratio: float = _parameter(
        KeepConfig.max_ratio, "Largest share of keys left by modes mass and budget.", span=(0.0, 1.0), live=True
    )
    latency_budget_ms: float = _parameter(
        KeepConfig.budget_ms,
        "What 95 % of the frames must stay below; mode budget.",
        span=(0.0, 1e6),
        live=True,
    )
    latency_budget_of: str = _parameter(
        KeepConfig.budget_of,
        "What the budget is of: the decoder, or the frame from preprocessing to boxes.",
        choices=BUDGETS_OF,
        live=True,
    )
    carry_ratio: float = _parameter(
        CarryConfig.ratio,
        "Share of keys that the first layer sees, by the frame before; 1.0: all of them.",
        span=(0.0, 1.0),
        live=True,
    )
    carry_refresh: int = _parameter(
        CarryConfig.refresh,
        "Every key is seen at least once in so many frames; with carry_ratio.",
        span=(1, 10_000),
        live=True,
    )
    ray_tolerance_m: float = _parameter(
        RaysConfig.tolerance_m,
        "A camera whose rays moved by less keeps its position embedding.",
        span=(0.0, 10.0),
    )
    score_threshold: float = _parameter(
        DecodeConfig.score_threshold, "Least score of a published box.", span=(0.0, 1.0), live=True
    )
    max_boxes: int = _parameter(DecodeConfig.max_boxes, "Most boxes per set.", span=(1, 10_000))
    memory_max_gap_s: float = _parameter(
        MemoryConfig.max_gap_s, "A longer gap between sets drops memory.", span=MEMORY_SPAN
    )
    memory_max_speed_mps: float = _parameter(
        MemoryConfig.max_speed_mps, "A faster pose change drops memory.", span=MEMORY_SPAN
    )
    memory_max_jump_m: float = _parameter(
        MemoryConfig.max_jump_m, "What a pose may jump on top of that speed.", span=MEMORY_SPAN
    )
    memory_interval_s: float = _parameter(
        MemoryConfig.interval_s,
        "Least time between sets that memory remembers; 0: every set. Every set gets its boxes either way.",
        span=(0.0, 1e6),
        live=True,
    )

    def __post_init__(self) -> None:
        for item in dataclasses.fields(self):
            _check(item, getattr(self, item.name))
        self.pruning().check_layers(model_config(self.model).num_layers)
        if not self.camera_names or len(set(self.camera_names)) != len(self.camera_names) or not all(self.camera_names):
            raise ValueError(f"camera_names is {list(self.camera_names)}, expected one or more different names")
        _check_topic("odometry_topic", self.odometry_topic)
        if self.min_cameras > len(self.camera_names):
            found = f"min_cameras is {self.min_cameras}"
            raise ValueError(f"{found}, expected at most the {len(self.camera_names)} of camera_names")
        for name in ("image_topic", "camera_info_topic"):
            if "{camera}" not in getattr(self, name):
                raise ValueError(f"{name} is {getattr(self, name)!r}, expected {{camera}} in it")
            for camera in self.camera_names:
                _check_topic(name, getattr(self, name).replace("{camera}", camera))
        if self.lidar2base:
            self.fixed_lidar2base()
        self.memory()
        self.decode()

    def fixed_lidar2base(self) -> Array | None:
        """The configured mounting of the lidar [4, 4]; None where there is none."""
        if not self.lidar2base:
            return None
        if len(self.lidar2base) != 7:
            raise ValueError(f"lidar2base is {list(self.lidar2base)}, expected seven numbers: x y z qx qy qz qw")
        return rigid(rotation_from_quaternion(*self.lidar2base[3:]), self.lidar2base[:3])

    def checkpoint_path(self) -> Path | None:
        """The checkpoint, taken literally: neither a shell nor ~ is expanded."""
        return Path(self.checkpoint) if self.checkpoint else None

    def pruning(self) -> PruningConfig:
        """What the decoder prunes."""
        return PruningConfig(
            keep_ratio=self.keep_ratio,
            layers=self.prune_layers,
            queries=self.prune_queries,
            schedule=self.prune_schedule,
            ratios=self.prune_ratios,
            reactivate=self.prune_reactivate,
            keep=self._keep(),
            carry=CarryConfig(self.carry_ratio, self.carry_refresh),
        )

    def _keep(self) -> KeepConfig:
        return KeepConfig(
            mode=self.keep_mode,
            mass=self.keep_mass,
            min_ratio=self.min_keep_ratio,
            max_ratio=self.max_keep_ratio,
            budget_ms=self.latency_budget_ms,
            budget_of=self.latency_budget_of,
        )

    def rays(self) -> RaysConfig:
        """When the position embedding is computed anew."""
        return RaysConfig(self.ray_tolerance_m)

    def memory(self) -> MemoryConfig:
        """When memory is dropped, and how often it is written."""
        return MemoryConfig(
            self.memory_max_gap_s, self.memory_max_speed_mps, self.memory_max_jump_m, self.memory_interval_s
        )

    def decode(self) -> DecodeConfig:
        """Which boxes are kept."""
        return DecodeConfig(self.max_boxes, self.score_threshold)


LIVE = frozenset(item.name for item in dataclasses.fields(Settings) if item.metadata["live"])
NAMES = frozenset(item.name for item in dataclasses.fields(Settings))


def _check(item: dataclasses.Field[Any], value: Any) -> None:
    """Raise unless ``value`` is finite, in its span, and one of its choices."""
    choices, span = item.metadata["choices"], item.metadata["span"]
    if choices and value not in choices:
        raise ValueError(f"{item.name} is {value!r}, expected one of {', '.join(choices)}")
    numbers = value if isinstance(value, tuple) else (value,)
    if any(isinstance(number, float) and not math.isfinite(number) for number in numbers):
        raise ValueError(f"{item.name} is {value!r}, expected finite numbers")
    if span and not span[0] <= value <= span[1]:
        raise ValueError(f"{item.name} is {value!r}, expected {span[0]} to {span[1]}")


def _check_topic(name: str, topic: str) -> None:
    try:
        validate_topic_name(topic)
    except InvalidTopicNameException as error:
        raise ValueError(f"{name} gives {topic!r}, expected a topic name: {' '.join(str(error).split())}") from error


def declare(node: Node) -> Settings:
    """Declare every parameter and return the values at the start.

    Raises ValueError for a bad value; a wrong type or a value outside of its range raises rclpy's own
    ParameterException.
    """
    hints = get_type_hints(Settings)
    for item in dataclasses.fields(Settings):
        kind = TYPES[hints[item.name]]
        default = list(item.default) if isinstance(item.default, tuple) else item.default
        # An empty list has no element to tell its type by: such a parameter starts unset.
        node.declare_parameter(item.name, kind if default == [] else default, _descriptor(item, kind))
    return read(node)


def read(node: Node) -> Settings:
    """The current values; raises ValueError for a bad one."""
    return with_changes(Settings(), [node.get_parameter_or(name) for name in NAMES])


def with_changes(settings: Settings, changes: Iterable[Parameter]) -> Settings:
    """``settings`` with those parameters changed; foreign ones (use_sim_time) pass. Raises ValueError."""
    values = {
        change.name: tuple(change.value) if isinstance(getattr(settings, change.name), tuple) else change.value
        for change in changes
        if change.name in NAMES and change.type_ != Parameter.Type.NOT_SET
    }
    return dataclasses.replace(settings, **values)


def _descriptor(item: dataclasses.Field[Any], kind: Parameter.Type) -> ParameterDescriptor:
    metadata = item.metadata
    descriptor = ParameterDescriptor(
        name=item.name,
        description=metadata["description"],
        additional_constraints=f"one of {', '.join(metadata['choices'])}" if metadata["choices"] else "",
    )
    if metadata["span"] and kind == Parameter.Type.INTEGER:
        low, high = map(int, metadata["span"])
        descriptor.integer_range = [IntegerRange(from_value=low, to_value=high, step=1)]
    elif metadata["span"]:
        low, high = map(float, metadata["span"])
        descriptor.floating_point_range = [FloatingPointRange(from_value=low, to_value=high, step=0.0)]
    return descriptor
