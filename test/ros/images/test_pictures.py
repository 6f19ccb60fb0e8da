"""pictures: an image comes out straight, with intrinsics of its own pixels, by what is known of its camera then."""

from __future__ import annotations

import array
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import pytest
import yaml
from bag_families import write_calibration
from sensor_msgs.msg import CameraInfo
from synthetic_rig import HEIGHT, INTRINSICS, WIDTH, camera_info, jpeg, pixels, raw
from tiny_detector import TINY

from tggbc_ros.core.config import ModelConfig
from tggbc_ros.ros import calibration_file
from tggbc_ros.ros.convert import bgr_image
from tggbc_ros.ros.drops import BadInputError
from tggbc_ros.ros.images.ego_mask import EgoMasks
from tggbc_ros.ros.images.image_decoder import ImageDecoder
from tggbc_ros.ros.images.lenses import make_lens
from tggbc_ros.ros.images.pictures import Pictures
from tggbc_ros.ros.params import CAMERAS
from tggbc_ros.ros.plausibility import Told

NO_MASKS = EgoMasks({}, TINY)


def bent(camera: str, strength: float = -0.3) -> CameraInfo:
    info = camera_info(camera, 1)
    info.distortion_model, info.d = "plumb_bob", [strength, 0.1, 0.0, 0.0, 0.0]
    return info


def of(infos: dict[str, CameraInfo], needed: ModelConfig | None = None, masks: EgoMasks = NO_MASKS) -> Pictures:
    return Pictures(needed, infos.get, {}, masks)


def test_a_pinholes_raw_image_is_the_messages_memory() -> None:
    message = raw("CAM_FRONT", 1, seed=5)
    found = of({"CAM_FRONT": camera_info("CAM_FRONT", 1)}).make("CAM_FRONT", message)
    assert np.shares_memory(found.pixels, np.frombuffer(message.data, np.uint8))
    np.testing.assert_array_equal(found.pixels, pixels(5))
    np.testing.assert_array_equal(found.intrinsics, INTRINSICS)
    assert found.cells is None


def test_distortion_is_taken_out_on_the_threads_that_decode() -> None:
    names: list[str] = []
    pictures = of({camera: bent(camera, -0.05 * n) for n, camera in enumerate(CAMERAS)})

    def make(camera: str, message: object) -> object:
        names.append(threading.current_thread().name)
        return pictures.make(camera, message)

    decoder = ImageDecoder(make)
    begun = {camera: decoder.take(camera, jpeg(camera, 1, seed=n)).begin() for n, camera in enumerate(CAMERAS)}
    for n, camera in enumerate(CAMERAS):
        shown = bgr_image(jpeg(camera, 1, seed=n))
        lens = make_lens(bent(camera, -0.05 * n), shown)
        np.testing.assert_array_equal(begun[camera].result().pixels, lens.straighten(shown))
        np.testing.assert_array_equal(begun[camera].result().intrinsics, lens.intrinsics)
    assert np.abs(begun[CAMERAS[5]].result().pixels.astype(int) - bgr_image(jpeg(CAMERAS[5], 1, seed=5))).max() > 20
    decoder.close()
    assert len(names) == 6
    assert all(name.startswith("decode") for name in names)


def test_rectified_images_stay_as_they_are_with_the_intrinsics_of_p(tmp_path: Path) -> None:
    """From CameraInfo, and from the file: its projection, or what it has without one."""
    info = bent("CAM_FRONT")
    info.p = [130.0, 0.0, 78.0, 0.0, 0.0, 125.0, 44.0, 0.0, 0.0, 0.0, 1.0, 0.0]
    path = write_calibration(tmp_path / "rig.yaml", CAMERAS)
    content = yaml.safe_load(path.read_text())
    for camera, more in (("CAM_BACK", {"projection": [150.0, 140.0, 82.0, 43.0]}), ("CAM_BACK_LEFT", {})):
        content["cameras"][camera] |= {"distortion": [-0.3, 0.1, 0.0, 0.0, 0.0]} | more
    path.write_text(yaml.safe_dump(content))
    known = calibration_file.load(str(path), CAMERAS)
    pictures = Pictures(None, {"CAM_FRONT": info}.get, known, NO_MASKS, rectified=True)
    expected = {"CAM_FRONT": (130.0, 125.0, 78.0, 44.0), "CAM_BACK": (150.0, 140.0, 82.0, 43.0)}
    expected["CAM_BACK_LEFT"] = tuple(INTRINSICS[[0, 1, 0, 1], [0, 1, 2, 2]])
    for camera, (fx, fy, cx, cy) in expected.items():
        found = pictures.make(camera, jpeg(camera, 1, seed=7))
        np.testing.assert_array_equal(found.intrinsics, [[fx, 0.0, cx], [0.0, fy, cy], [0.0, 0.0, 1.0]])
        np.testing.assert_array_equal(found.pixels, bgr_image(jpeg(camera, 1, seed=7)))


def test_several_threads_may_ask_for_one_camera_at_once() -> None:
    pictures, shown = of({"CAM_FRONT": bent("CAM_FRONT")}), bgr_image(jpeg("CAM_FRONT", 1, seed=7))
    expected = make_lens(bent("CAM_FRONT"), shown).straighten(shown)
    with ThreadPoolExecutor(8) as threads:
        found = list(threads.map(lambda _: pictures.make("CAM_FRONT", jpeg("CAM_FRONT", 1, seed=7)), range(32)))
    for picture in found:
        np.testing.assert_array_equal(picture.pixels, expected)


