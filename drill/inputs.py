"""Faults of what comes in: cameras, calibration, transforms, time. Each is a function of the ground and an amount."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

from diagnostic_msgs.msg import DiagnosticStatus
from sensor_msgs.msg import CompressedImage
from synthetic_rig import camera_info, jpeg, nanoseconds

from drill.books import reported
from drill.camera import CameraProcess
from drill.ground import PACE_S, Awaited, Ground
from tggbc_ros.ros.params import CAMERAS

CAMERA = "CAM_BACK"
TOPIC = f"/camera/{CAMERA}/image/compressed"
LOSS = 0.2
CUT = 0.1
STALL_S = 5.0
HOUR_SETS = 7200
DEAD_SETS = 6
OFF_SETS = (-2, -20, 2, 20)
"""By how many sets the clock of one camera is off: 1 s and 10 s, behind and then ahead."""
OFF_PACE_S = 2.5
AWAITED_SETS = 6
HANG_PACE_S = 0.25


def camera_killed(ground: Ground, count: int) -> None:
    """A camera's process is killed, comes back, is killed again; sets lack it for longer than memory lasts."""
    rig = ground.rig
    rig.destroy_publisher(rig.images[CAMERA])
    for _ in range(count):
        camera = rig.images[CAMERA] = CameraProcess(TOPIC, ground.domain_id)
        ground.expect_inferred(ground.send(), "the first set of a camera that came back was not inferred")
        camera.kill()
        for _ in range(DEAD_SETS):
            ground.send(lost={CAMERA})
            rig.spin_for(PACE_S)
    rig.images[CAMERA] = rig.create_publisher(CompressedImage, TOPIC, 10)
    ground.expect(rig.spin_until(rig.images[CAMERA].get_subscription_count), f"nobody listens to {CAMERA}")


def random_loss(ground: Ground, count: int) -> None:
    """Every fifth image is lost."""
    draw = random.Random(1)
    for _ in range(count):
        ground.send(lost={camera for camera in CAMERAS if draw.random() < LOSS})
        ground.pace()


def duplicates(ground: Ground, count: int) -> None:
    """Images come twice, now and then the whole set before once more."""
    draw = random.Random(2)
    for turn in range(count):
        index = ground.index
        ground.send()
        for camera in draw.sample(CAMERAS, 2):
            _repeat(ground, camera, index)
        if turn % 4 == 3:
            for camera in CAMERAS:
                _repeat(ground, camera, index - 1)
        ground.pace()


def _repeat(ground: Ground, camera: str, index: int) -> None:
    rig = ground.rig
    rig.images[camera].publish(rig.make_image(camera, rig.stamps_ns(index)[camera], index))
    ground.images += 1


def reordered(ground: Ground, count: int) -> None:
    """The images of two sets come in any order: the newer one is complete in the end, the older one if it is first."""
    draw = random.Random(3)
    for _ in range(count):
        rig, shots = ground.rig, []
        for complete in (None, True):
            stamps_ns = rig.stamps_ns(ground.index)
            rig.publish_poses(stamps_ns.values())
            shots += [(name, jpeg(name, stamp_ns, ground.index)) for name, stamp_ns in stamps_ns.items()]
            ground.note(good=True, complete=complete)
        draw.shuffle(shots)
        for name, image in shots:
            rig.images[name].publish(image)
        ground.pace()


def stalled(ground: Ground, count: int) -> None:
    """Nothing for a while: once because nothing was taken, once because it was held up and comes all at once."""
    for _ in range(count):
        ground.rig.spin_for(STALL_S)
        ground.index += round(STALL_S / 0.5)
        ground.expect_inferred(ground.send(), "the first set after a stall was not inferred")
        ground.rig.spin_for(STALL_S)
        burst = [ground.send() for _ in range(DEAD_SETS)]
        ground.expect_inferred(burst[-1], "the newest set of a burst was not inferred")


def truncated(ground: Ground, count: int) -> None:
    """JPEG files that end too early."""
    draw = random.Random(4)
    for _ in range(count):
        stamps_ns = ground.rig.stamps_ns(ground.index)
        cut: dict[str, Any] = {}
        for camera in CAMERAS:
            if draw.random() < CUT:
                cut[camera] = jpeg(camera, stamps_ns[camera], ground.index)
                cut[camera].data = cut[camera].data[: int(len(cut[camera].data) * draw.uniform(0.0, 0.9))]
        ground.send(good=not cut, **cut)
        ground.pace()


