"""From the cameras' topics to sets of images, and from a set to what can be used of it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from typing import TypeAlias

from rclpy.lifecycle import LifecycleNode

from tggbc_ros.core.config import ModelConfig
from tggbc_ros.ros.calibration_file import CameraCalibration
from tggbc_ros.ros.drops import Account, BadInputError
from tggbc_ros.ros.images.camera_feed import Feed
from tggbc_ros.ros.images.camera_sync import CameraSync, ImageSet, Stored
from tggbc_ros.ros.images.camera_topics import CameraTopics
from tggbc_ros.ros.images.ego_mask import EgoMasks
from tggbc_ros.ros.images.image_decoder import Decoding, ImageDecoder
from tggbc_ros.ros.images.partial_rig import left_over
from tggbc_ros.ros.images.pictures import Message, Picture, Pictures
from tggbc_ros.ros.images.source_choice import LACKS_COLOURS, UNUSABLE
from tggbc_ros.ros.params import Settings

Images: TypeAlias = ImageSet[Decoding]
INFO_POLL_S = 0.005
LOST_INFO_S = 3.0
"""So long a camera's first CameraInfo is waited for, though images come, while somebody publishes it."""

LOG_PERIOD_S = 5.0


class Intake:
    """Owns subscriptions, synchroniser, decoder and what is known of each camera.

    needed: the network whose image size JPEGs are decoded for; None: they are decoded in full. on_set gets each
    complete set, on the executor's thread. wanted: whether a set would be inferred at once, so that decoding may begin
    before it is complete. stopping ends every wait. The methods that take a set are for one thread, the worker's.
    """

    def __init__(
        self,
        node: LifecycleNode,
        current: Callable[[], Settings],
        needed: ModelConfig | None,
        calibration: Mapping[str, CameraCalibration],
        masks: EgoMasks,
        account: Account,
        on_set: Callable[[Images], None],
        wanted: Callable[[], bool],
        stopping: threading.Event,
    ) -> None:
        settings = current()
        self._node = node
        self._current = current
        self._calibration = calibration
        self._account = account
        self._on_set = on_set
        self._wanted = wanted
        self._stopping = stopping
        self._without_info: set[str] = set()
        self._pictures = Pictures(
            needed, lambda camera: self.feeds[camera].info, calibration, masks, settings.images_rectified
        )
        self._decoder = ImageDecoder(self._pictures.make)
        self.sync: CameraSync[Decoding] = CameraSync.as_set(settings, account)
        self._topics = CameraTopics(node, settings, account, self._store)

    @property
    def feeds(self) -> Mapping[str, Feed]:
        """What was seen of each camera, in the rig's order."""
        return self._topics.feeds

    def has_file(self, camera: str) -> bool:
        """Whether the camera's intrinsics are in calibration_file."""
        return camera in self._calibration

    def close(self) -> None:
        """Receive no more."""
        self._topics.close()

    def end(self, decoding: bool) -> None:
        """Count what still waits for a set. decoding: whether somebody may still wait for a picture."""
        if not decoding:
            self._decoder.close()
        self.sync.clear("image_stopped")

    def pictures(self, images: Images) -> tuple[dict[str, Picture], dict[str, BadInputError]]:
        """The set's images by camera, waited for, and what is wrong with those that cannot be used."""
        self._wait_for_info(images)
        pictures, unusable = {}, {}
        for image in images.images:
            image.message.begin()
        for camera, image in zip(images.cameras, images.images, strict=True):
            try:
                pictures[camera] = image.message.result()
                self._note_colours(camera, image.message.kind, pictures[camera].lacks)
            except BadInputError as error:
                unusable[camera] = error
                if error.cause == "bad_encoding":
                    self._topics.rate(camera, image.message.kind, UNUSABLE)
        return pictures, unusable

    def _note_colours(self, camera: str, kind: type[Message], lacks: str) -> None:
        """An image without colours is used, is named, and is second choice."""
        feed = self.feeds[camera]
        if lacks:
            self._topics.rate(camera, kind, LACKS_COLOURS)
        if lacks and lacks != feed.lacks:
            self._node.get_logger().warning(f"{camera}: images have no colours of their own: {lacks}")
        feed.lacks = lacks

    def without(self, images: Images, errors: Mapping[str, BadInputError]) -> Images:
        """The set without the cameras of ``errors``; raises the first of these where too few are left."""
        for camera, error in errors.items():
            self.feeds[camera].note_error(str(error), time.monotonic())
        return left_over(images, errors, self._current().fewest_cameras)

    def note_use(self, images: Images, left_out: Mapping[str, BadInputError]) -> None:
        """A set goes on with the cameras it has; the images of others are lost."""
        for camera in images.cameras:
            self.feeds[camera].usable = True
        for camera, error in left_out.items():
            self._account.drop(f"image_{error.cause}")
            self._node.get_logger().warning(f"set without {camera}: {error}", throttle_duration_sec=LOG_PERIOD_S)

    def note_missing(self, images: Images) -> tuple[str, ...]:
        """The cameras that a published set went without; counted, for the diagnostics."""
        missing = tuple(camera for camera in self.feeds if camera not in images.cameras)
        for camera in missing:
            self.feeds[camera].sets_without += 1
        return missing

    def _store(self, camera: str, image: Stored[Message]) -> None:
        decoding = self._decoder.take(camera, image.message)
        if self._wanted() and self._pictures.is_calibrated(camera):
            decoding.begin()  # a worker that lags behind may never come to this image; one that waits, waits for it
        images = self.sync.add(camera, Stored(image.stamp_ns, image.arrival_s, decoding))
        if images is not None:
            self._on_set(images)

    def _wait_for_info(self, images: Images) -> None:
        """A first CameraInfo may come after the first image, as a pose may; a camera without is waited for once.

        For longer where it is published: among raw images it is often lost, and the next one comes with the next image.
        """
        began_s, timeout_s = time.monotonic(), self._current().pose_timeout_s
        while True:
            without = {camera for camera in images.cameras if not self._pictures.is_calibrated(camera)}
            published = all(self.feeds[camera].info_source for camera in without)
            patience_s = max(timeout_s, LOST_INFO_S) if published else timeout_s
            waited = time.monotonic() > began_s + patience_s
            if without <= self._without_info or waited or self._stopping.wait(INFO_POLL_S):
                break
        self._without_info |= without
