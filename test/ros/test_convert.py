"""convert: every encoding in numbers, every bad message refused by cause, boxes out as they came in."""

from __future__ import annotations

import array
import importlib.util
import io
import struct
import sys
import types
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image as Pillow
from sensor_msgs.msg import CameraInfo, CompressedImage, Image
from synthetic_rig import BOXES, CAM2EGO, INTRINSICS, LIDAR2EGO, WIDTH, camera_info, jpeg, pixels, raw

from tggbc_ros.core.config import DEMO, R50_704, VOV_800, ModelConfig
from tggbc_ros.core.geometry import invert_rigid
from tggbc_ros.ros import convert
from tggbc_ros.ros.drops import BadInputError
from tggbc_ros.ros.stamps import nanoseconds

BGR = np.random.default_rng(0).integers(0, 256, (6, 8, 3), dtype=np.uint8)
ALPHA = np.full((6, 8, 1), 7, np.uint8)


def image(encoding: str, data: np.ndarray, padding: int = 0, /, **replaced: object) -> Image:
    height, width = data.shape[:2]
    rows = np.pad(data.reshape(height, -1), ((0, 0), (0, padding)), constant_values=99)
    values = {"height": height, "width": width, "encoding": encoding, "step": rows.shape[1]}
    return Image(**(values | {"data": array.array("B", rows.tobytes())} | replaced))


def png() -> CompressedImage:
    return CompressedImage(format="png", data=array.array("B", cv2.imencode(".png", BGR)[1].tobytes()))


def yuv(bgr: np.ndarray, order: str) -> np.ndarray:
    """4:2:2 by BT.601, limited range: two pixels share the colour of the first."""
    blue, green, red = (bgr[..., c].astype(float) for c in range(3))
    y = 16 + 0.257 * red + 0.504 * green + 0.098 * blue
    u = 128 - 0.148 * red - 0.291 * green + 0.439 * blue
    v = 128 + 0.439 * red - 0.368 * green - 0.071 * blue
    chroma = np.where(np.arange(bgr.shape[1]) % 2 == 0, u, np.roll(v, 1, axis=1))
    pair = [chroma, y] if order == "uyvy" else [y, chroma]
    return np.stack(pair, axis=-1).round().clip(0, 255).astype(np.uint8)


@pytest.mark.parametrize("padding", [0, 5])
@pytest.mark.parametrize(
    ("encoding", "data"),
    [
        ("bgr8", BGR),
        ("8UC3", BGR),
        ("rgb8", BGR[..., ::-1]),
        ("bgra8", np.concatenate([BGR, ALPHA], axis=-1)),
        ("rgba8", np.concatenate([BGR[..., ::-1], ALPHA], axis=-1)),
    ],
)
def test_colour_encodings_are_exact(encoding: str, data: np.ndarray, padding: int) -> None:
    np.testing.assert_array_equal(convert.bgr_image(image(encoding, data, padding)), BGR)


def test_mono_becomes_grey() -> None:
    found = convert.bgr_image(image("mono8", BGR[..., :1], 3))
    np.testing.assert_array_equal(found, BGR[..., :1].repeat(3, axis=-1))


@pytest.mark.parametrize(
    ("encoding", "order"), [("yuv422", "uyvy"), ("uyvy", "uyvy"), ("yuv422_yuy2", "yuyv"), ("yuyv", "yuyv")]
)
def test_yuv422_within_rounding(encoding: str, order: str) -> None:
    paired = np.repeat(BGR[:, ::2], 2, axis=1)
    found = convert.bgr_image(image(encoding, yuv(paired, order), 2))
    assert np.abs(found.astype(int) - paired).max() <= 4


def test_bgr8_is_a_view_of_the_message() -> None:
    message = raw("CAM_FRONT", 1)
    assert np.shares_memory(convert.bgr_image(message), np.frombuffer(message.data, np.uint8))


def test_a_jpeg_with_a_second_picture_behind_it_is_its_first() -> None:
    first, second = (Pillow.fromarray(np.full((32, 48, 3), tone, np.uint8)) for tone in (40, 200))
    file = io.BytesIO()
    first.save(file, "MPO", save_all=True, append_images=[second])
    message = CompressedImage(format="jpeg", data=array.array("B", file.getvalue()))
    decoded = convert.bgr_image(message)
    assert decoded.shape == (32, 48, 3)
    assert abs(float(decoded.mean()) - 40) < 2


