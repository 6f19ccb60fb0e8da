"""Six synthetic cameras on a moving vehicle, over real DDS, and the node under test as a real process."""

from __future__ import annotations

import array
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from builtin_interfaces.msg import Time
from diagnostic_msgs.msg import DiagnosticArray
from geometry_msgs.msg import TransformStamped
from nav_msgs.msg import Odometry
from rcl_interfaces.srv import SetParameters
from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.parameter import Parameter
from rclpy.qos import DurabilityPolicy, QoSProfile
from sensor_msgs.msg import CameraInfo, CompressedImage, Image
from std_msgs.msg import Header
from tf2_msgs.msg import TFMessage
from tggbc_ros.msg import BoundingBox3DArray, FrameReport
from vision_msgs.msg import Detection3DArray
from visualization_msgs.msg import MarkerArray

from tggbc_ros.core.config import CLASS_NAMES
from tggbc_ros.core.geometry import quaternion_from_rotation, rigid, yaw_rotation
from tggbc_ros.core.types import Boxes3D
from tggbc_ros.ros.params import CAMERAS

HEIGHT, WIDTH = 90, 160
VELOCITY_MPS = np.array([8.0, 1.0, 0.1])
YAW_RATE_RADPS = 0.4
START_NS = 1_600_000_000_000_000_000
PERIOD_NS = 500_000_000
STAGGER_NS = 7_000_000
LIDAR2EGO = rigid(yaw_rotation(-np.pi / 2), [0.9, 0.0, 1.8])
OPTICAL2BODY = np.array([[0.0, 0.0, 1.0], [-1.0, 0.0, 0.0], [0.0, -1.0, 0.0]])
CAM2EGO = {
    name: rigid(yaw_rotation(yaw) @ OPTICAL2BODY, [1.5 * np.cos(yaw), 0.5 * np.sin(yaw), 1.5])
    for name, yaw in zip(CAMERAS, np.deg2rad([0.0, -55.0, 55.0, 180.0, 110.0, -110.0]), strict=True)
}
BOXES = Boxes3D(
    center=np.array([[1.0, 2.0, 3.0], [-4.0, 5.0, -0.5]]),
    size=np.array([[4.5, 1.9, 1.6], [0.6, 0.7, 1.8]]),
    yaw=np.array([0.5, -2.0]),
    velocity=np.array([[3.0, -1.0], [0.1, 0.0]]),
    score=np.array([0.9, 0.25]),
    label=np.array([0, 1]),
    query=np.array([7, 8]),
)
INTRINSICS = np.array([[120.0, 0.0, 80.0], [0.0, 118.0, 45.0], [0.0, 0.0, 1.0]])


def ego2global(stamp_ns: int) -> np.ndarray:
    """Closed form of the motion: constant velocity and yaw rate, which interpolation reproduces exactly."""
    elapsed_s = (stamp_ns - START_NS) / 1e9
    return rigid(
        yaw_rotation(0.3 + YAW_RATE_RADPS * elapsed_s), np.array([400.0, 900.0, 2.0]) + VELOCITY_MPS * elapsed_s
    )


