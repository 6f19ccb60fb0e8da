"""ego_pose: the matrices of a set against the closed form of the motion, over real DDS; causes where there are none."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from bag_families import write_calibration
from builtin_interfaces.msg import Time as Time_
from geometry_msgs.msg import Quaternion
from nav_msgs.msg import Odometry
from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor
from rclpy.lifecycle import LifecycleNode
from rclpy.time import Time
from std_msgs.msg import Header
from synthetic_rig import (
    CAM2EGO,
    LIDAR2EGO,
    START_NS,
    SyntheticRig,
    ego2global,
    static_transforms,
    transform,
)
from tf2_msgs.msg import TFMessage

from tggbc_ros.core.geometry import invert_rigid, quaternion_from_rotation
from tggbc_ros.ros import calibration_file
from tggbc_ros.ros.calibration_file import CameraCalibration
from tggbc_ros.ros.drops import Account, BadInputError
from tggbc_ros.ros.images.camera_sync import BACKWARD_JUMP_NS
from tggbc_ros.ros.params import CAMERAS, Settings
from tggbc_ros.ros.poses.ego_pose import EgoPose, SetGeometry
from tggbc_ros.ros.poses.pose_topics import PoseTopics

MS = 1_000_000
STAMPS_NS = [START_NS + offset * MS for offset in (3, 11, 19, 27, 35, 43)]


class Listener:
    """An EgoPose fed by its own executor thread, as in the node."""

    def __init__(
        self, context: Context, calibration: dict[str, CameraCalibration] | None = None, **parameters: object
    ) -> None:
        self.node = LifecycleNode("listener", context=context)
        self.account = Account()
        self.stopping = threading.Event()
        told = self.node.get_logger().warning, self.node.get_clock()
        settings = Settings(**parameters)
        self.poses = EgoPose(settings, self.account, self.stopping, calibration or {}, *told)
        self.topics = PoseTopics(self.node, settings, self.poses)
        self.executor = SingleThreadedExecutor(context=context)
        self.executor.add_node(self.node)
        self.thread = threading.Thread(target=self.executor.spin)
        self.thread.start()

    def close(self) -> None:
        self.executor.shutdown()
        self.thread.join()
        self.node.destroy_node()

    def geometry(self, stamps_ns: list[int] = STAMPS_NS) -> SetGeometry:
        return self.poses.geometry(list(CAM2EGO), list(CAM2EGO), stamps_ns)

    def cause(self, stamps_ns: list[int] = STAMPS_NS) -> str:
        with pytest.raises(BadInputError) as error:
            self.geometry(stamps_ns)
        return error.value.cause


@pytest.fixture(scope="module")
def rig(context: Context) -> Iterator[SyntheticRig]:
    rig = SyntheticRig(context)
    yield rig
    rig.destroy_node()


@pytest.fixture
def listen(context: Context, rig: SyntheticRig) -> Iterator[object]:
    opened: list[Listener] = []

    def make(**parameters: object) -> Listener:
        listener = Listener(context, **({"pose_timeout_s": 0.3} | parameters))
        opened.append(listener)
        publishers = [rig.tf, rig.tf_static] + [rig.odom] * (parameters.get("ego_pose_source") == "odom")
        assert rig.spin_until(lambda: all(publisher.get_subscription_count() for publisher in publishers))
        rig.tf_static.publish(static_transforms())
        return listener

    yield make
    for listener in opened:
        listener.close()


def poses_at(*offsets_ms: int) -> TFMessage:
    stamps_ns = [START_NS + offset * MS for offset in offsets_ms]
    return TFMessage(transforms=[transform(ego2global(t), "map", "base_link", t) for t in stamps_ns])


def check(found: SetGeometry, stamps_ns: list[int] = STAMPS_NS) -> None:
    """Against the closed form; 1e-9 of 900 m is float64's noise."""
    reference = ego2global(max(stamps_ns)) @ LIDAR2EGO
    assert list(found.lidar2cam) == list(CAM2EGO)
    for (camera, cam2ego), stamp_ns in zip(CAM2EGO.items(), stamps_ns, strict=True):
        expected = invert_rigid(cam2ego) @ invert_rigid(ego2global(stamp_ns)) @ reference
        np.testing.assert_allclose(found.lidar2cam[camera], expected, atol=1e-8)
    np.testing.assert_allclose(found.lidar2global, reference, atol=1e-8)


