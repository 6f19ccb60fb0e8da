"""Replay a bag through the detector and show it in RViz; every argument of detect.launch.py works here too.

ros2 launch tggbc_ros replay.launch.py bag:=FOLDER model:=r50_704 checkpoint:=FILE rate:=0.5
"""

from launch.actions import DeclareLaunchArgument, IncludeLaunchDescription
from launch.substitutions import PathJoinSubstitution
from launch_ros.substitutions import FindPackageShare

from launch import LaunchDescription

BOOLEAN = ["true", "false"]


def generate_launch_description() -> LaunchDescription:
    """detect.launch.py with a bag that must be given and waits for each set's boxes, and RViz, unless refused."""
    detect = PathJoinSubstitution([FindPackageShare("tggbc_ros"), "launch", "detect.launch.py"])
    return LaunchDescription(
        [
            DeclareLaunchArgument("bag", description="rosbag2 to play: a folder, or one .mcap or .db3 file."),
            DeclareLaunchArgument("rviz", default_value="true", choices=BOOLEAN, description="Show RViz."),
            DeclareLaunchArgument(
                "lockstep", default_value="true", choices=BOOLEAN, description="The bag waits for each set's boxes."
            ),
            IncludeLaunchDescription(detect),
        ]
    )
