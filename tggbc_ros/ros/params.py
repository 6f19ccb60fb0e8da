"""Every parameter of the node, one field each, with what it means, its range and what it gives the core."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path

from tggbc_ros.backends import BACKENDS
from tggbc_ros.core.config import (
    BUDGETS_OF,
    JPEG_DECODES,
    KEEP_MODES,
    MODELS,
    RESIZE_FILTERS,
    SCHEDULES,
    CarryConfig,
    DecodeConfig,
    KeepConfig,
    MemoryConfig,
    ModelConfig,
    PreprocessConfig,
    PruningConfig,
    RaysConfig,
    StartConfig,
    model_config,
)
from tggbc_ros.core.geometry import rigid, rotation_from_quaternion
from tggbc_ros.core.types import Array
from tggbc_ros.ros.param_field import check, check_topic, parameter

CAMERAS = ("CAM_FRONT", "CAM_FRONT_RIGHT", "CAM_FRONT_LEFT", "CAM_BACK", "CAM_BACK_LEFT", "CAM_BACK_RIGHT")
MAX_SPREAD_SPAN = (0.0, 1.0)
MEMORY_SPAN = (0.001, 1e6)
STAMP_POLICIES = ("message", "receive")


@dataclass(frozen=True)
class Settings:
    """The node's parameters, one field each; the core's share of them as its config dataclasses.

    A value out of range raises ValueError, naming parameter, value and what was expected.
    """

    model: str = parameter("demo", f"Network configuration; shipped: {', '.join(MODELS)}.")
    checkpoint: str = parameter(
        "", "File with the weights, .pth or .safetensors, or folder of an export; without, the model's own."
    )
    allow_random_weights: bool = parameter(False, "Start without weights. The boxes then mean nothing.")
    backend: str = parameter(
        "torch",
        "Engine that runs the network: torch, torch_bf16, torch_fp16, onnxruntime, … as docs/deploy.md lists them.",
        choices=BACKENDS,
    )
    device: str = parameter("auto", "cpu, cuda, cuda:1, …; auto is the first CUDA device, else the CPU.")
    autostart: bool = parameter(True, "Configure and activate at the start, without a lifecycle manager.")

    camera_names: tuple[str, ...] = parameter(CAMERAS, "The cameras, in the order the network was trained with.")
    image_topic: str = parameter("camera/{camera}/image", "Image topic; {camera} stands for the camera's name.")
    camera_info_topic: str = parameter("camera/{camera}/camera_info", "CameraInfo topic; {camera} as above.")
    images_rectified: bool = parameter(
        False, "The images come without the distortion that their CameraInfo tells of, as image_rect; P then holds."
    )
    image_transport: str = parameter(
        "auto",
        "raw: Image; compressed: CompressedImage, on the topic itself or with /compressed; auto: what is published.",
        choices=("raw", "compressed", "auto"),
    )
    jpeg_decode: str = parameter(
        "full",
        "reduced: JPEGs are decoded to a half, a quarter or an eighth of their size where the network needs no more.",
        choices=JPEG_DECODES,
    )
    resize: str = parameter(
        PreprocessConfig.resize,
        "Filter to the network's size: exact, to the bit as in training; fast, sooner, few pixels off by a grey level.",
        choices=RESIZE_FILTERS,
    )
    camera_qos: str = parameter(
        "auto",
        "Reliability asked of cameras: reliable, sensor_data (best effort), or auto: reliable where offered.",
        choices=("auto", "reliable", "sensor_data"),
    )
    max_spread_s: float = parameter(
        0.05,
        "Newest minus oldest stamp of a set; below the camera period less the widest step between two, or sweeps mix.",
        span=MAX_SPREAD_SPAN,
    )
    stamp_policy: str = parameter(
        "message",
        "Time of an image: its header's stamp, or when it was received, for cameras whose stamps are zero or wrong.",
        choices=STAMP_POLICIES,
    )
    sync_capacity: int = parameter(8, "Images of one camera that may wait for the others.", span=(1, 100))
    min_cameras: int = parameter(
        0, "Fewest cameras of a set; 0: all. Keys of a missing camera never enter the decoder.", span=(0, 100)
    )
    camera_timeout_s: float = parameter(
        1.0,
        "A camera silent for longer is not waited for, where min_cameras allows it; above the cameras' period.",
        span=(0.01, 60.0),
    )
    ego_mask_dir: str = parameter(
        "", "Folder with <CAMERA>.png, white on the vehicle itself: what they mostly cover has no keys."
    )

    ego_pose_source: str = parameter("tf", "Ego pose from TF or from odometry.", choices=("tf", "odom"))
    odometry_topic: str = parameter("odom", "Odometry topic, for ego_pose_source odom.")
    global_frame: str = parameter("map", "Fixed frame of the ego pose.")
    base_frame: str = parameter("base_link", "Frame of the vehicle.")
    lidar_frame: str = parameter("LIDAR_TOP", "The network's frame: x right, y forward, z up.")
    lidar2base: tuple[float, ...] = parameter(
        (), "x y z (metres) qx qy qz qw of the lidar frame in the base frame, used where TF does not know it."
    )
    calibration_file: str = parameter(
        "", "YAML file with the cameras' intrinsics and mountings, used where CameraInfo or TF is missing."
    )
    allow_implausible_rig: bool = parameter(
        False, "Infer with a calibration that cannot be, too: it is refused otherwise, and told in any case.", live=True
    )
    output_frame: str = parameter("base_link", "Frame of what is published.")
    pose_timeout_s: float = parameter(
        0.5, "How long a set waits for transforms on their way, and for a camera's first CameraInfo.", span=(0.0, 10.0)
    )
    pose_cache_s: float = parameter(10.0, "How far back poses are kept.", span=(1.0, 600.0))

    keep_ratio: float = parameter(
        PruningConfig.keep_ratio,
        "Share of the decoder's keys left at the end; 1.0 is the dense network. Mode budget starts from it.",
        span=(0.0, 1.0),
        live=True,
    )
    token_rate: float = parameter(
        PruningConfig.token_rate,
        "Share of image tokens that pass the gated blocks of a vision transformer with gates; 1.0: all of them.",
        span=(0.0, 1.0),
        live=True,
    )
    prune_schedule: str = parameter(
        PruningConfig.schedule,
        "once: trim after the first layer; gradual: in even steps after prune_layers; ratios: as prune_ratios says.",
        choices=SCHEDULES,
        live=True,
    )
    prune_layers: int = parameter(
        PruningConfig.layers,
        "How many leading decoder layers trim keys; schedule gradual.",
        span=(1, ModelConfig.num_layers),
        live=True,
    )
    prune_ratios: tuple[float, ...] = parameter(
        PruningConfig.ratios,
        "Shares of all keys left after layers 1, 2, …; the next layer trims to keep_ratio. Schedule ratios.",
        live=True,
    )
    prune_queries: int = parameter(
        PruningConfig.queries,
        "At most so many of the most confident queries vote on a key; 0 or less: all.",
        span=(-1, 100_000),
        live=True,
    )
    prune_reactivate: bool = parameter(
        PruningConfig.reactivate, "Trimmed keys may come back at a later trim, by their last importance.", live=True
    )
    keep_mode: str = parameter(
        KeepConfig.mode,
        "fixed: keep_ratio; mass: the fewest keys that hold keep_mass; budget: what latency_budget_ms allows.",
        choices=KEEP_MODES,
        live=True,
    )
    keep_mass: float = parameter(
        KeepConfig.mass, "Share of the importance that is kept at each trim; mode mass.", span=(0.0, 1.0), live=True
    )
    min_keep_ratio: float = parameter(
        KeepConfig.min_ratio, "Least share of keys left by modes mass and budget.", span=(0.0, 1.0), live=True
    )
    max_keep_ratio: float = parameter(
        KeepConfig.max_ratio, "Largest share of keys left by modes mass and budget.", span=(0.0, 1.0), live=True
    )
    latency_budget_ms: float = parameter(
        KeepConfig.budget_ms,
        "What 95 % of the frames must stay below; mode budget.",
        span=(0.0, 1e6),
        live=True,
    )
    latency_budget_of: str = parameter(
        KeepConfig.budget_of,
        "What the budget is of: the decoder, or the frame from preprocessing to boxes.",
        choices=BUDGETS_OF,
        live=True,
    )
    carry_ratio: float = parameter(
        CarryConfig.ratio,
        "Share of keys that the first layer sees, by the frame before, more than is kept in the end; 1.0: all of them.",
        span=(0.0, 1.0),
        live=True,
    )
    carry_refresh: int = parameter(
        CarryConfig.refresh,
        "Every key is seen at least once in so many frames, with carry_ratio; every region of 4 x 4, with start_ratio.",
        span=(1, 10_000),
        live=True,
    )
    start_ratio: float = parameter(
        StartConfig.ratio,
        "Share of keys that are computed at all, by the key gate that comes with the weights; 1.0: all.",
        span=(0.0, 1.0),
        live=True,
    )
    gate_explore: float = parameter(
        StartConfig.explore,
        "Part of these that goes round among all cells, so that none is overlooked for long; with start_ratio.",
        span=(0.0, 1.0),
        live=True,
    )
    ray_tolerance_m: float = parameter(
        RaysConfig.tolerance_m,
        "A camera whose rays moved by less keeps its position embedding.",
        span=(0.0, 10.0),
    )
    score_threshold: float = parameter(
        DecodeConfig.score_threshold, "Least score of a published box.", span=(0.0, 1.0), live=True
    )
    max_boxes: int = parameter(DecodeConfig.max_boxes, "Most boxes per set.", span=(1, 10_000), live=True)
    overlay_width: int = parameter(
        640, "Width in pixels of each camera's picture on ~/overlay.", span=(64, 1920), live=True
    )
    overlay_kept_keys: bool = parameter(
        False, "Darken on ~/overlay what the last decoder layer did not see.", live=True
    )
    memory_max_gap_s: float = parameter(
        MemoryConfig.max_gap_s, "A longer gap between sets drops memory.", span=MEMORY_SPAN, live=True
    )
    memory_max_speed_mps: float = parameter(
        MemoryConfig.max_speed_mps, "A faster pose change drops memory.", span=MEMORY_SPAN, live=True
    )
    memory_max_jump_m: float = parameter(
        MemoryConfig.max_jump_m, "What a pose may jump on top of that speed.", span=MEMORY_SPAN, live=True
    )
    memory_interval_s: float = parameter(
        MemoryConfig.interval_s,
        "Age of the memory that a set goes on from, as in training (nuScenes: 0.5), at any input rate; 0: the last.",
        span=(0.0, 1e6),
        live=True,
    )

    pause_without_subscribers: bool = parameter(
        False, "Infer nothing while nobody subscribes to a topic of the node; memory then begins anew.", live=True
    )
    diagnostics_stale_s: float = parameter(
        2.0,
        "A camera or ego pose without news for longer is an error; so are images without a set published.",
        span=(0.01, 3600.0),
        live=True,
    )
    diagnostics_min_rate_hz: float = parameter(
        0.0, "A camera with fewer images a second is a warning; 0: none is.", span=(0.0, 1000.0), live=True
    )
    diagnostics_latency_warn_ms: float = parameter(
        500.0, "Latency that 95 % of the last sets must stay below, or it is a warning.", span=(0.0, 1e6), live=True
    )
    diagnostics_latency_error_ms: float = parameter(
        2000.0, "Latency that 95 % of the last sets must stay below, or it is an error.", span=(0.0, 1e6), live=True
    )

    def __post_init__(self) -> None:
        for item in dataclasses.fields(self):
            check(item, getattr(self, item.name))
        self.pruning().check_layers(model_config(self.model).num_layers)
        if not self.camera_names or len(set(self.camera_names)) != len(self.camera_names) or not all(self.camera_names):
            raise ValueError(f"camera_names is {list(self.camera_names)}, expected one or more different names")
        check_topic("odometry_topic", self.odometry_topic)
        if self.min_cameras > len(self.camera_names):
            found = f"min_cameras is {self.min_cameras}"
            raise ValueError(f"{found}, expected at most the {len(self.camera_names)} of camera_names")
        for name in ("image_topic", "camera_info_topic"):
            if "{camera}" not in getattr(self, name):
                raise ValueError(f"{name} is {getattr(self, name)!r}, expected {{camera}} in it")
            for camera in self.camera_names:
                check_topic(name, getattr(self, name).replace("{camera}", camera))
        if self.lidar2base:
            self.fixed_lidar2base()
        if self.diagnostics_latency_error_ms < self.diagnostics_latency_warn_ms:
            found = f"diagnostics_latency_error_ms is {self.diagnostics_latency_error_ms}"
            raise ValueError(f"{found}, expected at least {self.diagnostics_latency_warn_ms}, where warnings begin")
        self.memory()
        self.decode()

    @property
    def fewest_cameras(self) -> int:
        """min_cameras, where 0 means all."""
        return self.min_cameras or len(self.camera_names)

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
            token_rate=self.token_rate,
            keep=self._keep(),
            carry=CarryConfig(self.carry_ratio, self.carry_refresh),
            start=StartConfig(self.start_ratio, self.gate_explore),
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

    def images(self) -> PreprocessConfig:
        """How images are brought to the network's size."""
        return PreprocessConfig(self.resize)

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
