"""The encoder as PyTorch runs it fastest: the same features, norms gone, half precision, recorded on a GPU."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from tiny_model import TINY
from torch import nn

from tggbc_ros.backends import torch_encoder
from tggbc_ros.backends.torch_encoder import Encoder, Recorded
from tggbc_ros.core.backbones import BACKBONES
from tggbc_ros.core.config import R50_704, VOV_800, ModelConfig
from tggbc_ros.core.folding import fold_norms
from tggbc_ros.core.model import StreamPETR

CPU = torch.device("cpu")
SMALLER = [name for name in BACKBONES if name != "eva02_l"]  # 1.2 GB
NEEDS_CUDA = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")


def network(backbone: str = TINY.backbone) -> StreamPETR:
    """With norms that have statistics of their own, so that leaving one out shows."""
    torch.manual_seed(0)
    module = StreamPETR(replace(TINY, backbone=backbone)).eval().requires_grad_(False)
    for norm in module.modules():
        if isinstance(norm, nn.BatchNorm2d):
            nn.init.normal_(norm.weight, 1.0, 0.3)
            nn.init.normal_(norm.bias, 0.0, 0.3)
            nn.init.normal_(norm.running_mean, 0.0, 0.3)
            nn.init.uniform_(norm.running_var, 0.5, 2.0)
    return module


def images(cameras: int = 2, seed: int = 0) -> torch.Tensor:
    noise = torch.Generator().manual_seed(seed)
    return torch.randn(1, cameras, 3, *TINY.image_size, generator=noise)


def error(found: torch.Tensor, expected: torch.Tensor) -> float:
    """The largest, as a share of the largest feature."""
    return float((found - expected).abs().max() / expected.abs().max())


@torch.inference_mode()
@pytest.mark.parametrize("backbone", SMALLER)
def test_features_are_those_of_the_network(backbone: str) -> None:
    module = network(backbone)
    features = Encoder(module, CPU)(images())
    expected = module.encode(images())
    assert features.shape == expected.shape
    assert error(features, expected) < 1e-5


@torch.inference_mode()
@pytest.mark.parametrize("model", [R50_704, VOV_800], ids=lambda model: model.name)
def test_with_the_weights_of_the_recorded_runs(
    model: ModelConfig, formula_network: Callable[[str], StreamPETR], one_thread: None
) -> None:
    module = formula_network(model.name)
    pixels = torch.randn(1, 1, 3, 64, 128, generator=torch.Generator().manual_seed(0))
    assert error(Encoder(module, CPU)(pixels), module.encode(pixels)) < 1e-5


@pytest.mark.parametrize("backbone", SMALLER)
def test_no_norm_is_left_and_the_network_stays_as_it_was(backbone: str) -> None:
    module = network(backbone)
    before = copy.deepcopy(module.state_dict())
    folded = copy.deepcopy(module.backbone)
    fold_norms(folded)
    assert not any(isinstance(each, nn.BatchNorm2d) for each in folded.modules())
    Encoder(module, CPU)
    assert all(torch.equal(before[name], value) for name, value in module.state_dict().items())


@torch.inference_mode()
@pytest.mark.parametrize(("dtype", "bits"), [(torch.float16, 11), (torch.bfloat16, 8)], ids=["fp16", "bf16"])
def test_half_precision_gives_float32_features_with_the_error_of_its_bits(dtype: torch.dtype, bits: int) -> None:
    module = network()
    features = Encoder(module, CPU, dtype)(images())
    assert features.dtype == torch.float32
    assert 2.0**-bits / 10 < error(features, module.encode(images())) < 2.0**-bits * 20


@torch.inference_mode()
def test_a_graph_is_recorded_for_another_shape_only(monkeypatch: pytest.MonkeyPatch) -> None:
    shapes: list[tuple[int, ...]] = []

    class NotRecorded:
        """Stands in for a graph, of which a CPU has none: calls, and notes what it was made for."""

        def __init__(self, call: Callable[[torch.Tensor], torch.Tensor], example: torch.Tensor) -> None:
            self.call, self.shape = call, example.shape
            shapes.append(tuple(example.shape))

        def __call__(self, given: torch.Tensor) -> torch.Tensor:
            return self.call(given)

    monkeypatch.setattr(torch_encoder, "Recorded", NotRecorded)
    encoder = Encoder(network(), CPU)
    for cameras in (2, 2, 3, 3, 2):
        encoder._replay(images(cameras)[0])
    assert [shape[0] for shape in shapes] == [2, 3, 2]


class TestOnCuda:
    """Not yet run on a GPU; ``pytest -k cuda`` does."""

    @NEEDS_CUDA
    @torch.inference_mode()
    @pytest.mark.parametrize("dtype", [torch.float32, torch.float16], ids=["fp32", "fp16"])
    def test_replayed_features_are_the_networks_at_any_shape(
        self, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)
        device, module = torch.device("cuda"), network()
        encoder = Encoder(module, device, dtype)
        frames = [images(2, seed=1), images(2, seed=2), images(3, seed=3), images(2, seed=4)]
        found = [encoder(frame.to(device)) for frame in frames]
        torch.cuda.synchronize()
        tolerance = 1e-4 if dtype == torch.float32 else 2e-2
        for features, frame in zip(found, frames, strict=True):
            assert error(features.cpu(), module.encode(frame)) < tolerance

    @NEEDS_CUDA
    @torch.inference_mode()
    def test_a_recording_does_not_overwrite_what_it_gave(self) -> None:
        first, second = torch.zeros(1, 3, device="cuda"), torch.ones(1, 3, device="cuda")
        recorded = Recorded(lambda x: x + 1, first)
        answers = recorded(first), recorded(second)
        assert [answer.mean().item() for answer in answers] == [1.0, 2.0]
