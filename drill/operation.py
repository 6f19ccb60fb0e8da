"""Faults of those who operate the node: parameters, lifecycle, checkpoints, signals, looped bags, no memory left."""

from __future__ import annotations

import random
import re
from pathlib import Path
from typing import Any

import torch
from bag_families import our_own, write_bag
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState, GetState
from rcl_interfaces.srv import GetParameters, SetParameters
from rclpy.client import Client
from rclpy.parameter import Parameter
from tiny_detector import TINY

from drill.ground import PACE_S, Ground
from drill.node import DrillError, player
from drill.verdict import BACKWARD
from tggbc_ros.core.model import StreamPETR

BAG_SETS = 3
LOOP_TIMEOUT_S = 180.0
FAILURES = "set_inference_failed"
DEMO_WEIGHTS = Path(__file__).resolve().parents[1] / "tggbc_ros" / "weights" / "demo_model.safetensors"
STEPS = {
    "configure": Transition.TRANSITION_CONFIGURE,
    "activate": Transition.TRANSITION_ACTIVATE,
    "deactivate": Transition.TRANSITION_DEACTIVATE,
    "cleanup": Transition.TRANSITION_CLEANUP,
}


class Operator:
    """Calls the node's services."""

    def __init__(self, ground: Ground) -> None:
        self._ground = ground
        self._clients: dict[str, Client] = {}

    def close(self) -> None:
        """Destroy the clients."""
        for client in self._clients.values():
            self._ground.rig.destroy_client(client)

    def set(self, name: str, value: object) -> str:
        """Set one parameter; why it was refused, or nothing."""
        request = SetParameters.Request(parameters=[Parameter(name, value=value).to_parameter_msg()])
        (result,) = self._call(SetParameters, "set_parameters", request).results
        return "" if result.successful else str(result.reason) or "without a reason"

    def get(self, name: str) -> float:
        """A floating-point parameter."""
        (value,) = self._call(GetParameters, "get_parameters", GetParameters.Request(names=[name])).values
        return float(value.double_value)

    def change(self, step: str, wanted: bool, state: str) -> None:
        """Ask for a transition; a problem unless the answer is as wanted and that state is reached."""
        request = ChangeState.Request(transition=Transition(id=STEPS[step]))
        success = self._call(ChangeState, "change_state", request).success
        self._ground.expect(success == wanted, f"{step} was answered {success}, expected {wanted}")
        found = self._call(GetState, "get_state", GetState.Request()).current_state.label
        self._ground.expect(found == state, f"after {step} the node is {found}, expected {state}")

    def _call(self, kind: type, name: str, request: Any) -> Any:
        rig = self._ground.rig
        client = self._clients.setdefault(name, rig.create_client(kind, f"/detector/{name}"))
        if not rig.spin_until(client.service_is_ready):
            raise DrillError(f"no service {name}")
        future = client.call_async(request)
        if not rig.spin_until(future.done):
            raise DrillError(f"no answer from {name}")
        return future.result()


