"""image_decoder: pixels come from other threads, are decoded once, and what is wrong with them comes out as ours."""

from __future__ import annotations

import threading
from concurrent.futures import CancelledError

import numpy as np
import pytest
from sensor_msgs.msg import CompressedImage
from synthetic_rig import HEIGHT, INTRINSICS, WIDTH, camera_info, jpeg, pixels, raw
from tiny_detector import TINY

from tggbc_ros.core.config import ModelConfig
from tggbc_ros.ros import convert
from tggbc_ros.ros.drops import BadInputError
from tggbc_ros.ros.images.ego_mask import EgoMasks
from tggbc_ros.ros.images.image_decoder import ImageDecoder, Make
from tggbc_ros.ros.images.pictures import Pictures


def undistorted(needed: ModelConfig | None = None) -> Make:
    """What the threads do, with a camera whose CameraInfo says that it is a pinhole's."""
    return Pictures(needed, lambda camera: camera_info(camera, 1), {}, EgoMasks({}, TINY)).make


def test_an_image_is_decoded_once_and_not_by_the_caller() -> None:
    decoder = ImageDecoder(undistorted())
    image = decoder.take("CAM_FRONT", jpeg("CAM_FRONT", 1, seed=3))
    assert image.header.frame_id == "CAM_FRONT"
    begun = image.begin()
    assert image.begin() is begun
    np.testing.assert_array_equal(image.result().pixels, convert.bgr_image(jpeg("CAM_FRONT", 1, seed=3)))
    assert image.result() is image.result()
    np.testing.assert_array_equal(image.result().intrinsics, INTRINSICS)
    assert any(thread.name.startswith("decode") for thread in threading.enumerate())
    decoder.close()
    assert not any(thread.name.startswith("decode") for thread in threading.enumerate())


def test_a_raw_image_is_still_the_messages_memory() -> None:
    decoder = ImageDecoder(undistorted())
    message = raw("CAM_FRONT", 1, seed=5)
    found = decoder.take("CAM_FRONT", message).result().pixels
    assert np.shares_memory(found, np.frombuffer(message.data, np.uint8))
    np.testing.assert_array_equal(found, pixels(5))
    decoder.close()


def test_a_broken_image_is_our_own_error_every_time_it_is_asked_for() -> None:
    decoder = ImageDecoder(undistorted())
    image = decoder.take("CAM_FRONT", CompressedImage(format="jpeg"))
    for _ in range(2):
        with pytest.raises(BadInputError) as error:
            image.result()
        assert error.value.cause == "bad_image"
    decoder.close()


def test_jpegs_are_decoded_for_the_network() -> None:
    """Images of 32 x 64: half of 90 x 160 is enough, a quarter is not."""
    decoder = ImageDecoder(undistorted(TINY))
    found = decoder.take("CAM_FRONT", jpeg("CAM_FRONT", 1, seed=3)).result()
    assert found.pixels.shape == (HEIGHT // 2, WIDTH // 2, 3)
    np.testing.assert_array_equal(found.intrinsics[:2], INTRINSICS[:2] / 2)
    decoder.close()


def test_what_has_not_begun_at_the_close_never_does() -> None:
    decoder = ImageDecoder(undistorted())
    gate = threading.Event()
    blocked = [decoder._pool.submit(gate.wait, 20) for _ in range(64)]
    waiting = decoder.take("CAM_FRONT", jpeg("CAM_FRONT", 1)).begin()
    closing = threading.Thread(target=decoder.close)
    closing.start()
    with pytest.raises(CancelledError):
        waiting.result(timeout=20)
    gate.set()
    closing.join(timeout=20)
    assert not closing.is_alive()
    assert any(each.done() and not each.cancelled() for each in blocked)
