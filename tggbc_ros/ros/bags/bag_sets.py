"""Sets of images of a bag with calibration and poses: the frames that a node with the same parameters would infer.

What a node does as messages come is done here in the bag's own time: the same synchroniser, pictures, poses and checks.
A set waits for `pose_timeout_s` of that time, so that transforms on their way are there; nothing is lost for want of
speed.
"""

from __future__ import annotations

import math
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

from nav_msgs.msg import Odometry
from rclpy.impl.implementation_singleton import rclpy_implementation
from rclpy.serialization import deserialize_message
from rclpy.time import Time
from rosbags.interfaces import Connection
from sensor_msgs.msg import CameraInfo
from tf2_msgs.msg import TFMessage

from tggbc_ros.core.config import ModelConfig
from tggbc_ros.core.types import Array, CameraFrame
from tggbc_ros.data.bags.bag_file import Bag, BagError, open_bag
from tggbc_ros.ros import calibration_file
from tggbc_ros.ros.bags.bag_images import Camera, absolute, find_camera, first_infos, info_connections
from tggbc_ros.ros.drops import Account, BadInputError
from tggbc_ros.ros.images.camera_sync import CameraSync, ImageSet, Stored
from tggbc_ros.ros.images.ego_mask import load_ego_masks
from tggbc_ros.ros.images.partial_rig import left_over
from tggbc_ros.ros.images.pictures import Message, Picture, Pictures
from tggbc_ros.ros.params import Settings
from tggbc_ros.ros.plausibility import RigCheck
from tggbc_ros.ros.poses.ego_pose import EgoPose
from tggbc_ros.ros.poses.set_frame import SetFrames, impossible
from tggbc_ros.ros.stamps import image_time

STRETCH_S = 8.0
"""Of a bag that holds more sets than are asked for, stretches of this length are read, spread over it."""

Stretch = tuple[int, int, int]
"""Where it begins and ends in the bag's time, nanoseconds, and how many sets are asked of it."""


@dataclass(eq=False)
class Books:
    """What became of a bag's sets, and one example for each cause."""

    account: Account = field(default_factory=Account)
    examples: dict[str, str] = field(default_factory=dict)

    def drop(self, error: BadInputError) -> None:
        """Count a set that cannot be used."""
        self.account.drop_set(error.cause)
        self.examples.setdefault(error.cause, error.detail)

    def __str__(self) -> str:
        """In one line: how many sets, and what the others lacked."""
        totals = self.account.totals()
        drops = [f"{count} {cause}{self._example(cause)}" for cause, count in totals.drops.items()]
        found = f"{totals.sets_published} of {totals.sets_received} sets of images can be used"
        return f"{found}; dropped: {', '.join(drops) or 'nothing'}"

    def _example(self, cause: str) -> str:
        example = self.examples.get(cause.removeprefix("set_"), "")
        return f" ({example})" if example else ""


class BagTime:
    """The clock of a node that receives a bag's messages as they were recorded."""

    def __init__(self) -> None:
        self.now_ns = 0

    def now(self) -> Time:
        """When the message in hand was recorded."""
        return Time(nanoseconds=self.now_ns)


@dataclass(frozen=True, eq=False)
class BagSet:
    """A set of images, ready to be inferred. lidar2output: [4, 4], for what is published. missing: cameras it lacks."""

    frame: CameraFrame
    lidar2output: Array
    spread_ns: int
    missing: tuple[str, ...]


def bag_drives(
    path: Path, settings: Settings, model: ModelConfig, most: int, books: Books, warn: Callable[[str], object]
) -> Iterator[Iterator[CameraFrame]]:
    """The frames of `bag_sets`; raises what it raises."""
    for drive in bag_sets(path, settings, model, most, books, warn):
        yield (each.frame for each in drive)


