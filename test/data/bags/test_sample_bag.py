"""bag: what is written is read back exactly, in time order, with the types, stamps and QoS that ROS 2 expects."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from rosbags.interfaces import QosDurability, QosReliability
from rosbags.rosbag2 import Reader
from tiny_nuscenes import CAMERA_OFFSET_US, HEIGHT, INTRINSICS, START_US, WIDTH

from tggbc_ros.core.geometry import rigid, yaw_rotation
from tggbc_ros.data.bags.markers import GROUND_TRUTH_TOPIC
from tggbc_ros.data.bags.messages import Stamped, stamp_ns, transform_matrix
from tggbc_ros.data.bags.sample_bag import BagWriter, read_messages
from tggbc_ros.data.nuscenes.dataset import NuScenes
from tggbc_ros.data.records import CAMERA_NAMES, Sample


@pytest.fixture
def samples(tiny_root: Path) -> list[Sample]:
    return list(NuScenes(tiny_root).samples("scene-0001"))


def write(path: Path, samples: list[Sample], storage: str = "mcap", images: str = "jpeg") -> list[Stamped]:
    with BagWriter(path, storage, images) as writer:
        for sample in samples:
            writer.write(sample)
    return list(read_messages(path))


def on(messages: list[Stamped], topic: str) -> list[Any]:
    return [stamped.message for stamped in messages if stamped.topic == topic]


@pytest.mark.parametrize("storage", ["mcap", "sqlite3"])
@pytest.mark.parametrize("images", ["jpeg", "raw"])
def test_topics_types_and_counts(tmp_path: Path, samples: list[Sample], storage: str, images: str) -> None:
    messages = write(tmp_path / "bag", samples, storage, images)
    kind, ending = ("CompressedImage", "/compressed") if images == "jpeg" else ("Image", "")
    expected = {
        "/tf": ("tf2_msgs/msg/TFMessage", 21),
        "/tf_static": ("tf2_msgs/msg/TFMessage", 1),
        "/odom": ("nav_msgs/msg/Odometry", 21),
        "/ground_truth/markers": ("visualization_msgs/msg/MarkerArray", 3),
    }
    for name in CAMERA_NAMES:
        expected[f"/camera/{name}/image{ending}"] = (f"sensor_msgs/msg/{kind}", 3)
        expected[f"/camera/{name}/camera_info"] = ("sensor_msgs/msg/CameraInfo", 3)
    found = {s.topic: (s.msgtype, len(on(messages, s.topic))) for s in messages}
    assert found == expected


@pytest.mark.parametrize("storage", ["mcap", "sqlite3"])
def test_log_time_is_the_header_stamp_and_never_goes_back(tmp_path: Path, tiny_root: Path, storage: str) -> None:
    messages = write(tmp_path / "bag", list(NuScenes(tiny_root).sweeps("scene-0001")), storage)
    times = [stamped.timestamp_ns for stamped in messages]
    assert times == sorted(times)
    for stamped in messages:
        message: Any = stamped.message
        if stamped.topic == GROUND_TRUTH_TOPIC:
            continue
        headers = [part.header for part in getattr(message, "transforms", getattr(message, "markers", [message]))]
        assert {stamp_ns(header) for header in headers} == {stamped.timestamp_ns}


def test_ground_truth_follows_the_last_image_of_its_set(tmp_path: Path, samples: list[Sample]) -> None:
    """So that a player in lockstep, which waits for a set's boxes before it goes on, shows both together."""
    # As in nuScenes, where the lidar's time lies between those of the cameras.
    samples = [replace(sample, timestamp_ns=sample.timestamp_ns - 30_000_000) for sample in samples]
    messages = write(tmp_path / "bag", samples)
    times = {sample.timestamp_ns: max(shot.timestamp_ns for shot in sample.cameras) for sample in samples}
    truth: list[Any] = [stamped for stamped in messages if stamped.topic == GROUND_TRUTH_TOPIC]
    assert len(truth) == len(samples)
    for stamped in truth:
        last_image_ns = times[stamp_ns(stamped.message.markers[0].header)]
        assert last_image_ns < stamped.timestamp_ns < last_image_ns + 1_000_000


