"""Preprocessing: pixels and intrinsics as in the original test pipeline, for any image size."""

from __future__ import annotations

import json
import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch
from PIL import Image

from tggbc_ros.core.config import DEMO, R50_704, VOV_800, ModelConfig, PreprocessConfig
from tggbc_ros.core.preprocess import (
    cells_beside,
    fit_image,
    jpeg_reduction,
    network_images,
    open_pool,
    preprocess,
    raw_to_network,
)
from tggbc_ros.core.types import CameraFrame, Rig

MODELS = pytest.mark.parametrize("model", [R50_704, VOV_800], ids=lambda model: model.name)
EXACT, FAST = PreprocessConfig("exact"), PreprocessConfig("fast")
FILTERS = pytest.mark.parametrize("config", [EXACT, FAST], ids=lambda config: config.resize)
SIZES = [(900, 1600), (1080, 1920), (720, 1280), (1200, 1920), (480, 640), (376, 1241), (901, 1601), (200, 300)]


def camera_frame(*images: npt.NDArray[np.uint8]) -> CameraFrame:
    """A frame whose cameras differ in focal length and pose."""
    count = len(images)
    intrinsics = np.tile([[1000.0, 0.0, 700.0], [0.0, 1010.0, 400.0], [0.0, 0.0, 1.0]], (count, 1, 1))
    intrinsics[:, 0, 0] += 10.0 * np.arange(count)
    lidar2cam = np.tile(np.array([[1.0, 0, 0, 0.1], [0, 0, -1, -0.3], [0, 1, 0, -0.4], [0, 0, 0, 1]]), (count, 1, 1))
    lidar2cam[:, 0, 3] += np.arange(count)
    rig = Rig(tuple(f"CAM_{i}" for i in range(count)), intrinsics, lidar2cam)
    return CameraFrame(images, rig, 0, np.eye(4))


def noise(height: int, width: int, seed: int = 0) -> npt.NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def whole_image_resized_then_cut(image: npt.NDArray[np.uint8], model: ModelConfig) -> npt.NDArray[np.uint8]:
    fit = fit_image(*image.shape[:2], model)
    resized = Image.fromarray(image).resize((fit.width, fit.height), Image.Resampling.BICUBIC)
    height, width = model.image_size
    return np.asarray(resized)[fit.top : fit.top + height, fit.left : fit.left + width]


def grey_levels(planes: torch.Tensor, model: ModelConfig) -> npt.NDArray[np.float64]:
    """Normalised planes [3, H, W] -> the BGR levels they stand for."""
    levels = planes.double().numpy() * np.reshape(model.std, (3, 1, 1)) + np.reshape(model.mean, (3, 1, 1))
    return np.transpose(levels[::-1] if model.color_order == "rgb" else levels, (1, 2, 0))


@pytest.mark.parametrize(("case", "model"), [("public_P_r50", R50_704), ("public_P_vov", VOV_800)])
def test_equal_to_the_original_pipeline_bit_for_bit(case: str, model: ModelConfig, golden_dir: Path) -> None:
    golden = np.load(golden_dir / f"{case}.npz")
    image = np.kron(golden["img_lowres_bgr"], np.ones((20, 20, 1), np.uint8))
    rig = Rig(("CAM",), golden["intrinsic_in"][None, :3, :3], golden["extrinsic"][None].astype(np.float64))
    frame = CameraFrame((image,), rig, 0, np.eye(4))
    inputs = preprocess(frame, model, "cpu", EXACT)
    np.testing.assert_array_equal(inputs.images[0, 0].permute(1, 2, 0).numpy(), golden["out_img_hwc"])
    np.testing.assert_array_equal(raw_to_network(frame, model)[0] @ rig.intrinsics[0], golden["out_intrinsic"][:3, :3])
    np.testing.assert_array_equal(inputs.intrinsics[0, 0].numpy(), golden["out_intrinsic"][:3, :3].astype(np.float32))
    np.testing.assert_array_equal(inputs.lidar2img[0, 0].numpy(), golden["out_lidar2img"].astype(np.float32))


