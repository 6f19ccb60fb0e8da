"""Pipeline steps: camera images as the network wants them, with all matrices that go with their pixels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from mmcv.transforms import BaseTransform
from mmdet3d.registry import TRANSFORMS
from PIL import Image

from tggbc_ros.core.geometry import rigid, yaw_rotation
from tggbc_ros.core.preprocess import ImageFit, fit_image
from tggbc_ros.core.types import Array
from tggbc_ros.data.records import CAMERA_NAMES
from tggbc_ros.mmdet3d_plugin.parts import network_config

MATRICES = ("cam2img", "lidar2cam")


@TRANSFORMS.register_module()
class FitCameraImages(BaseTransform):
    """Resize and cut images as the node does (Pillow's bicubic filter, bottom kept), and compose the matrices.

    base and changes: the network as in `parts.StreamPETRHead`; of it the image size counts. cameras: in the order
    the network was trained with, whatever the order in the infos. For training: resize_range, scales relative to
    the raw image to draw from, cut at a random place along the width; flip_ratio, how often to mirror.
    Takes what LoadMultiViewImageFromFiles gives. Sets img, img_shape, intrinsics [N, 3, 3] and lidar2img [N, 4, 4]
    of the network's pixels, lidar2global [4, 4].
    """

    def __init__(
        self,
        base: str,
        cameras: Sequence[str] = CAMERA_NAMES,
        resize_range: Sequence[float] | None = None,
        flip_ratio: float = 0.0,
        **changes: Any,
    ) -> None:
        self.network = network_config(base, changes)
        self.cameras = tuple(cameras)
        self.resize_range = None if resize_range is None else tuple(resize_range)
        self.flip_ratio = flip_ratio

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """One sample; raises ValueError where a camera is missing."""
        order = self._order(list(results["images"]))
        raw = [np.asarray(results["img"][index]).astype(np.uint8) for index in order]
        fit, mirror = self._draw(*raw[0].shape[:2])
        raw2net = mirrored(self.network.image_size[1], mirror) @ fit.raw2net
        cam2img, lidar2cam = (np.stack([np.asarray(results[name][i], np.float64) for i in order]) for name in MATRICES)
        intrinsics = raw2net @ cam2img[:, :3, :3]
        lidar2img = lidar2cam.copy()
        lidar2img[:, :3] = intrinsics @ lidar2cam[:, :3]
        images = [fitted(image, fit, self.network.image_size) for image in raw]
        results["img"] = [np.ascontiguousarray(image[:, ::-1]) if mirror else image for image in images]
        results["img_shape"] = results["pad_shape"] = self.network.image_size
        results["intrinsics"], results["lidar2img"], results["lidar2cam"] = intrinsics, lidar2img, list(lidar2cam)
        results["lidar2global"] = results.get("lidar2global", lidar2global_of(results))
        return results

    def _order(self, found: list[str]) -> list[int]:
        missing = [name for name in self.cameras if name not in found]
        if missing:
            raise ValueError(f"the sample has no image of {', '.join(missing)}, only of {', '.join(found)}")
        return [found.index(name) for name in self.cameras]

    def _draw(self, height: int, width: int) -> tuple[ImageFit, bool]:
        """How to fit this sample's images, and whether to mirror them."""
        mirror = self.flip_ratio > 0 and np.random.rand() < self.flip_ratio
        if self.resize_range is None:
            return fit_image(height, width, self.network), mirror
        scale = float(np.random.uniform(*self.resize_range))
        scaled_height, scaled_width = int(height * scale), int(width * scale)
        net_height, net_width = self.network.image_size
        left = int(np.random.uniform(0, max(0, scaled_width - net_width)))
        return ImageFit(scale, scaled_height, scaled_width, left, scaled_height - net_height), mirror


def fitted(image: npt.NDArray[np.uint8], fit: ImageFit, size: tuple[int, int]) -> npt.NDArray[np.uint8]:
    """[height, width, 3] -> [H, W, 3]; black where the cut reaches beyond the scaled image."""
    scaled = Image.fromarray(image).resize((fit.width, fit.height), Image.Resampling.BICUBIC)
    height, width = size
    return np.asarray(scaled.crop((fit.left, fit.top, fit.left + width, fit.top + height)))


def mirrored(width: int, mirror: bool) -> Array:
    """[3, 3]: pixel (u, v, 1) -> pixel of the image ``width`` wide, mirrored left to right or as it is."""
    return np.array([[-1.0, 0.0, width], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]]) if mirror else np.eye(3)


def lidar2global_of(results: dict[str, Any]) -> Array:
    """[4, 4] float64, from what mmdet3d's nuScenes infos hold."""
    ego2global = np.asarray(results["ego2global"], dtype=np.float64)
    return ego2global @ np.asarray(results["lidar_points"]["lidar2ego"], dtype=np.float64)


@TRANSFORMS.register_module()
class RotateLidarFrame(BaseTransform):
    """For training: turn the lidar frame about its z axis by an angle drawn from ``angle_range``, radians.

    Boxes, cameras and the pose in the global frame turn together, so that memory of frames turned otherwise still
    fits. To stand after LoadAnnotations3D and before FitCameraImages.
    """

    def __init__(self, angle_range: Sequence[float]) -> None:
        self.low, self.high = angle_range

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """One sample."""
        angle = float(np.random.uniform(self.low, self.high))
        new2old = rigid(yaw_rotation(-angle), [0.0, 0.0, 0.0])
        results["lidar2global"] = lidar2global_of(results) @ new2old
        results["lidar2cam"] = [np.asarray(matrix, np.float64) @ new2old for matrix in results["lidar2cam"]]
        if "gt_bboxes_3d" in results:
            results["gt_bboxes_3d"].rotate(angle)
        return results
