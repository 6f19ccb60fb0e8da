"""Where the vehicle was when each image was taken, and where the cameras sit: from TF or odometry."""

from __future__ import annotations

import math
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from geometry_msgs.msg import Pose, Transform, TransformStamped
from nav_msgs.msg import Odometry
from rclpy.time import Time
from tf2_msgs.msg import TFMessage

from tggbc_ros.core.geometry import invert_rigid, rigid, rotation_from_quaternion
from tggbc_ros.core.types import Array
from tggbc_ros.ros.calibration_file import CameraCalibration
from tggbc_ros.ros.drops import Account, BadInputError
from tggbc_ros.ros.images.camera_sync import BACKWARD_JUMP_NS
from tggbc_ros.ros.params import Settings
from tggbc_ros.ros.poses.tf_buffer import TransformBuffer, open_buffer
from tggbc_ros.ros.stamps import TellsTime, nanoseconds, pose_time

POLL_S = 0.005
LATEST = Time()


@dataclass(frozen=True, eq=False)
class SetGeometry:
    """The matrices of one image set, whose reference time is its newest stamp.

    lidar2cam: camera -> [4, 4], lidar frame at the reference time -> the camera at its own stamp.
    lidar2global: [4, 4], at the reference time. lidar2output: [4, 4], for what is published.
    unplaced: cameras that nobody knows the place of, which the set goes without, and why.
    cam2base: camera -> [4, 4], and lidar2base: [4, 4], the mountings that the others are made of.
    """

    lidar2cam: Mapping[str, Array]
    lidar2global: Array
    lidar2output: Array
    unplaced: Mapping[str, BadInputError]
    cam2base: Mapping[str, Array]
    lidar2base: Array


