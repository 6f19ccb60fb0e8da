"""Bad input into a running node: a named, counted drop each, and the next good set is inferred."""

from __future__ import annotations

import array
import itertools
from collections.abc import Callable, Iterator
from typing import Any

import cv2
import numpy as np
import pytest
from rclpy.context import Context
from sensor_msgs.msg import CameraInfo, CompressedImage
from synthetic_rig import (
    SyntheticRig,
    camera_info,
    detector_process,
    ego2global,
    jpeg,
    nanoseconds,
    transform,
)
from tf2_msgs.msg import TFMessage

pytestmark = pytest.mark.timeout(120)
CAMERA = "CAM_BACK"


class Bench:
    """A running node; every set has a number of its own."""

    def __init__(self, rig: SyntheticRig) -> None:
        self.rig = rig
        self.numbers = itertools.count()
        self.sent = 0

    def good(self) -> dict[str, int]:
        """A good set; the drops counted until it was inferred."""
        self.sent += 1
        report = self.rig.publish_until_report(next(self.numbers))
        assert report.sets_received == report.sets_published + sum(
            count.count for count in report.drops if count.cause.startswith("set_")
        )
        return {count.cause: count.count for count in report.drops}

    def bad(self, **options: Any) -> int:
        """A set with something wrong in it. Its reference time."""
        self.sent += 1
        return self.rig.publish_set(next(self.numbers), **options)


@pytest.fixture(scope="module")
def bench(context: Context, domain_id: int) -> Iterator[Bench]:
    rig = SyntheticRig(context)
    with detector_process(domain_id, pose_timeout_s=0.3) as process:
        rig.wait_for_detector()
        yield Bench(rig)
        assert process.poll() is None, "the node has died"
    rig.destroy_node()


def check(bench: Bench, cause: str, break_it: Callable[[], object]) -> None:
    """Good, bad, good: the bad one is counted under ``cause`` once, nothing is published for it."""
    before = bench.good()
    published = len(bench.rig.received["boxes"])
    bad_ns = break_it()
    counted = before.get(cause, 0) + 1
    assert bench.rig.spin_until(lambda: bench.rig.drops().get(cause) == str(counted)), bench.rig.drops()
    after = bench.good()
    assert {name: count for name, count in after.items() if count != before.get(name)} == {cause: counted}
    assert bench.rig.spin_until(lambda: len(bench.rig.received["boxes"]) == published + 1)
    assert bad_ns not in [nanoseconds(message) for message in bench.rig.received["boxes"]]


def test_missing_camera_info_comes_first(bench: Bench) -> None:
    """Before any CameraInfo has come: a drop; then it comes."""
    bench.bad(infos=False)
    camera = f"detector: camera {CAMERA}"
    assert bench.rig.spin_until(lambda: (now := bench.rig.diagnostic(camera)) and now.message == "no CameraInfo")
    assert bench.rig.spin_until(lambda: bench.rig.drops().get("set_no_camera_info") == "1")
    assert bench.good() == {"set_no_camera_info": 1}


def damaged(change: Callable[[CompressedImage], object]) -> Callable[[int], CompressedImage]:
    def make(stamp_ns: int) -> CompressedImage:
        message = jpeg(CAMERA, stamp_ns)
        change(message)
        return message

    return make


def cut(share: float) -> Callable[[CompressedImage], object]:
    return lambda message: setattr(message, "data", message.data[: int(len(message.data) * share)])


@pytest.mark.parametrize(
    ("change", "cause"),
    [
        (cut(0.0), "set_bad_image"),
        (cut(0.1), "set_bad_image"),
        (cut(0.7), "set_bad_image"),
        (lambda message: message.data.__delitem__(slice(-1400, -1100)), "set_bad_image"),
        (lambda message: setattr(message, "data", array.array("B", b"GIF89a")), "set_bad_image"),
        (lambda message: setattr(message, "format", "16UC1; png compressed "), "set_bad_encoding"),
        (lambda message: setattr(message.header, "frame_id", ""), "set_no_frame_id"),
        (lambda message: setattr(message.header, "frame_id", "CAM_ROOF"), "set_pose_missing"),
    ],
)
def test_a_bad_image_drops_its_set(bench: Bench, change: Callable[[CompressedImage], object], cause: str) -> None:
    def break_it() -> int:
        stamps_ns = bench.rig.stamps_ns(next(bench.numbers))
        bench.numbers = itertools.chain([index_of(bench, stamps_ns)], bench.numbers)
        return bench.bad(**{CAMERA: damaged(change)(stamps_ns[CAMERA])})

    check(bench, cause, break_it)


