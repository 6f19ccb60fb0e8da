"""Where a camera's topics may be, as image_transport finds them: remapping first, then what belongs beside a topic."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import TypeAlias

from rclpy.node import Node
from sensor_msgs.msg import CameraInfo, CompressedImage, Image

Candidate: TypeAlias = tuple[type, str]


def image_candidates(node: Node | None, topic: str, transport: str) -> list[Candidate]:
    """Where a camera's images may be, best first. Compressed ones come first: six raw cameras lose messages.

    node: whose names are remapped; None: nobody's, as in a bag.
    """
    suffixed = _compressed(node, topic) if node else f"{topic}/compressed"
    compressed: list[Candidate] = [(CompressedImage, suffixed), (CompressedImage, topic)]
    raw: list[Candidate] = [(Image, topic)]
    return {"compressed": compressed, "raw": raw, "auto": compressed + raw}[transport]


def info_candidates(node: Node, topics: Mapping[str, tuple[str, str]]) -> dict[str, list[Candidate]]:
    """Where each camera's CameraInfo may be, by camera; topics: of its images, and of its CameraInfo.

    Where the images are remapped and CameraInfo is not, it may also be beside them, if that is no other camera's too.
    """
    beside = {camera: _beside(node, *names) for camera, names in topics.items()}
    shared = Counter(beside.values())
    found: dict[str, list[Candidate]] = {camera: [(CameraInfo, info)] for camera, (_, info) in topics.items()}
    for camera, name in beside.items():
        if name and shared[name] == 1:
            found[camera].append((CameraInfo, name))
    return found


def _compressed(node: Node, topic: str) -> str:
    """``topic`` with its suffix: rcl remaps whole names only, so it goes behind the name that ``topic`` is mapped to.

    A rule for the compressed topic itself comes first. Names that nothing remaps stay as they are.
    """
    suffixed = f"{topic}/compressed"
    if _is_remapped(node, suffixed) or not _is_remapped(node, topic):
        return suffixed
    return f"{node.resolve_topic_name(topic)}/compressed"


def _beside(node: Node, image_topic: str, info_topic: str) -> str:
    """The name that CameraInfo has beside remapped images; empty where there is nothing to follow."""
    if not _is_remapped(node, image_topic) or _is_remapped(node, info_topic):
        return ""
    return f"{node.resolve_topic_name(image_topic).rpartition('/')[0]}/camera_info"


def _is_remapped(node: Node, topic: str) -> bool:
    return node.resolve_topic_name(topic) != node.resolve_topic_name(topic, only_expand=True)
