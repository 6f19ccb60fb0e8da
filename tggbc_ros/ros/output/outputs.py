"""The node's own topics, reliable, under its name."""

from __future__ import annotations

import array
import time
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from rclpy.event_handler import PublisherEventCallbacks
from rclpy.lifecycle import LifecycleNode
from rclpy.publisher import Publisher
from rclpy.qos import QoSProfile
from sensor_msgs.msg import Image
from std_msgs.msg import Header
from visualization_msgs.msg import MarkerArray

from tggbc_ros.core.config import ModelConfig
from tggbc_ros.core.types import Boxes3D
from tggbc_ros.drawing.kept_keys import kept_mosaic
from tggbc_ros.drawing.kept_tokens import tokens_mosaic
from tggbc_ros.drawing.palette import load_palette
from tggbc_ros.msg import BoundingBox3DArray, FrameReport
from tggbc_ros.ros import convert
from tggbc_ros.ros.output.markers import marker_array
from tggbc_ros.ros.output.overlay_topics import OverlayTopics

QOS = QoSProfile(depth=10)
UNWATCHED = PublisherEventCallbacks(use_default_callbacks=False)
"""rclpy would warn of a subscriber that asks for more than is offered, which its own side says too; but each such watch
is one thing more for the executor to look at in every turn, and there are a dozen topics."""


class Outputs:
    """Publishers of a model's results that speak only while the node is active.

    Raises ImportError where vision_msgs is missing, ValueError for a class without a colour.
    """

    def __init__(self, node: LifecycleNode, model: ModelConfig, cameras: Sequence[str]) -> None:
        try:
            from vision_msgs.msg import Detection3DArray
        except ImportError as error:
            raise ImportError(f"vision_msgs is missing ({error}); apt install ros-$ROS_DISTRO-vision-msgs") from error
        self._node = node
        self._feature_size = model.feature_size
        self._palette = load_palette(model.class_names)
        self._boxes = self._advertise(BoundingBox3DArray, "~/boxes")
        self._detections = self._advertise(Detection3DArray, "~/detections")
        self._markers = self._advertise(MarkerArray, "~/markers")
        self._kept_keys = self._advertise(Image, "~/kept_keys")
        self._kept_tokens = self._advertise(Image, "~/kept_tokens")
        self._report = self._advertise(FrameReport, "~/report")
        self.overlay = OverlayTopics(self._advertise, model, self._palette, cameras)
        own = (self._boxes, self._detections, self._markers, self._kept_keys, self._kept_tokens, self._report)
        self._all = (*own, *self.overlay.publishers)

    def _advertise(self, kind: type, topic: str) -> Publisher:
        return self._node.create_lifecycle_publisher(kind, topic, QOS, event_callbacks=UNWATCHED)

    def close(self) -> None:
        """Take the topics back."""
        for publisher in self._all:
            self._node.destroy_lifecycle_publisher(publisher)

    @property
    def has_subscribers(self) -> bool:
        """Whether anybody listens to any of the topics."""
        return any(publisher.get_subscription_count() for publisher in self._all)

    def publish_boxes(self, boxes: Boxes3D, head: Header) -> None:
        """Boxes in the header's frame, in three forms; those that cost time only where someone listens."""
        class_names = self._palette.names
        self._boxes.publish(convert.boxes_array(boxes, class_names, head))
        if self._detections.get_subscription_count():
            self._detections.publish(convert.detections(boxes, class_names, head))
        if self._markers.get_subscription_count():
            self._markers.publish(marker_array(boxes, self._palette, head))

    def publish_kept_keys(
        self,
        kept: npt.NDArray[np.int64],
        cameras: Sequence[str],
        head: Header,
        started: npt.NDArray[np.int64] | None = None,
    ) -> None:
        """What became of every cell's key, as a mono8 mosaic, where someone listens; cells as in `StepReport`."""
        if self._kept_keys.get_subscription_count():
            self._kept_keys.publish(mono8(kept_mosaic(kept, cameras, self._feature_size, started), head))

    def publish_kept_tokens(self, tokens: npt.NDArray[np.bool_] | None, cameras: Sequence[str], head: Header) -> None:
        """Which cells passed each gated block, as mono8 mosaics, where someone listens; tokens as in `StepReport`."""
        if self._kept_tokens.get_subscription_count():
            self._kept_tokens.publish(mono8(tokens_mosaic(tokens, cameras, self._feature_size), head))

    def publish_report(self, report: FrameReport, arrival_s: float) -> None:
        """The report, its latency counted from ``arrival_s`` (monotonic clock) to now."""
        report.latency_ms = (time.monotonic() - arrival_s) * 1e3
        self._report.publish(report)


def mono8(picture: npt.NDArray[np.uint8], head: Header) -> Image:
    """A picture [rows, columns] as a message."""
    height, width = picture.shape
    data = array.array("B", picture.tobytes())
    return Image(header=head, height=height, width=width, encoding="mono8", step=width, data=data)
