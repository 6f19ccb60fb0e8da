"""Boxes for RViz: a cube, a line to the front, a velocity arrow and a label each."""

from __future__ import annotations

import math
from collections.abc import Sequence

from geometry_msgs.msg import Point, Vector3
from std_msgs.msg import ColorRGBA, Header
from visualization_msgs.msg import Marker, MarkerArray

from tggbc_ros.core.types import Boxes3D
from tggbc_ros.drawing.palette import Palette
from tggbc_ros.ros import convert

NAMESPACES = ("boxes", "headings", "labels", "velocity")
ARROW_S = 1.0
MIN_SPEED_MPS = 0.3
LINE_M = 0.12
LABEL_M = 1.3
"""Height of a label's letters, in the world: legible from where config/detector.rviz looks."""
LABEL_GAP_M = 0.2


def marker_array(boxes: Boxes3D, palette: Palette, head: Header) -> MarkerArray:
    """Boxes in the header's frame. The first marker deletes all older ones, so that none goes stale.

    An arrow shows where a box will be in one second; a box slower than 0.3 m/s has none.
    """
    ends: list[Point] = []
    shades: list[ColorRGBA] = []
    markers = [Marker(header=head, action=Marker.DELETEALL)]
    for index, (label, score, center, yaw, size, velocity) in enumerate(convert.rows(boxes)):
        name, bgr = palette.labels[label], palette.colors[label]
        cube = _marker(head, "boxes", index, Marker.CUBE, color(bgr, 0.5))
        cube.pose, cube.scale = convert.pose(center, yaw), Vector3(x=size[0], y=size[1], z=size[2])
        text = _marker(head, "labels", index, Marker.TEXT_VIEW_FACING, color(bgr, 1.0))
        text.pose = convert.pose((center[0], center[1], center[2] + size[2] / 2 + LABEL_GAP_M + LABEL_M / 2), 0.0)
        text.scale.z, text.text = LABEL_M, f"{name} {score:.2f}"
        markers += [cube, text]
        if math.hypot(*velocity) >= MIN_SPEED_MPS:
            markers.append(_arrow(head, index, center, velocity, color(bgr, 1.0)))
        ends += _to_front(center, yaw, size)
        shades += [color(bgr, 1.0)] * 2
    return MarkerArray(markers=[*markers, _headings(head, ends, shades)] if ends else markers)


def _headings(head: Header, ends: list[Point], shades: list[ColorRGBA]) -> Marker:
    """All lines to the front in one marker: pairs of ends, a colour each."""
    marker = _marker(head, "headings", 0, Marker.LINE_LIST, ColorRGBA(a=1.0))
    marker.pose.orientation.w, marker.scale.x = 1.0, LINE_M
    marker.points, marker.colors = ends, shades
    return marker


def _to_front(center: Sequence[float], yaw_rad: float, size: Sequence[float]) -> list[Point]:
    """From the middle of a box's top to that of its front edge."""
    (x, y, z), half = center, size[0] / 2
    top = z + size[2] / 2
    front = Point(x=x + half * math.cos(yaw_rad), y=y + half * math.sin(yaw_rad), z=top)
    return [Point(x=x, y=y, z=top), front]


def color(bgr: Sequence[int], alpha: float) -> ColorRGBA:
    """A colour of the palette, opaque at an alpha of 1."""
    blue, green, red = bgr
    return ColorRGBA(r=red / 255, g=green / 255, b=blue / 255, a=alpha)


def _marker(head: Header, namespace: str, index: int, kind: int, rgba: ColorRGBA) -> Marker:
    return Marker(header=head, ns=namespace, id=index, type=kind, action=Marker.ADD, color=rgba)


def _arrow(head: Header, index: int, center: Sequence[float], velocity: Sequence[float], rgba: ColorRGBA) -> Marker:
    marker = _marker(head, "velocity", index, Marker.ARROW, rgba)
    x, y, z = center
    tip = Point(x=x + velocity[0] * ARROW_S, y=y + velocity[1] * ARROW_S, z=z)
    marker.points = [Point(x=x, y=y, z=z), tip]
    marker.scale = Vector3(x=0.15, y=0.35, z=0.5)
    return marker