def bag_sets(
    path: Path, settings: Settings, model: ModelConfig, most: int, books: Books, warn: Callable[[str], object]
) -> Iterator[Iterator[BagSet]]:
    """Up to ``most`` sets of a bag: all of it as one drive, or stretches that are spread over it, in order of time.

    Each drive is to be read to its end before the next. warn: gets what is odd about the calibration. Raises BagError
    for a bag that cannot be read, lacks a camera that `min_cameras` does not excuse, or has no set that can be used,
    and ValueError for a calibration_file or ego_mask_dir that will not do.
    """
    with open_bag(path) as bag:
        line = BagLine(bag, settings, model, books, warn)
        for stretch in stretches(bag, line.cameras, most):
            yield line.sets(stretch)
    if not books.account.totals().sets_published:
        raise BagError(f"bag {path} is of no use: {books}")


def stretches(bag: Bag, cameras: Sequence[Camera], most: int) -> list[Stretch]:
    """Which parts of a bag to read for so many sets."""
    length_ns = bag.end_ns - bag.start_ns
    sets = min(sum(connection.msgcount for connection in camera.connections) for camera in cameras)
    stretch_ns = round(STRETCH_S * 1e9)
    if sets <= most or length_ns <= stretch_ns:
        return [(bag.start_ns, bag.end_ns, most)]
    count = max(1, round(most * length_ns / (sets * stretch_ns)))
    starts = [bag.start_ns + (length_ns - stretch_ns) * number // max(1, count - 1) for number in range(count)]
    return [(start_ns, start_ns + stretch_ns, -(-most // count)) for start_ns in starts]


class BagLine:
    """What is known of a bag before its images are read. cameras: those that it has images of."""

    def __init__(
        self, bag: Bag, settings: Settings, model: ModelConfig, books: Books, warn: Callable[[str], object]
    ) -> None:
        self.bag = bag
        self.settings = settings
        self.model = model
        self.books = books
        self.warn = warn
        self.cameras = _cameras(bag, settings)
        self.infos = first_infos(bag, settings)
        self.calibration = calibration_file.load(settings.calibration_file, settings.camera_names)
        masks = load_ego_masks(settings.ego_mask_dir, settings.camera_names, model)
        self.pictures = Pictures(None, self.infos.get, self.calibration, masks, settings.images_rectified)
        self.rig_check = RigCheck(warn)

    def sets(self, stretch: Stretch) -> Iterator[BagSet]:
        """The sets of a stretch, as many as are asked of it."""
        return islice(self._sets(*stretch[:2]), stretch[2])

    def _sets(self, start_ns: int, stop_ns: int) -> Iterator[BagSet]:
        run = _Run(self)
        wait_ns, back_ns = (round(each * 1e9) for each in (self.settings.pose_timeout_s, self.settings.pose_cache_s))
        run.read(run.latched, None, None)  # whenever they were recorded: a node is told at once
        run.read(run.posing, start_ns - back_ns, start_ns)
        for connection, now_ns, data in self.bag.messages(run.connections, start_ns, stop_ns + wait_ns):
            yield from run.ready(now_ns - wait_ns)
            if now_ns < stop_ns or connection.topic not in run.image_topics:
                run.take(connection, now_ns, data)
        yield from run.ready(math.inf)


class _Run:
    """A node from one activation to the next: nothing that it knows is of another stretch."""

    def __init__(self, line: BagLine) -> None:
        settings, account = line.settings, line.books.account
        self._line = line
        self._clock = BagTime()
        self._waiting: deque[ImageSet[Message]] = deque()
        self._frames = SetFrames(settings.camera_names, line.model.feature_size)
        self._sync: CameraSync[Message] = CameraSync.as_set(settings, account)
        at_once = replace(settings, pose_timeout_s=0.0)  # the set has waited already
        warn = partial(_say, line.warn)
        self._poses = EgoPose(at_once, account, threading.Event(), line.calibration, warn, self._clock)
        self._takers: dict[tuple[str, str], Callable[[bytes], None]] = {}
        self.latched = self._listen("/tf_static", TFMessage, self._poses.take_tf_static)
        self.posing = self._listen("/tf", TFMessage, self._poses.take_tf)
        if settings.ego_pose_source == "odom":
            self.posing += self._listen(settings.odometry_topic, Odometry, self._poses.take_odometry)
        infos, images = [], []
        for name, connections in info_connections(line.bag, settings).items():
            infos += self._listen_to(connections, CameraInfo, partial(line.infos.__setitem__, name))
        for camera in line.cameras:
            images += self._listen_to(camera.connections, camera.kind, partial(self._store, camera.name))
        self.image_topics = {connection.topic for connection in images}
        self.connections = [*self.posing, *infos, *images]

    def read(self, connections: Sequence[Connection], start_ns: int | None, stop_ns: int | None) -> None:
        """Take all messages of a time."""
        for connection, now_ns, data in self._line.bag.messages(connections, start_ns, stop_ns) if connections else ():
            self.take(connection, now_ns, data)

    def take(self, connection: Connection, now_ns: int, data: bytes) -> None:
        """What a node does with a message that comes now."""
        self._clock.now_ns = now_ns
        self._takers[connection.topic, connection.msgtype](data)

    def ready(self, until_ns: float) -> Iterator[BagSet]:
        """What a node would infer of the sets whose last image came before that time; what it would drop is counted."""
        while self._waiting and self._waiting[0].arrival_s * 1e9 < until_ns:
            try:
                ready = self._set(self._waiting.popleft())
            except BadInputError as error:
                self._line.books.drop(error)
                continue
            self._line.books.account.publish_set()
            yield ready

    def _set(self, images: ImageSet[Message]) -> BagSet:
        settings, line = self._line.settings, self._line
        pictures: dict[str, Picture] = {}
        unusable: dict[str, BadInputError] = {}
        for camera, image in zip(images.cameras, images.images, strict=True):
            try:
                pictures[camera] = line.pictures.make(camera, image.message)
            except BadInputError as error:
                unusable[camera] = error
        images = left_over(images, unusable, settings.fewest_cameras)
        frame_ids = [image.message.header.frame_id for image in images.images]
        geometry = self._poses.geometry(images.cameras, frame_ids, [image.stamp_ns for image in images.images])
        images = left_over(images, geometry.unplaced, settings.fewest_cameras)
        implausible = impossible(line.rig_check, images, pictures, geometry)
        refused = {} if settings.allow_implausible_rig else implausible
        images = left_over(images, refused, settings.fewest_cameras)
        frame = self._frames.make(images, pictures, geometry)
        missing = tuple(name for name in settings.camera_names if name not in images.cameras)
        return BagSet(frame, geometry.lidar2output, images.spread_ns, missing)

    def _store(self, camera: str, message: Message) -> None:
        try:
            stamp_ns = image_time(message.header.stamp, self._line.settings.stamp_policy, self._clock)
        except BadInputError as error:
            self._line.books.account.drop(f"image_{error.cause}")
            return
        if stamp_ns <= 0:
            self._line.books.account.drop("image_zero_stamp")
            return
        images = self._sync.add(camera, Stored(stamp_ns, self._clock.now_ns / 1e9, message))
        if images is not None:
            self._waiting.append(images)

    def _listen(self, topic: str, kind: type, taker: Callable[[Any], object]) -> list[Connection]:
        type_name = f"{kind.__module__.partition('.')[0]}/msg/{kind.__name__}"
        there = [c for c in self._line.bag.connections if c.topic == absolute(topic) and c.msgtype == type_name]
        return self._listen_to(there, kind, taker)

    def _listen_to(
        self, connections: Sequence[Connection], kind: type, taker: Callable[[Any], object]
    ) -> list[Connection]:
        def read(data: bytes) -> None:
            try:
                message = deserialize_message(data, kind)
            except rclpy_implementation.RMWError:  # a node would never see it
                self._line.books.account.drop("message_damaged")
                return
            taker(message)

        self._takers |= {(connection.topic, connection.msgtype): read for connection in connections}
        return list(connections)


def _cameras(bag: Bag, settings: Settings) -> list[Camera]:
    """Those that the bag has images of; raises BagError for the first that it lacks where too few are left."""
    found: list[Camera] = []
    lacking: list[BagError] = []
    for name in settings.camera_names:
        try:
            found.append(find_camera(bag, name, settings))
        except BagError as error:
            lacking.append(error)
    if lacking and len(found) < settings.fewest_cameras:
        raise lacking[0]
    return found


def _say(warn: Callable[[str], object], text: str, **_: object) -> None:
    """A warning without the options that a ROS logger takes."""
    warn(text)
