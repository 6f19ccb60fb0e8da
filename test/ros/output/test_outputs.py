"""outputs: what nobody listens to is not even made."""

from __future__ import annotations

import time

import numpy as np
import pytest
from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor
from rclpy.lifecycle import LifecycleNode
from rclpy.node import Node
from sensor_msgs.msg import CompressedImage, Image

from tggbc_ros.core.config import MODELS
from tggbc_ros.ros.convert import header
from tggbc_ros.ros.output.outputs import Outputs
from tggbc_ros.ros.params import CAMERAS


def test_who_looks_at_pictures_only_is_a_subscriber_too(context: Context) -> None:
    """Or inference would pause for them, where it pauses without subscribers."""
    node, viewer = LifecycleNode("shower", context=context), Node("viewer", context=context)
    outputs = Outputs(node, MODELS["demo"], CAMERAS)
    assert not outputs.has_subscribers
    viewer.create_subscription(CompressedImage, "/shower/overlay/CAM_BACK/compressed", print, 10)
    for _ in range(100):
        if outputs.has_subscribers:
            break
        time.sleep(0.05)
    assert outputs.has_subscribers
    outputs.close()
    node.destroy_node()
    viewer.destroy_node()


def test_kept_keys_are_made_for_listeners_only(context: Context) -> None:
    """A cell that does not exist is found out only where the picture is made."""
    node, listener = LifecycleNode("speaker", context=context), Node("listener", context=context)
    executor = SingleThreadedExecutor(context=context)
    executor.add_node(node)
    outputs = Outputs(node, MODELS["demo"], CAMERAS)
    impossible, head = np.array([10_000]), header(1, "base_link")
    outputs.publish_kept_keys(impossible, CAMERAS, head)
    listener.create_subscription(Image, "/speaker/kept_keys", print, 10)
    for _ in range(200):
        executor.spin_once(timeout_sec=0.05)
        if node.count_subscribers("/speaker/kept_keys"):
            break
    executor.spin_once(timeout_sec=0.5)
    with pytest.raises(ValueError, match="expected 0 to 1055"):
        outputs.publish_kept_keys(impossible, CAMERAS, head)
    outputs.close()
    node.destroy_node()
    listener.destroy_node()
