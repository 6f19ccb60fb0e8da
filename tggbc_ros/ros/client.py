"""The detector from outside: its process, its parameters, and what it publishes. For demos, checks and scores."""

from __future__ import annotations

import math
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType

import numpy as np
from diagnostic_msgs.msg import DiagnosticArray
from lifecycle_msgs.srv import GetState
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.parameter import Parameter
from rclpy.parameter_client import AsyncParameterClient
from rclpy.qos import QoSProfile
from sensor_msgs.msg import Image
from tqdm import tqdm

from tggbc_ros.core.types import Boxes3D
from tggbc_ros.msg import BoundingBox3DArray, FrameReport
from tggbc_ros.ros.params import CAMERAS

NODE = "/detector"
START_TIMEOUT_S = 120.0
STOP_TIMEOUT_S = 10.0
ANSWER_TIMEOUT_S = 180.0
LAST_ANSWER_S = 5.0
POSE_TIMEOUT_S = 10.0
INPUT_TOPICS = 2 * len(CAMERAS) + len(("/tf", "/tf_static"))
"""What a detector of that rig subscribes to; a player that began before all are found would lose the first set."""


class ClientError(RuntimeError):
    """A process that ended early or a node that does not answer, with what it said last."""


class Process:
    """A program of this package as a child process; its output goes to ``log``.

    To be used in a ``with`` block, which ends it by SIGINT as a launch file would.
    """

    def __init__(self, module: str, arguments: Sequence[str], log: Path) -> None:
        self.name = module.rpartition(".")[2]
        self._command = [sys.executable, "-m", module, *arguments]
        self._log = log

    def __enter__(self) -> Process:
        """Start it."""
        self._log.parent.mkdir(parents=True, exist_ok=True)
        with self._log.open("w", encoding="utf-8") as output:
            environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
            self._child = subprocess.Popen(self._command, stdout=output, stderr=subprocess.STDOUT, env=environment)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Interrupt it, and kill it if it does not end in time."""
        if self._child.poll() is None:
            self._child.send_signal(signal.SIGINT)
        try:
            self._child.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self._child.kill()
            self._child.wait()

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._child.pid

    def is_running(self) -> bool:
        """Whether it has not ended; raises ClientError with its last lines if it failed."""
        status = self._child.poll()
        if status is None:
            return True
        if status != 0:
            raise ClientError(f"{self.name} ended with status {status}; {self.last_words()}")
        return False

    def last_words(self) -> str:
        """The end of what it said."""
        lines = self._log.read_text(encoding="utf-8", errors="replace").splitlines()[-15:]
        return "\n".join([f"{self.name} said last:", *lines])


def choose_domain() -> None:
    """Unless the user chose a DDS domain, take one of this process's own: another detector must not be heard."""
    os.environ.setdefault("ROS_DOMAIN_ID", str(os.getpid() % 100 + 1))


def detector_process(
    parameters: Mapping[str, object], log: Path, program: Sequence[str] = ("tggbc_ros.ros.detector_node",)
) -> Process:
    """The node with these parameters; Python values, lists included. program: another module that runs it."""
    module, *arguments = program
    arguments.append("--ros-args")
    for name, value in parameters.items():
        arguments += ["-p", f"{name}:={_yaml(value)}"]
    return Process(module, arguments, log)


def player_process(bag: Path, arguments: Sequence[str], log: Path) -> Process:
    """Our bag player on that bag."""
    return Process("tggbc_ros.ros.bags.bag_player", [str(bag), "--no-progress", *arguments], log)


