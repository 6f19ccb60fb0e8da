"""Start the detector; play a bag into it and show it in RViz if asked to.

ros2 launch tggbc_ros detect.launch.py model:=r50_704 checkpoint:=FILE
ros2 launch tggbc_ros detect.launch.py bag:=FOLDER rviz:=true profile:=nuscenes_to_ros2bag

The launch ends with the first of its processes that ends, but for a bag that was played to its end. Its exit status is
then 0 where that process ended well, as RViz does when its window is closed, and else 1, naming the process.
"""

import os
from collections.abc import Mapping
from pathlib import Path

import yaml
from ament_index_python.packages import get_package_share_directory
from launch.action import Action
from launch.actions import (
    DeclareLaunchArgument,
    OpaqueFunction,
    RegisterEventHandler,
    SetEnvironmentVariable,
    Shutdown,
)
from launch.event_handlers import OnProcessExit
from launch.events.process import ProcessExited
from launch.logging import launch_config
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import ParameterValue

from launch import LaunchContext, LaunchDescription

CONFIG = Path(get_package_share_directory("tggbc_ros")) / "config"
BOOLEAN = ["true", "false"]
FAST_DDS_SETTINGS = ("FASTRTPS_DEFAULT_PROFILES_FILE", "FASTDDS_DEFAULT_PROFILES_FILE")
"""Where Fast DDS 2 (Jazzy) and 3 (Kilted) look for their settings."""
BAG_FILES = (".mcap", ".db3", ".zstd")
LOCKSTEP_TIMEOUT_S = 10
"""Of a set that is never answered, as it lacks an image: shorter than the player's own, for those who look on."""

PARAMETERS = {
    "model": (str, "Network configuration: demo, demo_slim, r50_704, vov_800, vit_l_800, demo_vit."),
    "checkpoint": (str, "File with the weights, or folder of an export; without, the model's own."),
    "allow_random_weights": (bool, "Start without weights; the boxes then mean nothing."),
    "backend": (str, "Engine that runs the network: torch, torch_bf16, onnxruntime, …"),
    "device": (str, "cpu, cuda, cuda:1 or auto."),
    "keep_ratio": (float, "Share of the decoder's keys to keep, 1.0 is the dense network."),
    "image_transport": (str, "raw, compressed or auto."),
    "ego_pose_source": (str, "tf or odom."),
    "output_frame": (str, "Frame of what is published."),
    "stamp_policy": (str, "message or receive: what tells an image's time."),
    "calibration_file": (str, "YAML file with intrinsics and mountings, for bags without them."),
    "memory_interval_s": (float, "Age of the memory that a set goes on from, 0 is the last set's."),
}
"""Arguments that become parameters of the node where they are given; else the files below config/ decide."""


def arguments() -> list[DeclareLaunchArgument]:
    """What `ros2 launch --show-args` lists."""
    return [
        *(
            DeclareLaunchArgument(name, default_value="", description=f"{text} Empty: as in the configuration.")
            for name, (_, text) in PARAMETERS.items()
        ),
        DeclareLaunchArgument(
            "profile", default_value="nuscenes", description=f"One of {', '.join(profiles())}, or a path to a file."
        ),
        DeclareLaunchArgument("namespace", default_value="", description="Namespace of the node."),
        DeclareLaunchArgument("rviz", default_value="false", choices=BOOLEAN, description="Show it in RViz."),
        DeclareLaunchArgument("rviz_config", default_value="", description="RViz's file; empty: a copy of our own."),
        DeclareLaunchArgument("bag", default_value="", description="rosbag2 to play once the detector is active."),
        DeclareLaunchArgument("rate", default_value="1.0", description="Speed of the bag."),
        DeclareLaunchArgument(
            "lockstep", default_value="false", choices=BOOLEAN, description="The bag waits for the boxes of each set."
        ),
        DeclareLaunchArgument("loop", default_value="false", choices=BOOLEAN, description="Play the bag on and on."),
        DeclareLaunchArgument("start_offset", default_value="0.0", description="Seconds of the bag to skip."),
        DeclareLaunchArgument(
            "use_sim_time", default_value="", choices=["", *BOOLEAN], description="Empty: true with a bag, else false."
        ),
        DeclareLaunchArgument("log_level", default_value="info", description="Log level of the node."),
    ]


def set_up(context: LaunchContext) -> list[Action]:
    """The processes, from the arguments' values; what cannot be read is said before any of them starts."""
    given = context.launch_configurations
    sim_time = given["use_sim_time"] or str(bool(given["bag"])).lower()
    use_sim_time = {"use_sim_time": sim_time == "true"}
    viewer = [rviz(given, use_sim_time)] if given["rviz"] == "true" else []
    player = [bag_player(given)] if given["bag"] else []
    required = [*viewer, detector(given, use_sim_time)]
    handlers = [OnProcessExit(target_action=node, on_exit=end_of_required) for node in required]
    handlers += [OnProcessExit(target_action=node, on_exit=end_of_player) for node in player]
    # A viewer that is not installed shows before the others have begun.
    return [*large_messages(), *map(RegisterEventHandler, handlers), *viewer, *player, required[-1]]