@pytest.mark.parametrize("model", ["r50", "vov"])
def test_real_images_give_the_recorded_network_input(model: str, golden_dir: Path, sample_dir: Path) -> None:
    cv2 = pytest.importorskip("cv2")
    golden = np.load(golden_dir / f"public_R_{model}_dense.npz")
    config = {"r50": R50_704, "vov": VOV_800}[model]
    cameras = json.loads((sample_dir / "sample.json").read_text())["cameras"]
    names = json.loads(str(golden["meta"]))["camera_order"]
    images = tuple(cv2.imread(str(sample_dir / cameras[name]["file"])) for name in names)
    intrinsics = np.array([cameras[name]["cam2img"] for name in names])
    lidar2cam = np.array([cameras[name]["lidar2cam"] for name in names])
    frame = CameraFrame(images, Rig(tuple(names), intrinsics, lidar2cam), 0, np.eye(4))
    inputs = preprocess(frame, config, "cpu", EXACT)
    difference = np.abs(inputs.images[..., ::8, ::8].numpy() - golden["in.img_every8"])
    assert difference.max() <= 2 / min(config.std) + 1e-5
    assert (difference > 1e-5).mean() < 0.01  # a JPEG decoder may round a few pixels otherwise
    np.testing.assert_allclose(inputs.lidar2img.numpy(), golden["f0.in.lidar2img"], rtol=0, atol=1e-3)
    np.testing.assert_allclose(inputs.intrinsics.numpy(), golden["f0.in.intrinsics"][..., :3, :3], rtol=0, atol=1e-4)


@MODELS
@pytest.mark.parametrize("size", SIZES)
def test_rows_that_are_cut_away_may_be_left_out_without_changing_a_pixel(
    size: tuple[int, int], model: ModelConfig
) -> None:
    image = noise(*size)
    planes = preprocess(camera_frame(image), model, "cpu", EXACT).images[0, 0]
    expected = whole_image_resized_then_cut(image, model)
    np.testing.assert_allclose(grey_levels(planes, model), expected, rtol=0, atol=1e-3)


def test_nuscenes_fits_as_published() -> None:
    r50, vov = fit_image(900, 1600, R50_704), fit_image(900, 1600, VOV_800)
    assert (r50.width, r50.height, r50.left, r50.top) == (704, 396, 0, 140)
    assert (vov.width, vov.height, vov.left, vov.top) == (800, 450, 0, 130)
    assert r50.raw2net[0, 0] == float(np.float32(0.44)) != 0.44


@MODELS
@pytest.mark.parametrize("size", [*SIZES, (1207, 1931), (333, 999), (64, 4000)])
def test_the_scaled_image_always_covers_the_network_image(size: tuple[int, int], model: ModelConfig) -> None:
    fit = fit_image(*size, model)
    height, width = model.image_size
    assert fit.height >= height and fit.width >= width
    assert fit.height == height or fit.width == width, "scaled more than needed"
    assert fit.top == fit.height - height, "the bottom is kept"
    assert 0 <= fit.width - width - 2 * fit.left <= 1, "sides are cut evenly"


@MODELS
def test_a_bright_pixel_lands_where_the_matrix_says(model: ModelConfig) -> None:
    raw_u, raw_v = 1000, 600
    image = np.zeros((900, 1600, 3), np.uint8)
    image[raw_v - 4 : raw_v + 5, raw_u - 4 : raw_u + 5] = 255
    frame = camera_frame(image)
    planes = preprocess(frame, model, "cpu").images[0, 0]
    brightness = grey_levels(planes, model).sum(-1)
    rows, columns = np.indices(brightness.shape)
    centre = [(brightness * index).sum() / brightness.sum() for index in (columns, rows)]
    # The original's matrix has no half-pixel term, so cell centres are off by up to (1 - s) / 2.
    expected = raw_to_network(frame, model)[0] @ [raw_u, raw_v, 1.0]
    np.testing.assert_allclose(centre, expected[:2], atol=0.35)