def stamp(stamp_ns: int) -> Time:
    return Time(sec=stamp_ns // 1_000_000_000, nanosec=stamp_ns % 1_000_000_000)


def transform(matrix: np.ndarray, parent: str, child: str, stamp_ns: int = 0) -> TransformStamped:
    message = TransformStamped(header=Header(stamp=stamp(stamp_ns), frame_id=parent), child_frame_id=child)
    place, turn = message.transform.translation, message.transform.rotation
    place.x, place.y, place.z = matrix[:3, 3].tolist()
    turn.x, turn.y, turn.z, turn.w = quaternion_from_rotation(matrix[:3, :3])
    return message


def static_transforms() -> TFMessage:
    cameras = [transform(matrix, "base_link", name) for name, matrix in CAM2EGO.items()]
    return TFMessage(transforms=[transform(LIDAR2EGO, "base_link", "LIDAR_TOP"), *cameras])


def camera_info(name: str, stamp_ns: int) -> CameraInfo:
    header = Header(stamp=stamp(stamp_ns), frame_id=name)
    return CameraInfo(header=header, height=HEIGHT, width=WIDTH, k=INTRINSICS.ravel().tolist())


def pixels(seed: int) -> np.ndarray:
    coarse = np.random.default_rng(seed).integers(0, 255, (9, 16, 3), dtype=np.uint8)
    return cv2.resize(coarse, (WIDTH, HEIGHT), interpolation=cv2.INTER_LINEAR)


def jpeg(name: str, stamp_ns: int, seed: int = 0) -> CompressedImage:
    data = cv2.imencode(".jpg", pixels(seed))[1]
    header = Header(stamp=stamp(stamp_ns), frame_id=name)
    return CompressedImage(header=header, format="jpeg", data=array.array("B", data.tobytes()))


def raw(name: str, stamp_ns: int, seed: int = 0) -> Image:
    header, data = Header(stamp=stamp(stamp_ns), frame_id=name), array.array("B", pixels(seed).tobytes())
    return Image(header=header, height=HEIGHT, width=WIDTH, encoding="bgr8", step=3 * WIDTH, data=data)


class SyntheticRig(Node):
    """Publishes what cameras and localisation would, and keeps what the detector says."""

    period_ns = PERIOD_NS
    """From one set to the next, by their stamps."""

    def __init__(
        self,
        context: Context,
        kind: type = CompressedImage,
        qos: QoSProfile | None = None,
        cameras: Sequence[str] = CAMERAS,
    ) -> None:
        super().__init__("synthetic_rig", context=context)
        self.cameras = cameras
        self.executor_ = SingleThreadedExecutor(context=context)
        self.executor_.add_node(self)
        suffix = "/compressed" if kind is CompressedImage else ""
        self.make_image = jpeg if kind is CompressedImage else raw
        self.images = {
            name: self.create_publisher(kind, f"/camera/{name}/image{suffix}", qos or QoSProfile(depth=10))
            for name in cameras
        }
        self.infos = {name: self.create_publisher(CameraInfo, f"/camera/{name}/camera_info", 10) for name in cameras}
        self.tf = self.create_publisher(TFMessage, "/tf", 100)
        latched = QoSProfile(depth=10, durability=DurabilityPolicy.TRANSIENT_LOCAL)
        self.tf_static = self.create_publisher(TFMessage, "/tf_static", latched)
        self.odom = self.create_publisher(Odometry, "/odom", 100)
        self.received: dict[str, list[Any]] = {}
        for kind_, topic in (
            (BoundingBox3DArray, "/detector/boxes"),
            (Detection3DArray, "/detector/detections"),
            (MarkerArray, "/detector/markers"),
            (FrameReport, "/detector/report"),
            (DiagnosticArray, "/diagnostics"),
        ):
            self.received[topic.split("/")[-1]] = kept = []
            self.create_subscription(kind_, topic, kept.append, 100)

    def spin_until(self, done: Callable[[], object], timeout_s: float = 30.0) -> bool:
        """Receive until ``done``; whether it came about in time."""
        deadline_s = time.monotonic() + timeout_s
        while not done():
            if time.monotonic() > deadline_s:
                return False
            self.executor_.spin_once(timeout_sec=0.05)
        return True

    def spin_for(self, duration_s: float) -> None:
        self.spin_until(lambda: False, duration_s)

    def wait_for_detector(self, cameras: Sequence[str] = ()) -> None:
        """Until the detector has subscribed to everything, or to these cameras alone, and we to it."""
        cameras = cameras or self.cameras
        inputs = [
            self.tf,
            self.tf_static,
            *(self.images[name] for name in cameras),
            *(self.infos[name] for name in cameras),
        ]
        ready = self.spin_until(
            lambda: (
                all(publisher.get_subscription_count() for publisher in inputs)
                and self.received["diagnostics"]  # announced last: whom the detector reaches here, it reaches there
            ),
            timeout_s=90.0,
        )
        assert ready, "the detector did not subscribe in time"
        self.tf_static.publish(static_transforms())

    def stamps_ns(self, index: int) -> dict[str, int]:
        """Camera stamps of the set of that number; the last camera is the newest."""
        return {name: START_NS + index * self.period_ns + place * STAGGER_NS for place, name in enumerate(self.cameras)}

    def publish_poses(self, stamps_ns: Sequence[int]) -> None:
        self.tf.publish(TFMessage(transforms=[transform(ego2global(t), "map", "base_link", t) for t in stamps_ns]))

    def publish_set(self, index: int, *, poses: bool = True, infos: bool = True, **replaced: Any) -> int:
        """One whole set, but for what ``replaced`` holds by camera (None: nothing is sent). Its reference time."""
        stamps_ns = self.stamps_ns(index)
        if poses:
            self.publish_poses(list(stamps_ns.values()))
        for name, stamp_ns in stamps_ns.items():
            if infos:
                self.infos[name].publish(camera_info(name, stamp_ns))
            message = replaced[name] if name in replaced else self.make_image(name, stamp_ns, index)
            if message is not None:
                self.images[name].publish(message)
        return max(stamps_ns.values())

    def publish_until_report(self, index: int, timeout_s: float = 30.0, **options: Any) -> FrameReport:
        """A set, and the report that it causes."""
        before = len(self.received["report"])
        reference_ns = self.publish_set(index, **options)
        reports = self.received["report"]
        found = self.spin_until(lambda: any(nanoseconds(r) == reference_ns for r in reports[before:]), timeout_s)
        assert found, f"no report for set {index}; drops: {self.drops()}"
        return reports[-1]

    def diagnostic(self, name: str) -> Any:
        """The newest status of that name."""
        for message in reversed(self.received["diagnostics"]):
            for status in message.status:
                if status.name == name:
                    return status
        return None

    def call(self, kind: type, name: str, request: Any) -> Any:
        """The answer of a service."""
        client = self.create_client(kind, name)
        assert self.spin_until(client.service_is_ready), f"no service {name}"
        future = client.call_async(request)
        assert self.spin_until(future.done), f"no answer from {name}"
        self.destroy_client(client)
        return future.result()

    def drops(self) -> dict[str, str]:
        """The synchroniser's values in the newest diagnostics."""
        status = self.diagnostic("detector: synchroniser")
        return {pair.key: pair.value for pair in status.values} if status else {}


def nanoseconds(message: Any) -> int:
    return message.header.stamp.sec * 1_000_000_000 + message.header.stamp.nanosec


def boxes_of(rig: SyntheticRig, reference_ns: int) -> Boxes3D:
    """The published boxes of that stamp, back as numbers."""
    assert rig.spin_until(lambda: any(nanoseconds(m) == reference_ns for m in rig.received["boxes"]))
    (message,) = [m for m in rig.received["boxes"] if nanoseconds(m) == reference_ns]
    assert message.header.frame_id == "base_link"
    poses = [box.pose for box in message.boxes]
    return Boxes3D(
        center=np.array([[p.position.x, p.position.y, p.position.z] for p in poses]),
        size=np.array([[b.size.x, b.size.y, b.size.z] for b in message.boxes]),
        yaw=np.array([2 * np.arctan2(p.orientation.z, p.orientation.w) for p in poses]),
        velocity=np.array([[b.velocity.x, b.velocity.y] for b in message.boxes]),
        score=np.array([b.score for b in message.boxes]),
        label=np.array([CLASS_NAMES.index(b.class_name) for b in message.boxes]),
        query=np.zeros(len(poses), np.int64),
    )


def set_parameters(rig: SyntheticRig, **values: object) -> list[str]:
    """The reasons of refusal, in order; empty where a value was taken."""
    request = SetParameters.Request(
        parameters=[Parameter(name, value=value).to_parameter_msg() for name, value in values.items()]
    )
    results = rig.call(SetParameters, "/detector/set_parameters", request).results
    return ["" if result.successful else result.reason for result in results]


@contextmanager
def detector_process(
    domain_id: int, environment: dict[str, str] | None = None, arguments: Sequence[str] = (), **parameters: Any
) -> Iterator[subprocess.Popen[str]]:
    """The node with the tiny network in a process of its own; killed at the end if it still runs."""
    command = [sys.executable, str(Path(__file__).parent / "tiny_detector.py"), "--ros-args", *arguments]
    for name, value in ({"model": "tiny", "allow_random_weights": True} | parameters).items():
        command += ["-p", f"{name}:={str(value).lower() if isinstance(value, bool) else value}"]
    process = subprocess.Popen(
        command,
        env={**os.environ, "ROS_DOMAIN_ID": str(domain_id), **(environment or {})},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate()


def end(process: subprocess.Popen[str], number: int = signal.SIGINT) -> tuple[int, str, float]:
    """Send a signal; exit status, output, and how long it took in seconds."""
    started_s = time.monotonic()
    process.send_signal(number)
    output, _ = process.communicate(timeout=20)
    return process.returncode, output, time.monotonic() - started_s
