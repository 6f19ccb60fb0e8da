"""overlay: boxes are drawn where they project to, in their class colour, and nothing is drawn out of view."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from pictures import CAR, PALETTE, box, pixels_of, shows

from tggbc_ros.core.geometry import rigid
from tggbc_ros.core.types import Boxes3D, CameraFrame, Rig
from tggbc_ros.data.nuscenes.sample_folder import read_sample_folder
from tggbc_ros.drawing.draw import DARK, WHITE
from tggbc_ros.drawing.overlay import (
    MOSAIC,
    at_width,
    draw_cameras,
    draw_detections,
    draw_ground_truth,
    mosaic,
)

INTRINSICS = np.array([[500.0, 0.0, 400.0], [0.0, 500.0, 225.0], [0.0, 0.0, 1.0]])
LIDAR2FRONT = rigid([[1, 0, 0], [0, 0, -1], [0, 1, 0]], (0.0, 0.0, 0.0))
LIDAR2BACK = rigid([[-1, 0, 0], [0, 0, -1], [0, -1, 0]], (0.0, 0.0, 0.0))


def blank() -> np.ndarray:
    return np.zeros((450, 800, 3), np.uint8)


def test_edges_lie_where_the_corners_project_to() -> None:
    image = blank()
    draw_detections(image, box(0.0, 11.0), INTRINSICS, LIDAR2FRONT, PALETTE)
    drawn = pixels_of(image[176:], CAR)
    near, far = 500.0 / 10.0, 500.0 / 12.0
    assert drawn[:, 0].min() == pytest.approx(400 - near, abs=2)
    assert drawn[:, 0].max() == pytest.approx(400 + near, abs=2)
    assert drawn[:, 1].max() + 176 == pytest.approx(225 + near, abs=2)
    for u, v in ((400 - near, 225), (400 + near, 225), (400 - far, 225), (400, 225 + near), (400, 225 + far)):
        assert shows(image, u, v, CAR)
    assert tuple(image[215, 390]) == (0, 0, 0), "faces stay empty"


def test_heading_mark_points_to_the_front() -> None:
    right, left = blank(), blank()
    draw_detections(right, box(0.0, 11.0, yaw=0.0), INTRINSICS, LIDAR2FRONT, PALETTE)
    draw_detections(left, box(0.0, 11.0, yaw=np.pi), INTRINSICS, LIDAR2FRONT, PALETTE)
    v, offset = 225 + 500 / 11, 500 / 11 / 2
    assert [shows(right, 400 + side * offset, v, CAR) for side in (1, -1)] == [True, False]
    assert [shows(left, 400 + side * offset, v, CAR) for side in (1, -1)] == [False, True]


def test_nothing_is_drawn_behind_the_camera_or_beside_the_image() -> None:
    for unseen in (box(0.0, -11.0), box(50.0, 11.0), box(0.0, -0.8)):
        image = blank()
        draw_detections(image, unseen, INTRINSICS, LIDAR2FRONT, PALETTE)
        draw_ground_truth(image, unseen, INTRINSICS, LIDAR2FRONT, PALETTE)
        assert not image.any()


def test_a_box_through_the_camera_plane_is_clipped_not_mirrored() -> None:
    image = blank()
    long = replace(box(3.0, 4.0), size=np.array([[1.0, 20.0, 1.0]]))
    draw_ground_truth(image, long, INTRINSICS, LIDAR2FRONT, PALETTE)
    drawn = pixels_of(image, WHITE)
    assert len(drawn) > 50
    assert drawn[:, 0].min() > 400, "it stands to the right, so nothing of it shows on the left"


@pytest.mark.parametrize("number", [1e4, 1e7, 1e30, 1e100, 1e308, np.inf, np.nan])
@pytest.mark.parametrize("place", [(0.0, 11.0), (0.0, -11.0), (3.0, 0.1)])
def test_a_box_of_any_numbers_is_drawn_or_left_out_and_others_are_drawn(
    number: float, place: tuple[float, float]
) -> None:
    absurd, plain = box(*place), box(0.0, 11.0)
    for huge in (
        replace(absurd, size=np.full((1, 3), number)),
        replace(absurd, size=np.array([[1.0, 1.0, number]])),
        replace(absurd, center=np.array([[number, -number, 1.0]])),
    ):
        fields = ("center", "size", "yaw", "velocity", "score", "label", "query")
        both = Boxes3D(**{name: np.concatenate([getattr(huge, name), getattr(plain, name)]) for name in fields})
        image, alone = blank(), blank()
        draw_detections(image, both, INTRINSICS, LIDAR2FRONT, PALETTE)
        draw_ground_truth(image, huge, INTRINSICS, LIDAR2FRONT, PALETTE)
        assert image.any()
        if not number < 1e6:
            draw_detections(alone, plain, INTRINSICS, LIDAR2FRONT, PALETTE)
            np.testing.assert_array_equal(image, alone)


def test_label_says_class_and_score_on_a_plate_in_the_class_color() -> None:
    """A plate on the box's upper left corner, at (350, 175), and nothing else; the score is the end of its text."""
    plain, labelled, other = blank(), blank(), blank()
    draw_detections(plain, box(0.0, 11.0), INTRINSICS, LIDAR2FRONT, PALETTE, labels=False)
    draw_detections(labelled, box(0.0, 11.0), INTRINSICS, LIDAR2FRONT, PALETTE)
    draw_detections(other, replace(box(0.0, 11.0), score=np.array([0.77])), INTRINSICS, LIDAR2FRONT, PALETTE)
    rows, columns = np.nonzero((plain != labelled).any(axis=-1))
    assert (columns.min(), rows.max()) == (pytest.approx(350, abs=2), pytest.approx(174, abs=2))
    plate = labelled[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]
    assert 10 <= plate.shape[0] <= 20 and 40 <= plate.shape[1] <= 80
    assert len(pixels_of(plate, CAR)) > 0.5 * plate.shape[0] * plate.shape[1]
    changed = np.nonzero((labelled != other).any(axis=-1))
    assert changed[0].min() >= rows.min() and changed[0].max() <= rows.max()
    assert changed[1].min() > columns.mean()