def test_interpolates_at_each_image_stamp(rig: SyntheticRig, listen) -> None:
    listener = listen()
    rig.tf.publish(poses_at(0, 20, 40, 60))
    found = listener.geometry()
    check(found)
    np.testing.assert_allclose(found.lidar2output, LIDAR2EGO, atol=1e-12)
    still = invert_rigid(CAM2EGO["CAM_FRONT"]) @ LIDAR2EGO
    assert np.abs(found.lidar2cam["CAM_FRONT"] - still).max() > 0.1, "the motion between stamps is missing"


def test_samples_at_the_stamps_need_no_neighbours(rig: SyntheticRig, listen) -> None:
    listener = listen()
    rig.tf.publish(poses_at(3, 11, 19, 27, 35, 43))
    check(listener.geometry())


def test_odometry_gives_the_same(rig: SyntheticRig, listen) -> None:
    listener = listen(ego_pose_source="odom")
    rig.tf.publish(TFMessage(transforms=[transform(np.eye(4), "map", "base_link", START_NS)]))  # must not be used
    for offset in (0, 20, 40, 60):
        rig.odom.publish(odometry(START_NS + offset * MS))
    check(listener.geometry())


def odometry(stamp_ns: int, child: str = "base_link") -> Odometry:
    message, matrix = Odometry(child_frame_id=child), ego2global(stamp_ns)
    message.header = transform(matrix, "odom", child, stamp_ns).header
    place = message.pose.pose.position
    place.x, place.y, place.z = matrix[:3, 3].tolist()
    x, y, z, w = quaternion_from_rotation(matrix[:3, :3])
    message.pose.pose.orientation = Quaternion(x=x, y=y, z=z, w=w)
    return message


def test_odometry_of_another_frame_is_refused(rig: SyntheticRig, listen) -> None:
    listener = listen(ego_pose_source="odom")
    rig.odom.publish(odometry(START_NS, child="imu_link"))
    assert rig.spin_until(lambda: listener.account.totals().drops == {"odometry_bad_frame": 1})
    assert listener.cause() == "pose_missing"


def test_odometry_in_a_frame_that_is_not_the_output_frame_is_refused(rig: SyntheticRig, listen) -> None:
    listener = listen(ego_pose_source="odom", output_frame="map")
    rig.odom.publish(odometry(START_NS))  # in odom
    assert rig.spin_until(lambda: listener.account.totals().drops == {"odometry_bad_frame": 1})


def test_odometry_begins_again_beside_tf(rig: SyntheticRig, listen) -> None:
    """Both speak of base_link; the jump back of one must not hide that of the other."""
    listener = listen(ego_pose_source="odom", pose_cache_s=1.0)
    later_ms = 5_000
    for offset in (0, 60, later_ms):
        rig.odom.publish(odometry(START_NS + offset * MS))
    rig.tf.publish(poses_at(0, 60, later_ms))
    assert rig.spin_until(
        lambda: listener.poses._ego.can_transform("map", "base_link", Time(nanoseconds=START_NS + later_ms * MS))
    )
    rig.tf.publish(poses_at(0, 60))
    rig.spin_for(0.3)
    for offset in (0, 60):
        rig.odom.publish(odometry(START_NS + offset * MS))
    check(listener.geometry())


def test_boxes_in_the_lidar_frame_need_no_transform(rig: SyntheticRig, listen) -> None:
    listener = listen(output_frame="LIDAR_TOP")
    rig.tf.publish(poses_at(0, 60))
    np.testing.assert_array_equal(listener.geometry().lidar2output, np.eye(4))


def test_impossible_stamps_and_loops_are_counted_and_not_used(rig: SyntheticRig, listen) -> None:
    listener = listen()
    for wrong in (Time_(sec=-1), Time_(sec=1, nanosec=2**32 - 1)):
        message = transform(np.eye(4), "a", "b", START_NS)
        message.header.stamp = wrong
        rig.tf.publish(TFMessage(transforms=[message]))
    rig.tf.publish(TFMessage(transforms=[transform(np.eye(4), "map", "map", START_NS)]))
    assert rig.spin_until(lambda: listener.account.totals().drops == {"transform_invalid": 3})
    rig.tf.publish(poses_at(0, 60))
    check(listener.geometry())


