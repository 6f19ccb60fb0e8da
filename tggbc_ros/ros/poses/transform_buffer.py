"""TF for machines without tf2_ros: the same calls as ``tf2_ros.Buffer``, on SciPy's rotations.

As in tf2, a transform between two samples is interpolated (rotation along the shortest arc, translation
linearly), never extrapolated, and the chain from frame to frame ends at their nearest common ancestor.
"""

from __future__ import annotations

import threading
from bisect import bisect_left
from dataclasses import dataclass, field

import numpy as np
from builtin_interfaces.msg import Time as TimeMessage
from geometry_msgs.msg import Transform, TransformStamped
from rclpy.time import Time
from scipy.spatial.transform import Rotation, Slerp

from tggbc_ros.core.geometry import invert_rigid, rigid, rotation_from_quaternion
from tggbc_ros.core.types import Array


class TransformException(Exception):  # noqa: N818  (tf2_ros calls it so)
    """No transform: an unknown frame, two trees, or a time outside of the samples."""


@dataclass(eq=False)
class Edge:
    """Samples of one child frame in its parent, oldest first. A static edge has one, good for any time."""

    child: str
    parent: str
    static: bool
    stamps_ns: list[int] = field(default_factory=list)
    poses: list[Array] = field(default_factory=list)

    def insert(self, stamp_ns: int, child2parent: Array, cache_ns: int) -> None:
        """Add a sample in its place, replacing one of the same stamp; forget those older than the cache."""
        place = bisect_left(self.stamps_ns, stamp_ns)
        same = place < len(self.stamps_ns) and self.stamps_ns[place] == stamp_ns
        self.stamps_ns[place : place + same] = [stamp_ns]
        self.poses[place : place + same] = [child2parent]
        expired = bisect_left(self.stamps_ns, self.stamps_ns[-1] - cache_ns)
        del self.stamps_ns[:expired], self.poses[:expired]

    def at(self, stamp_ns: int) -> Array:
        """child2parent [4, 4] at that time; raises outside of the samples."""
        if self.static:
            return self.poses[0]
        first, last = self.stamps_ns[0], self.stamps_ns[-1]
        if not first <= stamp_ns <= last:
            raise TransformException(
                f"{self.parent} -> {self.child} at {stamp_ns / 1e9:.6f} s needs extrapolation: "
                f"known from {first / 1e9:.6f} to {last / 1e9:.6f} s"
            )
        after = bisect_left(self.stamps_ns, stamp_ns)
        if self.stamps_ns[after] == stamp_ns:
            return self.poses[after]
        before_ns = self.stamps_ns[after - 1]
        share = (stamp_ns - before_ns) / (self.stamps_ns[after] - before_ns)
        return _interpolate(self.poses[after - 1], self.poses[after], share)


def _interpolate(start: Array, end: Array, share: float) -> Array:
    """Rigid [4, 4] at ``share`` in [0, 1] of the way."""
    rotations = Rotation.from_matrix(np.stack([start[:3, :3], end[:3, :3]]))
    return rigid(Slerp([0.0, 1.0], rotations)(share).as_matrix(), (1 - share) * start[:3, 3] + share * end[:3, 3])


class TransformBuffer:
    """Transforms of the last ``cache_s`` seconds; safe to fill from one thread and read from another."""

    def __init__(self, cache_s: float = 10.0) -> None:
        self._cache_ns = int(cache_s * 1e9)
        self._edges: dict[str, Edge] = {}
        self._lock = threading.RLock()

    def set_transform(self, transform: TransformStamped, authority: str) -> None:
        """Add a sample. ``authority`` says who sent it; kept for the sake of tf2's signature."""
        self._insert(transform, static=False)

    def set_transform_static(self, transform: TransformStamped, authority: str) -> None:
        """Add a transform that does not change."""
        self._insert(transform, static=True)

    def clear(self) -> None:
        """Forget all but the static transforms."""
        with self._lock:
            self._edges = {child: edge for child, edge in self._edges.items() if edge.static}

    def can_transform(self, target_frame: str, source_frame: str, time: Time) -> bool:
        """Whether `lookup_transform` would succeed."""
        try:
            self.lookup_transform(target_frame, source_frame, time)
        except TransformException:
            return False
        return True

    def lookup_transform(self, target_frame: str, source_frame: str, time: Time) -> TransformStamped:
        """source2target at ``time``; time 0 asks for the latest. Raises `TransformException`."""
        with self._lock:
            source, target = self._to_common_ancestor(source_frame, target_frame)
            newest = [edge.stamps_ns[-1] for edge in source + target if not edge.static]
            stamp_ns = time.nanoseconds or min(newest, default=0)
            source2target = invert_rigid(_chain(target, stamp_ns)) @ _chain(source, stamp_ns)
        return transform_message(source2target, target_frame, source_frame, stamp_ns)

    def _insert(self, message: TransformStamped, static: bool) -> None:
        child, parent = message.child_frame_id, message.header.frame_id
        stamp = message.header.stamp
        rotation, translation = message.transform.rotation, message.transform.translation
        matrix = rigid(
            rotation_from_quaternion(rotation.x, rotation.y, rotation.z, rotation.w),
            [translation.x, translation.y, translation.z],
        )
        with self._lock:
            edge = self._edges.get(child)
            if edge is None or edge.parent != parent or edge.static != static:
                edge = self._edges[child] = Edge(child, parent, static)
            edge.insert(0 if static else stamp.sec * 1_000_000_000 + stamp.nanosec, matrix, self._cache_ns)

    def _to_common_ancestor(self, source_frame: str, target_frame: str) -> tuple[list[Edge], list[Edge]]:
        """Edges from each frame up to the first ancestor they share."""
        source, target = self._ancestry(source_frame), self._ancestry(target_frame)
        while source and target and source[-1] is target[-1]:
            source.pop()
            target.pop()
        source_root = source[-1].parent if source else source_frame
        target_root = target[-1].parent if target else target_frame
        if source_root != target_root:
            known = ", ".join(sorted(self._edges)) or "none"
            raise TransformException(f"no transform from {source_frame!r} to {target_frame!r}; known frames: {known}")
        return source, target

    def _ancestry(self, frame: str) -> list[Edge]:
        """Edges from ``frame`` up to its root; raises on a loop."""
        chain: list[Edge] = []
        while frame in self._edges:
            edge = self._edges[frame]
            if edge in chain:
                raise TransformException(f"frame {frame!r} is its own ancestor")
            chain.append(edge)
            frame = edge.parent
        return chain


def _chain(edges: list[Edge], stamp_ns: int) -> Array:
    """First child to last parent, [4, 4]."""
    matrix = np.eye(4)
    for edge in edges:
        matrix = edge.at(stamp_ns) @ matrix
    return matrix


def transform_message(child2parent: Array, parent: str, child: str, stamp_ns: int) -> TransformStamped:
    """A rigid transform [4, 4] as a message."""
    message = TransformStamped(child_frame_id=child, transform=Transform())
    message.header.frame_id = parent
    message.header.stamp = TimeMessage(sec=stamp_ns // 1_000_000_000, nanosec=stamp_ns % 1_000_000_000)
    translation, rotation = message.transform.translation, message.transform.rotation
    translation.x, translation.y, translation.z = child2parent[:3, 3].tolist()
    rotation.x, rotation.y, rotation.z, rotation.w = Rotation.from_matrix(child2parent[:3, :3]).as_quat().tolist()
    return message