def test_pose_comes_before_the_image_of_the_same_stamp(tmp_path: Path, samples: list[Sample]) -> None:
    messages = write(tmp_path / "bag", samples)
    seen: set[int] = set()
    for stamped in messages:
        if stamped.topic == "/tf":
            seen.add(stamped.timestamp_ns)
        elif stamped.topic not in ("/tf_static", GROUND_TRUTH_TOPIC):
            assert stamped.timestamp_ns in seen
    assert messages[0].topic == "/tf_static"


def test_static_transforms_are_latched_and_all_is_offered_reliable(tmp_path: Path, samples: list[Sample]) -> None:
    write(tmp_path / "bag", samples)
    with Reader(tmp_path / "bag") as reader:
        for connection in reader.connections:
            (profile,) = connection.ext.offered_qos_profiles
            latched = connection.topic == "/tf_static"
            assert profile.reliability is QosReliability.RELIABLE
            assert profile.durability is (QosDurability.TRANSIENT_LOCAL if latched else QosDurability.VOLATILE)
            assert connection.digest.startswith("RIHS01_")
            assert "TFMessage" in connection.msgtype or connection.topic not in ("/tf", "/tf_static")


def test_transforms_give_mounting_and_pose_at_every_stamp(tmp_path: Path, samples: list[Sample]) -> None:
    messages = write(tmp_path / "bag", samples)
    mounting = {tf.child_frame_id: tf for tf in on(messages, "/tf_static")[0].transforms}
    assert list(mounting) == ["LIDAR_TOP", *CAMERA_NAMES]
    assert {tf.header.frame_id for tf in mounting.values()} == {"base_link"}
    np.testing.assert_allclose(transform_matrix(mounting["LIDAR_TOP"].transform), samples[0].lidar2ego, atol=1e-12)
    for shot in samples[0].cameras:
        np.testing.assert_allclose(transform_matrix(mounting[shot.name].transform), shot.cam2ego, atol=1e-12)
    poses = {stamp_ns(tf.header): tf for message in on(messages, "/tf") for tf in message.transforms}
    for sample in samples:
        for time_ns, ego2global in [
            (sample.timestamp_ns, sample.ego2global),
            *((shot.timestamp_ns, shot.ego2global) for shot in sample.cameras),
        ]:
            transform = poses[time_ns]
            assert (transform.header.frame_id, transform.child_frame_id) == ("map", "base_link")
            np.testing.assert_allclose(transform_matrix(transform.transform), ego2global, atol=1e-9)


def test_camera_info(tmp_path: Path, samples: list[Sample]) -> None:
    info = on(write(tmp_path / "bag", samples), "/camera/CAM_BACK/camera_info")[1]
    assert (info.width, info.height, info.distortion_model) == (WIDTH, HEIGHT, "plumb_bob")
    assert info.header.frame_id == "CAM_BACK"
    assert stamp_ns(info.header) == (START_US + 500_000 + CAMERA_OFFSET_US["CAM_BACK"]) * 1000
    np.testing.assert_array_equal(info.k.reshape(3, 3), INTRINSICS)
    np.testing.assert_array_equal(info.r.reshape(3, 3), np.eye(3))
    np.testing.assert_array_equal(info.p.reshape(3, 4), np.hstack([INTRINSICS, np.zeros((3, 1))]))
    np.testing.assert_array_equal(info.d, np.zeros(5))


def test_images_are_the_files_or_their_pixels(tmp_path: Path, samples: list[Sample]) -> None:
    shot = samples[2].cameras[4]
    encoded = on(write(tmp_path / "jpeg", samples), "/camera/CAM_BACK_LEFT/image/compressed")[2]
    raw = on(write(tmp_path / "raw", samples, images="raw"), "/camera/CAM_BACK_LEFT/image")[2]
    assert (encoded.format, encoded.header.frame_id) == ("jpeg", "CAM_BACK_LEFT")
    assert encoded.data.tobytes() == shot.jpeg_bytes()
    assert (raw.encoding, raw.step, raw.is_bigendian) == ("bgr8", 3 * WIDTH, 0)
    np.testing.assert_array_equal(raw.data.reshape(HEIGHT, WIDTH, 3), shot.image())