def test_the_newest_calibration_counts() -> None:
    infos: dict[str, CameraInfo] = {}
    pictures = of(infos)
    assert not pictures.is_calibrated("CAM_FRONT")
    with pytest.raises(BadInputError) as error:
        pictures.make("CAM_FRONT", jpeg("CAM_FRONT", 1))
    assert error.value.cause == "no_camera_info"
    for strength in (-0.1, -0.3):
        infos["CAM_FRONT"] = bent("CAM_FRONT", strength)
        assert pictures.is_calibrated("CAM_FRONT")
        found, shown = pictures.make("CAM_FRONT", jpeg("CAM_FRONT", 1)), bgr_image(jpeg("CAM_FRONT", 1))
        np.testing.assert_array_equal(found.pixels, make_lens(infos["CAM_FRONT"], shown).straighten(shown))


def test_the_file_counts_where_nothing_is_published(tmp_path: Path) -> None:
    path = write_calibration(tmp_path / "rig.yaml", CAMERAS)
    known = calibration_file.load(str(path), CAMERAS)
    infos = {"CAM_BACK": camera_info("CAM_BACK", 1)}
    infos["CAM_BACK"].k = (INTRINSICS @ np.diag([2.0, 2.0, 1.0])).ravel().tolist()
    pictures = Pictures(None, infos.get, known, NO_MASKS)
    assert pictures.is_calibrated("CAM_FRONT")
    np.testing.assert_array_equal(pictures.make("CAM_FRONT", jpeg("CAM_FRONT", 1)).intrinsics, INTRINSICS)
    np.testing.assert_array_equal(
        pictures.make("CAM_BACK", jpeg("CAM_BACK", 1)).intrinsics, INTRINSICS @ np.diag([2.0, 2.0, 1.0])
    )


@pytest.mark.parametrize("error", [MemoryError("no room"), cv2.error("Insufficient memory")])
def test_an_image_too_large_for_what_memory_is_left_is_a_bad_image(
    error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_room(*given: object) -> object:
        raise error

    monkeypatch.setattr(Pictures, "_make", no_room)
    with pytest.raises(BadInputError, match="no room|Insufficient memory") as caught:
        of({}).make("CAM_FRONT", jpeg("CAM_FRONT", 1))
    assert caught.value.cause == "bad_image"


@pytest.mark.parametrize(
    ("function", "cause"),
    [("remap", "bad_image"), ("initUndistortRectifyMap", "bad_camera_info"), ("resize", "bad_ego_mask")],
)
@pytest.mark.parametrize("error", [SystemError("bad call"), RuntimeError("ABI"), AttributeError("_ARRAY_API")])
def test_whatever_opencv_raises_of_a_lens_costs_this_image(
    function: str, cause: str, error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*given: object, **more: object) -> None:
        raise error

    masks = EgoMasks({"CAM_FRONT": np.zeros((HEIGHT, WIDTH), np.uint8)}, TINY)
    message = jpeg("CAM_FRONT", 1)
    monkeypatch.setattr(cv2, function, broken)
    decoder = ImageDecoder(of({"CAM_FRONT": bent("CAM_FRONT")}, masks=masks).make)
    with pytest.raises(BadInputError, match=type(error).__name__) as caught:
        decoder.take("CAM_FRONT", message).result()
    assert caught.value.cause == cause
    decoder.close()


def test_what_an_image_lacks_comes_with_its_picture() -> None:
    message = jpeg("CAM_FRONT", 1)
    message.data = array.array("B", cv2.imencode(".jpg", pixels(1)[..., 0])[1].tobytes())
    for info in (camera_info("CAM_FRONT", 1), bent("CAM_FRONT")):
        assert of({"CAM_FRONT": info}).make("CAM_FRONT", message).lacks == "grey, compressed as 'jpeg'"
        assert of({"CAM_FRONT": info}).make("CAM_FRONT", jpeg("CAM_FRONT", 1)).lacks == ""


def test_the_mask_goes_the_way_of_the_image() -> None:
    mask = np.zeros((HEIGHT, WIDTH), np.uint8)
    mask[HEIGHT // 2 :] = 255
    masks = EgoMasks({"CAM_FRONT": mask}, TINY)
    info = bent("CAM_FRONT", -0.6)
    found = of({"CAM_FRONT": info}, masks=masks).make("CAM_FRONT", jpeg("CAM_FRONT", 1))
    lens = make_lens(info, bgr_image(jpeg("CAM_FRONT", 1)))
    straight = EgoMasks({"CAM_FRONT": lens.straighten(mask, cv2.INTER_NEAREST)}, TINY)
    np.testing.assert_array_equal(found.cells, straight.cells("CAM_FRONT", (HEIGHT, WIDTH), None))


def test_what_camera_info_told_of_the_image_goes_along() -> None:
    """Sizes as published, K's focal lengths in them; of images that P speaks of none."""
    info = camera_info("CAM_FRONT", 1)
    info.height = 120
    found = of({"CAM_FRONT": info}).make("CAM_FRONT", jpeg("CAM_FRONT", 1))
    assert found.told == Told((120, WIDTH), (HEIGHT, WIDTH), (120.0, pytest.approx(118.0 * HEIGHT / 120)))
    info.width = info.height = 0
    assert of({"CAM_FRONT": info}).make("CAM_FRONT", jpeg("CAM_FRONT", 1)).told.size == (HEIGHT, WIDTH)
    info.p = [130.0, 0.0, 80.0, 0.0, 0.0, 100.0, 45.0, 0.0, 0.0, 0.0, 1.0, 0.0]
    rectified = Pictures(None, {"CAM_FRONT": info}.get, {}, NO_MASKS, rectified=True)
    assert rectified.make("CAM_FRONT", jpeg("CAM_FRONT", 1)).told.focal is None
