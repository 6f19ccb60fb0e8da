"""One frame, as one straight line: images of a set -> poses -> Detector.step -> messages."""

from __future__ import annotations

import queue
import time
from collections.abc import Callable, Container, Mapping
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
from tggbc_ros.ros.camera_sync import CameraSync, ImageSet, Stored
from tggbc_ros.ros.camera_topics import CameraTopics
from tggbc_ros.ros.drops import Account, BadInputError
from tggbc_ros.ros.ego_mask import EgoMasks
from tggbc_ros.ros.ego_pose import EgoPose, SetGeometry
from tggbc_ros.ros.image_decoder import Decoding, ImageDecoder
from tggbc_ros.ros.lenses import Lenses
from tggbc_ros.ros.outputs import Outputs
from tggbc_ros.ros.overlay_topics import OverlayOptions, Scene
from tggbc_ros.ros.params import Settings
from tggbc_ros.ros.partial_rig import StandIns, visible_cells
from tggbc_ros.ros.passes import Pass, Passes
from tggbc_ros.ros.report import Identity, frame_report
from tggbc_ros.ros.stage_times import StageTimes
from tggbc_ros.ros.worker import NewestWorker

Message: TypeAlias = Image | CompressedImage
Picture: TypeAlias = tuple[convert.Pixels, Array, Mask | None]
Task: TypeAlias = tuple[ImageSet[Decoding], Pass]
LOG_PERIOD_S = 5.0


