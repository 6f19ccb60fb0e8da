"""A transform buffer: tf2's where installed, else ours."""

from __future__ import annotations

import importlib.util
from typing import Protocol

from geometry_msgs.msg import TransformStamped
from rclpy.duration import Duration
from rclpy.time import Time


class TransformBuffer(Protocol):
    """What is used of ``tf2_ros.Buffer``."""

    def set_transform(self, transform: TransformStamped, authority: str) -> None:
        """Add a sample."""

    def set_transform_static(self, transform: TransformStamped, authority: str) -> None:
        """Add a transform that does not change."""

    def clear(self) -> None:
        """Forget all but the static transforms."""

    def can_transform(self, target_frame: str, source_frame: str, time: Time) -> bool:
        """Whether `lookup_transform` would succeed."""

    def lookup_transform(self, target_frame: str, source_frame: str, time: Time) -> TransformStamped:
        """source2target at that time; time 0 asks for the latest."""


def open_buffer(cache_s: float) -> tuple[TransformBuffer, type[Exception]]:
    """A transform buffer and what it raises: tf2's where installed, else ours."""
    if importlib.util.find_spec("tf2_ros") is None:
        from tggbc_ros.ros.poses import transform_buffer

        return transform_buffer.TransformBuffer(cache_s), transform_buffer.TransformException
    import tf2_ros

    # Without the node: it would clear itself only where /clock jumps, and a bag may loop without /clock. See EgoPose.
    return tf2_ros.Buffer(Duration(nanoseconds=int(cache_s * 1e9))), tf2_ros.TransformException
