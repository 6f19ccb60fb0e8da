"""/diagnostics from the consumer's side: what arrives, what is made of it, and what it rests on."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence

from diagnostic_msgs.msg import DiagnosticStatus, KeyValue

from tggbc_ros.core.config import PruningConfig
from tggbc_ros.core.types import StepReport
from tggbc_ros.ros.camera_topics import Feed
from tggbc_ros.ros.drops import Totals
from tggbc_ros.ros.lenses import is_distorted
from tggbc_ros.ros.report import Identity

STALE_S = 2.0
"""A camera that sent nothing for longer is stale."""

OK, WARN, ERROR = DiagnosticStatus.OK, DiagnosticStatus.WARN, DiagnosticStatus.ERROR


def status(name: str, level: bytes, message: str, values: Mapping[str, object]) -> DiagnosticStatus:
    """One line of the diagnostics."""
    pairs = [KeyValue(key=key, value=str(value)) for key, value in values.items()]
    return DiagnosticStatus(name=f"detector: {name}", level=level, message=message, hardware_id="", values=pairs)


def node_status(state: str, worker_alive: bool) -> DiagnosticStatus:
    """The lifecycle state; anything but active is worth a warning, a dead worker is an error."""
    if state == "active" and not worker_alive:
        return status("node", ERROR, "the worker thread has died", {"state": state})
    return status("node", OK if state == "active" else WARN, state, {"state": state})


def network_status(identity: Identity | None) -> DiagnosticStatus:
    """Which network, with which weights."""
    if identity is None:
        return status("network", WARN, "not loaded", {})
    random = identity.weights == "RANDOM"
    message = "RANDOM weights: boxes mean nothing" if random else identity.weights
    return status("network", WARN if random else OK, message, vars(identity))


def camera_status(camera: str, feed: Feed) -> DiagnosticStatus:
    """Never seen, stale or fresh, from its images as they arrive here."""
    values: dict[str, object] = {
        "topic": feed.source.topic if feed.source else "not published",
        "type": feed.source.kind.__name__ if feed.source else "",
        "reliable": feed.source.reliable if feed.source else "",
        "images": feed.images,
        "camera_info": "seen" if feed.info else "never seen",
        "distortion": feed.info.distortion_model if feed.info and is_distorted(feed.info) else "none",
        "sets_without": feed.sets_without,
        "last_error": feed.last_error,
    }
    if feed.last_arrival_s is None:
        return status(f"camera {camera}", ERROR, "never seen", values)
    age_s = time.monotonic() - feed.last_arrival_s
    values["age_s"] = f"{age_s:.3f}"
    if age_s > STALE_S:
        return status(f"camera {camera}", ERROR, f"stale: silent for {age_s:.1f} s", values)
    if feed.info is None:
        return status(f"camera {camera}", ERROR, "no CameraInfo", values)
    return status(f"camera {camera}", OK, "fresh", values)


def rig_status(cameras: Sequence[str], missing: Sequence[str], hidden: Mapping[str, float]) -> DiagnosticStatus:
    """Which cameras the last published set went without, a warning; hidden: share of cells an ego mask hides."""
    values = {"cameras": len(cameras), "missing": " ".join(missing)}
    values |= {f"hidden: {camera}": f"{share:.3f}" for camera, share in hidden.items()}
    if missing:
        return status("rig", WARN, f"without {', '.join(missing)}", values)
    return status("rig", OK, f"{len(cameras)} cameras", values)


def sync_status(totals: Totals, before: Totals | None, buffered: int) -> DiagnosticStatus:
    """Sets and drops by cause; what went wrong since ``before``, the books at the last diagnostics, decides the level.

    A set superseded by a newer one is no fault: the network is slower than the cameras.
    """
    values = {
        "sets_received": totals.sets_received,
        "sets_published": totals.sets_published,
        "images_waiting": buffered,
        **totals.drops,
    }
    if totals.sets_received == 0:
        return status("synchroniser", WARN, "no complete set yet", values)
    earlier = before.drops if before else {}
    faults = [
        cause
        for cause, count in totals.drops.items()
        if cause.startswith("set_") and cause != "set_superseded" and count > earlier.get(cause, 0)
    ]
    if not faults:
        message = f"{totals.sets_published} of {totals.sets_received} sets published"
        return status("synchroniser", OK, message, values)
    stuck = totals.sets_published == (before.sets_published if before else 0)
    return status("synchroniser", ERROR if stuck else WARN, f"sets dropped: {', '.join(faults)}", values)


def pose_status(source: str, fixed: Mapping[str, str]) -> DiagnosticStatus:
    """Where poses come from; a mounting that is not from TF is a fallback, so a warning. fixed: those, by sensor."""
    values = {"source": source, "lidar2base": fixed.get("lidar", "TF")}
    values |= {f"{camera}2base": origin for camera, origin in fixed.items() if camera != "lidar"}
    if fixed:
        return status("ego pose", WARN, f"mountings not from TF: {', '.join(fixed)}", values)
    return status("ego pose", OK, source, values)


def pruning_status(pruning: PruningConfig, last: StepReport | None) -> DiagnosticStatus:
    """How many keys the last set kept and by which rule; a warning where no ratio in bounds holds the budget."""
    keep = pruning.keep
    values: dict[str, object] = {"keep_mode": keep.mode, "prune_schedule": pruning.schedule}
    values |= {"keep_ratio": pruning.keep_ratio, "carry_ratio": pruning.carry.ratio}
    if keep.mode == "budget":
        values |= {"latency_budget_ms": keep.budget_ms, "latency_budget_of": keep.budget_of}
    if last is None:
        return status("pruning", OK, "no set yet", values)
    values |= {"keep_ratio_used": f"{last.keep_ratio_used:.4f}", "keys": " ".join(map(str, last.keys))}
    values |= {"total_keys": last.total_keys, "voters": last.voters}
    if keep.mode == "budget" and not last.feasible:
        message = f"even a keep ratio of {keep.min_ratio} misses {keep.budget_ms} ms of {keep.budget_of} time"
        return status("pruning", WARN, message, values)
    return status("pruning", OK, f"{keep.mode}: {last.keys[-1]} of {last.total_keys} keys kept", values)


def memory_status(totals: Totals, last: StepReport | None) -> DiagnosticStatus:
    """Age of the temporal memory at the last set, and why it was dropped."""
    values: dict[str, object] = {f"resets: {cause}": count for cause, count in totals.resets.items()}
    values["last_reset_cause"] = totals.last_reset_cause
    if last is None:
        return status("memory", OK, "empty", values)
    values["age_s"] = f"{last.memory_age_s:.3f}"
    values |= {f"stage_ms: {stage}": f"{ms:.1f}" for stage, ms in last.stage_ms.items()}
    return status("memory", OK, f"{last.memory_age_s:.3f} s old", values)