class FrameLine:
    """What lives between activate and deactivate: subscriptions, synchroniser, worker, and the books.

    The executor's thread stores images and forms sets; the decoder's threads decode; the worker's thread does the
    rest, asking ``current`` for the parameters before each set.
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
        self._decoder = ImageDecoder(detector.network.model if settings.jpeg_decode == "reduced" else None)
        self._stand_ins = StandIns()
        self._resets: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._passes = Passes()
        self._pass_in_memory = 0
        self.account = Account()
        self.times = StageTimes()
        self.last_step: StepReport | None = None
        self.last_missing: tuple[str, ...] = ()
        self.sync: CameraSync[Decoding] = CameraSync(
            settings.camera_names,
            round(settings.max_spread_s * 1e9),
            settings.sync_capacity,
            self.account,
            settings.min_cameras,
            settings.camera_timeout_s,
        )
        self.worker: NewestWorker[Task] = NewestWorker(self._process, self._discard)
        self.poses = EgoPose(node, settings, self.account, self.worker.stopping, calibration)
        self.cameras = CameraTopics(node, settings, self.account, self._store)
        self.worker.start()
        outputs.overlay.start()

    def stop(self, timeout_s: float) -> bool:
        """Receive and infer no more; whether the set in work was finished within ``timeout_s``."""
        self.cameras.close()
        self.poses.close()
        drawn = self._outputs.overlay.stop(timeout_s)
        ended = self.worker.stop(timeout_s)
        if not ended:
            self.account.drop_set("stopped")  # nobody will wait for it
        else:
            self._decoder.close()
        self.sync.clear("image_stopped")
        self._node.get_logger().info(f"stopped; books since activation: {self.account.totals().as_json()}")
        return ended and drawn

    @property
    def paused(self) -> bool:
        """Whether nothing is inferred because nobody listens."""
        return self._current().pause_without_subscribers and not self._outputs.has_subscribers

    @property
    def calibrated(self) -> Container[str]:
        """Cameras whose intrinsics are in calibration_file."""
        return self._calibration

    def request_reset(self, cause: str) -> None:
        """Drop memory before the next set."""
        self._resets.put(cause)

    def on_clock_jump(self, now_ns: int) -> None:
        """The clock went back to ``now_ns``: what is from later belongs to a past that is over."""
        self.sync.rewind(now_ns)
        if self._passes.clock_went_back(now_ns):
            self.worker.withdraw("time_jump")

    def _store(self, camera: str, image: Stored[Message]) -> None:
        decoding = self._decoder.take(image.message)
        if self.worker.is_idle and not self.paused:
            decoding.begin()  # a worker that lags behind may never come to this image; one that waits, waits for it
        image_set = self.sync.add(camera, Stored(image.stamp_ns, image.arrival_s, decoding))
        if image_set is not None:
            now_ns = self._node.get_clock().now().nanoseconds
            self.worker.offer((image_set, self._passes.place(image_set.reference_ns, now_ns)))

    def _discard(self, task: Task, cause: str) -> None:
        self.account.drop_set(cause)

    def _process(self, task: Task) -> None:
        image_set, of = task
        if of.number != self._pass_in_memory:
            self._detector.reset_memory(of.cause)
            self._pass_in_memory = of.number
        if self.paused:
            self._detector.reset_memory("paused")
            self._discard(task, "paused")
            return
        try:
            self._infer(image_set)
        except BadInputError as error:
            self._discard(task, error.cause)
            self._node.get_logger().warning(f"set dropped: {error}", throttle_duration_sec=LOG_PERIOD_S)

    def _infer(self, image_set: ImageSet[Decoding]) -> None:
        settings, watch = self._current(), Stopwatch(lambda: None)
        watch.stages_ms["wait"] = (time.monotonic() - image_set.arrival_s) * 1e3
        images = self._images(image_set)
        image_set = image_set.only(images)
        watch.lap("images")
        frame, geometry = self._frame(image_set, images, watch)
        boxes, step = self._step(frame, settings)
        self.account.note_reset(step.reset_cause)
        if self.worker.stopping.is_set():
            raise BadInputError("stopped", "the node was deactivated while the set was inferred")
        watch.lap("step")
        head = convert.header(image_set.reference_ns, settings.output_frame)
        self._outputs.publish_boxes(transform_boxes(geometry.lidar2output, boxes), head)
        self._outputs.publish_kept_keys(step.kept, frame.rig.names, head)
        options = OverlayOptions(settings.overlay_width, settings.overlay_kept_keys)
        self._outputs.overlay.offer(Scene(frame, boxes, step.kept, head, options))
        watch.lap("publish")
        self.last_step = step
        self._note_missing(image_set)
        report = self._report(image_set, settings, step, watch.stages_ms)
        self._outputs.publish_report(report, image_set.arrival_s)
        age_ms = (self._node.get_clock().now().nanoseconds - image_set.reference_ns) / 1e6
        whole = {"latency": report.latency_ms, "stamp to boxes": age_ms}
        self.times.add({stage.stage: stage.ms for stage in report.stages} | whole)

    def _images(self, image_set: ImageSet[Decoding]) -> dict[str, Picture]:
        """What can be used of the set; other cameras are missing then, if that leaves enough. Else BadInputError."""
        usable, errors = {}, []
        for image in image_set.images:
            image.message.begin()
        for camera, image in zip(image_set.cameras, image_set.images, strict=True):
            try:
                usable[camera] = self._image(camera, image.message)
                self.cameras.feeds[camera].usable = True
            except BadInputError as error:
                self.cameras.feeds[camera].note_error(str(error), time.monotonic())
                errors.append(BadInputError(error.cause, f"{camera}: {error}"))
        if len(usable) < self._current().fewest_cameras:
            raise errors[0]
        for error in errors:
            self.account.drop(f"image_{error.cause}")
            self._node.get_logger().warning(f"set without {error}", throttle_duration_sec=LOG_PERIOD_S)
        return usable

    def _frame(
        self, image_set: ImageSet[Decoding], images: Mapping[str, Picture], watch: Stopwatch
    ) -> tuple[CameraFrame, SetGeometry]:
        """Wait for poses, and check that all of it makes sense."""
        present = image_set.cameras
        frame_ids = [image.message.header.frame_id for image in image_set.images]
        geometry = self.poses.geometry(present, frame_ids, [image.stamp_ns for image in image_set.images])
        watch.lap("poses")
        seen = zip(images.items(), geometry.lidar2cam, strict=True)
        views = {camera: convert.View(pixels, matrix, place) for (camera, (pixels, matrix, _)), place in seen}
        masks = {camera: cells for camera, (_, _, cells) in images.items()}
        cameras = tuple(self.cameras.feeds)
        cells = visible_cells(cameras, present, masks, self._detector.network.model.feature_size)
        views = self._stand_ins.complete(cameras, views)
        return convert.camera_frame(views, image_set.reference_ns, geometry.lidar2global, cells), geometry

    def _image(self, camera: str, image: Decoding) -> Picture:
        """Pixels without distortion, their intrinsics, and the cells beside the vehicle's own body; None: all."""
        found = image.result()
        pixels, info = found.pixels, convert.with_size(self._info(camera), found.full_size)
        lens = self._lenses.lens(camera, info, pixels)
        cells = self._masks.cells(camera, pixels.shape[:2], lens)
        if lens is None:
            return pixels, convert.intrinsics(info, pixels), cells
        return lens.straighten(pixels), lens.intrinsics, cells

    def _info(self, camera: str) -> CameraInfo:
        info = self.cameras.feeds[camera].info
        if info is None and camera in self._calibration:
            return self._calibration[camera].info()
        if info is None:
            raise BadInputError("no_camera_info", "none received")
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

    def _note_missing(self, image_set: ImageSet[Decoding]) -> None:
        """Keep for the diagnostics which cameras the set went without."""
        self.last_missing = tuple(camera for camera in self.cameras.feeds if camera not in image_set.cameras)
        for camera in self.last_missing:
            self.cameras.feeds[camera].sets_without += 1

    def _report(
        self, image_set: ImageSet[Decoding], settings: Settings, step: StepReport, stages_ms: dict[str, float]
    ) -> FrameReport:
        stages = {stage: stages_ms[stage] for stage in ("wait", "images", "poses")} | dict(step.stage_ms)
        stages["publish"] = stages_ms["publish"]
        totals = self.account.publish_set()
        head = convert.header(image_set.reference_ns, settings.output_frame)
        report = frame_report(head, self._identity, settings.pruning(), step, stages, totals)
        report.spread_ms = image_set.spread_ns / 1e6
        report.missing_cameras = list(self.last_missing)
        return report
