"""One frame, as one straight line: images of a set -> poses -> Detector.step -> messages."""

from __future__ import annotations

import queue
import time
from collections.abc import Callable, Mapping
from typing import TypeAlias

from rclpy.lifecycle import LifecycleNode

from tggbc_ros.core.detector import Detector, Stopwatch
from tggbc_ros.core.geometry import transform_boxes
from tggbc_ros.core.types import Boxes3D, CameraFrame, StepReport
from tggbc_ros.msg import FrameReport
from tggbc_ros.ros import convert
from tggbc_ros.ros.calibration_file import CameraCalibration
from tggbc_ros.ros.drops import Account, BadInputError
from tggbc_ros.ros.health.stage_times import StageTimes
from tggbc_ros.ros.images.ego_mask import EgoMasks
from tggbc_ros.ros.images.intake import Images, Intake
from tggbc_ros.ros.output.outputs import Outputs
from tggbc_ros.ros.output.overlay_topics import OverlayOptions, Scene
from tggbc_ros.ros.output.report import Identity, frame_report
from tggbc_ros.ros.params import Settings
from tggbc_ros.ros.plausibility import RigCheck
from tggbc_ros.ros.poses.ego_pose import EgoPose, SetGeometry
from tggbc_ros.ros.poses.passes import Pass, Passes
from tggbc_ros.ros.poses.pose_topics import PoseTopics
from tggbc_ros.ros.poses.set_frame import SetFrames, impossible
from tggbc_ros.ros.worker import NewestWorker

Task: TypeAlias = tuple[Images, Pass]
LOG_PERIOD_S = 5.0


class FrameLine:
    """What lives between activate and deactivate: intake, poses, worker, and the books.

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
        self._frames = SetFrames(settings.camera_names, detector.network.model.feature_size)
        self._resets: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._passes = Passes()
        self._pass_in_memory = 0
        self.account = Account()
        self.times = StageTimes()
        self.rig_check = RigCheck(node.get_logger().warning)
        self.last_step: StepReport | None = None
        self.last_missing: tuple[str, ...] = ()
        self.worker: NewestWorker[Task] = NewestWorker("inference", self._process, self._discard)
        told = node.get_logger().warning, node.get_clock()
        self.poses = EgoPose(settings, self.account, self.worker.stopping, calibration, *told)
        self._pose_topics = PoseTopics(node, settings, self.poses)
        needed = detector.network.model if settings.jpeg_decode == "reduced" else None
        books = self.account, self._offer, self._would_infer, self.worker.stopping
        self.intake = Intake(node, current, needed, calibration, masks, *books)
        self.worker.start()
        outputs.overlay.start()

    def stop(self, timeout_s: float) -> bool:
        """Receive and infer no more; whether the set in work was finished within ``timeout_s``."""
        deadline_s = time.monotonic() + timeout_s
        self.intake.close()
        self._pose_topics.close()
        ended = self.worker.stop(timeout_s)
        drawn = self._outputs.overlay.stop(max(0.0, deadline_s - time.monotonic()))
        if not ended:
            self.account.drop_set("stopped")  # nobody will wait for it
        self.intake.end(decoding=not ended)
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

    def request_reset(self, cause: str) -> None:
        """Drop memory before the next set."""
        self._resets.put(cause)

    def on_clock_jump(self, now_ns: int) -> None:
        """The clock went back to ``now_ns``: what is from later belongs to a past that is over."""
        self.intake.sync.rewind(now_ns)
        self.poses.clock_went_back(now_ns)
        if self._passes.clock_went_back(now_ns):
            self.worker.withdraw("time_jump")

    def _would_infer(self) -> bool:
        """Whether a set that came now would be inferred at once."""
        return self.worker.is_idle and not self.paused

    def _offer(self, images: Images) -> None:
        now_ns = self._node.get_clock().now().nanoseconds
        self.worker.offer((images, self._passes.place(images.reference_ns, now_ns)))

    def _discard(self, task: Task, cause: str) -> None:
        self.account.drop_set(cause)

    def _process(self, task: Task) -> None:
        images, of = task
        if of.number != self._pass_in_memory:
            self._detector.reset_memory(of.cause)
            self._pass_in_memory = of.number
        if self.paused:
            self._detector.reset_memory("paused")
            self._discard(task, "paused")
            return
        try:
            self._infer(images)
        except BadInputError as error:
            self._discard(task, error.cause)
            self._node.get_logger().warning(f"set dropped: {error}", throttle_duration_sec=LOG_PERIOD_S)

    def _infer(self, images: Images) -> None:
        settings, watch = self._current(), Stopwatch(lambda: None)
        watch.stages_ms["wait"] = (time.monotonic() - images.arrival_s) * 1e3
        pictures, unusable = self.intake.pictures(images)
        images = self.intake.without(images, unusable)
        watch.lap("images")
        geometry = self._geometry(images)
        images = self.intake.without(images, geometry.unplaced)
        implausible = impossible(self.rig_check, images, pictures, geometry)
        refused = {} if settings.allow_implausible_rig else implausible
        images = self.intake.without(images, refused)
        self.intake.note_use(images, unusable | geometry.unplaced | refused)
        watch.lap("poses")
        frame = self._frames.make(images, pictures, geometry)
        boxes, step = self._step(frame, settings)
        self.account.note_reset(step.reset_cause)
        if self.worker.stopping.is_set():
            raise BadInputError("stopped", "the node was deactivated while the set was inferred")
        watch.lap("step")
        head = convert.header(images.reference_ns, settings.output_frame)
        self._outputs.publish_boxes(transform_boxes(geometry.lidar2output, boxes), head)
        self._outputs.publish_kept_keys(step.kept, frame.rig.names, head, step.started)
        self._outputs.publish_kept_tokens(step.tokens, frame.rig.names, head)
        options = OverlayOptions(settings.overlay_width, settings.overlay_kept_keys)
        self._outputs.overlay.offer(Scene(frame, boxes, step.kept, head, options, step.started))
        watch.lap("publish")
        self.last_step = step
        self.last_missing = self.intake.note_missing(images)
        report = self._report(images, settings, step, watch.stages_ms)
        self._outputs.publish_report(report, images.arrival_s)
        age_ms = (self._node.get_clock().now().nanoseconds - images.reference_ns) / 1e6
        whole = {"latency": report.latency_ms, "stamp to boxes": age_ms}
        self.times.add({stage.stage: stage.ms for stage in report.stages} | whole)

    def _geometry(self, images: Images) -> SetGeometry:
        frame_ids = [image.message.header.frame_id for image in images.images]
        return self.poses.geometry(images.cameras, frame_ids, [image.stamp_ns for image in images.images])

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
        # The first is torch's for all that fails, the last what only a compiled library raises.
        except (RuntimeError, ValueError, OSError, MemoryError, SystemError) as error:
            raise BadInputError("inference_failed", str(error)) from error

    def _report(self, images: Images, settings: Settings, step: StepReport, stages_ms: dict[str, float]) -> FrameReport:
        stages = {stage: stages_ms[stage] for stage in ("wait", "images", "poses")} | dict(step.stage_ms)
        stages["publish"] = stages_ms["publish"]
        totals = self.account.publish_set()
        head = convert.header(images.reference_ns, settings.output_frame)
        report = frame_report(head, self._identity, settings.pruning(), step, stages, totals)
        report.spread_ms = images.spread_ns / 1e6
        report.missing_cameras = list(self.last_missing)
        return report