def test_odometry_has_pose_and_twist(tmp_path: Path, samples: list[Sample]) -> None:
    messages = on(write(tmp_path / "bag", samples), "/odom")
    for message in messages:
        assert (message.header.frame_id, message.child_frame_id) == ("map", "base_link")
        linear, angular = message.twist.twist.linear, message.twist.twist.angular
        assert np.hypot(linear.x, linear.y) == pytest.approx(np.hypot(6.0, 2.0), rel=1e-3)
        assert angular.z == pytest.approx(0.1, rel=1e-3)
        assert message.twist.covariance[0] == 0.0
    last = messages[-1].pose.pose.position
    np.testing.assert_allclose((last.x, last.y), samples[-1].ego2global[:2, 3], atol=1e-9)


def test_twist_of_simultaneous_cameras_is_marked_unknown(tmp_path: Path, samples: list[Sample]) -> None:
    sample = samples[0]
    still = tuple(replace(s, timestamp_ns=sample.timestamp_ns, ego2global=sample.ego2global) for s in sample.cameras)
    (message,) = on(write(tmp_path / "bag", [replace(sample, cameras=still)]), "/odom")
    assert message.twist.covariance[0] == -1.0
    assert message.twist.twist.linear.x == 0.0


def test_sets_that_overlap_are_written_in_time_order(tmp_path: Path, samples: list[Sample]) -> None:
    close = replace(
        samples[1],
        timestamp_ns=samples[0].timestamp_ns + 20_000_000,
        cameras=tuple(
            replace(shot, timestamp_ns=before.timestamp_ns + 20_000_000)
            for shot, before in zip(samples[1].cameras, samples[0].cameras, strict=True)
        ),
    )
    write(tmp_path / "bag", [samples[0], close], storage="sqlite3")
    with closing(sqlite3.connect(tmp_path / "bag" / "bag.db3")) as database:
        times = [time_ns for (time_ns,) in database.execute("SELECT timestamp FROM messages ORDER BY id")]
    assert times == sorted(times), "as they lie in the file, which readers would sort"
    assert times.index(close.cameras[2].timestamp_ns) < times.index(samples[0].timestamp_ns)


def test_samples_out_of_order_are_refused(tmp_path: Path, samples: list[Sample]) -> None:
    with pytest.raises(ValueError, match="sample scene-0001-0 starts at .* expected none before"):
        write(tmp_path / "bag", [samples[1], samples[0]])
    assert not (tmp_path / "bag").exists(), "an unfinished bag is removed"


def test_another_mounting_is_refused(tmp_path: Path, samples: list[Sample]) -> None:
    other = replace(samples[1], lidar2ego=samples[1].lidar2ego @ rigid(yaw_rotation(1e-3), (0, 0, 0)))
    with pytest.raises(ValueError, match="sample scene-0001-1 mounts its sensors otherwise"):
        write(tmp_path / "bag", [samples[0], other])
    fewer = replace(samples[1], cameras=samples[1].cameras[:5])
    with pytest.raises(ValueError, match="sample scene-0001-1 has cameras"):
        write(tmp_path / "bag", [samples[0], fewer])


def test_existing_bag_and_unknown_options_are_refused(tmp_path: Path) -> None:
    with pytest.raises(FileExistsError, match="exists already"):
        BagWriter(tmp_path)
    with pytest.raises(ValueError, match="storage is 'zip', expected one of mcap, sqlite3"):
        BagWriter(tmp_path / "bag", storage="zip")
    with pytest.raises(ValueError, match="images is 'png', expected one of jpeg, raw"):
        BagWriter(tmp_path / "bag", images="png")


def test_only_jpegs_go_out_as_jpeg(tmp_path: Path, samples: list[Sample]) -> None:
    png = cv2.imencode(".png", np.zeros((HEIGHT, WIDTH, 3), np.uint8))[1].tobytes()
    shots = (replace(samples[0].cameras[0], jpeg=png), *samples[0].cameras[1:])
    with pytest.raises(ValueError, match="image of CAM_FRONT .* starts with 89 50 4e 47, expected a JPEG"):
        write(tmp_path / "bag", [replace(samples[0], cameras=shots)])
