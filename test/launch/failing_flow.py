"""detect.launch.py where the detector cannot be configured: it says why and the launch ends by itself.

Run by test_flows.py, or by hand on a machine with ROS 2: launch_test test/launch/failing_flow.py
"""

from __future__ import annotations

import unittest
from pathlib import Path
from typing import Any

import launch_testing
import launch_testing.actions
from launch.actions import IncludeLaunchDescription
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch_testing.markers import keep_alive

from launch import LaunchDescription

LAUNCH = Path(__file__).resolve().parents[2] / "launch" / "detect.launch.py"
PATIENCE_S = 120.0


@keep_alive
def generate_test_description() -> LaunchDescription:
    """A model that needs weights, without any."""
    source = PythonLaunchDescriptionSource(str(LAUNCH))
    detect = IncludeLaunchDescription(source, launch_arguments={"model": "r50_704", "device": "cpu"}.items())
    return LaunchDescription([detect, launch_testing.actions.ReadyToTest()])


class TestEnding(unittest.TestCase):
    """While the launch ends."""

    def test_the_detector_says_why_and_ends(self, proc_info: Any, proc_output: Any) -> None:
        proc_output.assertWaitFor("cannot configure: ", process="detector_node", timeout=PATIENCE_S)
        proc_info.assertWaitForShutdown(process="detector_node", timeout=PATIENCE_S)
