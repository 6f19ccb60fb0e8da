"""partial_rig: what stands in for a missing camera, and which cells are left."""

from __future__ import annotations

import numpy as np

from tggbc_ros.ros.convert import View
from tggbc_ros.ros.images.partial_rig import StandIns, visible_cells

CAMERAS = ("left", "front", "right")
SIZE = (2, 3)


def view(number: int) -> View:
    pixels = np.full((9 + number, 16, 3), number, np.uint8)
    return View(pixels, number * np.eye(3), number * np.eye(4))


def test_a_missing_camera_is_as_it_was_last_but_black() -> None:
    stand_ins = StandIns()
    whole = {camera: view(number + 1) for number, camera in enumerate(CAMERAS)}
    assert stand_ins.complete(CAMERAS, whole) == whole
    later = {camera: view(number + 11) for number, camera in enumerate(CAMERAS)}
    found = stand_ins.complete(CAMERAS, {"left": later["left"], "right": later["right"]})
    assert list(found) == list(CAMERAS)
    assert (found["left"], found["right"]) == (later["left"], later["right"])
    np.testing.assert_array_equal(found["front"].intrinsics, whole["front"].intrinsics)
    np.testing.assert_array_equal(found["front"].lidar2cam, whole["front"].lidar2cam)
    np.testing.assert_array_equal(found["front"].pixels, np.zeros((11, 16, 3), np.uint8))
    assert found["front"].pixels.dtype == np.uint8


def test_a_camera_that_was_never_seen_is_stood_in_for_by_another() -> None:
    found = StandIns().complete(CAMERAS, {"right": view(4)})
    assert list(found) == list(CAMERAS)
    for camera in ("left", "front"):
        np.testing.assert_array_equal(found[camera].intrinsics, view(4).intrinsics)
        assert found[camera].pixels.shape == (13, 16, 3)
        assert not found[camera].pixels.any()
    assert (found["right"].pixels == 4).all()


def test_all_there_and_no_mask_is_no_choice_at_all() -> None:
    assert visible_cells(CAMERAS, CAMERAS, dict.fromkeys(CAMERAS), SIZE) is None


def test_missing_cameras_and_masks_are_one_choice() -> None:
    mask = np.array([[True, True, True], [True, False, False]])
    found = visible_cells(CAMERAS, ("left", "right"), {"left": None, "right": mask}, SIZE)
    np.testing.assert_array_equal(found, np.stack([np.ones(SIZE, bool), np.zeros(SIZE, bool), mask]))
    found = visible_cells(CAMERAS, CAMERAS, {"left": mask}, SIZE)
    np.testing.assert_array_equal(found, np.stack([mask, np.ones(SIZE, bool), np.ones(SIZE, bool)]))