class DetectorClient(Node):
    """Collects what the detector publishes, by stamp in nanoseconds, and turns its parameters.

    with_kept_keys: whether to ask for the pictures of kept keys too, which the node only makes for listeners.
    """

    def __init__(self, with_kept_keys: bool = False) -> None:
        super().__init__("detector_client")
        self.boxes: dict[int, BoundingBox3DArray] = {}
        self.reports: dict[int, FrameReport] = {}
        self.kept_keys: dict[int, Image] = {}
        self._collected = [self.boxes, self.reports, *([self.kept_keys] if with_kept_keys else [])]
        deep = QoSProfile(depth=1000)
        self.create_subscription(BoundingBox3DArray, f"{NODE}/boxes", self._on_boxes, deep)
        self.create_subscription(FrameReport, f"{NODE}/report", self._on_report, deep)
        if with_kept_keys:
            self.create_subscription(Image, f"{NODE}/kept_keys", self._on_kept_keys, deep)
        self._signs_of_life = 0
        # The last to be announced: a detector that reaches this subscription knows the others.
        self.create_subscription(DiagnosticArray, "/diagnostics", self._on_diagnostics, 10)
        self._detector_parameters = AsyncParameterClient(self, NODE.lstrip("/"))
        self._state = self.create_client(GetState, f"{NODE}/get_state")
        self._executor_of_client = SingleThreadedExecutor()
        self._executor_of_client.add_node(self)

    @property
    def answers(self) -> int:
        """Sets of which everything has come."""
        return len(set.intersection(*(set(kind) for kind in self._collected)))

    def forget(self) -> None:
        """Begin to collect anew, as before the same bag is played again."""
        for kind in self._collected:
            kind.clear()

    def wait_for(self, holds: Callable[[], bool], timeout_s: float, alive: Sequence[Process] = ()) -> bool:
        """Receive until ``holds`` or the time is over; raises ClientError when a process has failed."""
        deadline_s = time.monotonic() + timeout_s
        while not holds():
            if time.monotonic() > deadline_s:
                return False
            for process in alive:
                process.is_running()
            self._executor_of_client.spin_once(timeout_sec=0.05)
        return True

    def wait_until_active(self, process: Process, timeout_s: float = START_TIMEOUT_S) -> None:
        """Until the node is active and reaches us; raises ClientError if it ends first or takes too long."""
        deadline_s = time.monotonic() + timeout_s
        while time.monotonic() < deadline_s:
            if not process.is_running():
                raise ClientError(f"{process.name} ended before it was active")
            if self._lifecycle_state(process) == "active" and self._signs_of_life:
                return
            self.wait_for(lambda: False, 0.2, [process])
        raise ClientError(f"{process.name} was not active after {timeout_s:g} s")

    def set_parameters_of_detector(self, values: Mapping[str, object], timeout_s: float = 10.0) -> None:
        """Set live parameters through the service; raises ClientError with the node's reason."""
        parameters = [Parameter(name, value=value) for name, value in values.items()]
        future = self._detector_parameters.set_parameters(parameters)
        if not self.wait_for(future.done, timeout_s):
            raise ClientError(f"{NODE} did not answer within {timeout_s:g} s")
        refused = [result.reason for result in future.result().results if not result.successful]
        if refused:
            raise ClientError(f"{NODE} refused {dict(values)}: {'; '.join(refused)}")

    def _lifecycle_state(self, process: Process) -> str:
        if not self._state.service_is_ready():
            return "unknown"
        future = self._state.call_async(GetState.Request())
        if not self.wait_for(future.done, 2.0, [process]):
            return "unknown"
        return str(future.result().current_state.label)

    def _on_diagnostics(self, message: DiagnosticArray) -> None:
        self._signs_of_life += any(status.name == f"{NODE.lstrip('/')}: node" for status in message.status)

    def _on_boxes(self, message: BoundingBox3DArray) -> None:
        self.boxes[stamp_ns(message)] = message

    def _on_report(self, message: FrameReport) -> None:
        self.reports[stamp_ns(message)] = message

    def _on_kept_keys(self, message: Image) -> None:
        self.kept_keys[stamp_ns(message)] = message