class EgoPose:
    """Keeps transforms as they come; answers from another thread, waiting for those on their way.

    Transforms that cannot be used are counted in ``account``. ``stopping`` ends a wait early. ``calibration``
    says by camera name where those sit whose frames TF does not know. warn: as a ROS logger's. clock: for poses whose
    stamp is zero.
    """

    def __init__(
        self,
        settings: Settings,
        account: Account,
        stopping: threading.Event,
        calibration: Mapping[str, CameraCalibration],
        warn: Callable[..., object],
        clock: TellsTime,
    ) -> None:
        self._warn = warn
        self._clock = clock
        self._settings = settings
        self._account = account
        self._stopping = stopping
        self._calibration = calibration
        self._newest_ns: dict[int, dict[str, int]] = defaultdict(dict)
        self._parents: dict[str, str] = {}
        self._last: dict[str, TransformStamped] = {}
        """By child frame: what /tf said last of it, late or not."""
        self._held: dict[str, TransformStamped] = {}
        """By frame of the ego pose: a sample from long before the last, late unless the next one is as old."""
        self._tf, self._error = open_buffer(settings.pose_cache_s)
        self.fixed: dict[str, str] = {}
        """Sensors whose mounting is not from TF, for want of it, and from where instead."""
        self._unplaced: frozenset[str] = frozenset()
        self._ego = self._tf
        if settings.ego_pose_source == "odom":
            self._ego, _ = open_buffer(settings.pose_cache_s)

    def clock_went_back(self, now_ns: int) -> None:
        """The node's clock fell back to ``now_ns``: poses from later are of a past that is over."""
        if (self.newest_ns() or 0) > now_ns + BACKWARD_JUMP_NS:
            self._begin_again(now_ns)

    def newest_ns(self) -> int | None:
        """Stamp of the newest ego pose, 0 where it is static; None where there is none."""
        frames = self._settings.global_frame, self._settings.base_frame
        try:
            return Time.from_msg(self._ego.lookup_transform(*frames, LATEST).header.stamp).nanoseconds
        except self._error:
            return None

    def geometry(self, cameras: Sequence[str], frame_ids: Sequence[str], stamps_ns: Sequence[int]) -> SetGeometry:
        """Matrices of a set whose images have these cameras, frames and stamps.

        lidar2cam = inv(cam2ego) inv(ego2global at the image's stamp) (ego2global at the reference time) lidar2ego
        Raises BadInputError where the ego pose is missing, the lidar's place, or that of all cameras.
        """
        deadline_s = time.monotonic() + self._settings.pose_timeout_s
        lidar2ego = self._lidar2ego(deadline_s)
        cam2ego, unplaced = self._mountings(dict(zip(cameras, frame_ids, strict=True)), lidar2ego, deadline_s)
        placed_ns = {camera: stamp_ns for camera, stamp_ns in zip(cameras, stamps_ns, strict=True) if camera in cam2ego}
        reference_ns = max(placed_ns.values())
        ego2global = self._ego2global(reference_ns, deadline_s)
        lidar2global = ego2global @ lidar2ego
        lidar2cam = {
            camera: invert_rigid(self._ego2global(stamp_ns, deadline_s) @ cam2ego[camera]) @ lidar2global
            for camera, stamp_ns in placed_ns.items()
        }
        lidar2output = self._lidar2output(ego2global, lidar2ego, reference_ns, deadline_s)
        return SetGeometry(lidar2cam, lidar2global, lidar2output, unplaced, cam2ego, lidar2ego)

    def _mountings(
        self, frame_ids: Mapping[str, str], lidar2ego: Array, deadline_s: float
    ) -> tuple[dict[str, Array], dict[str, BadInputError]]:
        """By camera cam2ego [4, 4], and why it is not known; one that was not known before is not waited for."""
        found, unplaced = {}, {}
        for camera, frame_id in frame_ids.items():
            try:
                until_s = 0.0 if camera in self._unplaced else deadline_s
                found[camera] = self._cam2ego(camera, frame_id, lidar2ego, until_s)
            except BadInputError as error:
                unplaced[camera] = error
        self._unplaced = (self._unplaced - found.keys()) | unplaced.keys()
        if not found:
            raise next(iter(unplaced.values()))
        return found, unplaced

    def _ego2global(self, stamp_ns: int, deadline_s: float) -> Array:
        frames = self._settings.global_frame, self._settings.base_frame
        return self._lookup(self._ego, *frames, Time(nanoseconds=stamp_ns), deadline_s)

    def _mounting(self, frame_id: str, deadline_s: float) -> Array:
        """A sensor's place on the vehicle: sensor2ego [4, 4]."""
        if not frame_id:
            raise BadInputError("no_frame_id", "an image has an empty header.frame_id, expected its camera's frame")
        return self._lookup(self._tf, self._settings.base_frame, frame_id, LATEST, deadline_s)

    def _lidar2ego(self, deadline_s: float) -> Array:
        fixed, frame_id = self._settings.fixed_lidar2base(), self._settings.lidar_frame
        return self._mounting_or(fixed, "parameter lidar2base", "lidar", frame_id, deadline_s)

    def _cam2ego(self, camera: str, frame_id: str, lidar2ego: Array, deadline_s: float) -> Array:
        calibrated = self._calibration.get(camera)
        fixed = calibrated.cam2base(lidar2ego) if calibrated else None
        return self._mounting_or(fixed, "calibration_file", camera, frame_id, deadline_s)

    def _mounting_or(self, fixed: Array | None, source: str, sensor: str, frame_id: str, deadline_s: float) -> Array:
        """By TF, else ``fixed`` if there is one; once it came to that, TF is asked without waiting."""
        try:
            matrix = self._mounting(frame_id, 0.0 if sensor in self.fixed else deadline_s)
        except BadInputError as error:
            if fixed is None:
                raise
            if sensor not in self.fixed:
                self._warn(f"{error}; mounting of {sensor} from the {source} instead")
            self.fixed[sensor] = source
            return fixed
        self.fixed.pop(sensor, None)
        return matrix

    def _lidar2output(self, ego2global: Array, lidar2ego: Array, stamp_ns: int, deadline_s: float) -> Array:
        settings = self._settings
        if settings.output_frame == settings.lidar_frame:
            return np.eye(4)
        if settings.output_frame == settings.base_frame:
            return lidar2ego
        if settings.output_frame == settings.global_frame:
            return ego2global @ lidar2ego
        when = Time(nanoseconds=stamp_ns)
        return self._lookup(self._tf, settings.output_frame, settings.base_frame, when, deadline_s) @ lidar2ego

    def _lookup(self, buffer: TransformBuffer, target: str, source: str, when: Time, deadline_s: float) -> Array:
        """source2target [4, 4] at that time, waiting until ``deadline_s`` (monotonic clock)."""
        while not buffer.can_transform(target, source, when):
            if time.monotonic() >= deadline_s or self._stopping.wait(POLL_S):
                break
        try:
            return matrix_of(buffer.lookup_transform(target, source, when).transform)
        except self._error as error:
            raise BadInputError(self._why_missing(buffer, target, source, when), str(error)) from error

    def _why_missing(self, buffer: TransformBuffer, target: str, source: str, when: Time) -> str:
        """Name the cause: no such chain of frames, data that begin later, or data that did not come in time."""
        try:
            latest = buffer.lookup_transform(target, source, LATEST)
        except self._error:
            return "pose_missing"
        latest_ns = Time.from_msg(latest.header.stamp).nanoseconds
        return "pose_expired" if latest_ns > when.nanoseconds else "pose_timeout"

    def take_tf(self, message: TFMessage) -> None:
        """What came on /tf."""
        for transform in message.transforms:
            if self._is_usable(transform):
                self._parents[transform.child_frame_id] = transform.header.frame_id
                self._last[transform.child_frame_id] = transform
                self._store(self._tf, transform)

    def take_tf_static(self, message: TFMessage) -> None:
        """What came on /tf_static."""
        for transform in message.transforms:
            if self._is_usable(transform):
                self._parents[transform.child_frame_id] = transform.header.frame_id
                self._last.pop(transform.child_frame_id, None)
                self._tf.set_transform_static(transform, "tf_static")

    def take_odometry(self, message: Odometry) -> None:
        """What came on `odometry_topic`; it is asked only where that is the source of the ego pose."""
        settings = self._settings
        if message.child_frame_id not in ("", settings.base_frame):
            self._refuse("odometry_bad_frame", f"pose of {message.child_frame_id!r}, expected {settings.base_frame!r}")
            return
        if settings.output_frame == settings.global_frame != message.header.frame_id:
            # Memory may live in any fixed frame, but boxes must not be published in one that is not theirs.
            found = f"pose in {message.header.frame_id!r}, expected {settings.global_frame!r}, the output_frame"
            self._refuse("odometry_bad_frame", found)
            return
        transform = TransformStamped(
            header=message.header, child_frame_id=settings.base_frame, transform=transform_of(message.pose.pose)
        )
        transform.header.frame_id = settings.global_frame
        if self._is_usable(transform):
            self._store(self._ego, transform)

    def _store(self, buffer: TransformBuffer, transform: TransformStamped) -> None:
        """Keep a sample, unless it is from long before its frame's last: then it is late, or time has gone back.

        Time has gone back (a bag began again) where a frame that carries the ego pose says so twice in a row.
        """
        stamp_ns = pose_time(transform.header.stamp, self._settings.stamp_policy, self._clock)
        transform.header.stamp = Time(nanoseconds=stamp_ns).to_msg()
        frame, newest_ns = transform.child_frame_id, self._newest_ns[id(buffer)]
        held = self._held.pop(frame, None) if buffer is self._ego else None
        if stamp_ns >= newest_ns.get(frame, 0) - BACKWARD_JUMP_NS:
            if held is not None:
                self._refuse_late(held)
            newest_ns[frame] = max(stamp_ns, newest_ns.get(frame, 0))
            buffer.set_transform(transform, "tggbc_ros")
        elif not self._carries_ego(buffer, frame):
            self._refuse_late(transform)
        elif held is None:
            self._held[frame] = transform
        else:
            self._begin_again(stamp_ns, held, transform)

    def _begin_again(self, now_ns: int, *samples: TransformStamped) -> None:
        """Time went back to about ``now_ns``: forget all that changes but mountings and samples of the new pass.

        These are ``samples`` of the ego pose, and those held of its frames.
        """
        samples = (*self._held.values(), *samples)
        self._held.clear()
        self._newest_ns.clear()
        for buffer in (self._tf, self._ego):
            buffer.clear()
        self._restore_mountings(max(1, now_ns - BACKWARD_JUMP_NS))
        for transform in samples:
            self._store(self._ego, transform)

    def _restore_mountings(self, stamp_ns: int) -> None:
        """Keep what /tf said last of frames on the vehicle: once ever it may be, or before the new pass was noticed.

        All at one time, so that chains of them hold, and before what is still to come, which then counts. That time is
        not 0, by which tf2 means none.
        """
        ego_frames = self._ego_frames()
        vehicle = ego_frames | {self._settings.base_frame}
        for frame, transform in self._last.items():
            if frame not in ego_frames and self._up(frame) & vehicle:
                transform.header.stamp = Time(nanoseconds=stamp_ns).to_msg()
                self._tf.set_transform(transform, "tggbc_ros")

    def _carries_ego(self, buffer: TransformBuffer, frame: str) -> bool:
        """Whether that frame's samples say where the vehicle is; odometry's always do."""
        return buffer is self._ego and (buffer is not self._tf or frame in self._ego_frames())

    def _ego_frames(self) -> set[str]:
        """The frames between base_frame and global_frame, whichever is above, without their common ancestor."""
        return self._up(self._settings.base_frame) ^ self._up(self._settings.global_frame)

    def _up(self, frame: str) -> set[str]:
        """The frame and all above it."""
        frames: set[str] = set()
        while frame and frame not in frames:
            frames.add(frame)
            frame = self._parents.get(frame, "")
        return frames

    def _refuse_late(self, transform: TransformStamped) -> None:
        limit = f"more than {BACKWARD_JUMP_NS / 1e9:g} s before the frame's newest"
        self._refuse("transform_late", f"a sample of {transform.child_frame_id!r} is from {limit}")

    def _is_usable(self, transform: TransformStamped) -> bool:
        try:
            matrix_of(transform.transform)
            nanoseconds(transform.header.stamp)
        except BadInputError as error:
            self._refuse("transform_invalid", f"{transform.child_frame_id}: {error}")
            return False
        if transform.child_frame_id == transform.header.frame_id:
            self._refuse("transform_invalid", f"{transform.child_frame_id!r} is its own parent")
            return False
        return True

    def _refuse(self, cause: str, detail: str) -> None:
        self._account.drop(cause)
        self._warn(f"{cause}: {detail}", throttle_duration_sec=5.0)


def matrix_of(transform: Transform) -> Array:
    """child2parent [4, 4]; raises BadInputError for a quaternion off norm 1 or a number that is not finite."""
    translation, rotation = transform.translation, transform.rotation
    place = (translation.x, translation.y, translation.z)
    if not all(map(math.isfinite, place)):
        raise BadInputError("transform_invalid", f"translation {place} is not finite")
    try:
        return rigid(rotation_from_quaternion(rotation.x, rotation.y, rotation.z, rotation.w), place)
    except ValueError as error:
        raise BadInputError("transform_invalid", str(error)) from error


def transform_of(pose: Pose) -> Transform:
    """The same numbers in TF's type."""
    transform = Transform(rotation=pose.orientation)
    place: Any = transform.translation
    place.x, place.y, place.z = pose.position.x, pose.position.y, pose.position.z
    return transform
