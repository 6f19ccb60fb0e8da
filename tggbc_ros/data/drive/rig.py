"""The six cameras and the lidar of a typical nuScenes vehicle, in rounded numbers.

The ego frame is x forward, y left, z up, on the ground under the rear axle.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tggbc_ros.core.geometry import rigid, yaw_rotation
from tggbc_ros.core.types import Array

FULL_SIZE = (1600, 900)
OPTICAL2BODY = np.array([[0.0, 0.0, 1.0], [-1.0, 0.0, 0.0], [0.0, -1.0, 0.0]])
LIDAR2EGO = rigid(yaw_rotation(-np.pi / 2), [0.94, 0.0, 1.84])


@dataclass(frozen=True, eq=False)
class Camera:
    """One camera: where it looks, and when.

    size: (width, height), pixels. intrinsics: [3, 3], for image coordinates in which the first pixel
    spans 0 to 1, so that resizing an image scales them exactly. cam2ego: [4, 4], optical frame.
    trigger_s: exposure relative to the sample time, never positive.
    """

    name: str
    size: tuple[int, int]
    intrinsics: Array
    cam2ego: Array
    trigger_s: float

    def resized(self, size: tuple[int, int]) -> Camera:
        """The camera after its image was resized to ``size``'s width and cut at the top to its height."""
        width, height = size
        scale = width / self.size[0]
        cut = self.size[1] * scale - height
        if cut < -1e-6:
            rows = int(self.size[1] * scale)
            raise ValueError(f"image size is {size}, expected at most {rows} rows for {width} columns")
        raw2new = np.array([[scale, 0.0, 0.0], [0.0, scale, -cut], [0.0, 0.0, 1.0]])
        return Camera(self.name, size, raw2new @ self.intrinsics, self.cam2ego, self.trigger_s)


def _camera(name: str, focal: float, cx: float, cy: float, yaw_deg: float, xyz: tuple[float, ...], ms: float) -> Camera:
    intrinsics = np.array([[focal, 0.0, cx], [0.0, focal, cy], [0.0, 0.0, 1.0]])
    cam2ego = rigid(yaw_rotation(np.deg2rad(yaw_deg)) @ OPTICAL2BODY, xyz)
    return Camera(name, FULL_SIZE, intrinsics, cam2ego, ms / 1000.0)


CAMERAS = (
    _camera("CAM_FRONT", 1266.0, 816.0, 492.0, 0.0, (1.70, 0.02, 1.51), -35.0),
    _camera("CAM_FRONT_RIGHT", 1261.0, 808.0, 495.0, -56.0, (1.55, -0.49, 1.50), -27.5),
    _camera("CAM_FRONT_LEFT", 1273.0, 827.0, 480.0, 55.0, (1.52, 0.49, 1.51), -43.0),
    _camera("CAM_BACK", 809.0, 829.0, 482.0, 180.0, (0.03, 0.00, 1.58), -10.5),
    _camera("CAM_BACK_LEFT", 1257.0, 792.0, 493.0, 108.0, (1.04, 0.48, 1.59), -0.5),
    _camera("CAM_BACK_RIGHT", 1260.0, 807.0, 501.0, -111.0, (1.01, -0.48, 1.56), -20.0),
)
