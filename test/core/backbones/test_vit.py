"""EVA-02: equal to its published, padded form at any size; gates that skip tokens; shapes that cannot be are refused.

That it equals the original network is shown in test/tools/test_golden.py.
"""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from bench.padded_windows import padded_block
from tggbc_ros.core.backbones import build_backbone, packed
from tggbc_ros.core.backbones.gated_learning import Masked
from tggbc_ros.core.backbones.vit import SHAPES, ViT, ViTShape
from tggbc_ros.core.config import MODELS
from tggbc_ros.core.model import StreamPETR

pytestmark = pytest.mark.usefixtures("one_thread")

SMALL = ViTShape(32, 4, 2, window=3, global_window=5, global_blocks=(1, 3))


def network(shape: ViTShape = SMALL, seed: int = 0) -> ViT:
    """With biases and norms that are not those of the start, so that leaving one out shows."""
    torch.manual_seed(seed)
    backbone = ViT(shape).eval().requires_grad_(False)
    for parameter in backbone.parameters():
        parameter.add_(torch.randn_like(parameter), alpha=0.2)
    return backbone


def images(height: int, width: int, count: int = 2) -> torch.Tensor:
    return torch.randn(count, 3, height, width, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("mlp_norm", [True, False])
@pytest.mark.parametrize("size", [(80, 112), (48, 240), (16, 16), (240, 240)])
def test_blocks_equal_their_padded_form(size: tuple[int, int], mlp_norm: bool) -> None:
    backbone = network(replace(SMALL, mlp_norm=mlp_norm))
    x = backbone.embed(images(*size))
    for index, windows in enumerate(backbone.windows(x)):
        block = backbone.blocks[index]
        padded = padded_block(block, x, backbone.shape.side(index), backbone.shape)
        x = block(x, windows)
        torch.testing.assert_close(x, padded, rtol=0, atol=1e-5)


def test_one_map_at_the_patches_stride() -> None:
    (features,) = network()(images(48, 80))
    assert features.shape == (2, 32, 3, 5)
    assert network().out_channels == (32,)


def test_global_window_0_is_the_whole_of_a_square_map() -> None:
    square = network(replace(SMALL, global_window=0))
    whole = network(replace(SMALL, global_window=6))
    torch.testing.assert_close(square(images(96, 96)), whole(images(96, 96)))
    with pytest.raises(ValueError, match=r"image_size is \(96, 80\), expected a square"):
        square(images(96, 80))


@pytest.mark.parametrize("size", [(90, 112), (80, 100), (8, 16)])
def test_images_that_patches_do_not_divide_are_refused(size: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match=r"image_size is \(\d+, \d+\), expected multiples of the patch's 16 pixels"):
        network()(images(*size))


def test_the_position_embedding_is_taken_as_it_is_at_its_own_size() -> None:
    backbone = network()
    grid = backbone.pos_embed[0, 1:].unflatten(0, (14, 14))
    assert torch.equal(backbone.position(14, 14)[0], grid)
    assert backbone.position(5, 9).shape == (1, 5, 9, 32)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"heads": 3}, "width is 32, expected a multiple of 4 times heads, 3"),
        ({"heads": 16}, "width is 32, expected a multiple of 4 times heads, 16"),
        ({"depth": 0}, "depth is 0, expected at least 1"),
        ({"window": 0}, "window is 0, expected at least 1"),
        ({"global_window": -1}, "global_window is -1"),
        ({"global_blocks": (1, 4)}, r"global_blocks is \(1, 4\), expected blocks in 0..3, rising"),
        ({"global_blocks": (3, 1)}, r"global_blocks is \(3, 1\)"),
    ],
)
def test_shapes_that_cannot_be_are_refused(change: dict[str, object], expected: str) -> None:
    with pytest.raises(ValueError, match=expected):
        replace(SMALL, **change)


def test_eva02_large_has_its_published_number_of_weights() -> None:
    with torch.device("meta"):
        weights = sum(parameter.numel() for parameter in build_backbone("eva02_l").parameters())
    assert weights == 303_388_608  # as the constructor of StreamPETR's has them


