"""bag_sets: the frames of a bag are those that the data set it was made of gives; what cannot be used is counted."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sensor_msgs.msg import CameraInfo, CompressedImage

from tggbc_ros.core.config import model_config
from tggbc_ros.core.geometry import invert_rigid, quaternion_from_rotation
from tggbc_ros.core.types import CameraFrame
from tggbc_ros.data.bags.bag_file import Bag, BagError, open_bag
from tggbc_ros.ros.bags.bag_images import find_camera
from tggbc_ros.ros.bags.bag_sets import STRETCH_S, Books, bag_drives, stretches
from tggbc_ros.ros.param_file import from_file
from tggbc_ros.ros.params import CAMERAS, Settings

sys.path.insert(0, str(Path(__file__).parents[1]))

import bag_families as families  # noqa: E402
from synthetic_rig import CAM2EGO, LIDAR2EGO, PERIOD_NS, STAGGER_NS, START_NS, ego2global  # noqa: E402

MODEL = model_config("demo")
PROFILES = Path(__file__).parents[3] / "config" / "profiles"
LIDAR = (*LIDAR2EGO[:3, 3].tolist(), *map(float, quaternion_from_rotation(LIDAR2EGO[:3, :3])))


def read(
    bag: Path, settings: Settings | None = None, most: int = 100, warnings: list[str] | None = None
) -> tuple[list[list[CameraFrame]], Books]:
    books, said = Books(), [] if warnings is None else warnings
    drives = bag_drives(bag, settings or Settings(), MODEL, most, books, said.append)
    return [list(drive) for drive in drives], books


def check(frame: CameraFrame, index: int) -> None:
    """Against the closed form of the rig's motion."""
    stamps_ns = [START_NS + index * PERIOD_NS + place * STAGGER_NS for place in range(len(CAMERAS))]
    reference = ego2global(stamps_ns[-1]) @ LIDAR2EGO
    assert frame.timestamp_ns == stamps_ns[-1]
    np.testing.assert_allclose(frame.lidar2global, reference, atol=1e-8)
    for place, cam2ego in enumerate(CAM2EGO.values()):
        expected = invert_rigid(ego2global(stamps_ns[place]) @ cam2ego) @ reference
        np.testing.assert_allclose(frame.rig.lidar2cam[place], expected, atol=1e-8)