def test_a_grey_image_is_used_and_named(bench: Bench) -> None:
    before, number = bench.good(), next(bench.numbers)
    message = jpeg(CAMERA, bench.rig.stamps_ns(number)[CAMERA])
    grey = cv2.imdecode(np.frombuffer(message.data, np.uint8), cv2.IMREAD_GRAYSCALE)
    message.data = array.array("B", cv2.imencode(".jpg", grey)[1].tobytes())
    message.format = "yuv422_yuy2; jpeg compressed mono8"
    bench.sent += 1
    bench.rig.publish_until_report(number, **{CAMERA: message})
    said = "no colours: grey, compressed as 'yuv422_yuy2; jpeg compressed mono8'"
    assert bench.rig.spin_until(lambda: bench.rig.diagnostic(f"detector: camera {CAMERA}").message == said)
    assert bench.good() == before
    assert bench.rig.spin_until(lambda: bench.rig.diagnostic(f"detector: camera {CAMERA}").message == "fresh")


def index_of(bench: Bench, stamps_ns: dict[str, int]) -> int:
    """The number of the set with those stamps."""
    return next(n for n in itertools.count() if bench.rig.stamps_ns(n) == stamps_ns)


@pytest.mark.parametrize("k", [[float("nan")] * 9, [0.0] * 9])
def test_bad_intrinsics_drop_the_set(bench: Bench, k: list[float]) -> None:
    def break_it() -> int:
        info: CameraInfo = camera_info(CAMERA, 1)
        info.k = k
        bench.rig.infos[CAMERA].publish(info)
        bench.rig.spin_for(0.2)
        return bench.bad(infos=False)

    check(bench, "set_bad_camera_info", break_it)


def test_missing_tf_drops_the_set_after_the_timeout(bench: Bench) -> None:
    check(bench, "set_pose_timeout", lambda: bench.bad(poses=False))


def test_non_unit_quaternion_is_counted_and_its_set_dropped(bench: Bench) -> None:
    def break_it() -> None:
        index = next(bench.numbers)
        stamps_ns = list(bench.rig.stamps_ns(index).values())
        wrong = [transform(ego2global(t), "map", "base_link", t) for t in stamps_ns]
        for message in wrong:
            message.transform.rotation.w += 1.0
        bench.rig.tf.publish(TFMessage(transforms=wrong))
        assert bench.rig.spin_until(lambda: bench.rig.drops().get("transform_invalid") == "6")
        bench.rig.publish_set(index, poses=False)

    before = bench.good()
    break_it()
    dropped = str(before.get("set_pose_timeout", 0) + 1)
    assert bench.rig.spin_until(lambda: bench.rig.drops().get("set_pose_timeout") == dropped)
    changed = dict(bench.good().items() - before.items())
    assert changed == {"transform_invalid": 6, "set_pose_timeout": int(dropped)}


def test_stamp_zero_is_dropped_and_the_set_stays_incomplete(bench: Bench) -> None:
    before = bench.good()
    published = len(bench.rig.received["boxes"])
    bench.rig.publish_set(next(bench.numbers), **{CAMERA: jpeg(CAMERA, 0)})
    assert bench.rig.spin_until(lambda: bench.rig.drops().get("image_zero_stamp") == "1")
    after = bench.good()
    assert after["image_zero_stamp"] == 1
    assert after["image_unmatched"] == before.get("image_unmatched", 0) + 5
    assert bench.rig.spin_until(lambda: len(bench.rig.received["boxes"]) == published + 1)


def test_five_cameras_where_six_are_configured(bench: Bench) -> None:
    """No set, no output; what waited is counted when the sixth comes back."""
    before = bench.good()
    published = len(bench.rig.received["boxes"])
    for _ in range(3):
        bench.rig.publish_set(next(bench.numbers), **{CAMERA: None})
    bench.rig.spin_for(0.5)
    assert len(bench.rig.received["boxes"]) == published
    after = bench.good()
    assert after["image_unmatched"] == before.get("image_unmatched", 0) + 15


def test_wrong_stamps_are_never_published(bench: Bench) -> None:
    """Whatever came before: every published stamp is the newest image stamp of one set, each once."""
    bench.good()
    references = {max(bench.rig.stamps_ns(n).values()) for n in range(200)}
    stamps_ns = [nanoseconds(message) for message in bench.rig.received["boxes"]]
    assert len(stamps_ns) == len(set(stamps_ns))
    assert set(stamps_ns) <= references
    assert len(bench.rig.received["report"]) == len(stamps_ns)
