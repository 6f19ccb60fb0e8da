"""/diagnostics from the consumer's side: what arrives, what is made of it, and what it rests on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from diagnostic_msgs.msg import DiagnosticStatus, KeyValue

from tggbc_ros.core.config import PruningConfig
from tggbc_ros.core.types import StepReport
from tggbc_ros.ros.distortion import is_distorted
from tggbc_ros.ros.drops import Totals
from tggbc_ros.ros.health.stage_times import Spread
from tggbc_ros.ros.images.camera_topics import Feed
from tggbc_ros.ros.images.stagger import Stagger
from tggbc_ros.ros.output.report import Identity
from tggbc_ros.ros.params import MAX_SPREAD_SPAN, Settings
from tggbc_ros.ros.plausibility import Finding

NO_FAULTS = ("set_superseded", "set_paused")
"""Sets that are not inferred on purpose: the network is slower than the cameras, or nobody listens."""

WITHIN_A_PERIOD, OTHER_CLOCK_PERIODS = 0.9, 10
"""Cameras take turns within a period; what is further apart are different moments, or clocks."""

BEYOND_CALIBRATION = 0.02
"""Share of a frame; on drives like those calibrated on, of other seeds and difficulties, it stays below 0.01."""

POSE_DROPS = ("set_pose", "transform", "odometry")

OK, WARN, ERROR = DiagnosticStatus.OK, DiagnosticStatus.WARN, DiagnosticStatus.ERROR


def status(name: str, level: bytes, message: str, values: Mapping[str, object]) -> DiagnosticStatus:
    """One line of the diagnostics; `of_node` says whose it is."""
    pairs = [KeyValue(key=key, value=str(value)) for key, value in values.items()]
    return DiagnosticStatus(name=name, level=level, message=message, values=pairs)


def of_node(found: DiagnosticStatus, full_name: str, machine: str) -> DiagnosticStatus:
    """A status under the name of its node, by which those of several nodes on one /diagnostics are told apart.

    full_name: with namespace, "/car1/detector"; without its first slash it stands before the status's own name, as
    diagnostic_updater writes it. machine: what it runs on, the hardware_id.
    """
    found.name = f"{full_name.lstrip('/')}: {found.name}"
    found.hardware_id = machine
    return found


def node_status(state: str, worker_alive: bool, paused: bool, draws: bool = True) -> DiagnosticStatus:
    """The lifecycle state; anything but active is worth a warning, a dead worker is an error.

    draws: whether the thread that draws overlays lives; boxes go on without it.
    """
    values = {"state": state, "paused": paused}
    if state == "active" and not worker_alive:
        return status("node", ERROR, "the worker thread has died", values)
    if not draws:
        return status("node", WARN, f"{state}, but draws no overlays: their thread has died", values)
    if paused:
        return status("node", OK, "active, paused: nobody subscribes", values)
    return status("node", OK if state == "active" else WARN, state, values)


def network_status(
    identity: Identity | None, memory_mb: Mapping[str, float], beyond: float | None = None
) -> DiagnosticStatus:
    """Which network, with which weights, and what the process holds of memory.

    beyond: of an encoder in int8, how much of the last frame lay beyond what it was calibrated on.
    """
    sizes = {name: f"{size:.0f}" for name, size in memory_mb.items()}
    if identity is None:
        return status("network", WARN, "not loaded", sizes)
    random = identity.weights == "RANDOM"
    message = "RANDOM weights: boxes mean nothing" if random else identity.weights
    values = vars(identity) | sizes
    if beyond is not None:
        values |= {"beyond calibration": f"{beyond:.2%}"}
    if not random and beyond is not None and beyond > BEYOND_CALIBRATION:
        said = f"images are unlike those that int8 was calibrated on: {beyond:.1%} of them beyond its ranges"
        return status("network", WARN, f"{said}; calibrate on such images, too", values)
    return status("network", WARN if random else OK, message, values)


def camera_status(
    camera: str, feed: Feed, calibrated: bool, settings: Settings, now_s: float, patience_s: float
) -> DiagnosticStatus:
    """Never seen, stale, bad, slow or fresh, from its images as they arrive here.

    calibrated: whether calibration_file has its intrinsics. now_s: monotonic clock. patience_s: for how long after an
    error the camera is bad, unless a set finds its image good before: where none forms, none tells of its images.
    """
    rate_hz, values = feed.rate_hz(now_s), _camera_values(feed, calibrated, now_s)
    if feed.last_arrival_s is None:
        return status(f"camera {camera}", ERROR, "never seen", values)
    age_s = now_s - feed.last_arrival_s
    if age_s > settings.diagnostics_stale_s:
        return status(f"camera {camera}", ERROR, f"stale: silent for {age_s:.1f} s", values)
    if feed.info is None and not calibrated:
        return status(f"camera {camera}", ERROR, "no CameraInfo", values)
    if not feed.usable and feed.last_error_s is not None and now_s - feed.last_error_s <= patience_s:
        return status(f"camera {camera}", ERROR, f"bad: {feed.last_error}", values)
    if rate_hz is not None and rate_hz < settings.diagnostics_min_rate_hz:
        expected = f"expected {settings.diagnostics_min_rate_hz:g} or more"
        return status(f"camera {camera}", WARN, f"slow: {rate_hz:.1f} images a second, {expected}", values)
    if feed.lacks:
        return status(f"camera {camera}", WARN, f"no colours: {feed.lacks}", values)
    return status(f"camera {camera}", OK, "fresh", values)


def _camera_values(feed: Feed, calibrated: bool, now_s: float) -> dict[str, object]:
    rate_hz, info = feed.rate_hz(now_s), "calibration_file" if calibrated else "never seen"
    return {
        "topic": feed.source.topic if feed.source else "not published",
        "type": feed.source.kind.__name__ if feed.source else "",
        "reliable": feed.source.reliable if feed.source else "",
        "images": feed.images,
        "bad_images": feed.bad_images,
        "rate_hz": "" if rate_hz is None else f"{rate_hz:.2f}",
        "age_s": _age(feed.last_arrival_s, now_s),
        "camera_info": "seen" if feed.info else info,
        "distortion": feed.info.distortion_model if feed.info and is_distorted(feed.info) else "none",
        "sets_without": feed.sets_without,
        "last_error": feed.last_error,
        "last_error_age_s": _age(feed.last_error_s, now_s),
    }


def _age(then_s: float | None, now_s: float) -> str:
    """How long ago that was, in seconds; empty for never."""
    return "" if then_s is None else f"{now_s - then_s:.3f}"


def rig_status(
    cameras: Sequence[str],
    missing: Sequence[str],
    hidden: Mapping[str, float],
    odd: Sequence[Finding] = (),
    allowed: bool = False,
) -> DiagnosticStatus:
    """Which cameras the last published set went without, a warning; hidden: share of cells an ego mask hides.

    odd: what is implausible of the calibration, a warning, or an error where it cannot be and is not allowed.
    """
    values: dict[str, object] = {"cameras": len(cameras), "missing": " ".join(missing)}
    values |= {f"hidden: {camera}": f"{share:.3f}" for camera, share in hidden.items()}
    values |= {f"implausible: {one.camera}: {one.kind}": one.text for one in odd}
    if odd:
        worst = max(odd, key=lambda one: one.impossible)
        refused = worst.impossible and not allowed
        others = f" (and {len(odd) - 1} more, see the values)" if len(odd) > 1 else ""
        message = f"{'impossible' if worst.impossible else 'implausible'}: {worst.camera}: {worst.text}{others}"
        return status("rig", ERROR if refused else WARN, message, values)
    if missing:
        return status("rig", WARN, f"without {', '.join(missing)}", values)
    return status("rig", OK, f"{len(cameras)} cameras", values)


def stagger_hint(found: Stagger | None, max_spread_s: float) -> str:
    """Why no set of all cameras can form, where that is so by their stamps and not for want of images; else empty."""
    if found is None or found.spread_ns <= round(max_spread_s * 1e9):
        return ""
    spread_s = found.spread_ns / 1e9
    apart = f"at best {spread_s:.3f} s from {found.first} to {found.last}, and max_spread_s is {max_spread_s:g}"
    if found.spread_ns < WITHIN_A_PERIOD * found.period_ns:
        return f"stamps never match: {apart}; raise it above that, but keep it below the cameras' period"
    if spread_s > MAX_SPREAD_SPAN[1] and found.spread_ns > OTHER_CLOCK_PERIODS * found.period_ns:
        return f"stamps never match: {apart}; clocks differ, stamp_policy receive does without them"
    return ""  # about a whole period: images of the same moment were lost


def sync_status(
    totals: Totals,
    before: Totals | None,
    buffered: int,
    sending: bool,
    unanswered_s: float,
    patience_s: float,
    hint: str = "",
) -> DiagnosticStatus:
    """Sets and drops by cause; what went wrong since ``before``, the books at the last diagnostics, decides the level.

    NO_FAULTS are none. sending: whether any camera does. unanswered_s: for how long no set was published though
    somebody listens; beyond patience_s it is an error if images come, and a warning if they have ceased. hint: why
    sets of all cameras cannot form, as `stagger_hint`; a warning at least.
    """
    values = {
        "sets_received": totals.sets_received,
        "sets_published": totals.sets_published,
        "images_waiting": buffered,
        "unanswered_s": f"{unanswered_s:.3f}",
        "hint": hint,
        **totals.drops,
    }
    earlier = before.drops if before else {}
    grown = [cause for cause, count in totals.drops.items() if count > earlier.get(cause, 0)]
    faults = [cause for cause in grown if cause.startswith("set_") and cause not in NO_FAULTS]
    if faults:
        stuck = totals.sets_published == (before.sets_published if before else 0)
        return status("synchroniser", ERROR if stuck else WARN, f"sets dropped: {', '.join(faults)}", values)
    if unanswered_s > patience_s:
        level, images = (ERROR, "images come, but") if sending else (WARN, "no images come, and")
        why = f": {hint}" if sending and hint else ""
        return status("synchroniser", level, f"{images} no set was published for {unanswered_s:.1f} s{why}", values)
    if hint:
        return status("synchroniser", WARN, hint, values)
    if totals.sets_received == 0:
        return status("synchroniser", WARN, "no complete set yet", values)
    if "image_overflow" in grown:
        return status("synchroniser", WARN, "images dropped that waited for others: image_overflow", values)
    return status("synchroniser", OK, f"{totals.sets_published} of {totals.sets_received} sets published", values)


def answer_patience_s(spreads: Mapping[str, Spread], settings: Settings) -> float:
    """How long the next set may take: diagnostics_stale_s, or three times what sets take with a network as slow."""
    usual_ms = spreads["latency"].p50_ms if "latency" in spreads else 0.0
    return max(settings.diagnostics_stale_s, 3e-3 * usual_ms)


def of_last_set(found: DiagnosticStatus, unanswered_s: float, patience_s: float) -> DiagnosticStatus:
    """A status that tells of the last set; where no other followed for too long it is old news, a warning at least."""
    if unanswered_s > patience_s:
        found.level = max(found.level, WARN)
        found.message = f"stale, no set for {unanswered_s:.1f} s: {found.message}"
    return found


@dataclass(frozen=True)
class Pose:
    """What is known of the ego pose.

    newest_ns: stamp of the newest one; None: there is none. age_s: how long that has not changed, by the monotonic
    clock. fixed: sensors whose mounting is not from TF, and from where it is.
    """

    newest_ns: int | None
    age_s: float
    fixed: Mapping[str, str]


def pose_status(pose: Pose, settings: Settings, drops: Mapping[str, int]) -> DiagnosticStatus:
    """An error without a pose or with a stale one; a mounting that is not from TF is a fallback, so a warning."""
    values: dict[str, object] = {"source": settings.ego_pose_source, "lidar2base": pose.fixed.get("lidar", "TF")}
    values |= {f"{camera}2base": origin for camera, origin in pose.fixed.items() if camera != "lidar"}
    values |= {cause: count for cause, count in drops.items() if cause.startswith(POSE_DROPS)}
    if pose.newest_ns is None:
        frames = f"{settings.base_frame} in {settings.global_frame}"
        return status("ego pose", ERROR, f"never seen: no pose of {frames}", values)
    moves = pose.newest_ns > 0  # a vehicle whose pose is static has it for ever
    values |= {"newest_s": f"{pose.newest_ns / 1e9:.3f}", "age_s": f"{pose.age_s:.3f}" if moves else "static"}
    if moves and pose.age_s > settings.diagnostics_stale_s:
        return status("ego pose", ERROR, f"stale: none newer for {pose.age_s:.1f} s", values)
    if pose.fixed:
        return status("ego pose", WARN, f"mountings not from TF: {', '.join(pose.fixed)}", values)
    return status("ego pose", OK, settings.ego_pose_source, values)


def pruning_status(pruning: PruningConfig, last: StepReport | None) -> DiagnosticStatus:
    """How many keys the last set kept and by which rule; a warning where no ratio in bounds holds the budget."""
    keep = pruning.keep
    values: dict[str, object] = {"keep_mode": keep.mode, "prune_schedule": pruning.schedule}
    values |= {"keep_ratio": pruning.keep_ratio, "carry_ratio": pruning.carry.ratio}
    if pruning.start.active:
        values |= {"start_ratio": pruning.start.ratio, "started_by": _started_by(last)}
    if pruning.token_rate < 1.0:
        shares = () if last is None else last.token_shares
        used = "no set yet" if last is None else f"{last.token_rate_used:.4f}"
        values |= {"token_rate": pruning.token_rate, "token_rate_used": used}
        values["tokens"] = " ".join(f"{share:.3f}" for share in shares)
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


def _started_by(last: StepReport | None) -> str:
    """What chose the keys that the last set started with."""
    if last is None:
        return "no set yet"
    words = {"gate": "the key gate", "carry": "carried importance alone: the weights have no key gate"}
    return words.get(last.started_by, "nothing: all keys started, as the weights have no key gate and memory is new")


def memory_status(totals: Totals, before: Totals | None, last: StepReport | None) -> DiagnosticStatus:
    """Age of the temporal memory at the last set, and why it was dropped; a warning where it was since ``before``."""
    values: dict[str, object] = {f"resets: {cause}": count for cause, count in totals.resets.items()}
    values["last_reset_cause"] = totals.last_reset_cause
    if last is None:
        return status("memory", OK, "empty", values)
    values["age_s"] = f"{last.memory_age_s:.3f}"
    earlier = before.resets if before else {}
    fresh = [cause for cause, count in totals.resets.items() if count > earlier.get(cause, 0)]
    if fresh:
        return status("memory", WARN, f"dropped: {', '.join(fresh)}", values)
    return status("memory", OK, f"{last.memory_age_s:.3f} s old", values)


def stage_status(spreads: Mapping[str, Spread], settings: Settings) -> DiagnosticStatus:
    """What the stages of the last sets took; the level is by "latency", from the last image's arrival to the boxes."""
    values: dict[str, object] = {}
    for stage, spread in spreads.items():
        values |= {f"{stage}: {name}": f"{ms:.1f}" for name, ms in vars(spread).items()}
    if "latency" not in spreads:
        return status("stages", OK, "no set yet", values)
    p95_ms = spreads["latency"].p95_ms
    warn_ms, error_ms = settings.diagnostics_latency_warn_ms, settings.diagnostics_latency_error_ms
    for level, limit_ms in ((ERROR, error_ms), (WARN, warn_ms)):
        if p95_ms > limit_ms:
            return status("stages", level, f"latency p95 {p95_ms:.0f} ms, expected at most {limit_ms:g}", values)
    return status("stages", OK, f"latency p95 {p95_ms:.0f} ms", values)