@pytest.mark.parametrize(("name", "map_size"), [("vit_l_800", (20, 50)), ("demo_vit", (8, 22))])
def test_shipped_models_fit_their_images(name: str, map_size: tuple[int, int]) -> None:
    model = MODELS[name]
    assert SHAPES[model.backbone].map_size(model.image_size) == map_size == model.feature_size
    with torch.device("meta"):
        module = StreamPETR(model)
    assert module.neck.lateral[0].in_channels == SHAPES[model.backbone].width
    assert len(module.neck.lateral) == 1


def test_gradients_reach_every_weight() -> None:
    backbone = ViT(SMALL)
    (features,) = backbone(images(80, 112))
    (features * torch.randn_like(features)).sum().backward()
    without = [key for key, value in backbone.named_parameters() if value.grad is None or not value.grad.any()]
    assert without == []


class TestGates:
    def test_all_open_is_the_dense_network(self) -> None:
        dense, gated = network(), network()
        gated.add_gates([1, 2, 3])
        for gate in gated.requires_grad_(False).gates.values():
            gate.mlp.fc2.bias[0] = 100.0
        assert torch.equal(gated(images(80, 112))[0], dense(images(80, 112))[0])

    @pytest.mark.parametrize("index", [0, 1])
    def test_packing_all_but_one_far_token_leaves_the_other_windows_as_dense(self, index: int) -> None:
        backbone = network()
        x = backbone.embed(images(80, 112))
        windows, block = backbone.windows(x)[index], backbone.blocks[index]
        keep = torch.ones(2, 5, 7, dtype=torch.bool)
        keep[:, 4, 6] = False
        passed, dense = block.run_kept(x, windows, keep), block(x, windows)
        assert torch.equal(passed[:, 4, 6], x[:, 4, 6])
        torch.testing.assert_close(passed[..., :3, :], dense[..., :3, :], rtol=0, atol=1e-5)
        assert (passed[:, 3, 6] - dense[:, 3, 6]).abs().max() > 1e-4  # of its window: a key is gone

    def test_kept_tokens_see_each_other_and_the_padding_alone(self) -> None:
        """What skipped tokens hold changes nothing in the kept ones."""
        backbone = network()
        x = backbone.embed(images(80, 112))
        keep = torch.rand(2, 5, 7, generator=torch.Generator().manual_seed(3)) < 0.5
        keep[0] = False
        keep[0, 2, 2] = True  # most windows of the first image have none
        windows, block = backbone.windows(x)[1], backbone.blocks[1]
        passed = block.run_kept(x, windows, keep)
        assert torch.equal(passed[~keep], x[~keep])
        alone = torch.where(keep[0, ..., None], x[0], 7.0)[None]
        torch.testing.assert_close(block.run_kept(alone, windows, keep[:1])[0, 2, 2], passed[0, 2, 2])

    @pytest.mark.parametrize("small", [0, 1000])
    def test_windows_one_by_one_and_at_once_are_the_masked_network(
        self, small: int, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(packed, "SMALL", small)
        backbone = network()
        x = backbone.embed(images(80, 112))
        keep = torch.rand(2, 5, 7, generator=torch.Generator().manual_seed(5)) < 0.6
        for index in (0, 1):
            windows, block = backbone.windows(x)[index], backbone.blocks[index]
            passed, masked = block.run_kept(x, windows, keep), block(x, Masked(windows, keep))
            torch.testing.assert_close(passed[keep], masked[keep], rtol=0, atol=1e-5)

    def test_a_gate_decides_before_its_block_for_each_image_by_itself(self) -> None:
        backbone = network()
        backbone.add_gates([2])
        x = torch.randn(3, 5, 7, 32)
        assert backbone.keep(1, x) is None
        keep = backbone.keep(2, x)
        assert keep is not None and keep.shape == (3, 5, 7)
        single = backbone.keep(2, x[1:2])
        assert single is not None and torch.equal(keep[1:2], single)

    def test_gates_of_blocks_that_there_are_not_are_refused(self) -> None:
        with pytest.raises(ValueError, match=r"gates is \[2, 4\], expected blocks in 0..3"):
            network().add_gates([4, 2])

    def test_training_through_decisions_is_refused(self) -> None:
        backbone = network().train()
        backbone.add_gates([1])
        with pytest.raises(NotImplementedError, match="gated_learning.learn"):
            backbone(images(80, 112))
