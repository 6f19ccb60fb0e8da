"""One frame, as one straight line: images of a set -> poses -> Detector.step -> messages."""

from __future__ import annotations

import queue
import time
from collections.abc import Callable, Container, Mapping
from typing import TypeAlias

from rclpy.lifecycle import LifecycleNode

from tggbc_ros.core.detector import Detector, Stopwatch
from tggbc_ros.core.geometry import transform_boxes
from tggbc_ros.core.types import Boxes3D, CameraFrame, StepReport
from tggbc_ros.msg import FrameReport
from tggbc_ros.ros import convert
from tggbc_ros.ros.calibration_file import CameraCalibration
from tggbc_ros.ros.camera_sync import CameraSync, ImageSet, Stored
from tggbc_ros.ros.camera_topics import CameraTopics
from tggbc_ros.ros.drops import Account, BadInputError
from tggbc_ros.ros.ego_mask import EgoMasks
from tggbc_ros.ros.ego_pose import POLL_S, EgoPose, SetGeometry
from tggbc_ros.ros.image_decoder import Decoding, ImageDecoder
from tggbc_ros.ros.outputs import Outputs
from tggbc_ros.ros.overlay_topics import OverlayOptions, Scene
from tggbc_ros.ros.params import Settings
from tggbc_ros.ros.partial_rig import StandIns, visible_cells
from tggbc_ros.ros.passes import Pass, Passes
from tggbc_ros.ros.pictures import Message, Picture, Pictures
from tggbc_ros.ros.report import Identity, frame_report
from tggbc_ros.ros.stage_times import StageTimes
from tggbc_ros.ros.worker import NewestWorker

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
        needed = detector.network.model if settings.jpeg_decode == "reduced" else None
        self._pictures = Pictures(
            needed,
            lambda camera: self.cameras.feeds[camera].info,
            calibration,
            masks,
            settings.images_rectified,
        )
        self._decoder = ImageDecoder(self._pictures.make)
        self._stand_ins = StandIns()
        self._resets: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._passes = Passes()
        self._pass_in_memory = 0
        self._without_info: set[str] = set()
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
        self.worker: NewestWorker[Task] = NewestWorker("inference", self._process, self._discard)
        self.poses = EgoPose(node, settings, self.account, self.worker.stopping, calibration)
        self.cameras = CameraTopics(node, settings, self.account, self._store)
        self.worker.start()
        outputs.overlay.start()

    def stop(self, timeout_s: float) -> bool:
        """Receive and infer no more; whether the set in work was finished within ``timeout_s``."""
        deadline_s = time.monotonic() + timeout_s
        self.cameras.close()
        self.poses.close()
        ended = self.worker.stop(timeout_s)
        drawn = self._outputs.overlay.stop(max(0.0, deadline_s - time.monotonic()))
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
    def draws(self) -> bool:
        """Whether overlays are drawn for those who ask; False once an error has ended their thread."""
        return self._outputs.overlay.is_alive()

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
        self.poses.clock_went_back(now_ns)
        if self._passes.clock_went_back(now_ns):
            self.worker.withdraw("time_jump")

    def _store(self, camera: str, image: Stored[Message]) -> None:
        decoding = self._decoder.take(camera, image.message)
        if self.worker.is_idle and not self.paused and self._pictures.is_calibrated(camera):
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
        pictures, unusable = self._pictures_of(image_set)
        image_set = self._left(image_set, unusable)
        watch.lap("images")
        geometry = self._geometry(image_set)
        image_set = self._left(image_set, geometry.unplaced)
        self._note_use(image_set, unusable | geometry.unplaced)
        watch.lap("poses")
        frame = self._frame(image_set, pictures, geometry)
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

    def _pictures_of(self, image_set: ImageSet[Decoding]) -> tuple[dict[str, Picture], dict[str, BadInputError]]:
        """The set's images by camera, waited for, and what is wrong with those that cannot be used."""
        self._wait_for_info(image_set)
        pictures, unusable = {}, {}
        for image in image_set.images:
            image.message.begin()
        for camera, image in zip(image_set.cameras, image_set.images, strict=True):
            try:
                pictures[camera] = image.message.result()
            except BadInputError as error:
                unusable[camera] = error
        return pictures, unusable

    def _wait_for_info(self, image_set: ImageSet[Decoding]) -> None:
        """A first CameraInfo may come after the first image, as a pose may; a camera without is waited for once."""
        deadline_s = time.monotonic() + self._current().pose_timeout_s
        while True:
            without = {camera for camera in image_set.cameras if not self._pictures.is_calibrated(camera)}
            if without <= self._without_info or time.monotonic() > deadline_s or self.worker.stopping.wait(POLL_S):
                break
        self._without_info |= without

    def _geometry(self, image_set: ImageSet[Decoding]) -> SetGeometry:
        frame_ids = [image.message.header.frame_id for image in image_set.images]
        return self.poses.geometry(image_set.cameras, frame_ids, [image.stamp_ns for image in image_set.images])

    def _left(self, image_set: ImageSet[Decoding], errors: Mapping[str, BadInputError]) -> ImageSet[Decoding]:
        """The set without the cameras of ``errors``; raises the first of these where too few are left."""
        for camera, error in errors.items():
            self.cameras.feeds[camera].note_error(str(error), time.monotonic())
        left = image_set.only([camera for camera in image_set.cameras if camera not in errors])
        if errors and len(left.cameras) < self._current().fewest_cameras:
            camera, error = next(iter(errors.items()))
            raise BadInputError(error.cause, f"{camera}: {error}")
        return left

    def _note_use(self, image_set: ImageSet[Decoding], left_out: Mapping[str, BadInputError]) -> None:
        """A set goes on with the cameras it has; the images of others are lost."""
        for camera in image_set.cameras:
            self.cameras.feeds[camera].usable = True
        for camera, error in left_out.items():
            self.account.drop(f"image_{error.cause}")
            self._node.get_logger().warning(f"set without {camera}: {error}", throttle_duration_sec=LOG_PERIOD_S)

    def _frame(
        self, image_set: ImageSet[Decoding], pictures: Mapping[str, Picture], geometry: SetGeometry
    ) -> CameraFrame:
        """All of it as the core takes it; raises BadInputError where it makes no sense."""
        present, cameras = image_set.cameras, tuple(self.cameras.feeds)
        seen = {camera: pictures[camera] for camera in present}
        views = {
            camera: convert.View(picture.pixels, picture.intrinsics, geometry.lidar2cam[camera])
            for camera, picture in seen.items()
        }
        masks = {camera: picture.cells for camera, picture in seen.items()}
        cells = visible_cells(cameras, present, masks, self._detector.network.model.feature_size)
        views = self._stand_ins.complete(cameras, views)
        return convert.camera_frame(views, image_set.reference_ns, geometry.lidar2global, cells)

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