def parameter_storm(ground: Ground, count: int) -> None:
    """Parameters are set while sets are inferred, every third to something that must be refused."""
    operator, draw = Operator(ground), random.Random(5)
    bad: list[tuple[str, object]] = [("keep_ratio", 1.5), ("keep_ratio", "half"), ("prune_layers", 99), ("model", "x")]
    last = 1.0
    for turn in range(count):
        if turn % 3 == 2:
            name, value = bad[turn // 3 % len(bad)]
            ground.expect(operator.set(name, value), f"{name} = {value!r} was taken")
        else:
            last = round(draw.uniform(0.1, 1.0), 3)
            refused = operator.set("keep_ratio", last)
            ground.expect(not refused, f"keep_ratio = {last} was refused: {refused}")
        if turn % 10 == 9:
            ground.send()
            ground.pace()
    ground.expect(operator.get("keep_ratio") == last, f"keep_ratio is {operator.get('keep_ratio')}, last set {last}")
    operator.set("keep_ratio", 1.0)
    operator.close()


def lifecycle_storm(ground: Ground, count: int) -> None:
    """Down and up again with sets on their way, every other time all the way down, and requests that do not fit."""
    operator = Operator(ground)
    for turn in range(count):
        operator.change("configure", False, "active")
        for _ in range(3):
            ground.rig.publish_set(ground.index)
            ground.note(good=True, complete=None)
        operator.change("deactivate", True, "inactive")
        cameras = ground.rig.images.values()
        gone = ground.rig.spin_until(lambda cameras=cameras: not any(c.get_subscription_count() for c in cameras))
        ground.expect(gone, "the node is inactive and still subscribed")
        operator.change("deactivate", False, "inactive")
        if turn % 2:
            operator.change("cleanup", True, "unconfigured")
            operator.change("activate", False, "unconfigured")
            operator.change("configure", True, "inactive")
        operator.change("activate", True, "active")
        ground.wait_for_node()
        ground.forced[len(ground.reports)] = {""} if turn % 2 else {"deactivated"}
        ground.expect_inferred(ground.send(), "the first set after activation was not inferred")
    operator.close()


def bad_checkpoints(ground: Ground, count: int) -> None:
    """No file, half a file, another model's: the node says so and stays unconfigured, until it is given a good one."""
    operator, folder = Operator(ground), ground.folder
    good, half = folder / "tiny.pth", folder / "half.pth"
    torch.save(StreamPETR(TINY).state_dict(), good)
    half.write_bytes(good.read_bytes()[: good.stat().st_size // 2])
    for path in [folder / "missing.pth", half, DEMO_WEIGHTS] * count:
        ground.expect(not operator.set("checkpoint", str(path)), f"checkpoint {path} was refused as a parameter")
        operator.change("configure", False, "unconfigured")
        said = re.search(rf"cannot configure: .*{re.escape(path.name)}", ground.process.output())
        ground.expect(said, f"the log does not say what is wrong with {path.name}")
    operator.set("checkpoint", str(good))
    operator.change("configure", True, "inactive")
    operator.change("activate", True, "active")
    operator.close()
    ground.wait_for_node()


def out_of_memory(ground: Ground, count: int) -> None:
    """The network fails now and then, as TINY_FAIL_AT in its environment says."""
    for _ in range(count):
        ground.send()
        ground.settle()
    failed, wanted = ground.rig.drops().get(FAILURES), len(ground.options.environment["TINY_FAIL_AT"].split(","))
    ground.expect(failed == str(wanted), f"{failed} sets failed, expected {wanted}")


def looped_bag(ground: Ground, count: int) -> None:
    """A bag shorter than memory, looped, each set waited for; the player counts its images when it is stopped."""
    bag = write_bag(ground.folder / "bag", our_own(range(ground.index, ground.index + BAG_SETS)))
    start = len(ground.reports)
    log = ground.folder / "player.log"
    with player(
        bag, ["-l", "-r", "4", "--clock", "--grace", "0.5", "--lockstep", "/detector/report"], ground.domain_id, log
    ) as playing:
        turned = lambda: sum(r.reset_cause in BACKWARD for r in ground.reports[start:]) >= count - 1  # noqa: E731
        ground.expect(ground.rig.spin_until(turned, LOOP_TIMEOUT_S), f"fewer than {count} passes within the time")
        output = playing.end().output
    played = [int(n) for n in re.findall(r"published +(\d+) on /camera/\S+/image", output)]
    ground.expect(len(played) == 6, f"the player counted images of {len(played)} cameras, expected 6")
    first = ground.index
    for number in range(max(played, default=0)):
        ground.index = first + number % BAG_SETS  # the same stamps, pass after pass
        ground.note(good=True, complete=True if number < min(played) else None, images=0)
    ground.images += sum(played)
    ground.index = first + BAG_SETS
    ground.rig.spin_for(PACE_S)


def in_mid_frame(ground: Ground, count: int) -> None:
    """The network is busy with the first set and does not come back; the signal is the drill's to send."""
    for _ in range(count):
        ground.send()
    ground.rig.spin_for(1.0)


def at_work(ground: Ground, count: int) -> None:
    """Sets come and are inferred; the last are on their way when the signal comes."""
    for _ in range(count):
        ground.rig.publish_set(ground.index)
        ground.note(good=True, complete=None)
        ground.rig.spin_for(0.05)