def calibration_nan(ground: Ground, count: int) -> None:
    """CameraInfo without numbers, then with them again."""
    wrong, right = camera_info(CAMERA, 1), camera_info(CAMERA, 1)
    wrong.k = [float("nan")] * 9
    for info, good in ((wrong, False), (right, True)):
        ground.rig.infos[CAMERA].publish(info)
        ground.rig.spin_for(0.5)
        for _ in range(count):
            ground.send(good=good, infos=False)
            ground.rig.spin_for(PACE_S)
        ground.settle()


def transform_gaps(ground: Ground, count: int) -> None:
    """The ego pose fails for two sets, again and again."""
    for _ in range(count):
        for _ in range(2):
            ground.send(good=False, poses=False)
        ground.settle()
        ground.expect_inferred(ground.send(), "the first set with poses was not inferred")


def odometry_jump(ground: Ground, count: int) -> None:
    """Localisation finds itself 100 m away, and back again."""
    for turn in range(count):
        ground.rig.shift_m = 100.0 * ((turn + 1) % 2)
        for _ in range(2):
            ground.expect_inferred(ground.send(), "a set after a jump of the odometry was not inferred")


def clock_steps(ground: Ground, count: int) -> None:
    """The cameras' clock is an hour off for two sets, as when time is set by hand and then by the network."""
    for _ in range(count):
        for step in (HOUR_SETS, -HOUR_SETS):
            ground.index += step
            for _ in range(2):
                ground.expect_inferred(ground.send(), "a set after a step of the clock was not inferred")


def camera_clock_off(ground: Ground, count: int) -> None:
    """The clock of one camera is off and right again: after a while the others go on without it, set by set."""
    before = ground.reports[-1]
    first = len(ground.reports)
    for off_sets in OFF_SETS:
        off = f"{CAMERA} is {off_sets / 2:+g} s off"
        ground.awaited.append(Awaited(tuple(_until_soon_answered(ground, off_sets)), f"no set while {off}"))
        for _ in range(count):
            ground.expect_inferred(_send_off(ground, off_sets), f"a set is missing while {off}")
        ground.expect_inferred(ground.send(), f"the first set after {off} was not inferred")
    # Whatever was superseded lacked that camera too: every other set was waited for.
    drops = (reported(ground.reports[-1]) - reported(before)).drops
    ground.images += drops["set_superseded"] + sum(len(report.missing_cameras) for report in ground.reports[first:])


def _until_soon_answered(ground: Ground, off_sets: int) -> Iterator[int]:
    """Send sets until one is inferred before the next is due; the reference times of all."""
    for _ in range(AWAITED_SETS):
        reference_ns = _send_off(ground, off_sets)
        yield reference_ns
        if ground.rig.spin_until(lambda sent=reference_ns: nanoseconds(ground.reports[-1]) == sent, OFF_PACE_S):
            return


def _send_off(ground: Ground, off_sets: int) -> int:
    """A set whose image of CAMERA has the stamp of another set. Its reference time."""
    rig = ground.rig
    wrong_ns = rig.stamps_ns(ground.index + off_sets)[CAMERA]
    rig.publish_set(ground.index, **{CAMERA: rig.make_image(CAMERA, wrong_ns, ground.index)})
    return ground.note(good=True, complete=None)


def unanswered(ground: Ground, count: int) -> None:
    """Sets go on coming while the network does not come back from the first: the diagnostics must not look well."""
    rig = ground.rig

    def level(name: str) -> bytes:
        status = rig.diagnostic(f"detector: {name}")
        return bytes(status.level) if status else DiagnosticStatus.OK

    for _ in range(count):
        rig.publish_set(ground.index)
        ground.note(good=True, complete=None)
        rig.spin_for(HANG_PACE_S)
        if level("synchroniser") == DiagnosticStatus.ERROR:
            break
    ground.expect(level("synchroniser") == DiagnosticStatus.ERROR, "a network that hangs is no error of diagnostics")
    for name in ("rig", "memory", "stages", "pruning"):
        ground.expect(level(name) >= DiagnosticStatus.WARN, f"{name} looks well while the network hangs")
