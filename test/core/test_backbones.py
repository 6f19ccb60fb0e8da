"""Backbones: what comes out, at which size, and that each block computes what its paper says.

That whole backbones agree with the original network is shown in test_neck.py.
"""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from tggbc_ros.core.backbones import BACKBONES, build_backbone
from tggbc_ros.core.backbones.resnet import BasicBlock, Bottleneck, ResNet, ShortcutAlone
from tggbc_ros.core.backbones.vovnet import OSABlock, VoVNet
from tggbc_ros.core.shape import LAYER_CHANNELS, resnet


def randomise_norms(module: nn.Module) -> None:
    """Give batch norms statistics of their own, so that leaving one out shows."""
    for norm in module.modules():
        if isinstance(norm, nn.BatchNorm2d):
            nn.init.normal_(norm.weight, 1.0, 0.3)
            nn.init.normal_(norm.bias, 0.0, 0.3)
            nn.init.normal_(norm.running_mean, 0.0, 0.3)
            nn.init.uniform_(norm.running_var, 0.5, 2.0)


def normalised(x: torch.Tensor, norm: nn.BatchNorm2d) -> torch.Tensor:
    scale = norm.weight / torch.sqrt(norm.running_var + 1e-5)
    return (x - norm.running_mean[:, None, None]) * scale[:, None, None] + norm.bias[:, None, None]


@pytest.mark.parametrize(
    ("name", "channels", "top_size"),
    [
        ("resnet18", (256, 512), (2, 6)),
        ("resnet34", (256, 512), (2, 6)),
        ("resnet50", (1024, 2048), (2, 6)),
        ("vovnet99", (768, 1024), (2, 5)),
    ],
)
def test_maps_have_the_strides_and_channels_promised(
    name: str, channels: tuple[int, int], top_size: tuple[int, int]
) -> None:
    backbone = build_backbone(name).eval()
    with torch.inference_mode():
        c4, c5 = backbone(torch.randn(2, 3, 64, 176))
    assert backbone.out_channels == channels
    assert c4.shape == (2, channels[0], 4, 11)
    assert c5.shape == (2, channels[1], *top_size)


def test_every_depth_of_resnet_has_its_published_number_of_weights() -> None:
    counts = {name: sum(p.numel() for p in build_backbone(name).parameters()) for name in ("resnet18", "resnet34")}
    classifier = 512 * 1000 + 1000
    assert counts == {"resnet18": 11_689_512 - classifier, "resnet34": 21_797_672 - classifier}


def test_unknown_name_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ValueError, match="'resnet51', expected one of " + ", ".join(BACKBONES)):
        build_backbone("resnet51")


def test_width_scales_every_stage() -> None:
    narrow = ResNet(resnet("basic", (1, 1, 1, 1), width=16)).eval()
    with torch.inference_mode():
        c4, c5 = narrow(torch.randn(1, 3, 64, 64))
    assert narrow.out_channels == (64, 128)
    assert (c4.shape[1], c5.shape[1]) == (64, 128)


def test_bottleneck_strides_in_its_3x3_and_adds_a_projected_shortcut() -> None:
    block = Bottleneck(8, (4, 4), 16, stride=2, projects=True).eval()
    randomise_norms(block)
    x = torch.randn(2, 8, 9, 12)
    y = F.relu(normalised(F.conv2d(x, block.conv1.weight), block.bn1))
    y = F.relu(normalised(F.conv2d(y, block.conv2.weight, stride=2, padding=1), block.bn2))
    y = normalised(F.conv2d(y, block.conv3.weight), block.bn3)
    shortcut = normalised(F.conv2d(x, block.downsample[0].weight, stride=2), block.downsample[1])
    torch.testing.assert_close(block(x), F.relu(y + shortcut), rtol=1e-5, atol=1e-5)


def test_basic_block_adds_its_input_where_the_shape_stays() -> None:
    block = BasicBlock(6, (6,), 6).eval()
    randomise_norms(block)
    x = torch.randn(2, 6, 7, 5)
    y = F.relu(normalised(F.conv2d(x, block.conv1.weight, padding=1), block.bn1))
    y = normalised(F.conv2d(y, block.conv2.weight, padding=1), block.bn2)
    torch.testing.assert_close(block(x), F.relu(y + x), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("residual", [False, True])
def test_osa_block_gates_the_concatenation_of_all_its_layers(residual: bool) -> None:
    block = OSABlock(12, (4,) * 5, 12, residual=residual).eval()
    randomise_norms(block)
    x = torch.randn(2, 12, 6, 7)
    maps = [x]
    for layer in block.layers:
        maps.append(F.relu(normalised(F.conv2d(maps[-1], layer.conv.weight, padding=1), layer.norm)))
    assert len(maps) == 6
    y = F.relu(normalised(F.conv2d(torch.cat(maps, 1), block.concat.conv.weight), block.concat.norm))
    gate = block.ese.fc.weight[:, :, 0, 0] @ y.mean((2, 3))[..., None] + block.ese.fc.bias[:, None]
    y = y * ((gate + 3).clamp(0, 6) / 6)[..., None]
    torch.testing.assert_close(block(x), y + x if residual else y, rtol=1e-5, atol=1e-5)


def test_vovnet99_has_its_blocks_and_only_the_first_of_a_stage_adds_nothing() -> None:
    backbone = build_backbone("vovnet99")
    assert isinstance(backbone, VoVNet)
    stages = [backbone.stage2, backbone.stage3, backbone.stage4, backbone.stage5]
    assert [len(stage) for stage in stages] == [1, 3, 9, 3]
    assert [stage[0].layers[0].conv.out_channels for stage in stages] == list(LAYER_CHANNELS)
    assert [[block.residual for block in stage] for stage in stages] == [
        [i > 0 for i in range(count)] for count in (1, 3, 9, 3)
    ]


@pytest.mark.parametrize("name", ["resnet18", "resnet50"])
def test_gradients_reach_every_weight(name: str) -> None:
    backbone = BACKBONES[name]()
    c4, c5 = backbone(torch.randn(2, 3, 64, 64))
    (c4.square().mean() + c5.square().mean()).backward()
    without = [key for key, value in backbone.named_parameters() if value.grad is None or not value.grad.any()]
    assert without == []


@pytest.mark.parametrize("size", [(8, 12), (7, 11)])
def test_a_shortcut_alone_answers_the_same_with_its_stride_pooled_first(size) -> None:
    torch.manual_seed(0)
    shortcut = ShortcutAlone(4, 6, stride=2).eval()
    x = torch.randn(2, 4, *size)
    expected = shortcut(x)
    names = list(shortcut.state_dict())
    shortcut.pool_first()
    assert torch.allclose(shortcut(x), expected, atol=1e-6)
    assert list(shortcut.state_dict()) == names
