"""Pictures: objects where their boxes are, hidden by what stands in front, the same for the same seed."""

from __future__ import annotations

import dataclasses

import cv2
import numpy as np
import pytest
from stage import empty_scene, staged, thing

from tggbc_ros.core.config import CLASS_NAMES
from tggbc_ros.core.geometry import box_corners, transform_points
from tggbc_ros.core.types import Array
from tggbc_ros.data.drive.frames import DriveFrame, render_frame
from tggbc_ros.data.drive.render import render_camera
from tggbc_ros.data.drive.world import Scene

FRONT = 0


@pytest.fixture(scope="module")
def street() -> Scene:
    """A bare street; the vehicle drives along it."""
    return empty_scene()


def _hull_mask(frame: DriveFrame, camera: int, corners: Array, grow_px: int) -> np.ndarray:
    """Where the convex hull of a box [8, 3] in the lidar frame lies in a camera's image, ``grow_px`` wider."""
    rig = frame.frame.rig
    pixels = transform_points(rig.lidar2cam[camera], corners) @ rig.intrinsics[camera].T
    points = (pixels[:, :2] / pixels[:, 2:] - 0.5).round().astype(np.int32)
    mask = np.zeros(frame.frame.images[camera].shape[:2], np.uint8)
    cv2.fillConvexPoly(mask, cv2.convexHull(points), 1)
    return cv2.dilate(mask, np.ones((2 * grow_px + 1, 2 * grow_px + 1), np.uint8)) > 0


def _painted(scene: Scene, frame: DriveFrame) -> np.ndarray:
    """Front-camera pixels that the scene's things changed."""
    bare = render_frame(staged(scene, [thing("car", 500.0, 0.0)]), frame.index)
    return (frame.frame.images[FRONT] != bare.frame.images[FRONT]).any(axis=-1)


@pytest.mark.parametrize("name", CLASS_NAMES)
def test_pixels_of_an_object_lie_in_the_hull_of_its_projected_box_and_fill_it(street: Scene, name: str) -> None:
    scene = staged(street, [thing(name, 22.0, 0.5, yaw_rad=0.4)])
    frame = render_frame(scene, 3)
    painted = _painted(street, frame)
    corners = box_corners(frame.boxes())[0]
    assert painted.sum() > 10
    assert not (painted & ~_hull_mask(frame, FRONT, corners, grow_px=1)).any()
    rows, columns = np.nonzero(_hull_mask(frame, FRONT, corners, grow_px=0))
    found_rows, found_columns = np.nonzero(painted)
    for hull, found in ((rows, found_rows), (columns, found_columns)):
        slack = 2 + 0.3 * np.ptp(hull)  # a thing touches its box's faces, seldom its corners
        assert abs(int(hull.min()) - int(found.min())) <= slack
        assert abs(int(hull.max()) - int(found.max())) <= slack


def test_a_box_projected_without_the_vehicles_motion_misses_the_object(street: Scene) -> None:
    scene = staged(street, [thing("pedestrian", 9.0, 1.5)])
    frame = render_frame(scene, 6)
    speed = np.linalg.norm(scene.ego2global(0.5)[:3, 3] - scene.ego2global(0.0)[:3, 3]) / 0.5
    assert speed > 3.0
    still = scene.ego2global(0.5)
    lag_m = np.linalg.norm(still[:3, 3] - scene.ego2global(float(scene.trigger_us[6, FRONT]) / 1e6)[:3, 3])
    assert lag_m == pytest.approx(0.035 * speed, rel=0.1)
    box_depth = transform_points(frame.frame.rig.lidar2cam[FRONT], frame.boxes().center)[0, 2]
    lidar_depth = frame.boxes().center[0, 1] + 0.94 - 1.70
    assert box_depth - lidar_depth == pytest.approx(lag_m, abs=0.02)


def test_something_hidden_by_a_bus_has_no_share_and_alone_has_all(street: Scene) -> None:
    left = street.ego_left_m
    bus, car = thing("bus", 16.0, left), thing("car", 30.0, left)
    alone = render_camera(staged(street, [car]), street.cameras[FRONT], 0.0)
    assert alone.full_px[0] > 100
    assert alone.visible_share[0] == 1.0
    both = render_camera(staged(street, [car, bus]), street.cameras[FRONT], 0.0)
    assert both.full_px[0] == pytest.approx(alone.full_px[0], abs=1)
    assert both.visible_share[0] == 0.0
    assert both.visible_share[1] == 1.0


def test_a_car_half_behind_a_barrier_row_is_partly_visible(street: Scene) -> None:
    left = street.ego_left_m
    rows = [thing("barrier", 14.0, left + shift) for shift in (-1.3, 1.3)]
    hidden = render_camera(staged(street, [thing("car", 18.0, left), *rows]), street.cameras[FRONT], 0.0)
    assert 0.2 < hidden.visible_share[0] < 0.9
    assert (hidden.visible_share[1:] == 1.0).all()


