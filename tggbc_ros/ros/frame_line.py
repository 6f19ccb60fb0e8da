"""One frame, as one straight line: images of a set -> poses -> Detector.step -> messages."""

from __future__ import annotations

import queue
from collections.abc import Callable, Mapping
from typing import TypeAlias

from rclpy.lifecycle import LifecycleNode
from sensor_msgs.msg import CameraInfo, CompressedImage, Image

from tggbc_ros.core.detector import Detector, Stopwatch
from tggbc_ros.core.geometry import transform_boxes
from tggbc_ros.core.types import Array, Boxes3D, CameraFrame, StepReport
from tggbc_ros.core.visible import Mask
from tggbc_ros.msg import FrameReport
from tggbc_ros.ros import convert
from tggbc_ros.ros.calibration_file import CameraCalibration
from tggbc_ros.ros.camera_sync import BACKWARD_JUMP_NS, CameraSync, ImageSet, Stored
from tggbc_ros.ros.camera_topics import CameraTopics
from tggbc_ros.ros.drops import Account, BadInputError
from tggbc_ros.ros.ego_mask import EgoMasks
from tggbc_ros.ros.ego_pose import EgoPose, SetGeometry
from tggbc_ros.ros.lenses import Lenses
from tggbc_ros.ros.outputs import Outputs
from tggbc_ros.ros.params import Settings
from tggbc_ros.ros.partial_rig import StandIns, visible_cells
from tggbc_ros.ros.report import Identity, frame_report
from tggbc_ros.ros.worker import NewestWorker

Message: TypeAlias = Image | CompressedImage
LOG_PERIOD_S = 5.0