@pytest.fixture(scope="module")
def bag(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return families.write_bag(tmp_path_factory.mktemp("bag") / "drive", families.our_own(range(10)))


def test_a_bag_is_one_drive_with_calibration_and_poses(bag: Path) -> None:
    (drive,), books = read(bag)
    assert len(drive) == 10
    for index, frame in enumerate(drive):
        check(frame, index)
        assert frame.rig.names == CAMERAS and frame.cells is None
    assert str(books) == "10 of 10 sets of images can be used; dropped: nothing"


def test_no_more_than_asked_for_is_read(bag: Path) -> None:
    (drive,), _ = read(bag, most=4)
    assert [frame.timestamp_ns for frame in drive] == [
        START_NS + index * PERIOD_NS + 5 * STAGGER_NS for index in range(4)
    ]


def test_of_a_long_bag_stretches_are_read_that_are_spread_over_it(tmp_path: Path) -> None:
    path = families.write_bag(tmp_path / "long", families.our_own(range(80)))  # 40 s
    with open_bag(path) as opened:
        found = stretches(opened, [find_camera(opened, CAMERAS[0], Settings())], 32)
        assert (found[0][0], found[-1][1]) == (opened.start_ns, opened.end_ns)
    assert [stop_ns - start_ns for start_ns, stop_ns, _ in found] == [round(STRETCH_S * 1e9)] * 2
    drives, books = read(path, most=32)
    assert [len(drive) for drive in drives] == [16, 16]
    check(drives[0][0], 0)
    check(drives[1][-1], 79)
    assert books.account.totals().sets_published == 32


@pytest.mark.parametrize("family", ["chris7462", "nuscenes2bag_ros2"])
def test_bags_of_the_wild_give_the_same_frames(family: str, tmp_path: Path) -> None:
    """Odometry in place of TF, no CameraInfo, zero stamps: by the profile's parameters, as for a node."""
    name = {"chris7462": "nuscenes_chris7462"}.get(family, family)
    settings = from_file(PROFILES / f"{name}.yaml")
    file = families.write_calibration(tmp_path / "rig.yaml", settings.camera_names)
    settings = replace(settings, calibration_file=str(file))
    settings = replace(settings, lidar2base=LIDAR) if family == "chris7462" else settings
    (drive,), books = read(families.write_bag(tmp_path / "bag", getattr(families, family)(range(4))), settings)
    assert len(drive) >= 3, str(books)
    for frame in drive:
        check(frame, (frame.timestamp_ns - START_NS) // PERIOD_NS)


def without(entries: Sequence[families.Entry], *words: str) -> list[families.Entry]:
    return [entry for entry in entries if not any(word in entry[1] for word in words)]


def with_odd_focal_length(entries: Sequence[families.Entry]) -> list[families.Entry]:
    for _, topic, message in entries:
        if topic.endswith("CAM_BACK/camera_info"):
            message.k[0] = message.p[0] = 0.01
    return list(entries)


def with_broken_images(entries: Sequence[families.Entry]) -> list[families.Entry]:
    for _, topic, message in entries:
        if isinstance(message, CompressedImage) and "CAM_FRONT_LEFT" in topic:
            message.data = b"nothing"
    return list(entries)


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda e: [x for x in e if x[1] != "/tf"], "0 of 4 sets .*; dropped: 4 set_pose_missing \\(.*map"),
        (lambda e: without(e, "/tf_static"), "0 of 4 sets .*; dropped: 4 set_pose_missing \\(.*LIDAR_TOP"),
        (lambda e: without(e, "camera_info"), "0 of 4 sets .*; dropped: 4 set_no_camera_info \\(CAM_FRONT: no_camera"),
        (with_broken_images, "0 of 4 sets .*; dropped: 4 set_bad_image \\(CAM_FRONT_LEFT: "),
        (with_odd_focal_length, "0 of 4 sets .*; dropped: 4 set_implausible_rig \\(CAM_BACK: "),
        (lambda e: without(e, "CAM_BACK/image"), "has no images of CAM_BACK on /camera/CAM_BACK/image"),
    ],
)
def test_a_bag_of_no_use_is_refused_in_one_line_that_says_what_was_lacking(
    spoil: Any, words: str, tmp_path: Path
) -> None:
    path = families.write_bag(tmp_path / "spoilt", spoil(families.our_own(range(4))))
    with pytest.raises(BagError, match=words) as raised:
        read(path)
    assert "\n" not in str(raised.value) and str(path) in str(raised.value)


def test_images_too_far_apart_make_no_set_and_are_counted(bag: Path) -> None:
    with pytest.raises(BagError, match=r"0 of 0 sets of images can be used; dropped: \d+ image_overflow"):
        read(bag, Settings(max_spread_s=0.01, sync_capacity=2))


def test_a_damaged_message_is_counted_and_its_set_is_lost_alone(bag: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = Bag.messages

    def damaged(self: Bag, *given: Any) -> Iterator[tuple[Any, int, bytes]]:
        for connection, now_ns, data in real(self, *given):
            spoil = connection.topic.startswith("/camera/CAM_BACK/image") and now_ns < START_NS + PERIOD_NS
            yield connection, now_ns, data[:6] if spoil else data

    monkeypatch.setattr(Bag, "messages", damaged)
    (drive,), books = read(bag)
    assert len(drive) == 9
    assert books.account.totals().drops == {"image_unmatched": 5, "message_damaged": 1}


def test_a_rig_with_a_camera_missing_goes_on_where_that_is_allowed(tmp_path: Path) -> None:
    path = families.write_bag(tmp_path / "five", without(families.our_own(range(6)), "CAM_BACK/image"))
    (drive,), _ = read(path, Settings(min_cameras=5, camera_timeout_s=0.6))
    assert drive
    for frame in drive:
        assert frame.cells is not None
        assert [bool(cells.any()) for cells in frame.cells] == [name != "CAM_BACK" for name in CAMERAS]


def test_what_is_odd_of_the_calibration_is_told(tmp_path: Path) -> None:
    entries = families.our_own(range(3))
    for _, _, message in entries:
        if isinstance(message, CameraInfo):
            message.k[4] = message.p[5] = 0.8 * message.k[4]
    warnings: list[str] = []
    (drive,), _ = read(families.write_bag(tmp_path / "odd", entries), warnings=warnings)
    assert len(drive) == 3
    (line,) = warnings
    assert line.startswith("implausible calibration: ")