def test_share_follows_what_the_picture_shows(street: Scene) -> None:
    """A bus slides across a car: the car's share sinks from one to zero and its full size stays."""
    left = street.ego_left_m
    shares = []
    for shift in (6.0, 2.8, 2.4, 2.0, 1.6, 1.2, 0.0):
        things = [thing("car", 28.0, left), thing("bus", 15.0, left + shift)]
        shares.append(float(render_camera(staged(street, things), street.cameras[FRONT], 0.0).visible_share[0]))
    assert shares[0] == 1.0
    assert shares[-1] == 0.0
    assert all(later <= earlier for earlier, later in zip(shares, shares[1:], strict=False))
    assert any(0.1 < share < 0.9 for share in shares)


def test_what_is_out_of_range_is_not_drawn(street: Scene) -> None:
    scene = staged(street, [thing("truck", 40.0, street.ego_left_m)])
    near = dataclasses.replace(scene, config=dataclasses.replace(scene.config, range_m=30.0))
    camera = scene.cameras[FRONT]
    assert render_camera(scene, camera, 0.0).visible_px[0] > 0
    assert render_camera(near, camera, 0.0).full_px[0] == 0


def test_an_object_that_reaches_behind_the_camera_is_cut_not_smeared(street: Scene) -> None:
    scene = staged(street, [thing("trailer", 3.0, street.ego_left_m + 3.2)])
    left_camera = scene.cameras[2]
    rendering = render_camera(scene, left_camera, 0.0)
    width, height = left_camera.size
    assert 0.3 * width * height < rendering.visible_px[0] <= width * height


def test_front_and_back_of_a_car_look_different(street: Scene) -> None:
    """Tail lights are red, head lights are not."""
    reds = []
    for yaw in (0.0, np.pi):
        scene = staged(street, [thing("car", 12.0, street.ego_left_m, yaw_rad=yaw)])
        scene = dataclasses.replace(scene, geometry=_grey_paint(scene))
        image = render_camera(scene, scene.cameras[FRONT], 0.0).image.astype(int)
        reds.append(int(((image[..., 2] > 90) & (image[..., 2] > 2 * image[..., 1])).sum()))
    assert reds[0] > 20
    assert reds[1] == 0


def test_a_truck_that_comes_towards_us_shows_its_cab_not_the_cargo_behind_it(street: Scene) -> None:
    scene = staged(street, [thing("truck", 16.0, street.ego_left_m, yaw_rad=np.pi)])
    in_front = scene.geometry.center[:, 0] > 0.2 * scene.size[0, 0]
    color = np.where(in_front[:, None], (0.0, 0.0, 255.0), (255.0, 0.0, 0.0))
    scene = dataclasses.replace(scene, geometry=dataclasses.replace(scene.geometry, color=color))
    image = render_camera(scene, scene.cameras[FRONT], 0.0).image.astype(int)
    red, blue = ((image[..., own] > 2 * image[..., other] + 20).sum() for own, other in ((2, 0), (0, 2)))
    sky = render_camera(staged(street, [thing("car", 500.0, 0.0)]), street.cameras[FRONT], 0.0).image.astype(int)
    blue -= (sky[..., 0] > 2 * sky[..., 2] + 20).sum()
    assert red > 1.5 * blue > 0


def _grey_paint(scene: Scene) -> object:
    """The scene's quads with everything but the lamps in grey."""
    geometry = scene.geometry
    lamps = geometry.color.max(axis=1) > 210
    color = np.where(lamps[:, None], geometry.color, geometry.color.mean(axis=1, keepdims=True))
    return dataclasses.replace(geometry, color=color)


def test_the_same_moment_renders_to_the_same_bytes_and_noise_differs_between_exposures(street: Scene) -> None:
    tile = np.random.default_rng(0).integers(-9, 9, (40, 40, 3)).astype(np.int16)
    noisy = dataclasses.replace(street, light=dataclasses.replace(street.light, noise=tile))
    camera = noisy.cameras[FRONT]
    first, again, other = (render_camera(noisy, camera, 0.2, exposure).image for exposure in (4, 4, 5))
    assert first.tobytes() == again.tobytes()
    assert first.tobytes() != other.tobytes()


def test_image_cut_at_the_top_equals_the_lower_rows_of_the_whole_image(street: Scene) -> None:
    """Rendering at the network's shape is rendering 16:9 and cutting, as preprocessing does."""
    from tggbc_ros.data.drive.rig import CAMERAS

    scene = staged(street, [thing("bus", 18.0, 0.0)])
    whole = render_camera(scene, CAMERAS[FRONT].resized((352, 198)), 0.0).image
    cut = render_camera(scene, CAMERAS[FRONT].resized((352, 128)), 0.0).image
    below_horizon = slice(60, 128)  # the sky's gradient follows the image, all else must agree
    difference = np.abs(whole[70:][below_horizon].astype(int) - cut[below_horizon])
    assert np.percentile(difference, 99) <= 3


def test_more_rows_than_the_camera_has_are_refused() -> None:
    from tggbc_ros.data.drive.rig import CAMERAS

    with pytest.raises(ValueError, match=r"image size is \(160, 160\), expected at most 90 rows"):
        CAMERAS[FRONT].resized((160, 160))
