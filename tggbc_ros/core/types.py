"""What flows along the line: frames in, boxes and a report out.

This file is the only place that defines the box layout, the frames and the units.

Frames: the *lidar frame* is nuScenes' LIDAR_TOP convention at the frame's reference time
(x right, y forward, z up); the *global frame* is any fixed frame; a *camera frame* is optical
(x right, y down, z forward). ``a2b`` is a 4x4 matrix that takes column vectors in ``a`` to ``b``.
Units: metres, seconds, radians, pixels; a suffix says so where a name holds a number.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

Array = npt.NDArray[np.float64]


def _expect_shape(name: str, value: np.ndarray | torch.Tensor, expected: tuple[int | str, ...]) -> None:
    """Raise unless ``value`` has the expected shape; a string in it names a free dimension."""
    actual = tuple(value.shape)
    fits = len(actual) == len(expected) and all(
        isinstance(want, str) or have == want for have, want in zip(actual, expected, strict=True)
    )
    if not fits:
        raise ValueError(f"{name} has shape {actual}, expected {expected}")


def _expect_finite(name: str, value: np.ndarray) -> None:
    if not np.isfinite(value).all():
        raise ValueError(f"{name} holds NaN or infinity: {value.tolist()}")


def _expect_rigid(name: str, value: np.ndarray, tolerance: float = 1e-3) -> None:
    """Raise unless every 4x4 matrix is a rotation and a translation."""
    rotation = value[..., :3, :3]
    error = np.abs(rotation @ np.swapaxes(rotation, -1, -2) - np.eye(3)).max()
    if error > tolerance or (np.linalg.det(rotation) < 0).any():
        raise ValueError(f"{name} is not a rigid transform: R R^T is off identity by {error:.3g}")
    if np.abs(value[..., 3, :] - np.array([0.0, 0.0, 0.0, 1.0])).max() > tolerance:
        raise ValueError(f"{name} has last row {value[..., 3, :].tolist()}, expected [0, 0, 0, 1]")


@dataclass(frozen=True, eq=False)
class Rig:
    """Cameras and where they look, in the order the network was trained with.

    names: N camera names. intrinsics: [N, 3, 3], pixels of the images as given.
    lidar2cam: [N, 4, 4], from the lidar frame at the reference time to each camera *at its own
    stamp*, so the vehicle's motion between the two is part of it.
    """

    names: tuple[str, ...]
    intrinsics: Array
    lidar2cam: Array

    def __post_init__(self) -> None:
        count = len(self.names)
        if count == 0 or len(set(self.names)) != count:
            raise ValueError(f"camera names must be unique and at least one, got {self.names}")
        _expect_shape("intrinsics", self.intrinsics, (count, 3, 3))
        _expect_shape("lidar2cam", self.lidar2cam, (count, 4, 4))
        _expect_finite("intrinsics", self.intrinsics)
        _expect_finite("lidar2cam", self.lidar2cam)
        _expect_rigid("lidar2cam", self.lidar2cam)
        focal = self.intrinsics[:, [0, 1], [0, 1]]
        if (focal <= 0).any():
            raise ValueError(f"focal lengths must be positive, got {focal.tolist()} for {self.names}")


@dataclass(frozen=True, eq=False)
class CameraFrame:
    """One synchronised set of images and all the network must know about it.

    images: N arrays [height, width, 3], uint8, BGR, in the rig's order.
    timestamp_ns: reference time of the set. lidar2global: [4, 4], ego pose at that time.
    cells: [N, rows, columns] of the network's feature maps, which of them may be looked at; None: all.
    A camera without such a cell is missing: its image is not looked at either.
    """

    images: tuple[npt.NDArray[np.uint8], ...]
    rig: Rig
    timestamp_ns: int
    lidar2global: Array
    cells: npt.NDArray[np.bool_] | None = None

    def __post_init__(self) -> None:
        if len(self.images) != len(self.rig.names):
            raise ValueError(f"{len(self.images)} images for the {len(self.rig.names)} cameras {self.rig.names}")
        for name, image in zip(self.rig.names, self.images, strict=True):
            _expect_shape(f"image of {name}", image, ("height", "width", 3))
            if image.dtype != np.uint8:
                raise ValueError(f"image of {name} is {image.dtype}, expected uint8")
            if 0 in image.shape:
                raise ValueError(f"image of {name} is empty: shape {image.shape}")
        _expect_shape("lidar2global", self.lidar2global, (4, 4))
        _expect_finite("lidar2global", self.lidar2global)
        _expect_rigid("lidar2global", self.lidar2global)
        if self.cells is not None:
            _expect_shape("cells", self.cells, (len(self.images), "rows", "columns"))
            if self.cells.dtype != np.bool_ or not self.cells.any():
                raise ValueError(f"cells hold {self.cells.sum()} as {self.cells.dtype}, expected one or more, bool")

    @property
    def present(self) -> tuple[bool, ...]:
        """Which cameras are there: those of which one cell or more may be looked at."""
        if self.cells is None:
            return (True,) * len(self.images)
        return tuple(bool(seen.any()) for seen in self.cells)


@dataclass(frozen=True, eq=False)
class NetworkInput:
    """What preprocessing hands to the network.

    images: [B, N, 3, H, W] float32, normalised. intrinsics: [B, N, 3, 3], pixels of those images.
    lidar2img: [B, N, 4, 4], (x, y, z, 1) -> (u d, v d, d, 1). The matrices
    are float32, composed in float64.
    """

    images: torch.Tensor
    intrinsics: torch.Tensor
    lidar2img: torch.Tensor

    def __post_init__(self) -> None:
        _expect_shape("images", self.images, ("B", "N", 3, "H", "W"))
        batch, cameras = self.images.shape[:2]
        _expect_shape("intrinsics", self.intrinsics, (batch, cameras, 3, 3))
        _expect_shape("lidar2img", self.lidar2img, (batch, cameras, 4, 4))


@dataclass(frozen=True, eq=False)
class Memory:
    """What is remembered between frames, newest and best rows first, in the global frame.

    embedding: [B, M, C] float32. reference_point: [B, M, 3] float64, metres, global frame.
    timestamp_s: [B, M] float64, absolute time of observation. lidar2global: [B, M, 4, 4] float64,
    ego pose at that time; the zero matrix in a row that was never written (the original network was
    trained with it). velocity: [B, M, 2] float32, m/s, in the lidar frame of the observation.
    """

    embedding: torch.Tensor
    reference_point: torch.Tensor
    timestamp_s: torch.Tensor
    lidar2global: torch.Tensor
    velocity: torch.Tensor

    def __post_init__(self) -> None:
        _expect_shape("embedding", self.embedding, ("B", "M", "C"))
        batch, rows = self.embedding.shape[:2]
        _expect_shape("reference_point", self.reference_point, (batch, rows, 3))
        _expect_shape("timestamp_s", self.timestamp_s, (batch, rows))
        _expect_shape("lidar2global", self.lidar2global, (batch, rows, 4, 4))
        _expect_shape("velocity", self.velocity, (batch, rows, 2))


@dataclass(frozen=True, eq=False)
class AlignedMemory:
    """`Memory` seen from the current frame: a network's input, small numbers, float32.

    embedding: [B, L, C]. reference_point: [B, L, 3], metres, current lidar frame. age_s: [B, L].
    pose: [B, L, 4, 4], lidar frame of the observation -> current lidar frame. velocity: [B, L, 2].
    """

    embedding: torch.Tensor
    reference_point: torch.Tensor
    age_s: torch.Tensor
    pose: torch.Tensor
    velocity: torch.Tensor


@dataclass(frozen=True, eq=False)
class Tokens:
    """What the decoder attends to: one key and one value per image cell, camera by camera, row by row.

    key: [B, T, C], value plus its 3D position embedding. value: [B, T, C]. index: [B, T], which cell
    each is, ascending; all of them until some are left out. total: how many cells there are, T where
    it is not given.
    """

    key: torch.Tensor
    value: torch.Tensor
    index: torch.Tensor
    total: int | None = None

    @property
    def num_cells(self) -> int:
        """Cells of all cameras, of which T are left."""
        return self.index.shape[1] if self.total is None else self.total


@dataclass(frozen=True, eq=False)
class Trim:
    """What one decoder layer decided about the keys it saw.

    seen: [B, K], cells of the keys it saw. importance: [B, K], theirs. kept: [B, some], cells of the
    keys that the next layer sees, ascending. queries: [B, k], the queries that voted.
    """

    seen: torch.Tensor
    importance: torch.Tensor
    kept: torch.Tensor
    queries: torch.Tensor


@dataclass(frozen=True, eq=False)
class NetworkOutput:
    """What the decoder says about one frame.

    logits: [layers, B, Q, classes]; layers is all of them where asked for, else only the last.
    codes: [layers, B, Q, 10]: centre x, y, z in metres (lidar frame, gravity centre), log length,
    log width, log height, sin yaw, cos yaw, velocity x, y in m/s. embedding: [B, Q, C], last layer,
    what memory remembers. num_keys: keys that each decoder layer saw. trims: by layer that trimmed.
    """

    logits: torch.Tensor
    codes: torch.Tensor
    embedding: torch.Tensor
    num_keys: tuple[int, ...]
    trims: Mapping[int, Trim]


@dataclass(frozen=True, eq=False)
class Boxes3D:
    """M detections in one frame, best first.

    center: [M, 3], gravity centre, metres. size: [M, 3], length (along the heading), width, height,
    metres. yaw: [M], radians, counter-clockwise about z from the frame's x axis. velocity: [M, 2],
    m/s along the frame's x and y. score: [M] in [0, 1]. label: [M], index into the class names.
    query: [M], the decoder query that spoke.
    """

    center: Array
    size: Array
    yaw: Array
    velocity: Array
    score: Array
    label: npt.NDArray[np.int64]
    query: npt.NDArray[np.int64]

    def __post_init__(self) -> None:
        count = len(self.score)
        for name, shape in (
            ("center", (count, 3)),
            ("size", (count, 3)),
            ("yaw", (count,)),
            ("velocity", (count, 2)),
            ("score", (count,)),
            ("label", (count,)),
            ("query", (count,)),
        ):
            _expect_shape(name, getattr(self, name), shape)

    def __len__(self) -> int:
        return len(self.score)

    def __getitem__(self, index: npt.NDArray[np.int64] | npt.NDArray[np.bool_] | slice) -> Boxes3D:
        """The chosen boxes, by mask, indices or slice."""
        return Boxes3D(
            self.center[index],
            self.size[index],
            self.yaw[index],
            self.velocity[index],
            self.score[index],
            self.label[index],
            self.query[index],
        )


@dataclass(frozen=True)
class StepReport:
    """What one step did, for whoever has to trust it.

    keep_ratio: as asked. keys: how many keys each decoder layer attended to. stage_ms: wall time by
    stage, in order. memory_age_s: time since the newest frame in the memory that was read, 0 without one.
    reset_cause: why memory was dropped before this frame, empty if it was not. kept: [K], image cells
    (camera by camera, row by row) whose keys the last decoder layer saw, ascending. num_cells: how many
    cells there are; without it, the keys of the first layer. voters: how many queries voted at the last
    trim, 0 without one. feasible: False where keep_mode budget finds its budget out of reach. beyond_calibration: of
    an encoder in int8, share of its pixels or features beyond what its calibration saw. started: [K], cells whose
    keys the first layer saw, ascending; None: all. started_by: what chose these before anything was computed of them,
    "gate" or "carry"; empty where nothing did. token_rate: as asked. tokens: [G, cells], which cells' tokens passed
    each gated block of the image encoder, cells as in ``kept``; None where all passed, or nothing is gated.
    """

    keep_ratio: float
    keys: tuple[int, ...]
    stage_ms: Mapping[str, float]
    memory_age_s: float
    reset_cause: str
    kept: npt.NDArray[np.int64]
    num_cells: int | None = None
    voters: int = 0
    feasible: bool = True
    beyond_calibration: float | None = None
    started: npt.NDArray[np.int64] | None = None
    started_by: str = ""
    token_rate: float = 1.0
    tokens: npt.NDArray[np.bool_] | None = None

    @property
    def token_shares(self) -> tuple[float, ...]:
        """The share of all image tokens that passed each gated block; empty where all did."""
        return () if self.tokens is None else tuple(self.tokens.mean(axis=1).tolist())

    @property
    def token_rate_used(self) -> float:
        """The share of tokens that passed, over all gated blocks."""
        return 1.0 if self.tokens is None else float(self.tokens.mean())

    @property
    def total_keys(self) -> int:
        """Keys there would be with none left out: one for every image cell."""
        return self.keys[0] if self.num_cells is None else self.num_cells

    @property
    def keep_ratio_used(self) -> float:
        """Share of all keys that the last decoder layer still saw."""
        return self.keys[-1] / self.total_keys