def test_jpeg_equals_opencv_and_png_is_exact() -> None:
    message = jpeg("CAM_FRONT", 1, seed=3)
    expected = cv2.imdecode(np.frombuffer(message.data, np.uint8), cv2.IMREAD_COLOR)
    np.testing.assert_array_equal(convert.bgr_image(message), expected)
    assert np.abs(expected.astype(int) - pixels(3)).mean() < 4
    message.data.extend(b"\0" * 1000)  # some cameras pad
    np.testing.assert_array_equal(convert.bgr_image(message), expected)
    np.testing.assert_array_equal(convert.bgr_image(png()), BGR)


def resized_head(height: int, width: int) -> array.array[int]:
    """A small JPEG whose head claims another size."""
    data = bytearray(jpeg("CAM_FRONT", 1).data.tobytes())
    place = data.index(b"\xff\xc0") + 5
    data[place : place + 4] = struct.pack(">HH", height, width)
    return array.array("B", bytes(data))


JPEG = jpeg("CAM_FRONT", 1).data


@pytest.mark.parametrize(
    ("message", "cause"),
    [
        (image("bgr8", BGR, height=0), "bad_size"),
        (image("bgr8", BGR, width=0), "bad_size"),
        (image("bgr8", BGR, height=2**31, width=2**31), "bad_size"),
        (image("bgr8", BGR, height=2, width=2000), "bad_size"),
        (image("yuv422", BGR[:, :7, :2]), "bad_size"),
        (image("bgr8", BGR, height=7), "bad_image"),
        (image("bgr8", BGR, step=23), "bad_image"),
        (image("bgr8", BGR, data=array.array("B")), "bad_image"),
        (image("rgba8", BGR), "bad_image"),
        (image("", BGR), "bad_encoding"),
        (image("16UC1", BGR), "bad_encoding"),
        (CompressedImage(format="jpeg"), "bad_image"),
        (CompressedImage(format="jpeg", data=array.array("B", b"no picture at all")), "bad_image"),
        (CompressedImage(format="jpeg", data=JPEG[:200]), "bad_image"),
        (CompressedImage(format="jpeg", data=JPEG[: len(JPEG) // 2]), "bad_image"),
        (CompressedImage(format="jpeg", data=JPEG[:-2]), "bad_image"),
        (CompressedImage(format="jpeg", data=resized_head(65500, 65500)), "bad_size"),
        (CompressedImage(format="jpeg", data=resized_head(8000, 9000)), "bad_size"),
    ],
)
def test_bad_images_are_refused_by_cause(message: Image | CompressedImage, cause: str) -> None:
    with pytest.raises(BadInputError) as error:
        convert.bgr_image(message)
    assert error.value.cause == cause


sides = st.integers(0, 40)


@given(sides, sides, st.integers(0, 200), st.sampled_from([*convert.ENCODINGS, "x"]), st.binary(max_size=4000))
def test_any_image_gives_pixels_or_our_own_error(
    height: int, width: int, step: int, encoding: str, data: bytes
) -> None:
    message = Image(height=height, width=width, step=step, encoding=encoding, data=array.array("B", data))
    try:
        found = convert.bgr_image(message)
    except BadInputError:
        return
    assert found.shape == (height, width, 3)
    assert found.dtype == np.uint8


@given(st.lists(st.tuples(st.integers(0, len(JPEG) - 1), st.integers(0, 255)), max_size=20), st.integers(0, len(JPEG)))
def test_any_damaged_jpeg_gives_pixels_or_our_own_error(changes: list[tuple[int, int]], length: int) -> None:
    data = array.array("B", JPEG)
    for place, value in changes:
        data[place] = value
    try:
        found = convert.bgr_image(CompressedImage(format="jpeg", data=data[:length]))
    except BadInputError:
        return
    assert found.ndim == 3


@pytest.mark.parametrize("message", [jpeg("CAM_FRONT", 1), png()])
def test_a_cut_file_is_found_before_decoding(message: CompressedImage) -> None:
    """Some OpenCV decode half a file and leave the rest grey."""
    for length in (len(message.data) // 2, len(message.data) - 2):
        with pytest.raises(BadInputError, match="cut off"):
            convert.bgr_image(CompressedImage(format=message.format, data=message.data[:length]))


def large_jpeg(height: int, width: int) -> CompressedImage:
    coarse = np.random.default_rng(1).integers(0, 255, (9, 16, 3), dtype=np.uint8)
    smooth = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
    return CompressedImage(format="jpeg", data=array.array("B", cv2.imencode(".jpg", smooth)[1].tobytes()))


@pytest.mark.parametrize(
    ("size", "model", "expected"),
    [
        ((900, 1600), R50_704, (450, 800)),
        ((900, 1600), VOV_800, (450, 800)),
        ((900, 1600), DEMO, (225, 400)),
        ((901, 1603), R50_704, (451, 802)),
        ((720, 1280), R50_704, (720, 1280)),
    ],
)
def test_a_reduced_jpeg_covers_the_network_and_is_the_same_picture(
    size: tuple[int, int], model: ModelConfig, expected: tuple[int, int]
) -> None:
    message = large_jpeg(*size)
    found = convert.decoded(message, model)
    assert found.pixels.shape == (*expected, 3)
    assert found.full_size == size
    full = convert.decoded(message)
    assert full.pixels.shape == (*size, 3)
    smaller = cv2.resize(full.pixels, expected[::-1], interpolation=cv2.INTER_AREA)
    assert np.abs(smaller.astype(int) - found.pixels).mean() < 1.5


def test_intrinsics_of_a_reduced_image_follow_it_even_where_camera_info_has_no_size() -> None:
    found = convert.decoded(large_jpeg(900, 1600), R50_704)
    info = camera_info("CAM_FRONT", 1)
    info.width = info.height = 0
    matrix = convert.intrinsics(convert.with_size(info, found.full_size), found.pixels)
    np.testing.assert_allclose(matrix, np.diag([0.5, 0.5, 1.0]) @ INTRINSICS)
    assert (info.width, info.height) == (0, 0)
    assert convert.with_size(camera_info("CAM_FRONT", 1), (1, 1)).width == WIDTH


def test_only_jpegs_are_reduced() -> None:
    large = np.zeros((900, 1600, 3), np.uint8)
    file = CompressedImage(format="png", data=array.array("B", cv2.imencode(".png", large)[1].tobytes()))
    assert convert.decoded(file, R50_704).pixels.shape == large.shape
    assert convert.decoded(image("bgr8", large), R50_704).pixels.shape == large.shape


def test_other_encodings_go_to_cv_bridge(monkeypatch: pytest.MonkeyPatch) -> None:
    """The real one is compiled against a ROS 2 installation; where there is none, its interface is checked."""
    message = image("bayer_rggb8", BGR[..., :1])
    if importlib.util.find_spec("cv_bridge") is None:
        with pytest.raises(BadInputError, match="cv-bridge"):
            convert.bgr_image(message)
        monkeypatch.setitem(sys.modules, "cv_bridge", fake_cv_bridge())
    found = convert.bgr_image(message)
    assert found.shape == BGR.shape
    message.encoding = "no_such"
    with pytest.raises(BadInputError, match="no_such"):
        convert.bgr_image(message)


ABI = "module was compiled against ABI version 0x1000009"
BROKEN = {
    "at import, ImportError": f"raise ImportError({ABI!r})",
    "at import, AttributeError": "raise AttributeError('_ARRAY_API not found')",
    "at import, SystemError": "raise SystemError('initialization raised unreported exception')",
    "no such name": "",
    "at the start": "class CvBridge:\n def __init__(self): raise RuntimeError('no OpenCV')",
    "at the call": "class CvBridge:\n def imgmsg_to_cv2(self, *given): raise SystemError('bad argument')",
    "nothing": "class CvBridge:\n def imgmsg_to_cv2(self, *given): return None",
    "another size": "import numpy as n\nclass CvBridge:\n def imgmsg_to_cv2(self, *_): return n.zeros((2, 2, 3), 'B')",
    "another type": "import numpy as n\nclass CvBridge:\n def imgmsg_to_cv2(self, *given): return n.zeros((6, 8, 3))",
}


@pytest.mark.parametrize("how", BROKEN)
def test_a_broken_cv_bridge_costs_its_images(how: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Built for another NumPy it raises anything, at its import or at a call, every time."""
    (tmp_path / "cv_bridge.py").write_text(BROKEN[how])
    monkeypatch.syspath_prepend(tmp_path)
    for _ in range(2):
        monkeypatch.delitem(sys.modules, "cv_bridge", raising=False)
        with pytest.raises(BadInputError, match="bad_encoding: .*cv_bridge"):
            convert.bgr_image(image("bayer_rggb8", BGR[..., :1]))
    monkeypatch.delitem(sys.modules, "cv_bridge", raising=False)


@pytest.mark.parametrize("error", [SystemError("bad call"), AttributeError("_ARRAY_API"), MemoryError()])
def test_whatever_opencv_raises_costs_this_image(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*given: object) -> None:
        raise error

    monkeypatch.setattr(convert.cv2, "cvtColor", broken)
    with pytest.raises(BadInputError, match=f"bad_image: .*{type(error).__name__}"):
        convert.bgr_image(image("rgb8", BGR))


def test_what_a_raw_image_lacks_is_named() -> None:
    assert convert.decoded(image("mono8", BGR[..., :1])).lacks == "grey, published as mono8"
    assert convert.decoded(image("bgr8", BGR)).lacks == ""


def fake_cv_bridge() -> types.ModuleType:
    class Error(TypeError):
        pass

    class Bridge:
        def imgmsg_to_cv2(self, message: Image, desired_encoding: str) -> np.ndarray:
            if message.encoding == "no_such":
                raise Error("no_such")
            assert desired_encoding == "bgr8"
            return np.zeros((message.height, message.width, 3), np.uint8)

    module = types.ModuleType("cv_bridge")
    module.CvBridge, module.CvBridgeError = Bridge, Error  # type: ignore[attr-defined]
    return module


def test_intrinsics_follow_the_image_size() -> None:
    info = camera_info("CAM_FRONT", 1)
    np.testing.assert_array_equal(convert.intrinsics(info, pixels(0)), INTRINSICS)
    half = convert.intrinsics(info, pixels(0)[::2, ::4])
    np.testing.assert_allclose(half, [[30.0, 0.0, 20.0], [0.0, 59.0, 22.5], [0.0, 0.0, 1.0]])
    info.width = info.height = 0
    np.testing.assert_array_equal(convert.intrinsics(info, pixels(0)[::2]), INTRINSICS)


def part_of_1600x900(**roi_and_binning: int) -> CameraInfo:
    info = CameraInfo(width=1600, height=900, k=[1200.0, 0.0, 800.0, 0.0, 1200.0, 450.0, 0.0, 0.0, 1.0])
    for name, value in roi_and_binning.items():
        setattr(info if name.startswith("binning") else info.roi, name, value)
    return info


@pytest.mark.parametrize(
    ("part", "shape", "expected"),
    [
        ({"y_offset": 400, "width": 1600, "height": 500}, (500, 1600), (1200, 1200, 800, 50)),
        ({"width": 1600, "height": 900}, (900, 1600), (1200, 1200, 800, 450)),
        ({"binning_x": 2, "binning_y": 2}, (450, 800), (600, 600, 400, 225)),
        ({"binning_x": 1, "binning_y": 3}, (300, 1600), (1200, 400, 800, 150)),
        (
            {"x_offset": 100, "y_offset": 400, "width": 800, "height": 401, "binning_x": 4, "binning_y": 2},
            (200, 200),  # 401 rows make 200 pairs
            (300, 600, 175, 25),
        ),
        ({"y_offset": 400, "width": 1600, "height": 500}, (250, 800), (600, 600, 400, 25)),  # scaled once more
        ({"binning_x": 2, "binning_y": 2}, (900, 1600), (1200, 1200, 800, 450)),
    ],
)
def test_roi_is_cut_out_then_binned_then_scaled(
    part: dict[str, int], shape: tuple[int, int], expected: tuple[float, ...]
) -> None:
    """sensor_msgs/CameraInfo: K is of the full-resolution image, whatever part of it is published."""
    found = convert.intrinsics(part_of_1600x900(**part), np.zeros((*shape, 3), np.uint8))
    fx, fy, cx, cy = expected
    np.testing.assert_allclose(found, [[fx, 0, cx], [0, fy, cy], [0, 0, 1]], atol=1e-9)


def test_an_image_says_the_size_where_camera_info_does_not_but_for_its_binning() -> None:
    info, shown = part_of_1600x900(binning_x=2, binning_y=2), np.zeros((225, 400, 3), np.uint8)
    info.width = info.height = 0
    sized = convert.with_size(info, (450, 800))  # published so; a JPEG that was decoded to half of it
    assert (sized.height, sized.width) == (900, 1600)
    np.testing.assert_allclose(convert.intrinsics(sized, shown), [[300, 0, 200], [0, 300, 112.5], [0, 0, 1]])
    info.binning_x, info.width = 2**32 - 1, 0
    info.height = 0
    with pytest.raises(BadInputError, match="bad_camera_info: binning of '' is 4294967295x2, too large for an image"):
        convert.with_size(info, (450, 800))
    part = part_of_1600x900(x_offset=100, width=800, height=450)
    part.width = part.height = 0
    assert convert.with_size(part, (450, 800)) is part
    np.testing.assert_allclose(convert.intrinsics(part, shown), [[600, 0, 350], [0, 600, 225], [0, 0, 1]])


@pytest.mark.parametrize(
    ("part", "message"),
    [
        ({"y_offset": 400, "width": 1600, "height": 501}, "roi of '' is 1600x501 at (0, 400), expected one within"),
        ({"x_offset": 1, "width": 1600, "height": 900}, "roi of '' is 1600x900 at (1, 0)"),
        ({"y_offset": 400}, "roi of '' is 0x0 at (0, 400)"),
        ({"width": 1600}, "roi of '' is 1600x0"),
        ({"binning_x": 1601}, "binning of '' is 1601x1, expected at most its 1600x900 pixels"),
        ({"width": 8, "height": 8, "binning_y": 9}, "binning of '' is 1x9, expected at most its 8x8 pixels"),
    ],
)
def test_a_part_that_cannot_be_is_refused(part: dict[str, int], message: str) -> None:
    with pytest.raises(BadInputError) as error:
        convert.intrinsics(part_of_1600x900(**part), np.zeros((500, 1600, 3), np.uint8))
    assert error.value.cause == "bad_camera_info"
    assert message in str(error.value)


@pytest.mark.parametrize(
    "change",
    [
        {"k": [float("nan")] * 9},
        {"k": [0.0] * 9},
        {"k": [0.0, 0.0, 80.0, 0.0, 118.0, 45.0, 0.0, 0.0, 1.0]},
        {"k": [120.0, 0.0, 80.0, 0.0, -118.0, 45.0, 0.0, 0.0, 1.0]},
        {"k": [120.0, 0.0, float("inf"), 0.0, 118.0, 45.0, 0.0, 0.0, 1.0]},
        {"k": [120.0, 0.0, 80.0, 0.0, 118.0, 45.0, 0.0, 0.0, 0.0]},
        {"width": 0},
    ],
)
def test_bad_camera_info_is_refused(change: dict[str, object]) -> None:
    info = camera_info("CAM_FRONT", 1)
    for name, value in change.items():
        setattr(info, name, value)
    with pytest.raises(BadInputError) as error:
        convert.intrinsics(info, pixels(0))
    assert error.value.cause == "bad_camera_info"


def test_camera_frame_holds_the_set_in_order() -> None:
    names = list(CAM2EGO)
    places = {name: invert_rigid(CAM2EGO[name]) @ LIDAR2EGO for name in names}
    views = {name: convert.View(pixels(n), INTRINSICS + n, places[name]) for n, name in enumerate(names)}
    frame = convert.camera_frame(views, 123, LIDAR2EGO)
    assert (frame.rig.names, frame.timestamp_ns, frame.cells) == (tuple(names), 123, None)
    np.testing.assert_array_equal(frame.rig.lidar2cam, np.stack(list(places.values())))
    np.testing.assert_array_equal(frame.rig.intrinsics[4], INTRINSICS + 4)
    np.testing.assert_array_equal(frame.images[4], pixels(4))
    np.testing.assert_array_equal(frame.lidar2global, LIDAR2EGO)
    broken = views | {names[2]: convert.View(pixels(2), INTRINSICS, np.full((4, 4), np.nan))}
    with pytest.raises(BadInputError, match="lidar2cam"):
        convert.camera_frame(broken, 123, LIDAR2EGO)


def test_boxes_and_detections_say_the_same_numbers() -> None:
    head = convert.header(1_500_000_000_123_456_789, "base_link")
    own = convert.boxes_array(BOXES, ("car", "pedestrian"), head)
    theirs = convert.detections(BOXES, ("car", "pedestrian"), head)
    assert (own.header.stamp.sec, own.header.stamp.nanosec, own.header.frame_id) == (
        1_500_000_000,
        123_456_789,
        "base_link",
    )
    assert theirs.header == own.header
    for box, detection, name, row in zip(own.boxes, theirs.detections, ("car", "pedestrian"), range(2), strict=True):
        position, turn = box.pose.position, box.pose.orientation
        assert [position.x, position.y, position.z] == BOXES.center[row].tolist()
        assert [box.size.x, box.size.y, box.size.z] == BOXES.size[row].tolist()
        assert [box.velocity.x, box.velocity.y, box.velocity.z] == [*BOXES.velocity[row].tolist(), 0.0]
        assert (turn.x, turn.y) == (0.0, 0.0)
        assert 2 * np.arctan2(turn.z, turn.w) == pytest.approx(BOXES.yaw[row])
        assert (box.class_name, box.score) == (name, pytest.approx(BOXES.score[row]))
        assert detection.bbox.center == box.pose == detection.results[0].pose.pose
        assert detection.bbox.size == box.size
        assert detection.results[0].hypothesis.class_id == name
        assert detection.results[0].hypothesis.score == pytest.approx(BOXES.score[row])
        assert len(detection.results) == 1


def test_stamps_keep_every_nanosecond() -> None:
    stamp_ns = 1_532_402_927_647_951_123
    assert nanoseconds(convert.header(stamp_ns, "x").stamp) == stamp_ns
