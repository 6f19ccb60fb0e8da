"""Camera images -> the network's input tensor, and the intrinsics that go with its pixels."""

from __future__ import annotations

import math
import os
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from PIL import Image

from tggbc_ros.core.config import ModelConfig, PreprocessConfig
from tggbc_ros.core.resample import plan_axis, resample
from tggbc_ros.core.threads import open_workers
from tggbc_ros.core.types import Array, CameraFrame, NetworkInput

Pixels = npt.NDArray[np.uint8]

SIZE_MULTIPLE = 32

JPEG_REDUCTIONS = (8, 4, 2)
"""A JPEG is stored in blocks of 8 x 8 pixels, which its decoder can as well make 1, 2 or 4 pixels wide."""

USUAL_CAMERAS = 6
MOSTLY = 0.5
"""A cell is hidden where more than this share of its pixels is."""


@dataclass(frozen=True)
class ImageFit:
    """How one camera image becomes a network image: scaled by ``scale``, then cut.

    height, width: of the scaled image, pixels. left, top: what is cut off it; sides are cut evenly, of
    the height only the bottom is kept (above the horizon there is little to detect).
    """

    scale: float
    height: int
    width: int
    left: int
    top: int

    @property
    def raw2net(self) -> Array:
        """[3, 3], pixel (u, v, 1) of the raw image -> pixel of the network image.

        The scale is rounded to float32, as it was when the published weights were trained.
        """
        scale = float(np.float32(self.scale))
        return np.array([[scale, 0.0, -self.left], [0.0, scale, -self.top], [0.0, 0.0, 1.0]])


def fit_image(height: int, width: int, model: ModelConfig) -> ImageFit:
    """The fit of a raw image of that size: the smallest scale that covers the network's image.

    s = max(H_net / height, W_net / width); sizes are truncated as in training, but never below the
    network's. Any image size will do, not only the 900 x 1600 of nuScenes.
    """
    net_height, net_width = model.image_size
    scale = max(net_height / height, net_width / width)
    scaled_height = max(int(height * scale), net_height)
    scaled_width = max(int(width * scale), net_width)
    return ImageFit(
        scale=scale,
        height=scaled_height,
        width=scaled_width,
        left=(scaled_width - net_width) // 2,
        top=scaled_height - net_height,
    )


def raw_to_network(frame: CameraFrame, model: ModelConfig) -> Array:
    """[N, 3, 3], per camera: pixel of its raw image -> pixel of its network image."""
    return np.stack([_fit(image, model).raw2net for image in frame.images])


def jpeg_reduction(height: int, width: int, model: ModelConfig) -> int:
    """By how much a JPEG of that size may be decoded smaller (8, 4, 2; 1: not at all) and still cover what is needed.

    The sides of what comes out are those divided by it, rounded up.
    """
    fit = fit_image(height, width, model)
    return next((by for by in JPEG_REDUCTIONS if height >= by * fit.height and width >= by * fit.width), 1)


def open_pool() -> ThreadPoolExecutor:
    """Threads for `preprocess`, one a core, but no more than there are cameras to see all around with."""
    return open_workers(min(os.cpu_count() or 1, USUAL_CAMERAS), "preprocess")


def preprocess(
    frame: CameraFrame,
    model: ModelConfig,
    device: torch.device | str,
    config: PreprocessConfig | None = None,
    pool: Executor | None = None,
) -> NetworkInput:
    """One frame as a batch of one, on ``device``; cameras side by side in ``pool``, or one after the other.

    Images are resized by a bicubic filter, cut, put in the model's colour order and normalised; that of a missing
    camera is zeros, the mean colour. A CUDA device does so itself, always by the exact filter.
    Intrinsics are those of the network's pixels; lidar2img = intrinsics @ lidar2cam.
    Raises if the model's image size is not a multiple of 32, to which the original would pad.
    """
    height, width = model.image_size
    if height % SIZE_MULTIPLE or width % SIZE_MULTIPLE:
        raise ValueError(f"image_size is {model.image_size}, expected multiples of {SIZE_MULTIPLE}")
    if torch.device(device).type == "cuda":
        images = network_images(frame, model, torch.device(device))
    else:
        images = _images_by_cpu(frame, model, (config or PreprocessConfig()).resize, pool).to(device)
    intrinsics = raw_to_network(frame, model) @ frame.rig.intrinsics
    lidar2img = frame.rig.lidar2cam.copy()
    lidar2img[:, :3] = intrinsics @ frame.rig.lidar2cam[:, :3]
    return NetworkInput(
        images=images[None],
        intrinsics=_float32_batch(intrinsics, device),
        lidar2img=_float32_batch(lidar2img, device),
    )


