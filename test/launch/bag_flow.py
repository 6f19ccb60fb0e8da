"""detect.launch.py with a bag: comes up active, publishes boxes, takes a keep ratio live, ends cleanly.

Run by test_flows.py, or by hand on a machine with ROS 2: launch_test test/launch/bag_flow.py
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
import unittest
from pathlib import Path
from typing import Any

import launch_testing
import launch_testing.actions
import rclpy
from launch.actions import IncludeLaunchDescription
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch_testing.asserts import assertExitCodes
from rclpy.context import Context

from launch import LaunchDescription

TESTS = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(TESTS / "launch"), str(TESTS / "ros")]

import bag_families as families  # noqa: E402
from flow_client import FlowClient  # noqa: E402

KEEP_RATIO = 0.5
FOLDER = Path(tempfile.mkdtemp(prefix="bag_flow_"))


def generate_test_description() -> LaunchDescription:
    """The launch file under test, with a bag that is played on and on."""
    bag = families.write_bag(FOLDER / "bag", families.our_own(range(8)))
    arguments = {"bag": str(bag), "loop": "true", "rate": "0.5", "device": "cpu"}
    source = PythonLaunchDescriptionSource(str(TESTS.parent / "launch" / "detect.launch.py"))
    detect = IncludeLaunchDescription(source, launch_arguments=arguments.items())
    return LaunchDescription([detect, launch_testing.actions.ReadyToTest()])


class TestRunning(unittest.TestCase):
    """While the processes run; each test stands alone."""

    def setUp(self) -> None:
        self.context = Context()
        rclpy.init(context=self.context)
        self.client = FlowClient(self.context)
        self.client.wait_until_active()

    def tearDown(self) -> None:
        self.client.close()
        rclpy.shutdown(context=self.context)

    def test_boxes_of_the_bag_are_published(self) -> None:
        message = self.client.wait_for_new(self.client.boxes)
        self.assertEqual(message.header.frame_id, "base_link")
        self.assertGreaterEqual(message.header.stamp.sec, families.START_NS // 1_000_000_000)
        self.assertLess(message.header.stamp.sec, families.START_NS // 1_000_000_000 + 10)
        report = self.client.wait_for_new(self.client.reports)
        self.assertEqual((report.model, list(report.missing_cameras)), ("demo", []))

    def test_keep_ratio_changes_live(self) -> None:
        pruned, dense = self.client.keep(KEEP_RATIO), self.client.keep(1.0)
        self.assertAlmostEqual(pruned.keep_ratio_used, KEEP_RATIO, delta=0.01)
        self.assertLess(pruned.keys[-1], pruned.total_keys)
        self.assertEqual(dense.keys[-1], dense.total_keys)

    def test_a_bad_value_is_refused_and_changes_nothing(self) -> None:
        self.assertIn("keep_ratio", self.client.set_parameter("keep_ratio", 1.5))
        self.client.wait_for_new(self.client.reports)
        self.assertLessEqual(self.client.wait_for_new(self.client.reports).keep_ratio, 1.0)


@launch_testing.post_shutdown_test()
class TestAfterwards(unittest.TestCase):
    """After the launch was shut down: by SIGINT, as ctrl-c does."""

    def test_the_detector_ended_with_0(self, proc_info: Any) -> None:
        assertExitCodes(proc_info, [os.EX_OK], process="detector_node")

    def test_there_is_no_traceback(self, proc_output: Any) -> None:
        (name,) = [name for name in proc_output.process_names() if "detector_node" in name]
        said = "".join(event.text.decode() for event in proc_output[name])
        self.assertIn("subscribed to camera/CAM_FRONT/image/compressed", said)
        self.assertNotIn("Traceback", said)

    @classmethod
    def tearDownClass(cls) -> None:
        shutil.rmtree(FOLDER)
