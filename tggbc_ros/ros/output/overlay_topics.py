"""Pictures for the eye: camera images with the boxes of their set, each drawn only while somebody looks at it."""

from __future__ import annotations

import array
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt
from rclpy.publisher import Publisher
from sensor_msgs.msg import CompressedImage
from std_msgs.msg import Header

from tggbc_ros.core.config import ModelConfig
from tggbc_ros.core.types import Boxes3D, CameraFrame
from tggbc_ros.drawing.draw import Image
from tggbc_ros.drawing.kept_keys import arrangement, cells_by_camera
from tggbc_ros.drawing.key_regions import cell_fates, dim
from tggbc_ros.drawing.overlay import draw_detections, mosaic, resized
from tggbc_ros.drawing.palette import Palette
from tggbc_ros.ros.worker import NewestWorker

MOSAIC_TOPIC = "~/overlay/compressed"
QUALITY = 80
"""Of the JPEGs, 0 to 100."""


@dataclass(frozen=True)
class OverlayOptions:
    """How overlays look. width: of one camera, in pixels. kept_keys: darken what the last decoder layer did not see."""

    width: int
    kept_keys: bool


@dataclass(frozen=True, eq=False)
class Scene:
    """One set and what came of it. boxes: in the lidar frame. kept, started: as in `StepReport`."""

    frame: CameraFrame
    boxes: Boxes3D
    kept: npt.NDArray[np.int64]
    head: Header
    options: OverlayOptions
    started: npt.NDArray[np.int64] | None = None


class OverlayTopics:
    """All cameras on ``~/overlay/compressed``, one by one on ``~/overlay/<CAMERA>/compressed``, as JPEG.

    They are drawn on a thread of their own, so that inference does not wait. A scene that comes while one is drawn
    waits; when a newer one comes, it is not drawn at all. advertise(type, topic): makes a publisher.
    """

    def __init__(
        self,
        advertise: Callable[[type, str], Publisher],
        model: ModelConfig,
        palette: Palette,
        cameras: Sequence[str],
    ) -> None:
        self._model = model
        self._palette = palette
        self._mosaic = advertise(CompressedImage, MOSAIC_TOPIC)
        self._cameras = {camera: advertise(CompressedImage, camera_topic(camera)) for camera in cameras}
        self.publishers = (self._mosaic, *self._cameras.values())
        self._worker: NewestWorker[Scene] | None = None

    def start(self) -> None:
        """Begin to draw."""
        self._worker = NewestWorker("overlay", self.publish, lambda scene, cause: None)
        self._worker.start()

    def stop(self, timeout_s: float) -> bool:
        """Draw no more; whether nothing is being drawn within ``timeout_s``."""
        worker, self._worker = self._worker, None
        return worker.stop(timeout_s) if worker else True

    def is_alive(self) -> bool:
        """Whether the thread that draws runs, or none has to."""
        worker = self._worker
        return worker is None or worker.is_alive()

    def offer(self, scene: Scene) -> None:
        """Have this scene drawn next, if anybody looks; returns at once."""
        worker = self._worker
        if worker is not None and any(publisher.get_subscription_count() for publisher in self.publishers):
            worker.offer(scene)

    def publish(self, scene: Scene) -> None:
        """Draw and publish what somebody looks at."""
        whole = bool(self._mosaic.get_subscription_count())
        watched = [name for name, publisher in self._cameras.items() if publisher.get_subscription_count()]
        pictures = draw_scene(scene, self._model, self._palette, self._cameras if whole else watched)
        for name in set(watched) & set(pictures):
            self._cameras[name].publish(jpeg(pictures[name], scene.head))
        if whole:
            rows = arrangement(tuple(self._cameras))
            self._mosaic.publish(jpeg(mosaic(pictures, scene.options.width, rows), scene.head))


def camera_topic(camera: str) -> str:
    """Where one camera's overlay goes; a name may begin with a digit, a part of a topic may not."""
    return f"~/overlay/{'camera_' if camera[0].isdigit() else ''}{camera}/compressed"


def draw_scene(scene: Scene, model: ModelConfig, palette: Palette, cameras: Collection[str]) -> dict[str, Image]:
    """Camera -> its picture, for those of ``cameras`` that the set has an image of."""
    frame, pictures = scene.frame, {}
    names = frame.rig.names
    cells = cells_by_camera(scene.kept, names, model.feature_size)
    started = None if scene.started is None else cells_by_camera(scene.started, names, model.feature_size)
    for index, name in enumerate(names):
        if name in cameras and frame.present[index]:
            raw = frame.images[index]
            image, intrinsics = resized(raw, frame.rig.intrinsics[index], scene.options.width)
            if scene.options.kept_keys:
                dim(image, cell_fates(cells[name], model, *raw.shape[:2], started and started[name]), palette.kept)
            draw_detections(image, scene.boxes, intrinsics, frame.rig.lidar2cam[index], palette)
            pictures[name] = image
    return pictures


def jpeg(picture: Image, head: Header) -> CompressedImage:
    """A picture as a message."""
    encoded, data = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
    if not encoded:
        raise ValueError(f"OpenCV cannot encode a picture of shape {picture.shape} as JPEG")
    return CompressedImage(header=head, format="jpeg", data=array.array("B", data.tobytes()))