def test_labels_in_each_others_way_move_aside_the_best_one_first() -> None:
    """Of two boxes at one place the better one's label is where it would be alone."""
    both = Boxes3D(
        **{
            k: np.concatenate([getattr(box(0.0, 11.0, label=4), k), getattr(box(0.0, 11.0, label=0), k)])
            for k in ("center", "size", "yaw", "velocity", "label", "query")
        },
        score=np.array([0.3, 0.6]),
    )
    alone, together = blank(), blank()
    draw_detections(alone, both[1:], INTRINSICS, LIDAR2FRONT, PALETTE)
    draw_detections(together, both, INTRINSICS, LIDAR2FRONT, PALETTE)
    place = np.s_[163:173, 352:400]
    np.testing.assert_array_equal(alone[place], together[place])
    assert len(pixels_of(together[140:162], PALETTE.colors[4])) > 200


def test_ground_truth_is_dashed_white() -> None:
    image = blank()
    draw_ground_truth(image, box(0.0, 11.0), INTRINSICS, LIDAR2FRONT, PALETTE)
    edge = [shows(image, 350, v, WHITE) for v in range(180, 270)]
    assert 0.4 < np.mean(edge) < 0.9


def test_near_boxes_cover_far_ones() -> None:
    both = Boxes3D(
        **{
            k: np.concatenate([getattr(box(0.0, 11.0, label=0), k), getattr(box(1.2, 16.0, label=1), k)])
            for k in ("center", "size", "yaw", "velocity", "score", "label", "query")
        }
    )
    swapped = both[np.array([1, 0])]
    first, second = blank(), blank()
    draw_detections(first, both, INTRINSICS, LIDAR2FRONT, PALETTE)
    draw_detections(second, swapped, INTRINSICS, LIDAR2FRONT, PALETTE)
    np.testing.assert_array_equal(first, second)


def frame() -> CameraFrame:
    rig = Rig(("CAM_FRONT", "CAM_BACK"), np.stack([INTRINSICS] * 2), np.stack([LIDAR2FRONT, LIDAR2BACK]))
    return CameraFrame((blank(), blank()), rig, 0, np.eye(4))


