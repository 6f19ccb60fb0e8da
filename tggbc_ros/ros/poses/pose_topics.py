"""Where transforms and odometry come from while a node is active."""

from __future__ import annotations

from nav_msgs.msg import Odometry
from rclpy.lifecycle import LifecycleNode
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from tf2_msgs.msg import TFMessage

from tggbc_ros.ros.params import Settings
from tggbc_ros.ros.poses.ego_pose import EgoPose
from tggbc_ros.ros.small_messages import subscribe_to_many


class PoseTopics:
    """The subscriptions of /tf, /tf_static and, where it is the source of the ego pose, odometry."""

    def __init__(self, node: LifecycleNode, settings: Settings, poses: EgoPose) -> None:
        self._node = node
        any_publisher = QoSProfile(depth=100, reliability=ReliabilityPolicy.BEST_EFFORT)
        latched = QoSProfile(depth=100, durability=DurabilityPolicy.TRANSIENT_LOCAL)
        self._subscriptions = [
            subscribe_to_many(node, TFMessage, "/tf", poses.take_tf, QoSProfile(depth=100)),
            node.create_subscription(TFMessage, "/tf_static", poses.take_tf_static, latched),
        ]
        if settings.ego_pose_source == "odom":
            topic = settings.odometry_topic
            self._subscriptions.append(subscribe_to_many(node, Odometry, topic, poses.take_odometry, any_publisher))

    def close(self) -> None:
        """Receive no more."""
        for subscription in self._subscriptions:
            self._node.destroy_subscription(subscription)