@contextmanager
def running_detector(
    parameters: Mapping[str, object], logs: Path, with_kept_keys: bool = False
) -> Iterator[tuple[Process, DetectorClient]]:
    """A detector node of its own process on simulated time, once it is active, and a client that hears it.

    It waits long for poses: in lockstep a transform that is late is on its way, however slow the machine.
    parameters: the node's, at the start. rclpy must be initialised. Raises ClientError if the node does not start.
    """
    patient = {"use_sim_time": True, "pose_timeout_s": POSE_TIMEOUT_S}
    with detector_process(patient | dict(parameters), logs / "detector.log") as detector:
        client = DetectorClient(with_kept_keys)
        try:
            client.wait_until_active(detector)
            yield detector, client
        finally:
            client.destroy_node()


def play(
    bag: Path,
    frames: int,
    detector: Process,
    client: DetectorClient,
    logs: Path,
    options: Sequence[str] = (),
    taken: Callable[[], bool] = lambda: True,
) -> None:
    """Play a bag of ``frames`` image sets into the detector, set by set, to the end; the client collects.

    options: further ones of the player. taken: what else has to come true once all is answered, such as a record of
    it. Raises ClientError if a set stays without an answer.
    """
    ready = ["--wait-for-subscribers", str(INPUT_TOPICS)]
    player = player_process(bag, ["--clock", "--lockstep", f"{NODE}/report", *ready, *options], logs / "player.log")
    with player, tqdm(total=frames, desc=bag.name, unit="frame", disable=None) as bar:
        for done in range(frames):
            _wait_for_answer(client, done, detector, player)
            bar.update()
        if not client.wait_for(taken, LAST_ANSWER_S, [detector]):
            raise ClientError(f"{frames} sets of images were answered, but not all of it was taken")


def _wait_for_answer(client: DetectorClient, done: int, detector: Process, player: Process) -> None:
    """Until more than ``done`` sets are answered; once the player has ended, an answer can only be on its way."""
    client.wait_for(lambda: client.answers > done or not player.is_running(), ANSWER_TIMEOUT_S, [detector])
    if not client.wait_for(lambda: client.answers > done, LAST_ANSWER_S, [detector]):
        state = "is waiting" if player.is_running() else "has ended"
        raise ClientError(
            f"{done} sets of images were answered in full, then no more; the player {state}; {detector.last_words()}"
        )


@contextmanager
def replay(
    bag: Path, frames: int, parameters: Mapping[str, object], live: Mapping[str, object], logs: Path
) -> Iterator[DetectorClient]:
    """`play` a bag into a `running_detector`, once. live: parameters that are set when it is active.

    Yields the client that heard it all.
    """
    with running_detector(parameters, logs) as (detector, client):
        if live:
            client.set_parameters_of_detector(live)
        play(bag, frames, detector, client, logs)
        yield client


def stamp_ns(message: BoundingBox3DArray | FrameReport | Image) -> int:
    """The header's stamp in nanoseconds."""
    stamp = message.header.stamp
    return int(stamp.sec) * 1_000_000_000 + int(stamp.nanosec)


def boxes_of(message: BoundingBox3DArray, class_names: Sequence[str]) -> Boxes3D:
    """The message's boxes, in its frame; raises ValueError for a class that is not among the names."""
    rows = message.boxes
    return Boxes3D(
        center=np.array([[box.pose.position.x, box.pose.position.y, box.pose.position.z] for box in rows]).reshape(
            -1, 3
        ),
        size=np.array([[box.size.x, box.size.y, box.size.z] for box in rows]).reshape(-1, 3),
        yaw=np.array([2 * math.atan2(box.pose.orientation.z, box.pose.orientation.w) for box in rows]),
        velocity=np.array([[box.velocity.x, box.velocity.y] for box in rows]).reshape(-1, 2),
        score=np.array([box.score for box in rows], dtype=np.float64),
        label=np.array([class_names.index(box.class_name) for box in rows], dtype=np.int64),
        query=np.arange(len(rows), dtype=np.int64),
    )


def _yaml(value: object) -> str:
    """A parameter value as the command line takes it; a bare path or word would not survive every YAML rule."""
    if isinstance(value, str):
        escaped = value.replace("\\", "\\\\").replace('"', '\\"')
        return f'"{escaped}"'
    if isinstance(value, bool):
        return str(value).lower()
    return str(list(value)) if isinstance(value, tuple) else str(value)
