"""detect.launch.py without ros2cli: python launched.py NAME:=VALUE..."""

from __future__ import annotations

import sys
from pathlib import Path

from launch.actions import IncludeLaunchDescription
from launch.launch_description_sources import PythonLaunchDescriptionSource

from launch import LaunchDescription, LaunchService

LAUNCH = Path(__file__).resolve().parents[2] / "launch" / "detect.launch.py"


def main(arguments: list[str]) -> int:
    """Until the launch ends; what it returns."""
    given = [tuple(argument.split(":=", 1)) for argument in arguments]
    service = LaunchService()
    source = PythonLaunchDescriptionSource(str(LAUNCH))
    service.include_launch_description(LaunchDescription([IncludeLaunchDescription(source, launch_arguments=given)]))
    return int(service.run())


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