def test_waits_for_a_transform_on_its_way(rig: SyntheticRig, listen) -> None:
    listener = listen(pose_timeout_s=10.0)
    rig.tf.publish(poses_at(0))
    late = threading.Timer(0.2, lambda: rig.tf.publish(poses_at(60)))
    late.start()
    check(listener.geometry())
    late.join()


def test_causes_where_there_is_no_pose(rig: SyntheticRig, listen) -> None:
    listener = listen()
    assert listener.cause() == "pose_missing"
    rig.tf.publish(poses_at(-100, 40))
    started_s = time.monotonic()
    assert listener.cause() == "pose_timeout"  # 43 ms would be extrapolated
    assert time.monotonic() - started_s >= 0.3
    rig.tf.publish(poses_at(60))
    check(listener.geometry())
    assert listener.cause([START_NS - 200 * MS] * 6) == "pose_expired"


def test_a_stop_ends_the_wait(rig: SyntheticRig, listen) -> None:
    listener = listen(pose_timeout_s=10.0)
    threading.Timer(0.2, listener.stopping.set).start()
    started_s = time.monotonic()
    assert listener.cause() == "pose_missing"
    assert time.monotonic() - started_s < 8


def test_unusable_transforms_are_counted_and_not_used(rig: SyntheticRig, listen) -> None:
    listener = listen()
    off_unit, endless = poses_at(0).transforms[0], poses_at(60).transforms[0]
    off_unit.transform.rotation.w += 0.5
    endless.transform.translation.x = float("nan")
    rig.tf.publish(TFMessage(transforms=[off_unit, endless]))
    assert rig.spin_until(lambda: listener.account.totals().drops == {"transform_invalid": 2})
    assert listener.cause() == "pose_missing"
    rig.tf.publish(poses_at(0, 60))
    check(listener.geometry())


def test_a_camera_without_frame_or_mounting_is_left_out_with_its_cause(rig: SyntheticRig, listen) -> None:
    listener = listen(pose_timeout_s=1.0)
    rig.tf.publish(poses_at(0, 60))
    check(listener.geometry())
    frames = [*CAMERAS[:3], "", "CAM_ROOF", CAMERAS[5]]
    found = listener.poses.geometry(CAMERAS, frames, STAMPS_NS)
    causes = {camera: error.cause for camera, error in found.unplaced.items()}
    assert causes == {CAMERAS[3]: "no_frame_id", CAMERAS[4]: "pose_missing"}
    assert "CAM_ROOF" in str(found.unplaced[CAMERAS[4]])
    started_s = time.monotonic()
    again = listener.poses.geometry(CAMERAS, frames, STAMPS_NS)
    assert time.monotonic() - started_s < 1.0  # no second wait for what did not come the first time
    expected = listener.geometry()
    assert not expected.unplaced
    for one in (found, again):
        assert list(one.lidar2cam) == [*CAMERAS[:3], CAMERAS[5]]
        for camera, matrix in one.lidar2cam.items():
            np.testing.assert_allclose(matrix, expected.lidar2cam[camera], atol=1e-12)


def test_the_reference_time_is_that_of_the_cameras_left(rig: SyntheticRig, listen) -> None:
    listener = listen()
    rig.tf.publish(poses_at(0, 60))
    found = listener.poses.geometry(CAMERAS, [*CAMERAS[:5], "CAM_ROOF"], STAMPS_NS)
    reference = ego2global(STAMPS_NS[4]) @ LIDAR2EGO
    np.testing.assert_allclose(found.lidar2global, reference, atol=1e-8)
    assert np.abs(found.lidar2global - ego2global(STAMPS_NS[5]) @ LIDAR2EGO).max() > 0.01


def test_without_any_camera_left_it_is_an_error(rig: SyntheticRig, listen) -> None:
    listener = listen()
    rig.tf.publish(poses_at(0, 60))
    with pytest.raises(BadInputError) as error:
        listener.poses.geometry(CAMERAS[:2], ["CAM_ROOF", ""], STAMPS_NS[:2])
    assert error.value.cause == "pose_missing"