@pytest.mark.parametrize(("model", "first"), [(R50_704, 2), (VOV_800, 0)])
def test_colour_order_is_the_models(model: ModelConfig, first: int) -> None:
    image = np.zeros((900, 1600, 3), np.uint8)
    image[:] = (10, 20, 30)
    planes = preprocess(camera_frame(image), model, "cpu").images[0, 0]
    expected = (image[0, 0, first] - model.mean[0]) / model.std[0]
    assert planes[0].numpy() == pytest.approx(expected, abs=1e-6)


def test_cameras_keep_their_order_their_sizes_and_their_matrices() -> None:
    images = [np.full((900, 1600, 3), 40 * i, np.uint8) for i in range(5)] + [np.full((480, 640, 3), 200, np.uint8)]
    frame = camera_frame(*images)
    inputs = preprocess(frame, R50_704, "cpu")
    assert inputs.images.shape == (1, 6, 3, 256, 704)
    levels = [grey_levels(planes, R50_704).mean() for planes in inputs.images[0]]
    np.testing.assert_allclose(levels, [0, 40, 80, 120, 160, 200], atol=1e-3)
    point = np.array([2.0, 30.0, 1.0, 1.0])
    for i in range(6):
        projected = raw_to_network(frame, R50_704)[i] @ frame.rig.intrinsics[i] @ (frame.rig.lidar2cam[i] @ point)[:3]
        np.testing.assert_allclose(inputs.lidar2img[0, i].numpy() @ point, [*projected, 1.0], rtol=1e-5)
    assert inputs.lidar2img.dtype == inputs.intrinsics.dtype == inputs.images.dtype == torch.float32


@FILTERS
def test_a_view_into_a_larger_image_is_read_right(config: PreprocessConfig) -> None:
    large = noise(1000, 1800)
    view = large[50:950, 100:1700]
    inside, copied = (preprocess(camera_frame(image), R50_704, "cpu", config).images for image in (view, view.copy()))
    assert torch.equal(inside, copied)


@MODELS
@pytest.mark.parametrize("size", [(900, 1600), (1080, 1920), (901, 1601), (200, 300)])
def test_the_fast_filter_is_the_same_filter_but_for_rounding(size: tuple[int, int], model: ModelConfig) -> None:
    frame = camera_frame(noise(*size))
    exact, fast = (preprocess(frame, model, "cpu", config).images[0, 0] for config in (EXACT, FAST))
    apart = np.abs(grey_levels(fast, model) - grey_levels(exact, model)).round()
    assert apart.max() <= (1 if fit_image(*size, model).scale < 1.0 else 2)
    assert 0 < (apart > 0).mean() < 0.01


def test_the_fast_filter_takes_images_that_may_not_be_written_to(recwarn: pytest.WarningsRecorder) -> None:
    image = noise(90, 160)
    expected = preprocess(camera_frame(image), R50_704, "cpu", FAST).images
    image.flags.writeable = False
    assert torch.equal(preprocess(camera_frame(image), R50_704, "cpu", FAST).images, expected)
    assert not recwarn.list


@FILTERS
def test_cameras_side_by_side_are_cameras_one_after_the_other(config: PreprocessConfig) -> None:
    frame = camera_frame(*(noise(90, 160, seed) for seed in range(6)))
    with open_pool() as pool:
        together = preprocess(frame, R50_704, "cpu", config, pool).images
        assert any(thread.name.startswith("preprocess") for thread in threading.enumerate())
    assert torch.equal(together, preprocess(frame, R50_704, "cpu", config).images)


def test_a_filter_that_there_is_not_is_refused() -> None:
    with pytest.raises(ValueError, match="resize is 'best', expected one of exact, fast"):
        PreprocessConfig(resize="best")


