"""markers: cubes, labels and arrows where the boxes are, in the class's colour, and nothing stale."""

from __future__ import annotations

import pytest
from synthetic_rig import BOXES
from visualization_msgs.msg import Marker

from tggbc_ros.core.types import Boxes3D
from tggbc_ros.drawing.palette import load_palette
from tggbc_ros.ros import convert
from tggbc_ros.ros.output.markers import NAMESPACES, marker_array

HEAD = convert.header(5, "base_link")


def by_namespace(boxes: Boxes3D) -> dict[str, list[Marker]]:
    first, *rest = marker_array(boxes, load_palette(("car", "pedestrian")), HEAD).markers
    assert first.action == Marker.DELETEALL
    assert first.header == HEAD
    return {name: [m for m in rest if m.ns == name] for name in NAMESPACES}


def test_one_cube_and_label_a_box_and_arrows_for_the_fast() -> None:
    found = by_namespace(BOXES)
    cubes, labels, arrows = found["boxes"], found["labels"], found["velocity"]
    assert [m.type for m in cubes] == [Marker.CUBE] * 2
    assert [m.text for m in labels] == ["car 0.90", "pedestrian 0.25"]
    assert [[m.scale.x, m.scale.y, m.scale.z] for m in cubes] == BOXES.size.tolist()
    assert [[m.pose.position.x, m.pose.position.y, m.pose.position.z] for m in cubes] == BOXES.center.tolist()
    assert [m.pose.orientation for m in cubes] == [convert.pose([0, 0, 0], yaw).orientation for yaw in BOXES.yaw]
    assert len(arrows) == 1
    start, tip = arrows[0].points
    assert (tip.x - start.x, tip.y - start.y, tip.z - start.z) == (3.0, -1.0, 0.0)
    assert all(m.header == HEAD and m.action == Marker.ADD for group in found.values() for m in group)
    assert len({(m.ns, m.id) for group in found.values() for m in group}) == 6


def test_a_label_stands_free_of_its_box_and_centred_above_it() -> None:
    found = by_namespace(BOXES)
    for cube, label in zip(found["boxes"], found["labels"], strict=True):
        assert (label.pose.position.x, label.pose.position.y) == (cube.pose.position.x, cube.pose.position.y)
        foot, roof = label.pose.position.z - label.scale.z / 2, cube.pose.position.z + cube.scale.z / 2
        assert 0.1 < foot - roof < 0.5


def test_headings_lie_on_the_roof_and_end_at_the_front() -> None:
    """The first box: 4.5 m long and 1.6 m high at (1, 2, 3), turned by 0.5."""
    (lines,) = by_namespace(BOXES)["headings"]
    assert lines.type == Marker.LINE_LIST
    assert len(lines.points) == len(lines.colors) == 4
    start, end = lines.points[:2]
    assert (start.x, start.y, start.z) == (1.0, 2.0, 3.8)
    assert (end.x, end.y, end.z) == pytest.approx((1 + 2.25 * 0.87758, 2 + 2.25 * 0.47943, 3.8), rel=1e-5)
    cubes = by_namespace(BOXES)["boxes"]
    assert [(c.r, c.g, c.b) for c in lines.colors[::2]] == [(c.color.r, c.color.g, c.color.b) for c in cubes]
    assert {c.a for c in lines.colors} == {1.0}


def test_no_boxes_still_deletes_the_old_ones() -> None:
    assert by_namespace(BOXES[:0]) == dict.fromkeys(NAMESPACES, [])


def test_colours_are_the_palettes() -> None:
    cubes = by_namespace(BOXES)["boxes"]
    expected = [[118, 186, 239], [247, 47, 169]]
    assert [[c.color.r * 255, c.color.g * 255, c.color.b * 255] for c in cubes] == [pytest.approx(e) for e in expected]
    assert {c.color.a for c in cubes} == {0.5}
