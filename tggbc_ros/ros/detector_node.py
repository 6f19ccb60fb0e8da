"""The node: lifecycle, parameters, services and diagnostics. What one frame goes through is in frame_line.py."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import wraps
from typing import Any

import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from lifecycle_msgs.srv import ChangeState
from rcl_interfaces.msg import SetParametersResult
from rclpy.clock import Clock, JumpThreshold
from rclpy.clock_type import ClockType
from rclpy.duration import Duration
from rclpy.exceptions import ParameterException
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.impl.implementation_singleton import rclpy_implementation
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn
from rclpy.parameter import Parameter
from rclpy.signals import SignalHandlerOptions
from std_srvs.srv import Trigger

from tggbc_ros import backends
from tggbc_ros.core import start
from tggbc_ros.core.config import model_config
from tggbc_ros.core.detector import Detector, Network
from tggbc_ros.core.token_rate import expect_gates
from tggbc_ros.core.warm_up import warm_up
from tggbc_ros.ros import calibration_file, param_node, param_start, params
from tggbc_ros.ros.calibration_file import CameraCalibration
from tggbc_ros.ros.frame_line import FrameLine
from tggbc_ros.ros.health.memory_use import give_back
from tggbc_ros.ros.health.self_check import SelfCheck
from tggbc_ros.ros.health.ticker import Ticker
from tggbc_ros.ros.images.camera_sync import BACKWARD_JUMP_NS
from tggbc_ros.ros.images.ego_mask import EgoMasks, load_ego_masks
from tggbc_ros.ros.output.outputs import Outputs
from tggbc_ros.ros.output.report import Identity, engine_name
from tggbc_ros.ros.params import Settings

DIAGNOSTICS_PERIOD_S = 1.0
WATCH_PERIOD_S = 1.0
SHUTDOWN_TIMEOUT_S = 1.5
DEACTIVATE_TIMEOUT_S = 60.0
SIGNAL_POLL_S = 0.2

SUCCESS, FAILURE = TransitionCallbackReturn.SUCCESS, TransitionCallbackReturn.FAILURE
Transition = Callable[["DetectorNode", LifecycleState], TransitionCallbackReturn]


def _loud(transition: Transition) -> Transition:
    """Log what goes wrong in a transition: rclpy turns any exception into the error state, silently."""

    @wraps(transition)
    def logged(node: DetectorNode, state: LifecycleState) -> TransitionCallbackReturn:
        try:
            return transition(node, state)
        except Exception:
            node.get_logger().error(f"{transition.__name__} failed:\n{traceback.format_exc()}")
            raise

    return logged


class DetectorNode(LifecycleNode):
    """Six camera topics in, 3D boxes out.

    Configured it holds the network, active also subscriptions and temporal memory. load_network: as
    `backends.load_network`. Raises ValueError or rclpy's ParameterException for a bad parameter.
    """

    def __init__(self, load_network: Callable[..., Network] = backends.load_network, **options: Any) -> None:
        super().__init__("detector", **options)
        self.settings = param_node.declare(self)
        self._load_network = load_network
        self._detector: Detector | None = None
        self._identity: Identity | None = None
        self._outputs: Outputs | None = None
        self._calibration: Mapping[str, CameraCalibration] = {}
        self._masks: EgoMasks | None = None
        self.line: FrameLine | None = None
        self._line_in_use = threading.Lock()
        self._abandoned = False
        self._self_check = SelfCheck(self.get_fully_qualified_name(), self.get_logger().warning)
        self.add_on_set_parameters_callback(self._check_parameters)
        self.add_post_set_parameters_callback(self._take_parameters)
        self.create_service(Trigger, "~/reset_memory", self._on_reset_memory)
        jump_back = JumpThreshold(
            min_forward=None, min_backward=Duration(nanoseconds=-BACKWARD_JUMP_NS), on_clock_change=False
        )
        self._jumps = self.get_clock().create_jump_callback(jump_back, post_callback=self._on_clock_jump)
        self._rclpy_change_state = self._service_change_state.callback
        self._service_change_state.callback = self._on_change_state
        self._diagnostics = self.create_publisher(DiagnosticArray, "/diagnostics", 10)
        self._diagnostics_ticker = Ticker("diagnostics", DIAGNOSTICS_PERIOD_S, self._publish_diagnostics)
        steady = Clock(clock_type=ClockType.STEADY_TIME)
        self.create_timer(WATCH_PERIOD_S, self._check_threads, clock=steady)
        self._diagnostics_ticker.start()

    @property
    def state(self) -> str:
        """The lifecycle state's name."""
        return str(self._state_machine.current_state[1])

    @_loud
    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Load the network and run it once; fails, saying why in one line, where it cannot be had or does not run."""
        failure = self._load(self.settings)
        if failure:
            give_back()
            self.get_logger().fatal(f"cannot configure: {failure}")
            return FAILURE
        return super().on_configure(state)

    def _load(self, settings: Settings) -> str:
        """What there is while the node is configured; in one line why it cannot be had, empty where it can."""
        configs = settings.pruning(), settings.memory(), settings.decode(), settings.rays(), settings.images()
        try:
            model = model_config(settings.model)
            self._calibration = calibration_file.load(settings.calibration_file, settings.camera_names)
            self._masks = load_ego_masks(settings.ego_mask_dir, settings.camera_names, model)
            with ThreadPoolExecutor(1, thread_name_prefix="load") as own:  # see core/threads.py
                network = own.submit(
                    self._load_network,
                    settings.backend,
                    model,
                    settings.checkpoint_path(),
                    settings.device,
                    settings.allow_random_weights,
                ).result()
                start.expect_rig(network.gate, configs[0], len(settings.camera_names), "parameter camera_names")
                expect_gates(network, configs[0])
                warmed_up_s = own.submit(warm_up, network, settings.camera_names, *configs).result()
            self._outputs = Outputs(self, model, settings.camera_names)
        except (ValueError, OSError, ImportError, RuntimeError, MemoryError, FloatingPointError) as error:
            return " ".join(str(error).split()) or type(error).__name__
        self._identity = Identity(
            model.name, network.weights, engine_name(settings.backend, network.precision), str(network.device)
        )
        self._detector = Detector(network, *configs)
        self.get_logger().info(f"{model.name} on {network.device}, weights {network.weights}")
        self.get_logger().info(f"the network ran once, to warm up, in {warmed_up_s:.2f} s")
        return ""

    @_loud
    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Subscribe and begin to infer."""
        assert self._detector and self._identity and self._outputs and self._masks  # on_configure made them
        result = super().on_activate(state)
        parts = self._detector, self._identity, self._outputs
        self.line = FrameLine(self, lambda: self.settings, *parts, self._calibration, self._masks)
        return result

    @_loud
    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Unsubscribe and drop memory, keep the network."""
        if not self.stop(DEACTIVATE_TIMEOUT_S):
            raise TimeoutError(f"the set in work did not end within {DEACTIVATE_TIMEOUT_S:.0f} s")
        if self._detector is not None:
            self._detector.reset_memory("deactivated")
        return super().on_deactivate(state)

    @_loud
    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Free the network."""
        result = super().on_cleanup(state)
        self._release()
        return result

    @_loud
    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Stop and free everything, from any state."""
        self.stop(DEACTIVATE_TIMEOUT_S)
        result = super().on_shutdown(state)
        self._release()
        return result

    @_loud
    def on_error(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Back to unconfigured, from where one can try again."""
        self.stop(DEACTIVATE_TIMEOUT_S)
        self._release()
        return SUCCESS

    def stop(self, timeout_s: float) -> bool:
        """End subscriptions and worker; whether nothing is in work any more."""
        with self._line_in_use:  # not while the diagnostics ask it
            line, self.line = self.line, None
        ended = line.stop(timeout_s) if line else True
        self._abandoned = self._abandoned or not ended
        return ended

    def close(self, timeout_s: float) -> bool:
        """`stop` for good: the diagnostics end too. Whether no thread is left, of earlier activations neither."""
        deadline_s = time.monotonic() + timeout_s
        self.stop(timeout_s)
        told = self._diagnostics_ticker.stop(max(0.1, deadline_s - time.monotonic()))
        return told and not self._abandoned

    def destroy_node(self) -> None:
        """As rclpy does, once nothing publishes any more."""
        self.close(SHUTDOWN_TIMEOUT_S)
        super().destroy_node()

    def _release(self) -> None:
        if self._outputs is not None:
            self._outputs.close()
        if self._detector is not None:
            self._detector.close()
        self._detector, self._identity, self._outputs = None, None, None
        give_back()

    def set_parameters_atomically(self, parameter_list: list[Parameter]) -> SetParametersResult:
        """As rclpy does, which every service for parameters calls; what is as it was is no change, and never refused.

        So a file that holds all of them, as `ros2 param dump` writes it, can be loaded at any time.
        """
        changes = param_node.changed(self, parameter_list)
        return super().set_parameters_atomically(changes) if changes else SetParametersResult(successful=True)

    def _check_parameters(self, changes: list[Parameter]) -> SetParametersResult:
        """Accept or say why not: live parameters any time, the others only while nothing is loaded."""
        fixed = [change.name for change in changes if change.name in params.NAMES - params.LIVE]
        if fixed and self._detector is not None:
            reason = f"{', '.join(fixed)} can only change while the node is unconfigured; it is {self.state}"
            return SetParametersResult(successful=False, reason=reason)
        try:
            wanted = param_node.with_changes(self.settings, changes)
            if self._detector is not None:
                gate, cameras = self._detector.network.gate, len(wanted.camera_names)
                start.expect_rig(gate, wanted.pruning(), cameras, "parameter camera_names")
                expect_gates(self._detector.network, wanted.pruning())
        except ValueError as error:
            return SetParametersResult(successful=False, reason=str(error))
        return SetParametersResult(successful=True)

    def _take_parameters(self, changes: list[Parameter]) -> None:
        """One assignment, so that the worker sees all of a change or nothing of it."""
        self.settings = param_node.with_changes(self.settings, changes)

    def _on_change_state(self, request: ChangeState.Request, response: ChangeState.Response) -> ChangeState.Response:
        """As rclpy does it, but a transition that the state does not have is answered: rclpy raises, without answer."""
        try:
            return self._rclpy_change_state(request, response)
        except rclpy_implementation.RCLError as error:
            asked = request.transition.label or request.transition.id
            self.get_logger().error(f"transition {asked} refused while {self.state}: {error}")
            response.success = False
            return response

    def _on_reset_memory(self, request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        if self.line is None:
            response.success, response.message = False, f"the node is {self.state}: there is no memory"
            return response
        self.line.request_reset("service")
        response.success, response.message = True, "memory is dropped before the next set"
        return response

    def _on_clock_jump(self, jump: object) -> None:
        if self.line is not None:
            self.line.on_clock_jump(self.get_clock().now().nanoseconds)

    def _publish_diagnostics(self) -> None:
        """On a thread of its own: the executor's may load a network for a while."""
        masks, stamp = self._masks, self.get_clock().now().to_msg()
        hidden = masks.hidden_share if masks else {}
        with self._line_in_use:
            message = self._self_check.message(stamp, self.state, self.settings, self._identity, self.line, hidden)
        try:
            self._diagnostics.publish(message)
        except rclpy_implementation.RCLError:
            if self.context.ok():  # else the node is at its end
                raise

    def _check_threads(self) -> None:
        """A node that cannot work any more ends, so that whoever started it can start it again."""
        if self.line is not None and not self.line.worker.is_alive():
            raise RuntimeError("the worker thread has died; its traceback is above")
        if not self._diagnostics_ticker.is_alive():
            raise RuntimeError("the diagnostics thread has died; its traceback is above")


def main(args: list[str] | None = None, load_network: Callable[..., Network] = backends.load_network) -> int:
    """Run the node until SIGINT or SIGTERM; 1 if it cannot start."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)  # KeyboardInterrupt, wherever we are
    node, status = None, 1
    try:
        with param_start.in_one_line():
            # rclpy's own handlers would take the publishers away from under the worker.
            rclpy.init(args=args, signal_handler_options=SignalHandlerOptions.NO)
            node = DetectorNode(load_network)
        if not node.settings.autostart or _start(node):
            executor = SingleThreadedExecutor()
            executor.add_node(node)
            # Python raises KeyboardInterrupt between two waits for work, of which none may last.
            node.create_timer(SIGNAL_POLL_S, lambda: None, clock=Clock(clock_type=ClockType.STEADY_TIME))
            executor.spin()
            status = 0
    except (ParameterException, ValueError) as error:
        print(f"detector_node: {error}", file=sys.stderr)
    except (KeyboardInterrupt, ExternalShutdownException):
        status = 0
    finally:
        _end(node, status)
    return status


def _start(node: DetectorNode) -> bool:
    return node.trigger_configure() == SUCCESS and node.trigger_activate() == SUCCESS


def _end(node: DetectorNode | None, status: int) -> None:
    """Stop within the time that a launch file grants, even in the middle of a frame."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    finished = node.close(SHUTDOWN_TIMEOUT_S) if node else True
    rclpy.try_shutdown()
    if not finished:
        # The worker is inside the network: neither can it be interrupted, nor does Python end while it runs there.
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


if __name__ == "__main__":
    sys.exit(main())
