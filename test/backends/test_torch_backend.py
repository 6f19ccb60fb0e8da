"""PyTorch as a backend: encoders in half precision, what the host may wait for, and the same boxes on a GPU."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from tggbc_ros.backends import load_network
from tggbc_ros.backends.torch_backend import TorchNetwork, find_device
from tggbc_ros.core.config import CarryConfig, ModelConfig, PruningConfig
from tggbc_ros.core.detector import Detector
from tggbc_ros.core.head import Head
from tggbc_ros.core.pruning import keys_to_keep
from tggbc_ros.core.queries import Queries
from tggbc_ros.core.types import NetworkOutput, Tokens
from tggbc_ros.data.golden.checks import LOOSE, Check
from tggbc_ros.evaluation.parity import Row, compare, keep_ratios, same_boxes

sys.path.insert(0, str(Path(__file__).parents[1] / "export"))

from tiny_network import CELLS, TINY, frame_at  # noqa: E402

pytestmark = pytest.mark.usefixtures("one_thread")
NEEDS_CUDA = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
CLOSE = dataclasses.replace(LOOSE, metres=5e-3, score=1e-3)
"""Of boxes; this network's random weights amplify little."""
FIXED = [PruningConfig(), PruningConfig(0.3), PruningConfig(0.3, layers=2, reactivate=True)]
SCHEDULES = pytest.mark.parametrize("pruning", FIXED, ids=["dense", "pruned", "reactivate"])


@pytest.fixture(scope="module")
def checkpoint(tiny_export: Path) -> Path:
    return tiny_export.with_name("tiny.pth")


def compared(reference: TorchNetwork, tested: TorchNetwork) -> list[Row]:
    """Eight frames with memory and four keep ratios, held to what float16 allows the encoder."""
    frames = (frame_at(number) for number in range(8))
    return list(compare(reference, tested, frames, keep_ratios((1.0, 0.5, 0.3, 0.1), 8), "fp16"))


def test_devices_that_are_not_there_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a machine with two CUDA devices; none is touched."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert [find_device(name).index for name in ("auto", "cuda", "cuda:1")] == [None, None, 1]
    with pytest.raises(ValueError, match="device is 'cuda:2', but there are 2 CUDA devices, counted from 0"):
        find_device("cuda:2")


def test_an_encoder_in_float16_is_off_by_what_its_bits_allow_and_the_head_by_nothing(checkpoint: Path) -> None:
    reference = load_network("torch", TINY, checkpoint, "cpu")
    tested = load_network("torch_fp16", TINY, checkpoint, "cpu")
    assert isinstance(reference, TorchNetwork) and isinstance(tested, TorchNetwork)
    assert (reference.precision, tested.precision) == ("fp32", "fp16")
    rows = compared(reference, tested)
    assert [row for row in rows if not row.passed] == []
    off = {output: max(row.max_abs_error for row in rows if row.output == output) for output in ("features", "logits")}
    assert 2.0**-11 / 4 < off["features"] < 2.0**-11 * 4  # two precisions
    assert off["logits"] == 0.0  # of one head, which goes on from the same features


def test_an_encoder_in_bfloat16_gives_much_the_same_boxes(checkpoint: Path) -> None:
    detectors = [Detector(load_network(name, TINY, checkpoint, "cpu")) for name in ("torch", "torch_bf16")]
    checks: list[Check] = []
    for number in range(4):
        expected, found = (detector.step(frame_at(number))[0] for detector in detectors)
        checks += same_boxes(expected, found, CLOSE)
    assert [check for check in checks if not check.passed] == []
    assert max(check.error for check in checks) > 1e-6  # they are two precisions


def test_the_head_is_float32_whatever_the_encoder_is(checkpoint: Path) -> None:
    network = TorchNetwork.load(TINY, checkpoint, "cpu", "fp16")
    assert {each.dtype for each in network.head.parameters()} == {torch.float32}


def workload(model: ModelConfig, device: str) -> tuple[Head, Queries, Tokens]:
    """A head, and something for it to decode."""
    with torch.device(device):
        asking, dims, rest = model.total_queries, model.embed_dims, model.memory_length - model.num_propagated
        content, position = torch.randn(2, 1, asking, dims)
        memory = torch.randn(2, 1, rest, dims)
        queries = Queries(content, position, torch.rand(1, asking, 3), *memory)
        key, value = torch.randn(2, 1, CELLS, dims)
        head = Head(model).eval().requires_grad_(False)
    return head.to(device), queries, Tokens(key, value, torch.arange(CELLS, device=device)[None])


@torch.inference_mode()
@SCHEDULES
def test_no_decoder_layer_asks_for_a_number(pruning: PruningConfig) -> None:
    """Tensors without content have none to give: whatever would make the host wait for a GPU raises here."""
    head, queries, tokens = workload(TINY, "meta")
    output = head.answer(queries, tokens, pruning)
    assert output.logits.is_meta
    assert output.num_keys[-1] == keys_to_keep(CELLS, pruning.keep_ratio)


@pytest.fixture
def errors_where_the_host_waits() -> Iterator[None]:
    torch.cuda.set_sync_debug_mode("error")
    yield
    torch.cuda.set_sync_debug_mode("default")


class TestOnCuda:
    """Not yet run on a GPU; ``pytest -k cuda`` does."""

    @NEEDS_CUDA
    @torch.inference_mode()
    @SCHEDULES
    def test_the_host_waits_for_no_decoder_layer(self, pruning: PruningConfig, request: pytest.FixtureRequest) -> None:
        head, queries, tokens = workload(TINY, "cuda")
        expected = head.answer(queries, tokens, pruning)
        request.getfixturevalue("errors_where_the_host_waits")
        output: NetworkOutput = head.answer(queries, tokens, pruning)
        torch.cuda.set_sync_debug_mode("default")
        torch.testing.assert_close(output.logits, expected.logits)

    @NEEDS_CUDA
    def test_twenty_frames_are_those_of_the_cpu(self, checkpoint: Path) -> None:
        on_cpu = Detector(TorchNetwork.load(TINY, checkpoint, "cpu"), PruningConfig(0.3))
        on_gpu = Detector(TorchNetwork.load(TINY, checkpoint, "cuda"), PruningConfig(0.3))
        for number in range(20):
            (expected, told), (found, report) = (each.step(frame_at(number)) for each in (on_cpu, on_gpu))
            assert report.keys == told.keys
            assert [check for check in same_boxes(expected, found, CLOSE) if not check.passed] == []

    @NEEDS_CUDA
    def test_float16_on_cuda_is_off_by_what_its_bits_allow(self, checkpoint: Path) -> None:
        reference = TorchNetwork.load(TINY, checkpoint, "cuda")
        rows = compared(reference, TorchNetwork.load(TINY, checkpoint, "cuda", "fp16"))
        assert [row for row in rows if not row.passed] == []

    @NEEDS_CUDA
    def test_carried_keys_too(self, checkpoint: Path) -> None:
        pruning = PruningConfig(0.25, carry=CarryConfig(0.5))
        on_cpu, on_gpu = (Detector(TorchNetwork.load(TINY, checkpoint, each), pruning) for each in ("cpu", "cuda"))
        for number in range(4):
            (_, told), (_, report) = (each.step(frame_at(number)) for each in (on_cpu, on_gpu))
            assert report.keys == told.keys