def test_each_camera_gets_its_own_boxes_and_the_frame_stays_clean() -> None:
    given = frame()
    drawn = draw_cameras(given, box(0.0, -11.0), PALETTE, truth=box(0.0, 11.0))
    assert len(pixels_of(drawn["CAM_BACK"], CAR)) > 0
    assert len(pixels_of(drawn["CAM_FRONT"], CAR)) == 0
    assert len(pixels_of(drawn["CAM_FRONT"], WHITE)) > 0
    assert not given.images[0].any()


def test_mosaic_places_cameras_as_seen_from_the_vehicle() -> None:
    assert MOSAIC == (
        ("CAM_FRONT_LEFT", "CAM_FRONT", "CAM_FRONT_RIGHT"),
        ("CAM_BACK_LEFT", "CAM_BACK", "CAM_BACK_RIGHT"),
    )
    shades = {name: 20 + 30 * i for i, name in enumerate(name for row in MOSAIC for name in row)}
    images = {name: np.full((90, 160, 3), shade, np.uint8) for name, shade in shades.items()}
    images["CAM_FRONT"][:, :80] = 255
    canvas = mosaic(images, cell_width=320)
    assert canvas.shape == (360, 960, 3)
    for row, names in enumerate(MOSAIC):
        for column, name in enumerate(names):
            assert canvas[row * 180 + 170, column * 320 + 310].tolist() == [shades[name]] * 3
    assert canvas[170, 330].tolist() == [255] * 3, "not mirrored"


def test_mosaic_of_five_cameras_leaves_a_dark_cell_and_refuses_strangers() -> None:
    images = {name: np.full((90, 160, 3), 200, np.uint8) for row in MOSAIC for name in row if name != "CAM_BACK"}
    canvas = mosaic(images, cell_width=160)
    assert tuple(canvas[170, 240]) == DARK
    with pytest.raises(ValueError, match=r"cameras \['CAM_TOP'\] have no place"):
        mosaic({"CAM_TOP": images["CAM_FRONT"]})


def test_enlarged_images_show_boxes_where_the_small_ones_do() -> None:
    """Twice the pixels, twice the coordinates; the small frame stays as it was."""
    small = frame()
    large = at_width(small, 1600)
    assert [image.shape for image in large.images] == [(900, 1600, 3)] * 2
    assert small.images[0].shape == (450, 800, 3) and small.rig.intrinsics[0, 0, 0] == 500.0
    seen = [draw_cameras(each, box(3.0, 11.0), PALETTE, labels=False)["CAM_FRONT"] for each in (small, large)]
    corners = [pixels_of(image, CAR) for image in seen]
    np.testing.assert_allclose(corners[1].min(axis=0), 2 * corners[0].min(axis=0), atol=4)
    np.testing.assert_allclose(corners[1].max(axis=0), 2 * corners[0].max(axis=0), atol=4)


def test_a_small_box_has_thin_edges() -> None:
    """2 m at 60 m are 17 of 800 pixels."""
    near, far = blank(), blank()
    draw_detections(near, box(0.0, 11.0), INTRINSICS, LIDAR2FRONT, PALETTE, labels=False)
    draw_detections(far, box(0.0, 60.0), INTRINSICS, LIDAR2FRONT, PALETTE, labels=False)
    columns = [(np.abs(image[225].astype(int) - CAR).max(axis=-1) < 60).sum() for image in (near, far)]
    assert columns[0] >= 2 * columns[1] >= 4


def test_annotations_of_the_real_sample_project_into_the_images(sample_dir: Path) -> None:
    sample = read_sample_folder(sample_dir)
    real = sample.camera_frame()
    assert sample.annotations is not None
    drawn = draw_cameras(real, sample.annotations.boxes, PALETTE)
    touched = {
        name: (drawn[name] != image).any(axis=-1).mean()
        for name, image in zip(real.rig.names, real.images, strict=True)
    }
    assert all(0.001 < share < 0.2 for share in touched.values()), touched