def test_lidar_mounting_from_the_parameter_until_tf_knows_it(rig: SyntheticRig, listen) -> None:
    half = float(np.sqrt(0.5))
    listener = listen(lidar_frame="LIDAR_LATE", lidar2base=(0.5, 0.0, 2.0, 0.0, 0.0, half, half))
    rig.tf.publish(poses_at(0, 60))
    found = listener.geometry()
    assert listener.poses.fixed == {"lidar": "parameter lidar2base"}
    np.testing.assert_allclose(found.lidar2output[:3], [[0, -1, 0, 0.5], [1, 0, 0, 0], [0, 0, 1, 2.0]], atol=1e-12)
    rig.tf_static.publish(TFMessage(transforms=[transform(LIDAR2EGO, "base_link", "LIDAR_LATE")]))
    assert rig.spin_until(lambda: listener.poses._tf.can_transform("base_link", "LIDAR_LATE", Time()))
    check(listener.geometry())
    assert not listener.poses.fixed


def file_calibration(tmp_path: Path, field: str = "camera2base") -> dict[str, CameraCalibration]:
    return calibration_file.load(str(write_calibration(tmp_path / "rig.yaml", CAMERAS, field)), CAMERAS)


@pytest.mark.parametrize("field", ["camera2base", "camera2lidar"])
@pytest.mark.parametrize("frame", ["", "unknown_link"])
def test_camera_mountings_from_the_file_where_tf_has_none(
    rig: SyntheticRig, listen, tmp_path: Path, field: str, frame: str
) -> None:
    listener = listen(calibration=file_calibration(tmp_path, field), pose_timeout_s=1.0)
    rig.tf.publish(poses_at(0, 60))
    frames = [frame, *CAMERAS[1:]]
    check(listener.poses.geometry(CAMERAS, frames, STAMPS_NS))
    assert listener.poses.fixed == {"CAM_FRONT": "calibration_file"}
    started_s = time.monotonic()
    listener.poses.geometry(CAMERAS, frames, STAMPS_NS)
    assert time.monotonic() - started_s < 1.0  # no second wait for what did not come the first time
    check(listener.geometry())
    assert not listener.poses.fixed


def test_tf_comes_before_the_file(rig: SyntheticRig, listen, tmp_path: Path) -> None:
    wrong = {name: found for name, found in zip(CAMERAS, reversed(file_calibration(tmp_path).values()), strict=True)}
    listener = listen(calibration=wrong)
    rig.tf.publish(poses_at(0, 60))
    check(listener.geometry())


def test_poses_with_stamp_zero_take_the_time_of_their_arrival(rig: SyntheticRig, listen) -> None:
    listener = listen(stamp_policy="receive", ego_pose_source="odom", pose_timeout_s=10.0)
    still = Odometry(header=Header(frame_id="map"), child_frame_id="base_link")
    rig.odom.publish(still)
    assert rig.spin_until(lambda: listener.poses._ego.can_transform("map", "base_link", Time()))
    between_ns = listener.node.get_clock().now().nanoseconds
    rig.odom.publish(still)
    np.testing.assert_allclose(listener.geometry([between_ns] * 6).lidar2global, LIDAR2EGO, atol=1e-12)


def test_without_tf_or_parameter_the_lidar_is_missing(rig: SyntheticRig, listen) -> None:
    listener = listen(lidar_frame="LIDAR_NOWHERE")
    rig.tf.publish(poses_at(0, 60))
    assert listener.cause() == "pose_missing"


@pytest.mark.parametrize("frame", ["map", "roof"])
def test_output_frame(rig: SyntheticRig, listen, frame: str) -> None:
    listener = listen(output_frame=frame)
    roof = transform(np.diag([1.0, 1.0, 1.0, 1.0]), "base_link", "roof")
    roof.transform.translation.z = 2.5
    rig.tf_static.publish(TFMessage(transforms=[roof]))
    rig.tf.publish(poses_at(0, 60))
    lowered = LIDAR2EGO.copy()
    lowered[2, 3] -= 2.5
    expected = ego2global(STAMPS_NS[-1]) @ LIDAR2EGO if frame == "map" else lowered
    np.testing.assert_allclose(listener.geometry().lidar2output, expected, atol=1e-8)