def network_images(frame: CameraFrame, model: ModelConfig, device: torch.device) -> torch.Tensor:
    """[N, 3, H, W] float32, made on ``device`` of the raw pixels; to the bit what a CPU makes with resize exact."""
    height, width = model.image_size
    images = torch.zeros(len(frame.images), 3, height, width, device=device)
    for size, places in _present_by_size(frame).items():
        fit = fit_image(*size, model)
        rows = plan_axis(size[0], fit.height, fit.top, height, device)
        columns = plan_axis(size[1], fit.width, fit.left, width, device)
        raw = _upload([frame.images[place][rows.needed, columns.needed] for place in places], device)
        for place, planes in zip(places, _normalised(resample(raw, rows, columns), model), strict=True):
            images[place] = planes
    return images


def cells_beside(hidden: npt.NDArray[np.bool_], model: ModelConfig) -> npt.NDArray[np.bool_]:
    """Cells [rows, columns] that may be looked at, where ``hidden`` pixels [height, width] of the raw image may not.

    The pixels go the image's way, scaled and cut as `fit_image` says, but by their area: a cell is hidden where
    they cover most of it.
    """
    raw_height, raw_width = hidden.shape
    fit = fit_image(raw_height, raw_width, model)
    scaled = Image.fromarray(hidden.astype(np.float32)).resize((fit.width, fit.height), Image.Resampling.BOX)
    height, width = model.image_size
    share = np.asarray(scaled)[fit.top : fit.top + height, fit.left : fit.left + width]
    rows, columns = model.feature_size
    by_cell = share.reshape(rows, model.stride, columns, model.stride).mean(axis=(1, 3))
    return np.asarray(by_cell <= MOSTLY)


def _present_by_size(frame: CameraFrame) -> dict[tuple[int, int], list[int]]:
    """Which of the cameras that are there have images of which height and width."""
    by_size: dict[tuple[int, int], list[int]] = {}
    for place, (present, image) in enumerate(zip(frame.present, frame.images, strict=True)):
        if present:
            by_size.setdefault(image.shape[:2], []).append(place)
    return by_size


def _upload(images: list[Pixels], device: torch.device) -> torch.Tensor:
    """Images of one size as [N, height, width, 3] on ``device``; from pinned memory, so that the host goes on."""
    pinned = torch.empty(len(images), *images[0].shape, dtype=torch.uint8, pin_memory=device.type == "cuda")
    np.stack(images, out=pinned.numpy())
    return pinned.to(device, non_blocking=True)


def _normalised(pixels: torch.Tensor, model: ModelConfig) -> torch.Tensor:
    """BGR levels [N, H, W, 3] int32 -> [N, 3, H, W] float32, by looking each level up."""
    levels = _levels_on(model, pixels.device)
    channels = _channels(model)
    planes = [table[pixels[..., channel]] for table, channel in zip(levels, channels, strict=True)]
    return torch.stack(planes, dim=1)


@lru_cache(maxsize=8)
def _levels_on(model: ModelConfig, device: torch.device) -> torch.Tensor:
    """[3, 256], `_normalised_levels` of each plane."""
    tables = [_normalised_levels(*each) for each in zip(model.mean, model.std, strict=True)]
    return torch.from_numpy(np.stack(tables)).to(device)


