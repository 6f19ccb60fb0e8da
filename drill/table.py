"""The faults of the drill, and how a node is put through one."""

from __future__ import annotations

import dataclasses
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from drill import inputs, operation
from drill.books import Books, closed
from drill.ground import Ground, Mark
from drill.node import DrillError, NodeOptions
from drill.verdict import Row, judge
from tggbc_ros.backends import SHIPPED_WEIGHTS

NOTHING_YET = Mark(Books(), 0, (0, 0), 0)
END_LIMIT_S = 5.0
"""What launch grants a process between SIGINT and SIGTERM; the node takes half of it, on a machine that is not busy."""
LOG = "node.log"
MAY, MUST = False, True

_TINY = {"model": "tiny", "allow_random_weights": True, "pose_timeout_s": 0.3}
PLAIN = NodeOptions(_TINY)
PARTIAL = NodeOptions({**_TINY, "min_cameras": 5, "camera_timeout_s": 4.0, "sync_capacity": 2})
ODOMETRY = NodeOptions({**_TINY, "ego_pose_source": "odom"})
FAILING = NodeOptions(_TINY, {"TINY_FAIL_AT": "3,4,7"})
SIMULATED = NodeOptions({**_TINY, "use_sim_time": True})
UNCONFIGURED = NodeOptions({"model": "tiny", "autostart": False})
ENDLESS = NodeOptions(_TINY, {"TINY_SLEEP_S": "600"})
BUSY = NodeOptions(_TINY, {"TINY_SLEEP_S": "0.05"})


@dataclass(frozen=True)
class Fault:
    """One line of the table.

    amounts: how much of it in the short and in the long form. drops: causes that may be counted -> whether they
    must be. all_images: whether every image sent must have been received. first_good: whether a good set can be
    inferred before. ends: the signal that ends the process afterwards.
    """

    name: str
    inject: Callable[[Ground, int], None]
    amounts: tuple[int, int]
    drops: Mapping[str, bool] = field(default_factory=dict)
    options: NodeOptions = PLAIN
    all_images: bool = True
    first_good: bool = True
    ends: int | None = None


_CLOCK_OFF = {"image_late": MUST} | dict.fromkeys(
    ("image_duplicate", "image_overflow", "image_time_jump", "image_unmatched"), MAY
)
_STOPPED = {"set_stopped": MAY, "image_stopped": MAY}
FAULTS = (
    Fault("camera killed and restarted", inputs.camera_killed, (1, 10), {"image_unmatched": MUST}),
    Fault("20 % of images lost", inputs.random_loss, (40, 1000), {"image_unmatched": MUST, "image_overflow": MAY}),
    Fault("duplicates", inputs.duplicates, (12, 500), {"image_duplicate": MUST, "image_late": MUST}),
    Fault("reordering", inputs.reordered, (12, 500), {"image_unmatched": MAY, "image_late": MAY}),
    Fault("stall of 5 s", inputs.stalled, (1, 10)),
    Fault("truncated JPEGs", inputs.truncated, (20, 500), {"set_bad_image": MUST}),
    Fault("NaN calibration", inputs.calibration_nan, (3, 6), {"set_bad_camera_info": MUST}),
    Fault("TF gaps", inputs.transform_gaps, (2, 50), {"set_pose_timeout": MUST}),
    Fault("clock steps of an hour", inputs.clock_steps, (1, 20)),
    Fault("parameter storm", operation.parameter_storm, (120, 1000)),
    Fault("lifecycle storm", operation.lifecycle_storm, (2, 50), _STOPPED, all_images=False),
    Fault("odometry jump of 100 m", inputs.odometry_jump, (2, 50), options=ODOMETRY),
    Fault("clock of one camera off", inputs.camera_clock_off, (3, 30), _CLOCK_OFF, PARTIAL),
    Fault("out of memory", operation.out_of_memory, (8, 8), {"set_inference_failed": MUST}, FAILING),
    Fault("bag looped", operation.looped_bag, (5, 20), {"image_unmatched": MAY}, SIMULATED),
    Fault("bad checkpoints", operation.bad_checkpoints, (1, 10), options=UNCONFIGURED, first_good=False),
    Fault("SIGINT in mid-frame", operation.in_mid_frame, (2, 2), _STOPPED, ENDLESS, False, False, signal.SIGINT),
    Fault("SIGTERM in mid-frame", operation.in_mid_frame, (2, 2), _STOPPED, ENDLESS, False, False, signal.SIGTERM),
    Fault("network hangs", inputs.unanswered, (80, 80), _STOPPED, ENDLESS, False, False, signal.SIGTERM),
    Fault("SIGTERM at work", operation.at_work, (8, 40), _STOPPED, BUSY, False, False, signal.SIGTERM),
)


def put_through(fault: Fault, ground: Ground, long: bool) -> Row:
    """Good set, fault, good set; what is wrong about it."""
    if fault.first_good:
        ground.expect(ground.recover() == 1, "the first set before the fault was not inferred")
    before = ground.mark() if fault.first_good else NOTHING_YET
    fault.inject(ground, fault.amounts[long])
    if fault.ends is not None:
        return _ended(fault, ground, fault.ends)
    recovered = ground.recover()
    return judge(fault.name, ground, before, recovered, fault.drops, fault.all_images)


def _ended(fault: Fault, ground: Ground, number: int) -> Row:
    """How the process takes a signal; what it says last are its books."""
    problems = ground.problems
    try:
        ended = ground.process.end(number)
    except subprocess.TimeoutExpired as error:
        return Row(fault.name, Books(), None, [*problems, f"it hangs: {error}"])
    ground.expect(ended.status == 0, f"exit status is {ended.status}, expected 0")
    ground.expect(
        ended.took_s < END_LIMIT_S, f"it took {ended.took_s:.1f} s to end, expected {END_LIMIT_S:g} s at most"
    )
    ground.expect("Traceback" not in ended.output, "a traceback in its log")
    books = closed(ended.output)
    ground.expect(books.sets_in == books.published + books.sets_dropped, "sets in are not published and dropped ones")
    low, high = ground.sets
    ground.expect(low <= books.sets_in <= high, f"{books.sets_in} complete sets counted, {low} to {high} went out")
    return Row(fault.name, books, None, problems)


def run(faults: Sequence[Fault], long: bool, domain_id: int, folder: Path, model: str = "tiny") -> Iterator[Row]:
    """Each fault's result; neighbours of equal options share a node, if that has come through."""
    with ExitStack() as opened:
        ground, options = None, None
        for number, fault in enumerate(faults):
            try:
                if ground is None or options is not fault.options or not ground.process.is_running():
                    opened.close()
                    ground, options = None, fault.options
                    log = fresh(folder / f"{number:02d}") / LOG
                    ground = opened.enter_context(Ground(with_model(options, model), domain_id, log))
                yield put_through(fault, ground, long)
            except DrillError as error:
                ground = None
                yield Row(fault.name, Books(), None, [str(error)])


def fresh(folder: Path) -> Path:
    """That folder, without what an earlier drill left there, whole or broken off; nothing else that is there goes."""
    if (folder / LOG).exists():
        shutil.rmtree(folder)
    return folder


def with_model(options: NodeOptions, model: str) -> NodeOptions:
    """The same with another model, where the fault does not need the tiny one."""
    if model == "tiny" or options is UNCONFIGURED:
        return options
    parameters = {**options.parameters, "model": model, "allow_random_weights": model not in SHIPPED_WEIGHTS}
    return dataclasses.replace(options, parameters=parameters)