def test_a_bag_that_begins_again_clears_what_is_stale(rig: SyntheticRig, listen) -> None:
    listener = listen()
    later = BACKWARD_JUMP_NS // MS + 100
    rig.tf.publish(poses_at(0, 20, 60, later))
    check(listener.geometry())
    rig.tf.publish(poses_at(0))
    rig.tf.publish(poses_at(10))
    assert rig.spin_until(
        lambda: not listener.poses._ego.can_transform("map", "base_link", Time(nanoseconds=START_NS + 20 * MS))
    )
    assert listener.cause() == "pose_timeout"
    rig.tf.publish(poses_at(60))
    check(listener.geometry())
    assert listener.account.totals().drops == {}


def knows(listener: Listener, offset_ms: int, target: str = "map", source: str = "base_link") -> bool:
    return listener.poses._ego.can_transform(target, source, Time(nanoseconds=START_NS + offset_ms * MS))


def moved(child: str, parent: str, *offsets_ms: int) -> TFMessage:
    return TFMessage(transforms=[transform(np.eye(4), parent, child, START_NS + t * MS) for t in offsets_ms])


LATE_MS = BACKWARD_JUMP_NS // MS + 100


def test_late_samples_of_another_frame_cost_only_themselves(rig: SyntheticRig, listen) -> None:
    """Two publishers of one frame, 0.6 s apart, for ever; the frame is on the vehicle, the ego pose is not its."""
    listener = listen()
    rig.tf.publish(poses_at(0, 20, 60))
    for offset in range(0, 100, 10):
        rig.tf.publish(moved("wiper", "base_link", offset))
        rig.tf.publish(moved("wiper", "base_link", offset - LATE_MS))
    assert rig.spin_until(lambda: listener.account.totals().drops == {"transform_late": 10})
    check(listener.geometry())
    assert knows(listener, 90, "base_link", "wiper")
    assert not knows(listener, -LATE_MS, "base_link", "wiper")


@pytest.mark.parametrize("source", ["tf", "odom"])
def test_a_late_ego_pose_between_others_costs_only_itself(rig: SyntheticRig, listen, source: str) -> None:
    listener = listen(ego_pose_source=source)
    for offset in (0, -LATE_MS, 20, -LATE_MS + 20, 60):
        if source == "tf":
            rig.tf.publish(poses_at(offset))
        else:
            rig.odom.publish(odometry(START_NS + offset * MS))
    assert rig.spin_until(lambda: listener.account.totals().drops == {"transform_late": 2})
    assert rig.spin_until(lambda: knows(listener, 60))
    check(listener.geometry())
    assert not knows(listener, -LATE_MS)


def test_any_frame_between_ego_and_global_tells_of_a_bag_that_began_again(rig: SyntheticRig, listen) -> None:
    """By then all that is stale goes; what is below the vehicle or above the global frame tells of nothing."""
    listener = listen()
    rig.tf.publish(moved("map", "earth", 0, LATE_MS))
    rig.tf.publish(moved("odom", "map", 0, LATE_MS))
    rig.tf.publish(moved("base_link", "odom", 0, LATE_MS))
    assert rig.spin_until(lambda: knows(listener, LATE_MS))
    rig.tf.publish(moved("map", "earth", 0, 10))
    assert rig.spin_until(lambda: listener.account.totals().drops == {"transform_late": 2})
    assert knows(listener, LATE_MS)
    rig.tf.publish(moved("odom", "map", 0, 10))
    assert rig.spin_until(lambda: not knows(listener, LATE_MS))
    assert knows(listener, 0, "map", "odom") and knows(listener, 10, "map", "odom")
    assert not knows(listener, 0)
    assert not listener.poses._tf.can_transform("earth", "map", Time())
    rig.tf.publish(moved("base_link", "odom", 0, 10))
    assert rig.spin_until(lambda: knows(listener, 10))
    assert listener.account.totals().drops == {"transform_late": 2}


