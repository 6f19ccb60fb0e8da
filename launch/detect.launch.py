"""Start the detector; play a bag into it and show it in RViz if asked to.

ros2 launch tggbc_ros detect.launch.py model:=r50_704 checkpoint:=FILE
ros2 launch tggbc_ros detect.launch.py bag:=FOLDER rviz:=true profile:=nuscenes_to_ros2bag
"""

import os
from collections.abc import Mapping
from pathlib import Path

from ament_index_python.packages import get_package_share_directory
from launch.action import Action
from launch.actions import (
    DeclareLaunchArgument,
    EmitEvent,
    OpaqueFunction,
    RegisterEventHandler,
    SetEnvironmentVariable,
    Shutdown,
)
from launch.event_handlers import OnProcessExit, OnProcessStart, OnShutdown
from launch.events import matches_action
from launch.events.process import ProcessExited
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import LifecycleNode, Node
from launch_ros.event_handlers import OnStateTransition
from launch_ros.events.lifecycle import ChangeState
from launch_ros.parameter_descriptions import ParameterValue
from lifecycle_msgs.msg import Transition

from launch import LaunchContext, LaunchDescription

CONFIG = Path(get_package_share_directory("tggbc_ros")) / "config"
BOOLEAN = ["true", "false"]
FAST_DDS_SETTINGS = ("FASTRTPS_DEFAULT_PROFILES_FILE", "FASTDDS_DEFAULT_PROFILES_FILE")
"""Where Fast DDS 2 (Jazzy) and 3 (Kilted) look for their settings."""

PARAMETERS = {
    "model": (str, "Network configuration: demo, r50_704 or vov_800."),
    "checkpoint": (str, "File with the weights, or folder of an export; model demo has its own."),
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
        DeclareLaunchArgument("bag", default_value="", description="rosbag2 to play once the detector is active."),
        DeclareLaunchArgument("rate", default_value="1.0", description="Speed of the bag."),
        DeclareLaunchArgument("loop", default_value="false", choices=BOOLEAN, description="Play the bag on and on."),
        DeclareLaunchArgument("start_offset", default_value="0.0", description="Seconds of the bag to skip."),
        DeclareLaunchArgument(
            "use_sim_time", default_value="", choices=["", *BOOLEAN], description="Empty: true with a bag, else false."
        ),
        DeclareLaunchArgument("log_level", default_value="info", description="Log level of the node."),
    ]


def set_up(context: LaunchContext) -> list[Action]:
    """The processes, from the arguments' values."""
    given = context.launch_configurations
    sim_time = given["use_sim_time"] or str(bool(given["bag"])).lower()
    use_sim_time = {"use_sim_time": sim_time == "true"}
    overrides = {
        # Typed, so that keep_ratio:=1 is 1.0 and device:=0 stays a text.
        name: ParameterValue(LaunchConfiguration(name), value_type=kind)
        for name, (kind, _) in PARAMETERS.items()
        if given[name]
    }
    files = [str(CONFIG / "detector.yaml"), profile_file(given["profile"])]
    detector = LifecycleNode(
        package="tggbc_ros",
        executable="detector_node",
        name="detector",
        namespace=given["namespace"],
        parameters=[*files, use_sim_time, overrides, {"autostart": False}],
        ros_arguments=["--log-level", given["log_level"]],
        output="screen",
    )
    once_active = [bag_player(given)] if given["bag"] else []
    actions = [*large_messages(), *start_up(detector, once_active), detector]
    if given["rviz"] == "true":
        show = ["-d", str(CONFIG / "detector.rviz")]
        actions.append(Node(package="rviz2", executable="rviz2", arguments=show, parameters=[use_sim_time]))
    return actions


def large_messages() -> list[Action]:
    """Room for raw images, for the bag player most of all; the user's own settings of Fast DDS stay."""
    path = str(CONFIG / "fastdds.xml")
    return [SetEnvironmentVariable(name, path) for name in FAST_DDS_SETTINGS if name not in os.environ]


def start_up(detector: LifecycleNode, once_active: list[Action]) -> list[Action]:
    """Configure and activate, then what waits for that. Without a detector the launch ends, with exit status 1.

    It does so where an action raises, and only then: launch goes by no process's own exit status.
    """

    def change(transition: int) -> EmitEvent:
        return EmitEvent(event=ChangeState(lifecycle_node_matcher=matches_action(detector), transition_id=transition))

    configure, activate = change(Transition.TRANSITION_CONFIGURE), change(Transition.TRANSITION_ACTIVATE)
    failed = OpaqueFunction(function=give_up, args=["the detector could not be started"])
    ending: list[bool] = []  # launch_ros cannot bear a second Shutdown

    def on_exit(event: ProcessExited, context: LaunchContext) -> Action | None:
        if event.returncode and not ending:
            give_up(context, f"the detector has ended with exit status {event.returncode}")
        return None if ending else Shutdown(reason="the detector has ended")

    handlers = [
        OnShutdown(on_shutdown=lambda *_: ending.append(True)),
        OnProcessExit(target_action=detector, on_exit=on_exit),
        OnProcessStart(target_action=detector, on_start=[configure]),
        on_transition(detector, "configuring", "inactive", [activate]),
        on_transition(detector, "configuring", "unconfigured", [failed]),
        on_transition(detector, "activating", "active", once_active),
        on_transition(detector, "activating", "inactive", [failed]),
        on_transition(detector, "errorprocessing", "unconfigured", [failed]),
    ]
    return [RegisterEventHandler(handler) for handler in handlers]


def give_up(context: LaunchContext, reason: str) -> None:
    """End the launch, with exit status 1."""
    raise RuntimeError(reason)


def on_transition(detector: LifecycleNode, start: str, goal: str, entities: list[Action]) -> OnStateTransition:
    """What to do the first time that the detector goes from one state to another."""
    return OnStateTransition(
        target_lifecycle_node=detector, start_state=start, goal_state=goal, entities=entities, handle_once=True
    )


def profiles() -> list[str]:
    """The bags and vehicles that are known by name."""
    return sorted(path.stem for path in (CONFIG / "profiles").glob("*.yaml"))


def profile_file(profile: str) -> str:
    """A file of config/profiles/ by its bare name, else a path."""
    if profile in profiles():
        return str(CONFIG / "profiles" / f"{profile}.yaml")
    if Path(profile).is_file():
        return profile
    known = ", ".join(profiles())
    raise FileNotFoundError(f"profile is {profile!r}, expected a file or one of {known} in {CONFIG / 'profiles'}")


def bag_player(given: Mapping[str, str]) -> Action:
    """Our own player, as `ros2 bag play` leaves out mountings on /tf_static that lie before the start offset."""
    options = ["--clock", "100", "--rate", given["rate"], "--start-offset", given["start_offset"]]
    options += ["--loop"] if given["loop"] == "true" else []
    return Node(package="tggbc_ros", executable="bag_player", arguments=[given["bag"], *options], output="screen")


def generate_launch_description() -> LaunchDescription:
    """What `ros2 launch` runs."""
    return LaunchDescription([*arguments(), OpaqueFunction(function=set_up)])