@pytest.mark.parametrize(
    ("size", "model", "by"),
    [
        ((900, 1600), R50_704, 2),
        ((900, 1600), VOV_800, 2),
        ((898, 1598), VOV_800, 1),
        ((900, 1600), DEMO, 4),
        ((2160, 3840), R50_704, 4),
        ((720, 1280), R50_704, 1),
        ((90, 160), R50_704, 1),
    ],
)
def test_a_jpeg_is_reduced_as_long_as_it_covers_the_network(size: tuple[int, int], model: ModelConfig, by: int) -> None:
    assert jpeg_reduction(*size, model) == by
    fit = fit_image(*size, model)
    assert by == 1 or (size[0] / by >= fit.height and size[1] / by >= fit.width)


def test_an_image_size_the_original_would_pad_is_refused() -> None:
    with pytest.raises(ValueError, match=r"image_size is \(250, 704\), expected multiples of 32"):
        preprocess(camera_frame(noise(900, 1600)), replace(R50_704, image_size=(250, 704)), "cpu")


@pytest.mark.parametrize("size", [(900, 1600), (450, 800), (480, 640)])
@MODELS
def test_hidden_pixels_hide_the_cells_they_mostly_cover(size: tuple[int, int], model: ModelConfig) -> None:
    """By the intrinsics' own map: a cell is hidden where its pixels, brought back to the raw image, mostly are."""
    hidden = np.zeros(size, np.bool_)
    hidden[int(0.8 * size[0]) :, : int(0.6 * size[1])] = True
    found = cells_beside(hidden, model)
    assert found.shape == model.feature_size
    fit = fit_image(*size, model)
    v, u = ((np.arange(side) + 0.5) for side in model.image_size)
    row = ((v + fit.top) * size[0] / fit.height).astype(int)
    column = ((u + fit.left) * size[1] / fit.width).astype(int)
    covered = hidden[np.ix_(row, column)].reshape(found.shape[0], 16, found.shape[1], 16).mean(axis=(1, 3))
    clear = np.abs(covered - 0.5) > 0.07  # within a pixel of half there is nothing to say
    np.testing.assert_array_equal(found[clear], covered[clear] < 0.5)
    assert clear.mean() > 0.9
    assert 0.5 < found.mean() < 0.95


@pytest.mark.parametrize("model", [R50_704, VOV_800, DEMO], ids=lambda model: model.name)
@pytest.mark.parametrize("size", [*SIZES, (256, 704), (320, 800)])
def test_network_images_are_those_of_the_cpu_to_the_bit(size: tuple[int, int], model: ModelConfig) -> None:
    frame = camera_frame(noise(*size))
    expected = preprocess(frame, model, "cpu", EXACT).images[0]
    assert torch.equal(network_images(frame, model, torch.device("cpu")), expected)


def mixed_rig() -> CameraFrame:
    """Two sizes of images by turns, one in memory upside down and read-only, and a camera that is missing."""
    turned = noise(900, 1600, seed=2)[::-1]
    turned.flags.writeable = False
    images = (noise(900, 1600), noise(376, 1241, seed=1), turned, noise(900, 1600, seed=3), noise(376, 1241, seed=4))
    frame = camera_frame(*images)
    cells = np.ones((5, *R50_704.feature_size), dtype=bool)
    cells[3] = False
    return CameraFrame(images, frame.rig, 0, np.eye(4), cells)


def test_cameras_of_several_sizes_and_one_that_is_missing() -> None:
    frame = mixed_rig()
    found = network_images(frame, R50_704, torch.device("cpu"))
    assert torch.equal(found, preprocess(frame, R50_704, "cpu", EXACT).images[0])
    assert not found[3].any() and found[[0, 1, 2, 4]].any(dim=3).any(dim=2).all()


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("resize", ["exact", "fast"])
def test_cuda_gives_the_cpus_exact_images(resize: str) -> None:
    frame = mixed_rig()
    found = preprocess(frame, R50_704, "cuda", PreprocessConfig(resize))
    expected = preprocess(frame, R50_704, "cpu", EXACT)
    assert found.images.is_cuda
    assert torch.equal(found.images.cpu(), expected.images)
    assert torch.equal(found.lidar2img.cpu(), expected.lidar2img)
