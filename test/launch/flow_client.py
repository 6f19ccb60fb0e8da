"""What the launch flows do to a running detector, over ROS alone: so that they are tried without launch too."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from lifecycle_msgs.srv import GetState
from rcl_interfaces.srv import SetParameters
from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.parameter import Parameter
from tggbc_ros.msg import BoundingBox3DArray, FrameReport

PATIENCE_S = 120.0


class FlowClient:
    """A node that watches the detector of the same context's domain; every wait ends after PATIENCE_S."""

    def __init__(self, context: Context) -> None:
        self.boxes: list[BoundingBox3DArray] = []
        self.reports: list[FrameReport] = []
        self._node = Node("flow_client", context=context)
        self._executor = SingleThreadedExecutor(context=context)
        self._executor.add_node(self._node)
        self._node.create_subscription(BoundingBox3DArray, "/detector/boxes", self.boxes.append, 100)
        self._node.create_subscription(FrameReport, "/detector/report", self.reports.append, 100)

    def close(self) -> None:
        """Leave the graph."""
        self._executor.shutdown()
        self._node.destroy_node()

    def wait_until(self, done: Callable[[], object], what: str) -> None:
        """Receive until ``done``; raises AssertionError naming what was waited for."""
        deadline_s = time.monotonic() + PATIENCE_S
        while not done():
            assert time.monotonic() < deadline_s, f"no {what} within {PATIENCE_S:.0f} s"
            self._executor.spin_once(timeout_sec=0.05)

    def wait_until_active(self) -> None:
        """Until the detector's lifecycle state is active."""
        self.wait_until(lambda: self._state() == "active", "detector that is active")

    def wait_for_new(self, received: list[Any]) -> Any:
        """The next message in a list of those received."""
        before = len(received)
        self.wait_until(lambda: len(received) > before, "message")
        return received[-1]

    def set_parameter(self, name: str, value: object) -> str:
        """The reason of refusal; empty where the value was taken."""
        parameter = Parameter(name, value=value).to_parameter_msg()
        request = SetParameters.Request(parameters=[parameter])
        (result,) = self._call(SetParameters, "/detector/set_parameters", request).results
        return "" if result.successful else result.reason

    def keep(self, ratio: float) -> FrameReport:
        """Set keep_ratio; the first report that has it."""
        reason = self.set_parameter("keep_ratio", ratio)
        assert not reason, reason
        report = self.wait_for_new(self.reports)
        while abs(report.keep_ratio - ratio) > 1e-6:
            report = self.wait_for_new(self.reports)
        return report

    def _state(self) -> str:
        return str(self._call(GetState, "/detector/get_state", GetState.Request()).current_state.label)

    def _call(self, kind: type, name: str, request: Any) -> Any:
        client = self._node.create_client(kind, name)
        self.wait_until(client.service_is_ready, f"service {name}")
        future = client.call_async(request)
        self.wait_until(future.done, f"answer from {name}")
        self._node.destroy_client(client)
        return future.result()