def test_transforms_in_a_circle_are_no_ego_pose_and_end_nothing(rig: SyntheticRig, listen) -> None:
    listener = listen()
    rig.tf.publish(moved("odom", "base_link", LATE_MS))
    rig.tf.publish(moved("base_link", "odom", LATE_MS))
    rig.tf.publish(moved("wiper", "odom", LATE_MS, 0))
    assert rig.spin_until(lambda: listener.account.totals().drops == {"transform_late": 1})
    assert listener.cause() == "pose_missing"


def test_passes_of_a_tree_with_the_global_frame_below_the_vehicle(rig: SyntheticRig, listen) -> None:
    """As some SLAM nodes publish it. Samples are at the stamps: what lies between them moves otherwise, inverted."""
    listener = listen()
    for offset in (3, 11, 19, 27, 35, 43, LATE_MS + 100, 3, 11, 19, 27, 35, 43):
        inverse = invert_rigid(ego2global(START_NS + offset * MS))
        rig.tf.publish(TFMessage(transforms=[transform(inverse, "base_link", "map", START_NS + offset * MS)]))
        if offset > LATE_MS:
            assert rig.spin_until(lambda: knows(listener, LATE_MS + 100))
            check(listener.geometry())
    assert rig.spin_until(lambda: knows(listener, 43) and not knows(listener, LATE_MS))
    check(listener.geometry())
    assert not knows(listener, 0), "a pose of the old pass is taken for a mounting"
    assert listener.account.totals().drops == {}


def test_odometry_begins_again_whatever_tree_tf_has(rig: SyntheticRig, listen) -> None:
    listener = listen(ego_pose_source="odom")
    rig.tf.publish(moved("map", "base_link", 0))
    assert rig.spin_until(lambda: "map" in listener.poses._parents)
    for offset in (0, LATE_MS, 2 * LATE_MS, 0, 60):
        rig.odom.publish(odometry(START_NS + offset * MS))
    assert rig.spin_until(lambda: knows(listener, 60) and not knows(listener, LATE_MS))
    check(listener.geometry())
    assert listener.account.totals().drops == {}


RAISED = LIDAR2EGO + np.array([[0.0] * 4, [0.0] * 4, [0.0, 0.0, 0.0, 1.0], [0.0] * 4])


def mountings(lidar2ego: np.ndarray = LIDAR2EGO, lidar: str = "LIDAR_TF", at_ms: int = 0) -> TFMessage:
    """On /tf, by way of a frame that was also sent a little later."""
    chassis, at_ns = moved("chassis", "base_link", at_ms, at_ms + 10).transforms, START_NS + at_ms * MS
    sensors = {lidar: lidar2ego, **{f"{camera}_TF": matrix for camera, matrix in CAM2EGO.items()}}.items()
    return TFMessage(transforms=[*chassis, *(transform(m, "chassis", name, at_ns) for name, m in sensors)])


def mounted(listener: Listener) -> SetGeometry:
    return listener.poses.geometry(CAMERAS, [f"{camera}_TF" for camera in CAMERAS], STAMPS_NS)


@pytest.mark.parametrize(
    ("start", "end", "lidar2ego"),
    [
        ([], [], LIDAR2EGO),
        ([mountings(RAISED)], [], RAISED),
        ([mountings(RAISED)], [mountings(at_ms=LATE_MS + 100)], RAISED),
    ],
    ids=["once", "once a pass", "rarely"],
)
def test_mountings_sent_rarely_on_tf_hold_for_the_next_passes(
    rig: SyntheticRig, listen, start: list[TFMessage], end: list[TFMessage], lidar2ego: np.ndarray
) -> None:
    """Those of the first pass until others come, which come before the poses that tell of a new pass."""
    listener = listen(lidar_frame="LIDAR_TF")
    for number, mountings_now in enumerate([[mountings()], start, start]):
        for message in [*mountings_now, poses_at(0), poses_at(60)]:
            rig.tf.publish(message)
        assert rig.spin_until(lambda: knows(listener, 60) and not knows(listener, LATE_MS))
        found, expected = mounted(listener), lidar2ego if number else LIDAR2EGO
        np.testing.assert_allclose(found.lidar2output, expected, atol=1e-12)
        np.testing.assert_allclose(found.lidar2global, ego2global(STAMPS_NS[-1]) @ expected, atol=1e-8)
        assert not found.unplaced
        for message in [*end, poses_at(LATE_MS + 100)]:
            rig.tf.publish(message)
        assert rig.spin_until(lambda: knows(listener, LATE_MS))
    assert set(listener.account.totals().drops) == ({"transform_late"} if end else set())


