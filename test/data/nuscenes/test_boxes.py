"""nuscenes_boxes: classes, lidar frame, sizes and velocities by central differences."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from tiny_nuscenes import LIDAR_TRANSLATION, LIDAR_YAW, PERIOD_US, START_US, car_position, edit_table, ego_pose

from tggbc_ros.core.config import CLASS_NAMES
from tggbc_ros.data.nuscenes.boxes import DETECTION_CLASS, IGNORED_CATEGORIES
from tggbc_ros.data.nuscenes.dataset import NuScenes
from tggbc_ros.data.records import Annotations


def annotations(root: Path) -> list[Annotations]:
    found = [sample.annotations for sample in NuScenes(root).samples("scene-0001")]
    return [entry for entry in found if entry is not None]


def rotate(yaw: float, x: float, y: float) -> tuple[float, float]:
    return math.cos(yaw) * x - math.sin(yaw) * y, math.sin(yaw) * x + math.cos(yaw) * y


def test_classes_instances_and_points(tiny_root: Path) -> None:
    first, second, third = annotations(tiny_root)
    assert (first.class_names, first.instances, first.ignored) == (("car", "pedestrian"), ("car", "walker"), 1)
    assert (second.class_names, second.ignored) == (("car",), 1)
    assert (third.class_names, third.ignored) == (("car",), 0)
    assert first.num_points.tolist() == [12, 12]
    assert third.num_points.tolist() == [14]


def test_boxes_are_in_the_lidar_frame(tiny_root: Path) -> None:
    for index, found in enumerate(annotations(tiny_root)):
        (ego_x, ego_y, _), ego_yaw = ego_pose(START_US + index * PERIOD_US)
        x, y, z = car_position(index)
        in_ego = rotate(-ego_yaw, x - ego_x, y - ego_y)
        in_lidar = rotate(-LIDAR_YAW, in_ego[0] - LIDAR_TRANSLATION[0], in_ego[1] - LIDAR_TRANSLATION[1])
        np.testing.assert_allclose(found.boxes.center[0], (*in_lidar, z - LIDAR_TRANSLATION[2]), atol=1e-9)
        expected_yaw = 2.0 - ego_yaw - LIDAR_YAW
        assert math.remainder(found.boxes.yaw[0] - expected_yaw, 2 * math.pi) == pytest.approx(0.0, abs=1e-9)
        assert found.boxes.size[0].tolist() == [4.6, 1.9, 1.7], "length, width, height"


def test_velocity_is_central_inside_a_track_and_one_sided_at_its_ends(tiny_root: Path) -> None:
    expected_global = [(0.5, -2.0), (1.0, -2.0), (1.5, -2.0)]
    for index, found in enumerate(annotations(tiny_root)):
        ego_yaw = ego_pose(START_US + index * PERIOD_US)[1]
        np.testing.assert_allclose(
            found.boxes.velocity[0], rotate(-ego_yaw - LIDAR_YAW, *expected_global[index]), atol=1e-9
        )


def test_velocity_of_a_track_of_one_box_is_unknown(tiny_root: Path) -> None:
    assert np.isnan(annotations(tiny_root)[0].boxes.velocity[1]).all()


def test_velocity_over_a_gap_is_unknown(tiny_root: Path) -> None:
    rows, write = edit_table(tiny_root, "sample")
    for row in rows:
        if row["token"] == "scene-0001-2":
            row["timestamp"] += 1_200_000
    write()
    known = [np.isfinite(found.boxes.velocity[0]).all() for found in annotations(tiny_root)]
    assert known == [True, True, False], "1.7 s at the end, 2.2 s between neighbours"


def test_unknown_category_is_named(tiny_root: Path) -> None:
    rows, write = edit_table(tiny_root, "category")
    rows[0]["name"] = "vehicle.hovercraft"
    write()
    with pytest.raises(ValueError, match="sample_annotation car-0 is of category 'vehicle.hovercraft'"):
        annotations(tiny_root)


@pytest.mark.parametrize(
    ("table", "change", "message"),
    [
        ("sample_annotation", {"instance_token": "x"}, "sample_annotation car-0 refers to instance 'x'"),
        ("sample_annotation", {"sample_token": "x"}, "sample_annotation car-0 refers to sample 'x'"),
        ("sample_annotation", {"next": "x"}, "sample_annotation car-0 refers to sample_annotation 'x'"),
        ("sample_annotation", {"rotation": [0, 0, 0, 0]}, "sample_annotation car-0: quaternion .* norm 0"),
        ("sample_annotation", {"rotation": [1, 0, 0]}, r"record car-0 has rotation \[1, 0, 0\], expected 4 finite"),
        ("sample_annotation", {"rotation": [1, 0, 0, None]}, "record car-0 has rotation .* expected 4 finite numbers"),
        ("sample_annotation", {"translation": [1, 2]}, r"record car-0 has translation \[1, 2\], expected 3 finite"),
        ("sample_annotation", {"translation": [1, math.nan, 2]}, "json: record car-0 has translation .* expected 3"),
        ("sample_annotation", {"translation": [1, 2, 10**400]}, "json: record car-0 has translation .* expected 3"),
        ("sample_annotation", {"size": [1, None, 2]}, r"record car-0 has size \[1, None, 2\], expected 3 finite"),
        ("sample_annotation", {"size": [1, True, 2]}, r"record car-0 has size \[1, True, 2\], expected 3 finite"),
        ("sample_annotation", {"size": [1, 0, 2]}, r"record car-0 has size \[1, 0, 2\], expected 3 positive numbers"),
        ("sample_annotation", {"size": [1, -1.5, 2]}, r"has size \[1, -1.5, 2\], expected 3 positive numbers"),
        ("instance", {"category_token": "x"}, "instance car refers to category 'x'"),
    ],
)
def test_broken_records_are_named(tiny_root: Path, table: str, change: dict[str, object], message: str) -> None:
    rows, write = edit_table(tiny_root, table)
    rows[0].update(change)
    write()
    with pytest.raises(ValueError, match=message):
        annotations(tiny_root)


def test_broken_neighbour_is_named_where_velocity_needs_it(tiny_root: Path) -> None:
    rows, write = edit_table(tiny_root, "sample_annotation")
    rows[1]["translation"] = ["x", 2, 3]
    write()
    with pytest.raises(ValueError, match=r"record car-1 has translation \['x', 2, 3\], expected 3 finite numbers"):
        next(NuScenes(tiny_root).samples("scene-0001"))


def test_whole_numbers_are_numbers(tiny_root: Path) -> None:
    rows, write = edit_table(tiny_root, "sample_annotation")
    rows[0].update(size=[2, 5, 1], rotation=[1, 0, 0, 0])
    write()
    assert annotations(tiny_root)[0].boxes.size[0].tolist() == [5.0, 2.0, 1.0]


def test_every_class_has_a_category_and_none_is_both_known_and_ignored() -> None:
    assert set(DETECTION_CLASS.values()) == set(CLASS_NAMES)
    assert not IGNORED_CATEGORIES & set(DETECTION_CLASS)
    assert len(DETECTION_CLASS) + len(IGNORED_CATEGORIES) == 23, "nuScenes annotates 23 categories"