class FrameLine:
    """What lives between activate and deactivate: subscriptions, synchroniser, worker, and the books.

    The executor's thread stores images and forms sets; the worker's thread does the rest, asking
    ``current`` for the parameters before each set.
    """

    def __init__(
        self,
        node: LifecycleNode,
        current: Callable[[], Settings],
        detector: Detector,
        identity: Identity,
        outputs: Outputs,
        calibration: Mapping[str, CameraCalibration],
        masks: EgoMasks,
    ) -> None:
        settings = current()
        self._node = node
        self._current = current
        self._detector = detector
        self._identity = identity
        self._outputs = outputs
        self._calibration = calibration
        self._masks = masks
        self._lenses = Lenses()
        self._stand_ins = StandIns()
        self._resets: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._newest_set_ns = 0
        self.account = Account()
        self.last_step: StepReport | None = None
        self.last_missing: tuple[str, ...] = ()
        self.sync: CameraSync[Message] = CameraSync(
            settings.camera_names,
            round(settings.max_spread_s * 1e9),
            settings.sync_capacity,
            self.account,
            settings.min_cameras,
            settings.camera_timeout_s,
        )
        self.worker: NewestWorker[ImageSet[Message]] = NewestWorker(self._process, self._discard)
        self.poses = EgoPose(node, settings, self.account, self.worker.stopping, calibration)
        self.cameras = CameraTopics(node, settings, self.account, self._store)
        self.worker.start()

    def stop(self, timeout_s: float) -> bool:
        """Receive and infer no more; whether the set in work was finished within ``timeout_s``."""
        self.cameras.close()
        self.poses.close()
        ended = self.worker.stop(timeout_s)
        self.sync.clear("image_stopped")
        return ended

    def request_reset(self, cause: str) -> None:
        """Drop memory before the next set."""
        self._resets.put(cause)

    def on_clock_jump(self, now_ns: int) -> None:
        """The clock went back to ``now_ns``: what is from later belongs to a past that is over."""
        self.sync.rewind(now_ns)
        if self._newest_set_ns > now_ns + BACKWARD_JUMP_NS:
            self._newest_set_ns = 0
            self.worker.withdraw("time_jump")
            self.request_reset("clock jump")

    def _store(self, camera: str, image: Stored[Message]) -> None:
        image_set = self.sync.add(camera, image)
        if image_set is not None:
            self._newest_set_ns = image_set.reference_ns
            self.worker.offer(image_set)

    def _discard(self, image_set: ImageSet[Message], cause: str) -> None:
        self.account.drop_set(cause)

    def _process(self, image_set: ImageSet[Message]) -> None:
        try:
            self._infer(image_set)
        except BadInputError as error:
            self._discard(image_set, error.cause)
            self._node.get_logger().warning(f"set dropped: {error}", throttle_duration_sec=LOG_PERIOD_S)

    def _infer(self, image_set: ImageSet[Message]) -> None:
        settings, stamp_ns = self._current(), image_set.reference_ns
        watch = Stopwatch(lambda: None)
        frame, geometry = self._frame(image_set, watch)
        boxes, step = self._step(frame, settings)
        if self.worker.stopping.is_set():
            raise BadInputError("stopped", "the node was deactivated while the set was inferred")
        watch.lap("step")
        boxes = transform_boxes(geometry.lidar2output, boxes)
        head = convert.header(stamp_ns, settings.output_frame)
        self._outputs.publish_boxes(boxes, head)
        self._outputs.publish_kept_keys(step.kept, frame.rig.names, head)
        watch.lap("publish")
        self.last_step = step
        self._note_missing(image_set)
        self._outputs.publish_report(self._report(image_set, settings, step, watch.stages_ms), image_set.arrival_s)

    def _frame(self, image_set: ImageSet[Message], watch: Stopwatch) -> tuple[CameraFrame, SetGeometry]:
        """Decode, wait for poses, and check that all of it makes sense."""
        present, messages = image_set.cameras, [image.message for image in image_set.images]
        images = [self._image(camera, message) for camera, message in zip(present, messages, strict=True)]
        watch.lap("images")
        frame_ids = [message.header.frame_id for message in messages]
        geometry = self.poses.geometry(present, frame_ids, [image.stamp_ns for image in image_set.images])
        watch.lap("poses")
        seen = zip(present, images, geometry.lidar2cam, strict=True)
        views = {camera: convert.View(pixels, matrix, place) for camera, (pixels, matrix, _), place in seen}
        masks = {camera: cells for camera, (_, _, cells) in zip(present, images, strict=True)}
        cameras = tuple(self.cameras.feeds)
        cells = visible_cells(cameras, present, masks, self._detector.network.model.feature_size)
        views = self._stand_ins.complete(cameras, views)
        return convert.camera_frame(views, image_set.reference_ns, geometry.lidar2global, cells), geometry

    def _image(self, camera: str, message: Message) -> tuple[convert.Pixels, Array, Mask | None]:
        """Pixels without distortion, their intrinsics, and the cells beside the vehicle's own body; None: all."""
        info = self._info(camera)
        try:
            pixels = convert.bgr_image(message)
            lens = self._lenses.lens(camera, info, pixels)
            cells = self._masks.cells(camera, pixels.shape[:2], lens)
            if lens is None:
                return pixels, convert.intrinsics(info, pixels), cells
            return lens.straighten(pixels), lens.intrinsics, cells
        except BadInputError as error:
            self.cameras.feeds[camera].last_error = str(error)
            raise BadInputError(error.cause, f"{camera}: {error}") from error

    def _info(self, camera: str) -> CameraInfo:
        info = self.cameras.feeds[camera].info
        if info is None and camera in self._calibration:
            return self._calibration[camera].info()
        if info is None:
            raise BadInputError("no_camera_info", f"none received for {camera}")
        return info

    def _step(self, frame: CameraFrame, settings: Settings) -> tuple[Boxes3D, StepReport]:
        """Between two frames: take over parameters and requests. Then infer."""
        self._detector.pruning, self._detector.decode = settings.pruning(), settings.decode()
        self._detector.memory_config = settings.memory()
        while not self._resets.empty():
            self._detector.reset_memory(self._resets.get())
        try:
            return self._detector.step(frame)
        except FloatingPointError as error:
            raise BadInputError("not_finite", str(error)) from error
        except (RuntimeError, ValueError, OSError, MemoryError) as error:  # the first is torch's for all that fails
            raise BadInputError("inference_failed", str(error)) from error

    def _note_missing(self, image_set: ImageSet[Message]) -> None:
        """Keep for the diagnostics which cameras the set went without."""
        self.last_missing = tuple(camera for camera in self.cameras.feeds if camera not in image_set.cameras)
        for camera in self.last_missing:
            self.cameras.feeds[camera].sets_without += 1

    def _report(
        self, image_set: ImageSet[Message], settings: Settings, step: StepReport, stages_ms: dict[str, float]
    ) -> FrameReport:
        stages = {"images": stages_ms["images"], "poses": stages_ms["poses"], **step.stage_ms}
        stages["publish"] = stages_ms["publish"]
        totals = self.account.publish_set(step.reset_cause)
        head = convert.header(image_set.reference_ns, settings.output_frame)
        report = frame_report(head, self._identity, settings.pruning(), step, stages, totals)
        report.spread_ms = image_set.spread_ns / 1e6
        report.missing_cameras = list(self.last_missing)
        return report