def detector(given: Mapping[str, str], use_sim_time: Mapping[str, bool]) -> Node:
    """The node, which configures and activates itself, or ends."""
    overrides = {
        # Typed, so that keep_ratio:=1 is 1.0 and device:=0 stays a text.
        name: ParameterValue(LaunchConfiguration(name), value_type=kind)
        for name, (kind, _) in PARAMETERS.items()
        if given[name]
    }
    files = [str(CONFIG / "detector.yaml"), profile_file(given["profile"])]
    return Node(
        package="tggbc_ros",
        executable="detector_node",
        name="detector",
        namespace=given["namespace"],
        parameters=[*files, use_sim_time, overrides],
        ros_arguments=["--log-level", given["log_level"]],
        output="screen",
    )


def large_messages() -> list[Action]:
    """Room for raw images, for the bag player most of all; the user's own settings of Fast DDS stay."""
    path = str(CONFIG / "fastdds.xml")
    return [SetEnvironmentVariable(name, path) for name in FAST_DDS_SETTINGS if name not in os.environ]


def end_of_required(event: ProcessExited, context: LaunchContext) -> Action | None:
    """End the launch with a process that it cannot do without."""
    end_of_player(event, context)
    return None if context.is_shutdown else Shutdown(reason=f"{event.process_name} has ended")


def end_of_player(event: ProcessExited, context: LaunchContext) -> None:
    """End the launch if a process has failed: with exit status 1, which it has where an action raises, and only then.

    Of what ends while the launch ends, launch itself tells.
    """
    if event.returncode and not context.is_shutdown:
        raise RuntimeError(f"{event.process_name} has ended with exit status {event.returncode}")


def profiles() -> list[str]:
    """The bags and vehicles that are known by name."""
    return sorted(path.stem for path in (CONFIG / "profiles").glob("*.yaml"))


def profile_file(profile: str) -> str:
    """A file of config/profiles/ by its bare name, else a path; raises ValueError for what is no parameter file."""
    path = CONFIG / "profiles" / f"{profile}.yaml" if profile in profiles() else Path(profile)
    if not path.is_file():
        known = ", ".join(profiles())
        raise FileNotFoundError(f"profile is {profile!r}, expected a file or one of {known} in {CONFIG / 'profiles'}")
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ValueError(f"profile {path} cannot be read: {' '.join(str(error).split())}") from error
    if content is not None and not isinstance(content, dict):
        raise ValueError(f"profile {path} holds {type(content).__name__}, expected parameters by node name")
    return str(path)


def rviz(given: Mapping[str, str], use_sim_time: Mapping[str, bool]) -> Node:
    """RViz, with the file that was asked for or a copy of ours.

    RViz takes every change of a display's state for a change of its file, and offers to save it when it is closed.
    """
    path = Path(given["rviz_config"])
    if not given["rviz_config"]:
        own = (CONFIG / "detector.rviz").read_text(encoding="utf-8")
        path = Path(launch_config.get_log_file_path("detector.rviz"))
        path.write_text(own.replace("/detector/", f"{node_name(given)}/"), encoding="utf-8")
    elif not path.is_file():
        raise FileNotFoundError(f"rviz_config is {str(path)!r}, expected a file")
    return Node(package="rviz2", executable="rviz2", arguments=["-d", str(path)], parameters=[use_sim_time])


def bag_player(given: Mapping[str, str]) -> Node:
    """Our own player, as `ros2 bag play` leaves out mountings on /tf_static that lie before the start offset."""
    bag = Path(given["bag"])
    inside = [path.name for path in bag.iterdir()] if bag.is_dir() else [bag.name] if bag.is_file() else []
    if not any(name.endswith(BAG_FILES) for name in inside):
        raise FileNotFoundError(f"bag is {str(bag)!r}, expected a rosbag2: a folder, or one .mcap or .db3 file")
    options = ["--wait-for-images", "--clock", "100", "--rate", given["rate"], "--start-offset", given["start_offset"]]
    options += ["--loop"] if given["loop"] == "true" else []
    if given["lockstep"] == "true":
        options += ["--lockstep", f"{node_name(given)}/report", "--lockstep-timeout", str(LOCKSTEP_TIMEOUT_S)]
    return Node(package="tggbc_ros", executable="bag_player", arguments=[str(bag), *options], output="screen")


def node_name(given: Mapping[str, str]) -> str:
    """The detector's full name."""
    return "/".join(["", *filter(None, given["namespace"].split("/")), "detector"])


def generate_launch_description() -> LaunchDescription:
    """What `ros2 launch` runs."""
    return LaunchDescription([*arguments(), OpaqueFunction(function=set_up)])