def test_a_sensor_beside_the_vehicles_frame_keeps_its_mounting_too(rig: SyntheticRig, listen) -> None:
    """Both hang on a frame on the ground, which is what moves."""
    listener = listen(base_frame="body")
    rig.tf_static.publish(TFMessage(transforms=[transform(np.eye(4), "footprint", "body")]))
    rig.tf.publish(TFMessage(transforms=[transform(LIDAR2EGO, "footprint", "LIDAR_TF", START_NS)]))

    def moves(*offsets_ms: int) -> TFMessage:
        stamps_ns = [START_NS + offset * MS for offset in offsets_ms]
        return TFMessage(transforms=[transform(ego2global(t), "map", "footprint", t) for t in stamps_ns])

    for _ in range(2):
        rig.tf.publish(moves(0, 60))
        assert rig.spin_until(
            lambda: knows(listener, 60, source="body") and not knows(listener, LATE_MS, source="body")
        )
        assert rig.spin_until(lambda: listener.poses._tf.can_transform("body", "LIDAR_TF", Time()))
        rig.tf.publish(moves(LATE_MS + 100))
        assert rig.spin_until(lambda: knows(listener, LATE_MS, source="body"))


def test_a_mounting_that_became_static_stays_what_it_is(rig: SyntheticRig, listen) -> None:
    listener = listen(lidar_frame="LIDAR_FIXED")
    rig.tf.publish(mountings(RAISED, "LIDAR_FIXED"))
    rig.tf.publish(poses_at(0, LATE_MS + 100))
    assert rig.spin_until(lambda: knows(listener, LATE_MS))
    rig.tf_static.publish(TFMessage(transforms=[transform(LIDAR2EGO, "chassis", "LIDAR_FIXED")]))
    assert rig.spin_until(lambda: "LIDAR_FIXED" not in listener.poses._last)
    rig.tf.publish(poses_at(0, 60))
    assert rig.spin_until(lambda: not knows(listener, LATE_MS))
    np.testing.assert_allclose(mounted(listener).lidar2output, LIDAR2EGO, atol=1e-12)


@pytest.mark.parametrize("source", ["tf", "odom"])
def test_once_the_clock_fell_the_old_pass_answers_no_more(rig: SyntheticRig, listen, source: str) -> None:
    """A simulation that starts again a second ago, and moves otherwise; its rig is another, too."""
    listener = listen(ego_pose_source=source, lidar_frame="LIDAR_TF")
    rig.tf.publish(mountings())
    for offset in (0, 60, LATE_MS + 100):
        stamp_ns = START_NS + offset * MS
        rig.tf.publish(poses_at(offset)) if source == "tf" else rig.odom.publish(odometry(stamp_ns))
    assert rig.spin_until(
        lambda: knows(listener, LATE_MS) and listener.poses._tf.can_transform("base_link", "LIDAR_TF", Time())
    )
    listener.poses.clock_went_back(START_NS + (LATE_MS - 350) * MS)  # not by half a second
    assert knows(listener, LATE_MS)
    listener.poses.clock_went_back(START_NS + 5 * MS)
    with pytest.raises(BadInputError) as error:
        mounted(listener)
    assert error.value.cause == "pose_missing" and "map" in str(error.value)
    rig.tf.publish(mountings(RAISED))
    for offset in (0, 60):
        rig.tf.publish(poses_at(offset)) if source == "tf" else rig.odom.publish(odometry(START_NS + offset * MS))
    assert rig.spin_until(lambda: knows(listener, 60) and np.allclose(mounted(listener).lidar2output, RAISED))
    listener.poses.clock_went_back(START_NS + 70 * MS)  # the clock's own message may come last
    assert knows(listener, 60)
    assert listener.account.totals().drops == {}