def _channels(model: ModelConfig) -> tuple[int, int, int]:
    """Which channel of a BGR image each plane of the network's is."""
    return (2, 1, 0) if model.color_order == "rgb" else (0, 1, 2)


def _images_by_cpu(frame: CameraFrame, model: ModelConfig, resize: str, pool: Executor | None) -> torch.Tensor:
    """[N, 3, H, W] float32, in main memory."""
    images = np.empty((len(frame.images), 3, *model.image_size), dtype=np.float32)
    side_by_side = pool.map if pool else map  # both filters free the GIL
    list(side_by_side(lambda *job: _write_camera(model, resize, *job), frame.present, frame.images, images))
    return torch.from_numpy(images)


def _fit(image: Pixels, model: ModelConfig) -> ImageFit:
    height, width, _ = image.shape
    return fit_image(height, width, model)


def _float32_batch(matrices: Array, device: torch.device | str) -> torch.Tensor:
    return torch.from_numpy(matrices.astype(np.float32))[None].to(device)


def _write_camera(model: ModelConfig, resize: str, present: bool, image: Pixels, out: npt.NDArray[np.float32]) -> None:
    if present:
        _write_network_image(image, model, resize, out)
    else:
        out.fill(0.0)


def _write_network_image(image: Pixels, model: ModelConfig, resize: str, out: npt.NDArray[np.float32]) -> None:
    """Fill ``out`` [3, H, W] with the normalised network image of a raw BGR image [height, width, 3]."""
    pixels = _resize_and_crop(image, model, resize)
    for plane, channel, mean, std in zip(out, _channels(model), model.mean, model.std, strict=True):
        np.take(_normalised_levels(mean, std), pixels[..., channel], out=plane, mode="clip")


def _normalised_levels(mean: float, std: float) -> npt.NDArray[np.float32]:
    """[256], what (level - mean) / std is for each grey level, rounded where the original rounds."""
    centred = (np.arange(256, dtype=np.float32) - np.float32(mean)).astype(np.float64)
    return (centred * (1.0 / float(np.float32(std)))).astype(np.float32)


def _resize_and_crop(image: Pixels, model: ModelConfig, resize: str) -> Pixels:
    """[height, width, 3] -> [H, W, 3] uint8, what resizing the whole image and cutting gives; exact: bit for bit."""
    fit = _fit(image, model)
    skip_raw, skip_scaled = _rows_to_skip(image.shape[0], fit)
    needed = np.ascontiguousarray(image[skip_raw:])
    filtered = _by_pillow if resize == "exact" else _by_torch
    resized = filtered(needed, fit.height - skip_scaled, fit.width)
    height, width = model.image_size
    top = fit.top - skip_scaled
    return resized[top : top + height, fit.left : fit.left + width]


def _by_pillow(image: Pixels, height: int, width: int) -> Pixels:
    return np.asarray(Image.fromarray(image).resize((width, height), Image.Resampling.BICUBIC))


def _by_torch(image: Pixels, height: int, width: int) -> Pixels:
    """The same filter with vector instructions: weights of 16 bits where Pillow's have 22."""
    writable = image if image.flags.writeable else image.copy()  # torch has no read-only tensors
    planes = torch.from_numpy(writable).permute(2, 0, 1)[None]
    resized = F.interpolate(planes, (height, width), mode="bicubic", antialias=True, align_corners=False)
    return np.asarray(resized[0].permute(1, 2, 0).numpy())


def _rows_to_skip(height: int, fit: ImageFit) -> tuple[int, int]:
    """Rows at the top, raw and scaled, that need no resizing because nothing of them survives the cut.

    Both are whole periods of the resampling grid, so that the rows below get the very weights they
    would have had, and the filter's reach (two pixels of the coarser image) stays inside what is left.
    """
    periods = math.gcd(height, fit.height)
    reach = math.ceil(2 * max(1.0, fit.scale)) + 1
    skipped = max(fit.top - reach, 0) // (fit.height // periods)
    return skipped * (height // periods), skipped * (fit.height // periods)
