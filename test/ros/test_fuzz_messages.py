"""Whatever a message holds: it becomes what the core takes, or one of our own errors, before it costs memory."""

from __future__ import annotations

import array
import io
import struct
import zlib

import cv2
import numpy as np
import pytest
from geometry_msgs.msg import Quaternion, Transform, Vector3
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image as Pillow
from sensor_msgs.msg import CameraInfo, CompressedImage, Image
from std_msgs.msg import Header
from synthetic_rig import INTRINSICS, jpeg, pixels

from tggbc_ros.core.config import MODELS
from tggbc_ros.ros import convert
from tggbc_ros.ros.distortion import COEFFICIENTS
from tggbc_ros.ros.drops import BadInputError
from tggbc_ros.ros.images.lenses import Lenses
from tggbc_ros.ros.poses.ego_pose import matrix_of

FUZZ = settings(max_examples=150, deadline=None)
JPEG = jpeg("CAM_FRONT", 1).data.tobytes()
PROGRESSIVE = cv2.imencode(".jpg", pixels(2), [cv2.IMWRITE_JPEG_PROGRESSIVE, 1])[1].tobytes()
PNG = cv2.imencode(".png", pixels(1))[1].tobytes()
NUMBERS = st.one_of(st.floats(width=64), st.sampled_from([0.0, -0.0, 1e308, -1e308, 1e-308, 120.0, 1.0]))
UINT32 = st.one_of(st.integers(0, 2**32 - 1), st.integers(0, 40), st.sampled_from([0, 1, 2**31, 2**32 - 1]))
CHANGES = st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), max_size=12)


def image_of(data: bytes) -> CompressedImage:
    return CompressedImage(format="jpeg", data=array.array("B", data))


def expect_pixels_or_our_error(message: Image | CompressedImage, model: str | None) -> None:
    try:
        found = convert.decoded(message, MODELS[model] if model else None)
    except BadInputError as error:
        assert error.cause in ("bad_image", "bad_size", "bad_encoding")
        return
    height, width = found.full_size
    assert height * width <= convert.MAX_PIXELS
    assert found.pixels.dtype == np.uint8
    assert any(found.pixels.shape == (-(-height // by), -(-width // by), 3) for by in (1, 2, 4, 8))


@FUZZ
@given(st.sampled_from([JPEG, PROGRESSIVE, PNG]), CHANGES, st.floats(0, 1.2), st.sampled_from([None, "demo"]))
def test_mutated_files(file: bytes, changes: list[tuple[float, int]], share: float, model: str | None) -> None:
    data = bytearray(file)
    for place, value in changes:
        data[int(place * len(data))] = value
    expect_pixels_or_our_error(image_of(bytes(data[: int(share * len(data))])), model)


@FUZZ
@given(st.binary(max_size=400), st.sampled_from([b"", b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", JPEG[:180], PNG[:33]]))
def test_random_bytes_behind_a_plausible_head(data: bytes, head: bytes) -> None:
    expect_pixels_or_our_error(image_of(head + data), None)


@FUZZ
@given(UINT32, UINT32, UINT32, st.sampled_from([*convert.ENCODINGS, "bayer_rggb8", "", "\0"]), st.binary(max_size=500))
def test_raw_images_of_any_claim(height: int, width: int, step: int, encoding: str, data: bytes) -> None:
    message = Image(height=height, width=width, step=step, encoding=encoding, data=array.array("B", data))
    expect_pixels_or_our_error(message, None)


def png_claiming(height: int, width: int) -> bytes:
    """A PNG whose head says that size; its checksum holds."""
    head = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return PNG[:8] + struct.pack(">I", 13) + head + struct.pack(">I", zlib.crc32(head)) + PNG[33:]


def jpeg_claiming(height: int, width: int) -> bytes:
    place = JPEG.index(b"\xff\xc0") + 5
    return JPEG[:place] + struct.pack(">HH", height, width) + JPEG[place + 4 :]


@pytest.mark.parametrize(
    "data", [png_claiming(60_000, 60_000), png_claiming(9_000, 9_000), jpeg_claiming(65_000, 65_000)]
)
def test_a_bomb_is_refused_by_its_head(data: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cv2, "imdecode", lambda *_: pytest.fail("it was decoded"))
    with pytest.raises(BadInputError) as error:
        convert.bgr_image(image_of(data))
    assert error.value.cause == "bad_size"


def test_a_real_bomb_of_a_few_kilobytes_is_refused() -> None:
    file = io.BytesIO()
    Pillow.new("L", (8_100, 8_100)).save(file, "PNG")
    assert file.tell() < 100_000
    with pytest.raises(BadInputError, match="8100x8100"):
        convert.bgr_image(image_of(file.getvalue()))


@FUZZ
@given(
    st.lists(NUMBERS, min_size=9, max_size=9),
    st.lists(NUMBERS, min_size=12, max_size=12),
    st.lists(NUMBERS, max_size=14),
    st.sampled_from([*COEFFICIENTS, "", "thin_prism"]),
    UINT32,
    UINT32,
    st.lists(st.one_of(st.integers(0, 3), UINT32), min_size=6, max_size=6),
    st.booleans(),
)
def test_any_camera_info(
    k: list[float],
    p: list[float],
    d: list[float],
    model: str,
    height: int,
    width: int,
    part: list[int],
    plausible: bool,
) -> None:
    k = INTRINSICS.ravel().tolist() if plausible else k
    info = CameraInfo(header=Header(frame_id="cam"), k=k, p=p, d=d, distortion_model=model, height=height, width=width)
    info.roi.x_offset, info.roi.y_offset, info.roi.width, info.roi.height, info.binning_x, info.binning_y = part
    image = pixels(0)
    try:
        info = convert.with_size(info, image.shape[:2])
        matrix = convert.intrinsics(info, image)
        lens = Lenses().lens("cam", info, image)
        straight = image if lens is None else lens.straighten(image)
    except BadInputError as error:
        assert error.cause in ("bad_camera_info", "unknown_distortion")
        return
    assert np.isfinite(matrix).all()
    assert lens is None or np.isfinite(lens.intrinsics).all()
    assert straight.shape == image.shape


@FUZZ
@given(st.lists(NUMBERS, min_size=3, max_size=3), st.lists(NUMBERS, min_size=4, max_size=4))
def test_any_transform(place: list[float], turn: list[float]) -> None:
    x, y, z, w = turn
    message = Transform(
        translation=Vector3(x=place[0], y=place[1], z=place[2]), rotation=Quaternion(x=x, y=y, z=z, w=w)
    )
    try:
        matrix = matrix_of(message)
    except BadInputError as error:
        assert error.cause == "transform_invalid"
        return
    assert np.isfinite(matrix).all()
    np.testing.assert_allclose(matrix[:3, :3] @ matrix[:3, :3].T, np.eye(3), atol=1e-2)
