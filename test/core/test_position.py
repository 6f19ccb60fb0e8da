"""Position embedding: what depends on the calibration alone is kept per camera, and only as long as it may be."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from tggbc_ros.backends.torch_backend import TorchNetwork
from tggbc_ros.core import geometry, position
from tggbc_ros.core import memory as temporal
from tggbc_ros.core.config import R50_704, ModelConfig, PruningConfig, RaysConfig
from tggbc_ros.core.types import NetworkInput
from tggbc_ros.data.golden.replay import formula_network

SMALL: ModelConfig = replace(
    R50_704,
    name="small",
    backbone="resnet18",
    image_size=(64, 96),
    embed_dims=64,
    num_heads=4,
    ffn_dims=64,
    num_layers=1,
)
CAMERAS = 3


def inputs_at(
    shift_m: float = 0.0,
    turn_rad: float = 0.0,
    moving: int = 1,
    focal_px: float = 60.0,
    cameras: int = CAMERAS,
    size: tuple[int, int] = (64, 96),
) -> NetworkInput:
    """Cameras in a ring, each with its own focal length, one of them displaced and turned."""
    intrinsics = np.stack([np.diag([focal_px + 5 * camera, focal_px + 5 * camera, 1.0]) for camera in range(cameras)])
    intrinsics[:, :2, 2] = size[1] / 2, size[0] / 2
    optical = np.array([[1.0, 0, 0], [0, 0, -1], [0, 1, 0]])
    matrices = []
    for camera in range(cameras):
        moved = float(camera == moving)
        turned = geometry.yaw_rotation(camera * 2.1 + moved * turn_rad)
        image = np.eye(4)
        image[:3, :3] = intrinsics[camera]
        matrices.append(image @ geometry.rigid(optical @ turned, [moved * shift_m, 1.5, 0]))
    return NetworkInput(
        torch.zeros(1, cameras, 3, *size),
        torch.from_numpy(intrinsics).float()[None],
        torch.from_numpy(np.stack(matrices)).float()[None],
    )


@pytest.fixture(scope="module")
def network() -> TorchNetwork:
    return TorchNetwork.load(SMALL, None, "cpu")


def test_some_cameras_rays_are_their_share_of_all(network: TorchNetwork) -> None:
    module, inputs = network.head.position, inputs_at()
    whole, part = module.rays(inputs), module.rays(inputs, [2, 0])
    cells = whole.cone.shape[1] // CAMERAS
    focal_px = 1000 * whole.cone[0, :4, 0]
    torch.testing.assert_close(focal_px, torch.tensor([60.0, 65.0, 70.0, 60.0]))  # of camera j mod 3, as trained
    for name in ("position", "cone", "scale", "shift"):
        expected = getattr(whole, name).unflatten(1, (CAMERAS, cells))[:, [2, 0]].flatten(1, 2)
        torch.testing.assert_close(getattr(part, name), expected)


def test_only_the_camera_that_moved_is_computed_again_and_tokens_are_exact(
    network: TorchNetwork, monkeypatch: pytest.MonkeyPatch
) -> None:
    features = torch.randn(1, CAMERAS, 64, 4, 6)
    fresh = TorchNetwork.load(SMALL, None, "cpu")
    computed = []
    rays = network.head.position.rays
    monkeypatch.setattr(network.head.position, "rays", lambda *given: computed.append(given[1:]) or rays(*given))
    lenses = inputs_at(focal_px=70.0)
    for inputs, expected in (
        (inputs_at(), ()),
        (inputs_at(), None),
        (inputs_at(shift_m=0.5), ([1],)),
        (inputs_at(shift_m=0.5), None),
        (inputs_at(), ([1],)),
        (lenses, ()),
    ):
        computed.clear()
        tokens = network.embed(features, inputs)
        assert computed == ([] if expected is None else [expected])
        fresh._rays = None
        torch.testing.assert_close(tokens.key, fresh.embed(features, inputs).key)


@pytest.mark.parametrize(
    ("shift_m", "turn_rad", "tolerance_m", "held"),
    [
        (0.009, 0.0, 0.01, True),
        (0.011, 0.0, 0.01, False),
        (0.0, 1e-4, 0.02, True),  # 61 m away, 0.1 mrad are 6 to 8 mm
        (0.0, 1e-3, 0.02, False),
        (0.0, 0.0, 0.0, True),
        (1e-4, 0.0, 0.0, False),
    ],
)
def test_a_camera_is_held_still_within_the_tolerance(
    shift_m: float, turn_rad: float, tolerance_m: float, held: bool
) -> None:
    before, now = inputs_at(), inputs_at(shift_m, turn_rad)
    result = position.hold_still(now, before.lidar2img, SMALL, tolerance_m)
    assert torch.equal(result.lidar2img[:, 1], before.lidar2img[:, 1]) == held
    assert torch.equal(result.lidar2img[:, 1], now.lidar2img[:, 1]) == (not held or shift_m == turn_rad == 0.0)
    assert torch.equal(result.lidar2img[:, [0, 2]], before.lidar2img[:, [0, 2]])


def test_small_steps_do_not_add_up() -> None:
    before = inputs_at().lidar2img
    for step in range(1, 40):
        now = inputs_at(shift_m=0.001 * step)
        before = position.hold_still(now, before, SMALL, 0.0055).lidar2img
        ends, ends_now = position.frustum(before, SMALL), position.frustum(now.lidar2img, SMALL)
        assert (ends - ends_now).norm(dim=-1).max() <= 0.0056


def test_the_frustum_ends_at_the_first_and_the_last_depth() -> None:
    inputs = inputs_at()
    ends = position.frustum(inputs.lidar2img, SMALL)
    pixels = torch.cat([ends, torch.ones_like(ends[..., :1])], -1) @ inputs.lidar2img.double().transpose(-1, -2)
    depths = position.depth_bins(SMALL)
    np.testing.assert_allclose(pixels[0, 0, :, 2], depths[[0, -1]].tolist() * 4, rtol=1e-5)
    uv = (pixels[0, 0, :, :2] / pixels[0, 0, :, 2:3]).round().int().tolist()
    assert sorted(map(tuple, uv)) == sorted([(u, v) for u in (0, 96) for v in (0, 64)] * 2)


@torch.inference_mode()
def test_boxes_hardly_notice_the_default_tolerance() -> None:
    """Every camera displaced, sideways or by a turn, by as much as is tolerated; formula weights, small images."""
    module = formula_network("r50_704", "")
    model = replace(module.model, image_size=(64, 96))
    inputs = inputs_at(moving=-1, cameras=6)
    features = torch.randn(1, 6, model.embed_dims, 4, 6, generator=torch.Generator().manual_seed(0))
    pose, time_s = torch.eye(4, dtype=torch.float64)[None], torch.zeros(1, dtype=torch.float64)
    memory = temporal.start(model, module.head.queries.start_points(), pose, time_s)
    aligned = temporal.align(memory, pose, time_s, model.memory_length)

    def codes(given: NetworkInput) -> tuple[torch.Tensor, torch.Tensor]:
        output = module.decode(module.embed(features, module.rays(given)), aligned, PruningConfig())
        return output.codes[-1, 0], output.logits[-1, 0].sigmoid()

    before, scores = codes(inputs)
    tolerance_m = RaysConfig().tolerance_m
    far_m = (position.frustum(inputs.lidar2img, model)).norm(dim=-1).max().item()
    for motion in (
        geometry.rigid(np.eye(3), [0.7 * tolerance_m, 0.7 * tolerance_m, 0.0]),
        geometry.rigid(geometry.yaw_rotation(0.99 * tolerance_m / far_m), [0.0, 0.0, 0.0]),
    ):
        moved = replace(inputs, lidar2img=(inputs.lidar2img.double() @ torch.from_numpy(motion)).float())
        assert not torch.equal(moved.lidar2img, inputs.lidar2img)
        held = position.hold_still(moved, inputs.lidar2img, model, tolerance_m)
        assert torch.equal(held.lidar2img, inputs.lidar2img)
        after, scores_after = codes(moved)
        assert (after - before)[:, :3].norm(dim=-1).max() < 0.005
        assert (scores_after - scores).abs().max() < 1e-3


def test_rays_of_chosen_cells_are_those_of_the_whole_and_only_what_moved_is_computed_again() -> None:
    torch.manual_seed(0)
    module = position.PositionEmbedding(SMALL).eval().requires_grad_(False)
    inputs = inputs_at()
    asked: list[list[int] | None] = []

    def compute(
        inputs: NetworkInput, cameras: list[int] | None = None, cells: torch.Tensor | None = None
    ) -> position.Rays:
        asked.append(None if cells is None else cells.tolist())
        return module.rays(inputs, cameras, cells)

    count = module.rays(inputs).cone.shape[1]
    per_camera = count // CAMERAS
    first = torch.tensor([0, 3, per_camera, count - 1])
    kept = position.renewed_cells(None, inputs, compute, first, count)
    kept = position.renewed_cells(kept, inputs, compute, torch.tensor([0, 4, per_camera]), count)
    moved = inputs_at(shift_m=0.5)  # the second camera
    kept = position.renewed_cells(kept, moved, compute, torch.tensor([0, 4, per_camera]), count)
    assert asked == [first.tolist(), [4], [per_camera]]
    for part, expected in zip(kept.rays.parts(), module.rays(moved).parts(), strict=True):
        torch.testing.assert_close(part[0, [0, 4, per_camera]], expected[0, [0, 4, per_camera]], rtol=1e-5, atol=1e-5)
    everything = position.renewed(kept, moved, compute)
    for part, expected in zip(everything.rays.parts(), module.rays(moved).parts(), strict=True):
        torch.testing.assert_close(part, expected, rtol=1e-5, atol=1e-5)
